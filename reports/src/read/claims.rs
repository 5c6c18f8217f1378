//! Tables of medals that somebody claims: nothing of them was measured here, and all that is shown
//! of them says so.

use std::collections::BTreeMap;
use std::path::Path;

use super::group::facts_of;
use super::{CompetitionSource, Group, Warning};
use crate::attempt::{Attempt, Ending, Grade, Medal};
use crate::record::AttemptKey;

/// What stands behind the name of an agent whose medals are claimed.
const CLAIMED: &str = "(claimed)";

/// Where a table has what.
struct Columns {
    competition: usize,
    medal: usize,
    seed: Option<usize>,
    agent: Option<usize>,
}

/// One line of a table.
struct Claim {
    agent: String,
    competition: String,
    seed: Option<u32>,
    medal: Option<Medal>,
}

/// The groups of a table with the columns `competition` (or `competition_id`) and `medal`, and, where
/// there are any, `seed` and `agent`: one for each agent. A table with a mistake is left out whole.
pub(super) fn read(
    path: &Path,
    source: &dyn CompetitionSource,
    warnings: &mut Vec<Warning>,
) -> Vec<Group> {
    let name =
        path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    match claims(path, &name) {
        Err(why) => {
            let message = format!("is no table of claimed medals: {why}; left out");
            warnings.push(Warning::new(path, message));
            Vec::new()
        }
        Ok(claims) => {
            let message = format!(
                "its {} medals and failures are claimed, not measured: nothing of them was checked",
                claims.len()
            );
            warnings.push(Warning::new(path, message));
            groups(path, &name, claims, source)
        }
    }
}

fn claims(path: &Path, name: &str) -> Result<Vec<Claim>, String> {
    let reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_path(path);
    let mut reader = reader.map_err(|error| error.to_string())?;
    let head = reader.headers().map_err(|error| error.to_string())?.clone();
    let find = |names: &[&str]| {
        head.iter().position(|head| names.iter().any(|name| head.eq_ignore_ascii_case(name)))
    };
    let columns = Columns {
        competition: find(&["competition", "competition_id"])
            .ok_or("it has no column `competition`")?,
        medal: find(&["medal"]).ok_or("it has no column `medal`")?,
        seed: find(&["seed"]),
        agent: find(&["agent"]),
    };
    let mut claims = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        claims.push(columns.claim(&record, name).map_err(|why| format!("line {line}, {why}"))?);
    }
    Ok(claims)
}

impl Columns {
    fn claim(&self, record: &csv::StringRecord, name: &str) -> Result<Claim, String> {
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let competition = cell(self.competition).to_owned();
        if competition.is_empty() {
            return Err("column `competition`: it is empty".to_owned());
        }
        let medal = match cell(self.medal).to_lowercase().as_str() {
            "gold" => Some(Medal::Gold),
            "silver" => Some(Medal::Silver),
            "bronze" => Some(Medal::Bronze),
            "" | "none" | "no" | "-" => None,
            other => {
                return Err(format!(
                    "column `medal`: `{other}`, expected gold, silver, bronze or none"
                ));
            }
        };
        let seed = self.seed.map(cell).filter(|seed| !seed.is_empty());
        let whole = |seed: &str| {
            seed.parse::<u32>()
                .map_err(|_| format!("column `seed`: `{seed}`, expected a whole number from 0"))
        };
        let agent = self.agent.map(cell).filter(|agent| !agent.is_empty()).unwrap_or(name);
        let agent = format!("{agent} {CLAIMED}");
        Ok(Claim { agent, competition, seed: seed.map(whole).transpose()?, medal })
    }
}

fn groups(
    path: &Path,
    name: &str,
    claims: Vec<Claim>,
    source: &dyn CompetitionSource,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut next: BTreeMap<(String, String), u32> = BTreeMap::new();
    for claim in claims {
        // Without a column for it, the n-th line of a competition is of the n-th seed.
        let next = next.entry((claim.agent.clone(), claim.competition.clone())).or_default();
        let seed = claim.seed.unwrap_or(*next);
        *next += 1;
        let group = groups.entry(claim.agent.clone()).or_insert_with(|| Group {
            id: name.to_owned(),
            path: path.to_owned(),
            agent: claim.agent.clone(),
            agent_is_recorded: true,
            record: None,
            attempts: Vec::new(),
        });
        group.attempts.push(Attempt {
            facts: facts_of(&claim.competition, None, source),
            key: AttemptKey { competition: claim.competition, agent: claim.agent, seed },
            group: name.to_owned(),
            dir: None,
            ending: Ending::Claimed,
            grade: Grade {
                medal: claim.medal,
                gold: claim.medal == Some(Medal::Gold),
                silver: claim.medal == Some(Medal::Silver),
                bronze: claim.medal == Some(Medal::Bronze),
                is_claimed: true,
                ..Grade::default()
            },
            record: None,
        });
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        group.attempts.sort_by(|a, b| a.key.cmp(&b.key));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Measure;

    fn read_text(text: &str) -> (Vec<Group>, Vec<Warning>) {
        let temp = std::env::temp_dir().join(format!("medalist-claims-{}", std::process::id()));
        std::fs::create_dir_all(&temp).unwrap();
        let path = temp.join(format!("paper-{}.csv", text.len()));
        std::fs::write(&path, text).unwrap();
        let mut warnings = Vec::new();
        let groups = read(&path, &(), &mut warnings);
        std::fs::remove_file(path).unwrap();
        (groups, warnings)
    }

    #[test]
    fn medals_are_claimed_and_nothing_else_is_known() {
        let (groups, warnings) =
            read_text("competition,seed,medal\nb,1,Gold\na,0,none\n# a note\nb,0,bronze\n");
        let [group] = groups.as_slice() else { panic!("{groups:?}") };
        assert!(group.agent.starts_with("paper-") && group.agent.ends_with(" (claimed)"));
        let medals: Vec<_> = group.attempts.iter().map(|a| (a.key.seed, a.grade.medal)).collect();
        assert_eq!(medals, [(0, None), (0, Some(Medal::Bronze)), (1, Some(Medal::Gold))]);
        let grade = &group.attempts[2].grade;
        assert_eq!(Measure::AnyMedal.value(grade), Some(1.0));
        assert_eq!(Measure::Valid.value(grade), None);
        assert_eq!(Measure::AboveMedian.value(grade), None);
        assert_eq!(group.attempts[0].outcome(), "claimed");
        assert!(warnings[0].message.contains("claimed, not measured"), "{warnings:?}");
    }

    #[test]
    fn agents_and_seeds_may_be_told_or_not() {
        let (groups, _) = read_text("competition_id,agent,medal\na,x,gold\na,y,none\na,x,silver\n");
        let found: Vec<_> = groups.iter().map(|g| (g.agent.as_str(), g.attempts.len())).collect();
        assert_eq!(found, [("x (claimed)", 2), ("y (claimed)", 1)]);
        assert_eq!(groups[0].attempts[1].key.seed, 1);
    }

    #[test]
    fn a_mistake_leaves_the_table_out_and_is_named() {
        for (text, said) in [
            ("competition,score\na,1\n", "no column `medal`"),
            ("competition,medal\na,gold\nb,tin\n", "line 3, column `medal`: `tin`"),
            ("competition,medal,seed\na,gold,first\n", "line 2, column `seed`: `first`"),
            ("competition,medal\n,gold\n", "it is empty"),
            ("competition,medal\na,gold,more\n", "found record with 3 fields"),
        ] {
            let (groups, warnings) = read_text(text);
            assert!(groups.is_empty(), "{text}");
            assert!(warnings[0].message.contains(said), "{text}: {warnings:?}");
        }
    }
}
