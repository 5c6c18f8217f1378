//! Checks a bundle without trust in who made it.
//!
//! ```text
//!  open     every byte read once, hashed, nothing written but what is looked at
//!  group    a run group as the bundle has it        log    what its event logs say
//!  checks   attempts, log, records, tries           times  times, GPUs, limits, network
//!  bill     language models                         scores graded again, and counted
//!  claim    a claim and its verdict                 text   for people
//! ```

mod bill;
mod checks;
mod claim;
mod group;
mod log;
pub(super) mod open;
mod scores;
mod text;
mod times;

use std::collections::BTreeSet;
use std::path::Path;

use medalist_grading::untrusted::Shown;
use medalist_reports::record::FormatVersion;
use serde::Serialize;

use self::claim::Check;
pub use self::claim::{Claim, Verdict};
use self::group::Group;
use self::open::{OpenError, Opened};
use super::bundle::manifest::{GroupClaim, MadeBy, Part, Results};
use super::context::Context;
use super::error::{CliError, Exit};
use super::grading::Grading;
use crate::host::files::StoreError;
use crate::host::machine;
use crate::host::sign::{self, SignError};

/// The version of the JSON that `verify --json` prints.
pub const VERIFICATION_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// What is verified, and by what.
#[derive(Debug)]
pub struct VerifyRequest<'a> {
    /// The bundle.
    pub file: &'a Path,
    /// Keys whose signatures count.
    pub signers: Option<&'a Path>,
    /// Links of the event logs that somebody has seen, hexadecimal.
    pub witnesses: &'a [String],
    /// Bytes that the bundle may unpack to.
    pub most: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Verification {
    pub format: FormatVersion,
    /// The version that verified.
    pub verified_by: MadeBy,
    /// The bundle's name.
    pub file: String,
    /// SHA-256 of the bundle, hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// What made the bundle, by its own word.
    pub made_by: MadeBy,
    /// The key that signed it: `SHA256:…`.
    pub signed_by: Option<String>,
    /// What was left out.
    pub without: BTreeSet<Part>,
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// Claims of the bundle itself.
    pub claims: Vec<Claim>,
    pub groups: Vec<GroupVerification>,
}

/// What came of one run group.
#[derive(Debug, Serialize)]
pub struct GroupVerification {
    /// Its name.
    pub id: String,
    pub agent: String,
    /// What the attempts come to, graded again where that was possible.
    pub results: Option<Results>,
    pub claims: Vec<Claim>,
}

impl Verification {
    /// All claims.
    pub fn all(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().chain(self.groups.iter().flat_map(|group| &group.claims))
    }

    /// How many claims have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.all().filter(|claim| claim.verdict == verdict).count()
    }

    /// For people, on a terminal.
    pub fn text(&self) -> String {
        text::plain(self)
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        text::markdown(self)
    }
}

/// Verifies a bundle.
///
/// # Errors
/// The file is no bundle, a newer one, or cut short; the list of signers cannot be read. That a claim is
/// contradicted is no error.
pub fn verify(request: &VerifyRequest<'_>, context: &Context) -> Result<Verification, CliError> {
    let witnesses = witnesses(request.witnesses)?;
    let opened = open::open(request.file, request.most, open::is_kept).map_err(refused)?;
    let grading = context.grading()?;
    let mut claims = vec![structure(&opened), hashes(&opened)];
    let (signature, signed_by) = signature(&opened, request.signers)?;
    claims.push(signature);
    let mut groups = Vec::new();
    let mut found = BTreeSet::new();
    for claim in &opened.manifest.groups {
        groups.push(one_group(&opened, claim, &grading, (&witnesses, &mut found), context));
    }
    if !witnesses.is_empty() {
        claims.push(witnessed(&witnesses, &found));
    }
    let verdicts = claims.iter().chain(groups.iter().flat_map(|group| &group.claims));
    // A claim that cannot be checked says nothing against the others.
    let verdict = match verdicts.map(|claim| claim.verdict).max() {
        Some(Verdict::Contradicted) => Verdict::Contradicted,
        _ => Verdict::Consistent,
    };
    let name = request.file.file_name().unwrap_or_default().to_string_lossy();
    let made_by = &opened.manifest.made_by;
    Ok(Verification {
        format: VERIFICATION_FORMAT,
        verified_by: MadeBy {
            version: crate::attempt::VERSION.to_owned(),
            sha256: machine::program_sha256().map(str::to_owned),
        },
        file: Shown::new(&name).into_string(),
        sha256: opened.sha256.clone(),
        bytes: opened.bytes,
        made_by: MadeBy {
            version: Shown::new(&made_by.version).into_string(),
            sha256: made_by.sha256.as_deref().map(|hash| Shown::new(hash).into_string()),
        },
        signed_by,
        without: opened.manifest.without.clone(),
        verdict,
        claims,
        groups,
    })
}

pub(super) fn refused(error: OpenError) -> CliError {
    let exit = match &error {
        OpenError::File(StoreError::Io { verb: "write", .. }) => Exit::Failure,
        _ => Exit::BadInput,
    };
    let hint = match &error {
        OpenError::Newer { .. } => "a newer medalist reads it",
        OpenError::TooLarge { .. } => "`--max-size` allows more",
        OpenError::NoBundle { .. } => {
            "`medalist bundle` makes bundles; ask the sender for the file's SHA-256"
        }
        OpenError::File(_) => "what is unpacked goes to the folder that `TMPDIR` names",
    };
    CliError::new(exit, error).hint(hint)
}

/// Links as they are typed.
fn witnesses(typed: &[String]) -> Result<BTreeSet<String>, CliError> {
    let mut links = BTreeSet::new();
    for text in typed {
        let link = text.trim().to_ascii_lowercase();
        if link.len() != 64 || !link.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("`{text}` is no link, expected 64 hexadecimal digits");
            return Err(CliError::message(Exit::Usage, message));
        }
        links.insert(link);
    }
    Ok(links)
}

fn structure(opened: &Opened) -> Claim {
    let mut check = Check::new("structure", "the bundle holds what it lists and nothing else");
    for what in &opened.structure {
        check.wrong(what);
    }
    for part in &opened.manifest.without {
        check.note(format!("{} were left out: {}", part.word(), part.loss()));
    }
    let (files, left) = (opened.manifest.files.len(), opened.manifest.left_out.len());
    check.holds(Verdict::Verified, format!("{files} files, and {left} that were left out by name"));
    check.claim()
}

fn hashes(opened: &Opened) -> Claim {
    let mut check = Check::new("hashes", "every file has the bytes that the manifest lists");
    for what in &opened.hashes {
        check.wrong(what);
    }
    check.holds(Verdict::Verified, "each file was hashed here");
    check.claim()
}

/// Who signed the bundle.
fn signature(opened: &Opened, signers: Option<&Path>) -> Result<(Claim, Option<String>), CliError> {
    let mut check = Check::new("signature", "the bundle is from who signed it");
    let Some(signature) = &opened.signature else {
        match signers {
            Some(_) => check.wrong("it is not signed"),
            None => check.holds(Verdict::NotCheckable, "it is not signed"),
        }
        return Ok((check.claim(), None));
    };
    let by = match sign::verify(&opened.text, signature) {
        Ok(by) => by,
        Err(error) => {
            check.wrong(error);
            return Ok((check.claim(), None));
        }
    };
    let fingerprint = by.fingerprint.clone();
    match signers {
        None => check.holds(
            Verdict::Consistent,
            format!("signed with the key {fingerprint}; whose it is, `--signers` says"),
        ),
        Some(list) => {
            let known = sign::signer_of(list, &by);
            let known = known.map_err(|error: SignError| CliError::new(Exit::BadInput, error))?;
            match known {
                Some(name) => {
                    check.holds(Verdict::Verified, format!("signed by `{name}`, key {fingerprint}"))
                }
                None => check.wrong(format!(
                    "signed with the key {fingerprint}, which `{}` does not have",
                    list.display()
                )),
            }
        }
    }
    Ok((check.claim(), Some(fingerprint)))
}

fn one_group(
    opened: &Opened,
    claim: &GroupClaim,
    grading: &Grading,
    (witnesses, found): (&BTreeSet<String>, &mut BTreeSet<String>),
    context: &Context,
) -> GroupVerification {
    let shown = |text: &str| Shown::new(text).into_string();
    let (id, agent) = (shown(&claim.id), shown(&claim.agent));
    let mut group = match Group::read(opened, claim, witnesses) {
        Ok(group) => group,
        Err(why) => {
            let mut check = Check::new("attempts", "every planned attempt is reported");
            check.wrong(why);
            return GroupVerification { id, agent, results: None, claims: vec![check.claim()] };
        }
    };
    let plan = opened.listed(&format!("{}/plan.json", claim.id)).map(|file| file.sha256.clone());
    if plan.as_ref() != Some(&claim.plan_sha256) {
        group.unreadable.push("`plan.json` is not the plan that the manifest names".to_owned());
    }
    let logs = &group.told.logs;
    found.extend(logs.iter().flat_map(|log| log.witnessed.keys().cloned()));
    let without = &opened.manifest.without;
    let catalogue = context.catalogue().ok();
    let (scores, regraded) = scores::scores(&group, grading, without);
    let (results_claim, results) = scores::results(&group, &regraded);
    let claims = vec![
        checks::attempts(&group, catalogue.as_ref()),
        checks::chain(&group),
        scores,
        results_claim,
        checks::records(&group, opened),
        checks::tries(&group),
        times::times(&group),
        times::conditions(&group),
        bill::bill(&group, without),
        checks::programs(&group, machine::program_sha256()),
    ];
    GroupVerification { id, agent, results: Some(results), claims }
}

/// Links that were seen elsewhere are in the logs.
fn witnessed(witnesses: &BTreeSet<String>, found: &BTreeSet<String>) -> Claim {
    let mut check = Check::new("witness", "the links that you have seen are in the logs");
    for link in witnesses.difference(found) {
        check.wrong(format!("no log has the link {link}: it is another run, or was made anew"));
    }
    check.holds(Verdict::Verified, format!("{} links were found", found.len()));
    check.claim()
}
