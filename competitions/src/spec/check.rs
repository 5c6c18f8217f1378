//! What must hold of a competition's entry beyond the types of its values: found when it is read,
//! not when the first submission is graded.

use medalist_grading::{
    Grader, GradingSpec, Leaderboard, METRICS, Metric, SpecError as BadGrading,
};

use super::text::TomlText;
use super::{Checksums, CompetitionSpec, PrepareSpec, PublishedThresholds, SpecError, split};
use crate::nearest::suggestion;

/// Checks all values of a `competition.toml`.
pub(super) fn check(spec: &CompetitionSpec, file: &TomlText<'_>) -> Result<(), SpecError> {
    if spec.title.trim().is_empty() {
        return Err(file.error(&["title"], "`title` is empty"));
    }
    if let Some(size) = spec.size_gb.filter(|size| !size.is_finite() || *size < 0.0) {
        return Err(file.error(&["size_gb"], format!("`size_gb` is {size}, expected a size")));
    }
    check_data(spec, file)?;
    if let Some(thresholds) = &spec.thresholds {
        check_thresholds(thresholds, &spec.grading, file)?;
    }
    check_grading(&spec.grading, file)?;
    super::open::check(&spec.open, file)?;
    if let Some(split) = &spec.split {
        if spec.prepare.is_some() {
            let problem =
                "both `[split]` and `[prepare]` say how to prepare it, expected one of them";
            return Err(file.error(&["prepare"], problem));
        }
        split::check::check(split, spec, file)?;
    }
    spec.source.as_ref().map_or(Ok(()), |source| super::source::check(source, file))?;
    spec.prepare.as_ref().map_or(Ok(()), |prepare| check_prepare(prepare, file))
}

fn check_data(spec: &CompetitionSpec, file: &TomlText<'_>) -> Result<(), SpecError> {
    let data = &spec.data;
    for (key, value, may_be_public) in [
        ("answers", Some(&data.answers), false),
        ("gold_submission", data.gold_submission.as_ref(), false),
        ("sample_submission", Some(&data.sample_submission), true),
    ] {
        let Some(value) = value else { continue };
        let wrong = |expected: &str| {
            let problem = format!("`data.{key}` is `{value}`, expected a path {expected}");
            Err(file.error(&["data", key], problem))
        };
        if !is_prepared_path(value) {
            return wrong("that starts with `public/` or `private/`");
        }
        if !may_be_public && value.starts_with("public/") {
            return wrong("that starts with `private/`: agents see all of `public/`");
        }
    }
    if data.sample_submission == data.answers {
        let problem = "`data.sample_submission` and `data.answers` are the same file";
        return Err(file.error(&["data", "sample_submission"], problem));
    }
    Ok(())
}

/// Whether a path of `[data]` stays below `public/` or `private/`.
pub(super) fn is_prepared_path(path: &str) -> bool {
    let rest = path.strip_prefix("public/").or_else(|| path.strip_prefix("private/"));
    rest.is_some_and(|rest| {
        !rest.contains('\0') && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    })
}

/// Thresholds are finite and get no easier from the median to gold.
fn check_thresholds(
    thresholds: &PublishedThresholds,
    grading: &GradingSpec,
    file: &TomlText<'_>,
) -> Result<(), SpecError> {
    let ladder = [
        ("gold", thresholds.gold),
        ("silver", thresholds.silver),
        ("bronze", thresholds.bronze),
        ("median", thresholds.median),
    ];
    if let Some((key, value)) = ladder.iter().find(|(_, value)| !value.is_finite()) {
        let problem = format!("`thresholds.{key}` is {value}, expected a finite number");
        return Err(file.error(&["thresholds", key], problem));
    }
    for pair in ladder.windows(2) {
        let [(better, high), (key, low)] = [pair[0], pair[1]];
        if !grading.direction.is_as_good(high, low) {
            let problem = format!(
                "`thresholds.{better}` is {high} and `thresholds.{key}` is {low}: with `direction = \"{}\"` expected `gold`, `silver`, `bronze` and `median` from the best to the worst",
                direction(grading)
            );
            return Err(file.error(&["thresholds", better], problem));
        }
    }
    match thresholds.n_teams {
        Some(0) => {
            let problem = "`thresholds.n_teams` is 0, expected at least one team";
            Err(file.error(&["thresholds", "n_teams"], problem))
        }
        _ => Ok(()),
    }
}

fn direction(grading: &GradingSpec) -> &'static str {
    match grading.direction {
        medalist_grading::Direction::Higher => "higher",
        medalist_grading::Direction::Lower => "lower",
    }
}

fn check_grading(grading: &GradingSpec, file: &TomlText<'_>) -> Result<(), SpecError> {
    let wrong = |key: &str, problem: String| Err(file.error(&["grading", key], problem));
    let lists = [
        ("id_columns", Some(&grading.id_columns)),
        ("target_columns", Some(&grading.target_columns)),
        ("unscored_columns", Some(&grading.unscored_columns)),
        ("answer_id_columns", grading.answer_id_columns.as_ref()),
        ("answer_columns", grading.answer_columns.as_ref()),
    ];
    for (key, names) in lists.into_iter().filter_map(|(key, names)| Some((key, names?))) {
        if names.iter().any(String::is_empty) {
            return wrong(key, format!("`grading.{key}` has a column without a name"));
        }
        let repeated = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
        // Two columns of a submission may be graded against the same one of the answers.
        if let Some((_, name)) = repeated.filter(|_| !key.starts_with("answer")) {
            return wrong(key, format!("`grading.{key}` names `{name}` twice"));
        }
    }
    if let Some([low, high]) = grading
        .range
        .filter(|[low, high]| low.partial_cmp(high).is_none_or(std::cmp::Ordering::is_gt))
    {
        let problem =
            format!("`grading.range` is [{low}, {high}], expected the smaller bound first");
        return wrong("range", problem);
    }
    if let Some(tolerance) = grading.row_sum_tolerance.filter(|t| !t.is_finite() || *t < 0.0) {
        let problem = format!("`grading.row_sum_tolerance` is {tolerance}, expected a distance");
        return wrong("row_sum_tolerance", problem);
    }
    if let Some(decimals) = grading.row_sum_decimals.filter(|decimals| !(0..=15).contains(decimals))
    {
        let problem = format!("`grading.row_sum_decimals` is {decimals}, expected 0 to 15");
        return wrong("row_sum_decimals", problem);
    }
    if let Some(command) = grading.options.get("command").filter(|_| grading.metric == "command")
        && is_no_command(command)
    {
        let problem = "`grading.options.command` names no program";
        return Err(file.error(&["grading", "options", "command"], problem));
    }
    match Grader::new(grading.clone()) {
        Ok(_) => Ok(()),
        Err(error) => Err(grading_error(&error, file)),
    }
}

/// Whether a list of texts begins with no program; values of other types are another error.
fn is_no_command(command: &toml::Value) -> bool {
    let Some(words) = command.as_array() else { return false };
    words.first().is_none_or(|program| program.as_str().is_some_and(|name| name.trim().is_empty()))
}

/// What the grader says of the `[grading]` table, at its line and with the nearest name.
fn grading_error(error: &BadGrading, file: &TomlText<'_>) -> SpecError {
    let mut problem = error.to_string();
    let mut suggest = |typed: &str, known: &mut dyn Iterator<Item = &'static str>| {
        if !problem.contains("did you mean") {
            problem.push_str(&suggestion(typed, known));
        }
    };
    let keys: Vec<&str> = match error {
        BadGrading::UnknownOption { metric, option, .. } => {
            let known = Metric::find(metric).map_or(&[][..], |metric| metric.options);
            suggest(option, &mut known.iter().map(|option| option.name));
            vec!["options", option]
        }
        BadGrading::OptionType { option, .. } => vec!["options", option],
        BadGrading::MissingKey { .. } => vec!["checks"],
        BadGrading::NameCount { key, .. } => vec![key],
        BadGrading::UnknownMetric { name } => {
            let names = METRICS.iter().flat_map(|m| m.aliases.iter().copied().chain([m.name]));
            suggest(name, &mut names.into_iter());
            vec!["metric"]
        }
        BadGrading::MissingOption { .. } => vec!["metric"],
    };
    let keys: Vec<&str> = std::iter::once("grading").chain(keys).collect();
    file.error(&keys, problem)
}

fn check_prepare(prepare: &PrepareSpec, file: &TomlText<'_>) -> Result<(), SpecError> {
    if prepare.command.first().is_none_or(|program| program.trim().is_empty()) {
        let problem =
            "`prepare.command` names no program, expected a list such as [\"sh\", \"prepare.sh\"]";
        return Err(file.error(&["prepare", "command"], problem));
    }
    if prepare.timeout_s == Some(0) {
        let problem = "`prepare.timeout_s` is 0, expected a number of seconds";
        return Err(file.error(&["prepare", "timeout_s"], problem));
    }
    match prepare.memory_gb {
        Some(size) if !size.is_finite() || size <= 0.0 => {
            let problem = format!("`prepare.memory_gb` is {size}, expected a size");
            Err(file.error(&["prepare", "memory_gb"], problem))
        }
        _ => Ok(()),
    }
}

/// Checksums are md5s of files below their side.
pub(super) fn check_checksums(sums: &Checksums, file: &TomlText<'_>) -> Result<(), SpecError> {
    let is_md5 = |sum: &str| {
        sum.len() == 32 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let problem = |name: &str, sum: &str| {
        format!("`{name}` has `{sum}`, expected an md5 of 32 lower-case hexadecimal digits")
    };
    if let Some(sum) = sums.zip.as_ref().filter(|sum| !is_md5(sum)) {
        return Err(file.error(&["zip"], problem("zip", sum)));
    }
    for (side, files) in [("public", &sums.public), ("private", &sums.private)] {
        for (name, sum) in files {
            if !is_prepared_path(&format!("{side}/{name}")) {
                let problem = format!("`{name}` is no path below `{side}/`");
                return Err(file.error(&[side, name], problem));
            }
            if !is_md5(sum) {
                return Err(file.error(&[side, name], problem(name, sum)));
            }
        }
    }
    Ok(())
}

/// A board of the user's own is a list of finite scores, best first, as many as there are teams.
pub(super) fn check_board(spec: &CompetitionSpec, board: &TomlText<'_>) -> Result<(), SpecError> {
    let wrong = |row: Option<usize>, problem: String| SpecError::Invalid {
        path: board.path.to_owned(),
        // The header is line 1.
        line: row.map(|row| row + 1),
        problem,
    };
    let scores = match Leaderboard::parse(board.text) {
        Ok(found) => found.scores().to_vec(),
        Err(error) => {
            let row = match &error {
                medalist_grading::leaderboard::LeaderboardError::BadScore { row, .. } => Some(*row),
                _ => None,
            };
            return Err(wrong(row, error.to_string()));
        }
    };
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        let problem = format!("the score is {}, expected a finite number", scores[row]);
        return Err(wrong(Some(row + 1), problem));
    }
    let better = spec.grading.direction;
    if let Some(row) = scores.windows(2).position(|pair| better.is_better(pair[1], pair[0])) {
        let problem = format!(
            "{} stands below {}: expected the best score first, with `direction = \"{}\"` in `competition.toml`",
            scores[row + 1],
            scores[row],
            direction(&spec.grading)
        );
        return Err(wrong(Some(row + 2), problem));
    }
    match spec.thresholds.as_ref().and_then(|thresholds| thresholds.n_teams) {
        Some(teams) if teams as usize != scores.len() => Err(wrong(
            None,
            format!(
                "it has {} scores, but `thresholds.n_teams` in `competition.toml` is {teams}",
                scores.len()
            ),
        )),
        _ => Ok(()),
    }
}
