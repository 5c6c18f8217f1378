//! Whose a grading report is. MLE-bench's reports do not say, so that names of files and folders
//! have to.
//!
//! - `<timestamp>_run-group_<agent>/…`: the agent is named, whatever the report is called.
//! - Else by the report, `<name>_grading_report.json`: who gave it a name said more than who made the
//!   folder, which may hold several agents. Where the name is nothing but a time, a number or the
//!   number of a group (`run_1`), by its folder.
//! - Names that differ in a group's number alone (`x_group1`, `x_group2`, …) are one agent, each
//!   group with seeds of its own. So are names that end in numbers counted from 0 or 1 beside each
//!   other (`run_1`, `run_2`), but not `gpt-4` and `gpt-5`.
//! - Reports of one name in unrelated folders are of different agents, told apart by the folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Agent of a folder that MLE-bench named.
pub(super) fn agent_of_run_group(folder: &str) -> Option<&str> {
    folder.split_once("_run-group_").map(|(_, agent)| agent).filter(|agent| !agent.is_empty())
}

/// What a report may be named by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    /// Folders, outermost first; the last without its group's number.
    folders: Vec<String>,
    /// The report's own name without its group's number; empty if it has none.
    name: String,
}

/// An agent for each of `reports`, in their order.
pub(super) fn owners(reports: &[PathBuf]) -> Vec<String> {
    let whole: Vec<PathBuf> =
        reports.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
    let names: Vec<String> = whole.iter().map(|path| report_name(path)).collect();
    let siblings = |i: usize| -> BTreeSet<&str> {
        let beside = |path: &PathBuf| path.parent() == whole[i].parent();
        names.iter().zip(&whole).filter(|(_, p)| beside(p)).map(|(name, _)| name.as_str()).collect()
    };
    let owners: Vec<Result<String, Owner>> = whole
        .iter()
        .enumerate()
        .map(|(i, path)| {
            let mut folders: Vec<String> = path
                .parent()
                .into_iter()
                .flat_map(Path::components)
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect();
            let named = folders.last().and_then(|folder| agent_of_run_group(folder));
            if let Some(agent) = named {
                return Ok(agent.to_owned());
            }
            let cousins: BTreeSet<&str> = whole
                .iter()
                .filter_map(|other| Some((other.parent()?.parent()?, other.parent()?.file_name()?)))
                .filter(|(above, _)| path.parent().and_then(Path::parent) == Some(above))
                .filter_map(|(_, folder)| folder.to_str())
                .collect();
            if let Some(folder) = folders.pop() {
                let named = without_group(&folder, &cousins);
                folders.extend((!named.is_empty()).then_some(named));
            }
            Err(Owner { folders, name: without_group(&names[i], &siblings(i)) })
        })
        .collect();
    let different: BTreeSet<&Owner> = owners.iter().filter_map(|o| o.as_ref().err()).collect();
    let titles = titles(&different);
    owners
        .iter()
        .map(|owner| match owner {
            Ok(agent) => agent.clone(),
            Err(owner) => titles[owner].clone(),
        })
        .collect()
}

/// The shortest title for each owner that no other has: its name, or its last folder, and as many
/// folders before as are needed.
fn titles<'a>(owners: &BTreeSet<&'a Owner>) -> BTreeMap<&'a Owner, String> {
    let title = |owner: &Owner, folders: usize| -> String {
        let from = owner.folders.len().saturating_sub(folders);
        let own = (!owner.name.is_empty()).then(|| owner.name.clone());
        let parts: Vec<String> = owner.folders[from..].iter().cloned().chain(own).collect();
        parts.join("/")
    };
    owners
        .iter()
        .map(|owner| {
            let least = usize::from(owner.name.is_empty());
            let taken = |folders: usize| {
                let wanted = title(owner, folders);
                let same = |other: &&&Owner| {
                    let least = usize::from(other.name.is_empty());
                    *other != owner && title(other, folders.max(least)) == wanted
                };
                owners.iter().any(|other| same(&other))
            };
            let folders = (least..owner.folders.len()).find(|folders| !taken(*folders));
            (*owner, title(owner, folders.unwrap_or(owner.folders.len())))
        })
        .collect()
}

/// The name of a report without the words that every report has, and without times.
fn report_name(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let (before, after) = stem.split_once("grading_report").unwrap_or((stem.as_str(), ""));
    let tidy = |text: &str| text.trim_matches(|c| matches!(c, '_' | '-' | '.' | ' ')).to_owned();
    let (before, after) = (tidy(before), tidy(after));
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_digit()) || is_time(text);
    match (is_plain(&before), is_plain(&after)) {
        (true, true) => String::new(),
        (false, true) => before,
        (true, false) => after,
        (false, false) => format!("{before}_{after}"),
    }
}

/// `2024-09-19T20-07-15-GMT` and the like.
fn is_time(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    digits >= 8
        && text.chars().next().is_some_and(|c| c.is_ascii_digit())
        && text
            .split(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | '.' | '+'))
            .all(|word| matches!(word, "" | "T" | "Z" | "TZ" | "UTC" | "GMT"))
}

/// The name without the number of its group; nothing is left of `run_1`. A number without a word for
/// it counts as one only if `beside` holds all from 0 or 1 on, two at least.
fn without_group(name: &str, beside: &BTreeSet<&str>) -> String {
    const WORDS: [&str; 6] = ["group", "seed", "run", "rep", "repeat", "trial"];
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() || stem.is_empty() {
        return name.to_owned();
    }
    let separators = |c: char| matches!(c, '_' | '-' | '.' | ' ');
    let bare = stem.trim_end_matches(separators);
    for word in WORDS {
        let lower = bare.to_ascii_lowercase();
        let rest = lower.strip_suffix(word);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.ends_with(separators)) {
            return bare[..rest.len()].trim_end_matches(separators).to_owned();
        }
    }
    let numbers: BTreeSet<u64> =
        beside.iter().filter_map(|other| other.strip_prefix(stem)?.parse().ok()).collect();
    let first = numbers.first().copied().unwrap_or(u64::MAX);
    let counted = first <= 1
        && numbers.len() >= 2
        && numbers.last() == Some(&(first + numbers.len() as u64 - 1));
    if counted && bare.len() < stem.len() && !bare.is_empty() {
        bare.to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(paths: &[&str]) -> Vec<String> {
        owners(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn groups_of_one_agent_are_one_and_two_agents_in_a_folder_are_two() {
        let x = ["x_group1", "x_group2", "x_group3"];
        let folders = x.map(|x| format!("/r/{x}/2025-01-02T03-04-05-GMT_grading_report.json"));
        assert_eq!(agents(&folders.each_ref().map(String::as_str)), ["x"; 3]);
        let files = x.map(|x| format!("/r/{x}_grading_report.json"));
        assert_eq!(agents(&files.each_ref().map(String::as_str)), ["x"; 3]);
        let two = ["/r/agentA_grading_report.json", "/r/agentB_grading_report.json"];
        assert_eq!(agents(&two), ["agentA", "agentB"]);
        let counted = ["/r/check_1_grading_report.json", "/r/check_2_grading_report.json"];
        assert_eq!(agents(&counted), ["check", "check"]);
        let models = ["/r/gpt-4_grading_report.json", "/r/gpt-5_grading_report.json"];
        assert_eq!(agents(&models), ["gpt-4", "gpt-5"]);
    }

    #[test]
    fn the_number_of_a_group_alone_names_nobody() {
        let reports = ["/r/mine/run_1_grading_report.json", "/r/mine/run_2_grading_report.json"];
        assert_eq!(agents(&reports), ["mine", "mine"]);
        let folders = ["/r/mine/seed1/grading_report.json", "/r/mine/seed2/grading_report.json"];
        assert_eq!(agents(&folders), ["mine", "mine"]);
        assert_eq!(agents(&["/r/mine/Run-3_grading_report.json"]), ["mine"]);
        assert_eq!(agents(&["/r/mine/run_grading_report.json"]), ["run"]);
    }

    #[test]
    fn equal_names_in_unrelated_folders_do_not_merge() {
        let same = ["/r/old/grading_report.json", "/r/new/grading_report.json"];
        assert_eq!(agents(&same), ["old", "new"]);
        let named = ["/r/old/x_grading_report.json", "/r/new/x_grading_report.json"];
        assert_eq!(agents(&named), ["old/x", "new/x"]);
        let deep = ["/a/v/grading_report.json", "/b/v/grading_report.json"];
        assert_eq!(agents(&deep), ["a/v", "b/v"]);
        let groups = ["/r/x_group1/y_grading_report.json", "/r/x_group2/y_grading_report.json"];
        assert_eq!(agents(&groups), ["y", "y"]);
    }

    #[test]
    fn a_run_group_names_its_agent() {
        let found = agents(&[
            "/r/2024-09-23T14-55-33-GMT_run-group_aide/grading_report_10.json",
            "/r/2024-09-23T14-55-33-GMT_run-group_aide/grading_report_99.json",
            "/s/2024-09-06T18-25-55-UTC_run-group_aide/2024-09-19T20-07-15-GMT_grading_report.json",
        ]);
        assert_eq!(found, ["aide"; 3]);
        assert_eq!(agents(&["/r/mine/2024-09-19T20-07-15-GMT_grading_report.json"]), ["mine"]);
    }
}
