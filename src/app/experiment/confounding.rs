//! What an experiment compares, and what would confound it.

use std::collections::BTreeSet;

use medalist_reports::experiment::Factor;

use super::super::error::{CliError, Exit};
use super::Arm;
use super::file::Experiment;

impl Experiment {
    /// Settles what is compared, and refuses what would be compared with something else changed.
    pub(super) fn settle(&mut self, stated: Option<Factor>) -> Result<(), CliError> {
        let values = |factor: Factor| -> BTreeSet<&str> {
            self.cells.iter().map(|cell| cell.value(factor)).collect()
        };
        let varying: Vec<Factor> =
            Factor::ALL.into_iter().filter(|factor| values(*factor).len() > 1).collect();
        let compare = match (stated, varying.as_slice()) {
            (Some(stated), _) if !varying.contains(&stated) => {
                return Err(CliError::message(
                    Exit::BadInput,
                    format_args!(
                        "`compare = \"{stated}\"`, but the experiment has a single {stated}"
                    ),
                )
                .hint(match varying.first() {
                    Some(other) => format!("it has several {other}s: `compare = \"{other}\"`"),
                    None => format!("add another {stated}; `medalist run` runs a single one"),
                }));
            }
            (Some(stated), _) => stated,
            (None, [only]) => *only,
            (None, []) => {
                return Err(CliError::message(
                    Exit::BadInput,
                    "there is nothing to compare: one agent, one model and one budget",
                )
                .hint("add another agent, model or budget; `medalist run` runs a single one"));
            }
            (None, several) => {
                let named: Vec<String> = several
                    .iter()
                    .map(|factor| format!("{} {factor}s", values(*factor).len()))
                    .collect();
                return Err(CliError::message(
                    Exit::BadInput,
                    format_args!("several factors change ({}), and the file does not say which is compared", named.join(", ")),
                )
                .hint("say `compare = \"agent\"`, `\"model\"` or `\"budget\"`; the others are crossed with it, and each gets a table"));
            }
        };
        self.compare = compare;
        self.check_crossing()?;
        self.check_budgets()
    }

    /// Refuses a crossing with holes: where a compared value is missing from a setting, whatever is
    /// compared over the rest changes with the setting.
    fn check_crossing(&self) -> Result<(), CliError> {
        let compare = self.compare;
        let all: Vec<&str> = distinct(self.cells.iter().map(|cell| cell.value(compare)));
        let others = |value: &str, factor: Factor| -> BTreeSet<&str> {
            let own = self.cells.iter().filter(|cell| cell.value(compare) == value);
            own.map(|cell| cell.value(factor)).collect()
        };
        for factor in Factor::ALL.into_iter().filter(|factor| *factor != compare) {
            for pair in all.windows(2) {
                let (first, second) = (others(pair[0], factor), others(pair[1], factor));
                if first != second {
                    return Err(confounded(compare, factor, (pair[0], &first), (pair[1], &second)));
                }
            }
        }
        for cell in &self.cells {
            let setting = cell.setting(compare);
            let here: Vec<&str> = self
                .cells
                .iter()
                .filter(|other| other.setting(compare) == setting)
                .map(|other| other.value(compare))
                .collect();
            if let Some(missing) = all.iter().find(|value| !here.contains(value)) {
                return Err(CliError::message(
                    Exit::BadInput,
                    format_args!(
                        "{compare} `{missing}` is not run with {setting}, where `{}` is: two {compare}s that are compared may differ in nothing else",
                        here.first().unwrap_or(&"another")
                    ),
                )
                .hint(format!("give every {compare} the same models, budgets and suites, or take out the one that cannot have them")));
            }
        }
        Ok(())
    }

    /// Refuses agents that bring different models along.
    pub(super) fn check_backbones(&self, arms: &[Arm]) -> Result<(), CliError> {
        if self.compare != Factor::Agent || !self.models.is_empty() {
            return Ok(());
        }
        let named: Vec<(&str, &str)> = arms
            .iter()
            .map(|arm| (arm.cell.agent.as_str(), arm.plan.agent.backbone.as_str()))
            .filter(|(_, backbone)| !backbone.is_empty())
            .collect();
        let Some((first, theirs)) = named.first() else { return Ok(()) };
        match named.iter().find(|(_, backbone)| backbone != theirs) {
            None => Ok(()),
            Some((second, other)) => Err(CliError::message(
                Exit::BadInput,
                format_args!(
                    "agent `{first}` brings the model `{theirs}` and agent `{second}` the model `{other}`: where the agent changes, the model changes too"
                ),
            )
            .hint("give both the same model with `models = [\"NAME\"]`, or package them with one `backbone`")),
        }
    }

    /// Refuses to compare budgets that differ in two things at once.
    fn check_budgets(&self) -> Result<(), CliError> {
        if self.compare != Factor::Budget {
            return Ok(());
        }
        for (i, first) in self.budgets.iter().enumerate() {
            for second in &self.budgets[i + 1..] {
                let differing: Vec<&str> = first
                    .parts()
                    .into_iter()
                    .zip(second.parts())
                    .filter(|(a, b)| a.1 != b.1)
                    .map(|(a, _)| a.0)
                    .collect();
                let (one, two) = (&first.name, &second.name);
                let what = match differing.len() {
                    0 => format!("budgets `{one}` and `{two}` are the same"),
                    1 => continue,
                    _ => format!(
                        "budgets `{one}` and `{two}` differ in {} at once, so that nothing tells which of them made a difference",
                        differing.join(" and ")
                    ),
                };
                return Err(CliError::message(Exit::BadInput, what)
                    .hint("let two budgets that are compared differ in one of `dollars`, `tokens`, `calls` and `timeout`"));
            }
        }
        Ok(())
    }
}

/// Two factors that change together, in words.
fn confounded(
    compare: Factor,
    factor: Factor,
    (first, with): (&str, &BTreeSet<&str>),
    (second, other): (&str, &BTreeSet<&str>),
) -> CliError {
    let list = |names: &BTreeSet<&str>| {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    CliError::message(
        Exit::BadInput,
        format_args!(
            "{compare} `{first}` is run with {factor} {}, and {compare} `{second}` with {factor} {}: where the {compare} changes, the {factor} changes too, \
             and nothing tells which of them made a difference",
            list(with),
            list(other)
        ),
    )
    .hint(format!("run both {compare}s with the same {factor}s (leave `{factor}s` out of the entries, or give both the same list), or compare `{factor}`"))
}

/// Each once, in their order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
