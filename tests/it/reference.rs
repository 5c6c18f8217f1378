//! `docs/reference/` says what the program and the code say.

use std::path::Path;

use crate::support::TestContext;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn generated_pages_are_up_to_date() {
    for name in ["cli", "environment"] {
        let made = TestContext::new().ok(&["reference", name]).stdout;
        assert!(
            made == page(&format!("{name}.md")),
            "docs/reference/{name}.md is out of date; make it again: \
             cargo run -q -- reference {name} > docs/reference/{name}.md"
        );
    }
}

#[test]
fn every_variable_in_the_source_is_listed() {
    let listed = page("environment.md");
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let entry = entry.unwrap();
        if entry.path().extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        // What the build script tells the code is not a variable of the user's.
        for literal in text.split('"').skip(1).step_by(2) {
            let prefixes = ["MEDALIST_", "KAGGLE_", "DOCKER_", "XDG_", "NVIDIA_", "CUDA_"];
            let is_name = literal.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let built_in = text.contains(&format!("env!(\"{literal}\""));
            if is_name && !built_in && prefixes.iter().any(|prefix| literal.starts_with(prefix)) {
                seen += 1;
                let quoted = format!("`{literal}`");
                assert!(listed.contains(&quoted), "{}: {quoted}", entry.path().display());
            }
        }
    }
    assert!(seen > 20, "only {seen} were found");
}

#[test]
fn versions_of_formats_are_those_of_the_code() {
    use medalist_reports::{compare, data, experiment, history, record};
    let listed = page("formats.md");
    for (file, version) in [
        ("| `plan.json`", medalist::attempt::plan::PLAN_FORMAT),
        ("| `group.json`", record::RECORD_FORMAT),
        ("| `attempt.json`", record::RECORD_FORMAT),
        ("| `report.json`", data::REPORT_FORMAT),
        ("| `comparison.json`", compare::COMPARISON_FORMAT),
        ("| printed by `history --json`", history::HISTORY_FORMAT),
        ("| `experiment.json`", medalist::app::experiment::EXPERIMENT_FORMAT),
        ("| `manifest.json` of a bundle", medalist::app::bundle::manifest::BUNDLE_FORMAT),
        ("| printed by `verify --json`", medalist::app::verify::VERIFICATION_FORMAT),
        ("| printed by `audit --format json`", medalist::app::audit::AUDIT_FORMAT),
        ("| `looks.json`", medalist::app::experiment::EXPERIMENT_FORMAT),
        ("| `experiment-report.json`", experiment::EXPERIMENT_REPORT_FORMAT),
    ] {
        let row = format!("{file} | {version} |");
        assert!(listed.contains(&row), "formats.md lacks `{row}`");
    }
}

#[test]
fn the_version_names_the_commit_and_records_have_it() {
    let context = TestContext::new();
    let shown = context.ok(&["--version"]).stdout;
    let version = shown.trim().strip_prefix("medalist ").unwrap();
    let package = env!("CARGO_PKG_VERSION");
    let commit = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match commit.ok().filter(|output| output.status.success()) {
        Some(output) => {
            let commit = String::from_utf8(output.stdout).unwrap();
            let clean = format!("{package}+{}", commit.trim());
            assert!(version == clean || version == format!("{clean}.dirty"), "{version}, {clean}");
        }
        None => assert_eq!(version, package),
    }
    context.ok(&["prepare", "-c", "demo-digits"]);
    let planned =
        context.ok(&["run", "--agent", "sample", "-c", "demo-digits", "--plan-only"]).stdout;
    let group = std::fs::read(Path::new(planned.trim()).join("group.json")).unwrap();
    let group: serde_json::Value = serde_json::from_slice(&group).unwrap();
    assert_eq!(group["harness_version"], version);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages =
        vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("SECURITY.md")];
    let below = walkdir::WalkDir::new(root.join("docs")).into_iter().map(|entry| entry.unwrap());
    pages.extend(
        below
            .map(walkdir::DirEntry::into_path)
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if !target.contains("://") && !file.is_empty() {
                let path = page.parent().unwrap().join(file);
                assert!(path.exists(), "{}: `{target}` leads nowhere", page.display());
            }
        }
    }
}

/// Where texts count competitions, they count as the catalogue does.
#[test]
fn counts_in_texts_are_those_of_the_catalogue() {
    use medalist_competitions::{Catalogue, Suite};
    let catalogue = Catalogue::embedded().unwrap();
    let (every, low, all) = (
        catalogue.iter().count(),
        catalogue.suite(Suite::Low).count(),
        catalogue.suite(Suite::All).count(),
    );
    let phrases = [
        ("CHANGELOG.md", format!("the catalogue of {every} competitions")),
        ("README.md", format!("# {low} competitions from Kaggle")),
        ("docs/architecture.md", format!("`all` = the {all}")),
        ("docs/kaggle.md", format!("the {low} competitions of MLE-bench Lite")),
        ("docs/overnight.md", format!("MLE-bench's {low} competitions of low complexity")),
        ("docs/prepare.md", format!("# the {low} of low complexity")),
        ("docs/prepare.md", format!("# all {all}\n")),
        ("docs/prepare.md", format!("**all {low}**")),
    ];
    for (file, phrase) in phrases {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(&phrase), "`{file}` should say `{phrase}`");
    }
}
