//! A verification for people: on a terminal, and as Markdown.

use std::fmt::Write as _;

use medalist_reports::text::markdown as escaped;

use super::{Claim, GroupVerification, Verdict, Verification};

/// What stands at the end of every page.
const UNKNOWABLE: [&str; 3] = [
    "A bundle shows what its maker's program wrote. A modified program can write anything that is consistent: that limits and the seal were held, what the agent saw, and the clock are its word alone.",
    "Runs that were made and not shown leave no trace in a bundle. A plan's hash or a link of the log that was published before or while the run went on (`--witness`) rules that out for this plan.",
    "Scores that are verified hold whoever made the bundle: they follow from the submissions and your own copy of the answers.",
];

fn counts(verification: &Verification) -> String {
    let count = |verdict: &Verdict| format!("{} {verdict}", verification.count(*verdict));
    Verdict::ALL.iter().map(count).collect::<Vec<_>>().join(", ")
}

/// The verdict in a sentence.
fn sentence(verification: &Verification) -> &'static str {
    match verification.verdict {
        Verdict::Contradicted => "CONTRADICTED: the bundle is not what it claims to be",
        _ => "nothing in the bundle contradicts its claims",
    }
}

pub(super) fn plain(verification: &Verification) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}  ({} bytes)", verification.file, verification.bytes);
    let _ = writeln!(out, "sha256 {}", verification.sha256);
    let _ = writeln!(out, "made by medalist {}", verification.made_by.version);
    for claim in &verification.claims {
        plain_claim(&mut out, claim);
    }
    for group in &verification.groups {
        let _ = writeln!(out, "\n{} (agent {})", group.id, group.agent);
        for claim in &group.claims {
            plain_claim(&mut out, claim);
        }
    }
    let _ = writeln!(out, "\n{}: {}", sentence(verification), counts(verification));
    for line in UNKNOWABLE {
        let _ = writeln!(out, "- {line}");
    }
    out
}

fn plain_claim(out: &mut String, claim: &Claim) {
    let _ = writeln!(out, "  {:<14} {:<11} {}", claim.verdict, claim.id, claim.reason);
    for line in claim.evidence.iter().filter(|line| **line != claim.reason) {
        let _ = writeln!(out, "                             · {line}");
    }
    let more = claim.evidence_count - claim.evidence.len();
    if more > 0 {
        let _ = writeln!(out, "                             · and {more} more");
    }
}

pub(super) fn markdown(verification: &Verification) -> String {
    let mut out = format!("### Verification of {}\n\n", escaped(&verification.file));
    let _ = writeln!(out, "**{}** ({})\n", sentence(verification), counts(verification));
    let _ = writeln!(out, "- SHA-256: `{}`", verification.sha256);
    let made_by = escaped(&verification.made_by.version);
    let _ = writeln!(out, "- Made by: medalist {made_by}");
    let _ = writeln!(out, "- Verified by: medalist {}", verification.verified_by.version);
    if let Some(key) = &verification.signed_by {
        let _ = writeln!(out, "- Signed with: `{key}`");
    }
    out.push('\n');
    table(&mut out, &verification.claims);
    for group in &verification.groups {
        let GroupVerification { id, agent, claims, .. } = group;
        let _ = writeln!(out, "\n#### {} (agent {})\n", escaped(id), escaped(agent));
        table(&mut out, claims);
    }
    out.push('\n');
    for line in UNKNOWABLE {
        let _ = writeln!(out, "- {line}");
    }
    out
}

fn table(out: &mut String, claims: &[Claim]) {
    out.push_str("| claim | verdict | why |\n| --- | --- | --- |\n");
    for claim in claims {
        let mut why = escaped(&claim.reason);
        for line in claim.evidence.iter().filter(|line| **line != claim.reason) {
            let _ = write!(why, "<br>· {}", escaped(line));
        }
        let more = claim.evidence_count - claim.evidence.len();
        if more > 0 {
            let _ = write!(why, "<br>· and {more} more");
        }
        let _ = writeln!(out, "| {}: {} | {} | {why} |", claim.id, claim.says, claim.verdict);
    }
}
