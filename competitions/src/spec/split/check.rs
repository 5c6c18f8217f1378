//! What must hold of `[split]` as far as it can be told without the data.

use std::collections::{BTreeMap, BTreeSet};

use medalist_grading::GradingSpec;

use super::clock::Clock;
use super::{CopyFiles, Fill, Part, Piece, SplitMethod, SplitSpec, Template, TestSize, Unpivot};
use crate::archive::ArchiveKind;
use crate::nearest::suggestion;
use crate::spec::check::is_prepared_path;
use crate::spec::text::TomlText;
use crate::spec::{CompetitionSpec, DataPaths, SpecError};

impl SplitSpec {
    /// The raw and added columns that the answers are made of, which test rows must not show.
    pub(crate) fn secrets(&self, grading: &GradingSpec) -> BTreeSet<String> {
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let targets = grading.target_columns.iter().chain(grading.answer_columns.iter().flatten());
        made.extend(targets.map(String::as_str));
        let answers = &self.answers;
        made.extend(answers.one_hot.iter().flat_map(Template::fields).map(|f| f.name.as_str()));
        made.extend(answers.unpivot.iter().flat_map(|u| &u.columns).map(String::as_str));
        let mut secrets: BTreeSet<String> = BTreeSet::new();
        for name in made.into_iter().filter(|name| !grading.id_columns.iter().any(|id| id == name))
        {
            secrets.insert(name.to_owned());
            let old = answers.rename.iter().filter(|(_, new)| *new == name);
            secrets.extend(old.map(|(old, _)| old.clone()));
        }
        for (_, template) in
            self.add.iter().filter(|(name, _)| secrets.contains(*name)).collect::<Vec<_>>()
        {
            secrets.extend(template.fields().map(|field| field.name.clone()));
        }
        secrets
    }

    /// The columns of the sample submission.
    pub(crate) fn sample_columns(&self, grading: &GradingSpec) -> Vec<String> {
        self.sample.columns.clone().unwrap_or_else(|| submission_columns(grading))
    }
}

/// The id and target columns of submissions.
pub(crate) fn submission_columns(grading: &GradingSpec) -> Vec<String> {
    grading.id_columns.iter().chain(&grading.target_columns).cloned().collect()
}

/// A path through an archive: the archive, and the path inside it.
pub(crate) fn archive_in(path: &str) -> Option<(&str, &str)> {
    path.match_indices('/').find_map(|(slash, _)| {
        let (archive, member) = (&path[..slash], &path[slash + 1..]);
        let name = archive.rsplit('/').next().unwrap_or(archive);
        ArchiveKind::of_name(name).map(|_| (archive, member))
    })
}

/// Checks `[split]` of a competition.
pub(in crate::spec) fn check(
    split: &SplitSpec,
    spec: &CompetitionSpec,
    file: &TomlText<'_>,
) -> Result<(), SpecError> {
    let check = Check { split, grading: &spec.grading, data: &spec.data, file };
    check.method()?;
    check.size()?;
    check.given()?;
    check.columns()?;
    check.placeholders()?;
    check.answers()?;
    check.sample()?;
    check.secrecy()?;
    check.outputs()
}

struct Check<'a> {
    split: &'a SplitSpec,
    grading: &'a GradingSpec,
    data: &'a DataPaths,
    file: &'a TomlText<'a>,
}

impl Check<'_> {
    /// The error for a key below `split`, written with dots.
    fn wrong<T>(&self, key: &str, problem: impl std::fmt::Display) -> Result<T, SpecError> {
        let keys: Vec<&str> = std::iter::once("split").chain(key.split('.')).collect();
        // Places in lists are for the line alone.
        let named: Vec<&str> =
            keys.iter().copied().filter(|key| key.parse::<usize>().is_err()).collect();
        Err(self.file.error(&keys, format!("`{}` {problem}", named.join("."))))
    }

    fn method(&self) -> Result<(), SpecError> {
        let word = self.split.method.as_str();
        let needed = match self.split.method {
            SplitMethod::Stratified => "the column of the classes",
            SplitMethod::Grouped => "the column of the groups",
            SplitMethod::Time => "the column of the times",
            SplitMethod::Given => return Ok(()),
            SplitMethod::Random => {
                return match self.split.by {
                    None => Ok(()),
                    Some(_) => self.wrong(
                        "by",
                        "says nothing with `method = \"random\"`, expected it with `stratified`, `grouped` or `time`",
                    ),
                };
            }
        };
        match self.split.by {
            Some(_) => Ok(()),
            None => self.wrong("method", format!("is `{word}` and needs `by`, {needed}")),
        }
    }

    fn size(&self) -> Result<(), SpecError> {
        let Self { split, .. } = self;
        let word = split.method.as_str();
        match (split.method, &split.test_size, &split.cut) {
            (SplitMethod::Given, Some(_), _) => {
                return self.wrong("test_size", "says nothing with `method = \"given\"`");
            }
            (SplitMethod::Time, None, None) => {
                return self.wrong("method", "is `time` and needs `test_size` or `cut`");
            }
            (SplitMethod::Time, Some(_), Some(_)) => {
                return self
                    .wrong("cut", "and `split.test_size` say the same, expected one of them");
            }
            (SplitMethod::Time, ..) | (SplitMethod::Given, None, None) => {}
            (_, _, Some(_)) => {
                return self.wrong(
                    "cut",
                    format!("says nothing with `method = \"{word}\"`, expected it with `time`"),
                );
            }
            (_, None, _) => {
                return self
                    .wrong("test_size", format!("is missing, which `method = \"{word}\"` needs"));
            }
            _ => {}
        }
        match &split.test_size {
            Some(TestSize::Share(share)) if !(*share > 0.0 && *share < 1.0) => {
                self.wrong("test_size", format!("is {share}, expected a share between 0 and 1"))
            }
            Some(TestSize::Rows(0)) => {
                self.wrong("test_size", "is 0, expected one row at least")
            }
            Some(TestSize::Lasting(time)) if split.method != SplitMethod::Time => self.wrong(
                "test_size",
                format!("is `{time}`, expected a share or a number with `method = \"{word}\"`"),
            ),
            Some(TestSize::Like(_)) if split.method == SplitMethod::Time => {
                self.wrong("test_size", "is like another part, expected a share, a number or a time with `method = \"time\"`")
            }
            _ => match split.cut.as_ref().filter(|cut| Clock::read(cut).is_none()) {
                Some(cut) => {
                    self.wrong("cut", format!("is `{cut}`, expected {}", Clock::EITHER))
                }
                None => Ok(()),
            },
        }
    }

    /// What belongs to parts that are files of their own.
    fn given(&self) -> Result<(), SpecError> {
        let Self { split, .. } = self;
        let test_from = split.test.as_ref().and_then(|test| test.from.as_ref());
        if split.method != SplitMethod::Given {
            const ONLY: &str = "says nothing without `method = \"given\"`";
            return match () {
                () if test_from.is_some() => self.wrong("test.from", ONLY),
                () if split.answers.from.is_some() => self.wrong("answers.from", ONLY),
                () if split.as_is => self.wrong("as_is", ONLY),
                () => Ok(()),
            };
        }
        if test_from.is_none() {
            return self.wrong(
                "method",
                "is `given` and needs `test.from`, the raw table of the test part",
            );
        }
        if split.table.has_fields() {
            return self
                .wrong("table", "has placeholders, expected a table with `method = \"given\"`");
        }
        if split.renumber.is_some() {
            return self.wrong("renumber", "says nothing with `method = \"given\"`");
        }
        let train = split.train.clone().unwrap_or_default();
        let changes_train = train.columns.is_some() || !train.hide.is_empty();
        let whole = super::AnswersTable { from: split.answers.from.clone(), ..Default::default() };
        if split.as_is && (changes_train || split.answers != whole) {
            return self.wrong("as_is", "is set, but `train` or `answers` are to be changed");
        }
        Ok(())
    }

    /// Lists of columns, each without a repetition.
    fn columns(&self) -> Result<(), SpecError> {
        let Self { split, .. } = self;
        let (train, test) =
            (split.train.clone().unwrap_or_default(), split.test.clone().unwrap_or_default());
        let gold = split.gold.clone().unwrap_or_default();
        for (key, names) in [
            ("train.columns", train.columns.as_ref()),
            ("train.hide", Some(&train.hide)),
            ("test.columns", test.columns.as_ref()),
            ("test.hide", Some(&test.hide)),
            ("answers.columns", split.answers.columns.as_ref()),
            ("answers.unpivot.columns", split.answers.unpivot.as_ref().map(|u| &u.columns)),
            ("sample.columns", split.sample.columns.as_ref()),
            ("gold.columns", gold.columns.as_ref()),
        ] {
            let Some(names) = names else { continue };
            let repeated = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
            if let Some((_, name)) = repeated {
                return self.wrong(key, format!("names `{name}` twice"));
            }
            if names.is_empty() && !key.ends_with("hide") {
                return self.wrong(key, "names no column");
            }
        }
        for (key, both) in [
            ("train.hide", train.columns.is_some() && !train.hide.is_empty()),
            ("test.hide", test.columns.is_some() && !test.hide.is_empty()),
        ] {
            if both {
                return self.wrong(key, "and `columns` are both given, expected one of them");
            }
        }
        let is_separator =
            |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"\"\r\n".contains(c);
        if let Some(separator) = split.separator.filter(|separator| !is_separator(*separator)) {
            let problem = format!("is {separator:?}, expected a character such as `;`");
            return self.wrong("separator", problem);
        }
        match (&split.gold, &self.data.gold_submission) {
            (Some(_), None) => {
                self.wrong("gold", "is given, but `data.gold_submission` names no file")
            }
            (None, Some(_)) => {
                let problem = "`data.gold_submission` is a file that `[split]` does not make; `split.gold` is missing";
                Err(self.file.error(&["data", "gold_submission"], problem))
            }
            _ => Ok(()),
        }
    }

    fn placeholders(&self) -> Result<(), SpecError> {
        let Self { split, .. } = self;
        let without_part = |key: &str, template: &Template| match template.names("part") {
            true => self.wrong(key, format!("is `{template}`: `{{part}}` is for written paths")),
            false => Ok(()),
        };
        without_part("table", &split.table)?;
        self.listing("table", &split.table)?;
        if let Some(TestSize::Like(like)) = &split.test_size {
            self.listing("test_size", like)?;
        }
        for (name, template) in &split.add {
            without_part(&format!("add.{name}"), template)?;
        }
        if let Some(renumber) = &split.renumber {
            let templates = [("train", &renumber.train), ("test", &renumber.test)];
            if templates.iter().all(|(_, template)| template.is_none()) {
                return self.wrong(
                    "renumber",
                    "names neither `train` nor `test`, expected new values such as \"{n}\"",
                );
            }
            for (part, template) in templates {
                let Some(template) = template else { continue };
                if !template.names("n") || template.fields().any(|field| field.name != "n") {
                    let key = format!("renumber.{part}");
                    return self.wrong(
                        &key,
                        format!("is `{template}`, expected `{{n}}` and no other placeholder"),
                    );
                }
            }
        }
        for (i, table) in split.tables.iter().enumerate() {
            let key = format!("tables.{i}.to");
            if let Some(field) = table.to.fields().find(|field| field.name != "part") {
                return self.wrong(
                    &key,
                    format!("has `{{{}}}`, expected no placeholder but `{{part}}`", field.name),
                );
            }
            if table.part.is_none() && !table.to.names("part") {
                return self
                    .wrong(&key, "is the same for both parts, expected `{part}` in it, or `part`");
            }
        }
        for (i, copy) in split.copy.iter().enumerate() {
            let key = format!("copy.{i}");
            if copy.from.is_empty() {
                return self.wrong(&format!("{key}.from"), "names no path");
            }
            for from in &copy.from {
                without_part(&format!("{key}.from"), from)?;
                let Some(to) = &copy.to else { continue };
                let column = to.fields().find(|field| field.name != "part" && !from.has_fields());
                if let Some(field) = column {
                    return self.wrong(
                        &format!("{key}.to"),
                        format!("has `{{{}}}`, but `{from}` is no file for each row", field.name),
                    );
                }
                if from.is_folder() && !to.is_folder() {
                    return self.wrong(
                        &format!("{key}.to"),
                        format!(
                            "is `{to}`, expected a folder (`/` at the end) for the folder `{from}`"
                        ),
                    );
                }
                if copy.from.len() > 1 && !to.is_folder() {
                    return self.wrong(
                        &format!("{key}.to"),
                        format!("is `{to}`, expected a folder (`/` at the end) for several paths"),
                    );
                }
            }
        }
        Ok(())
    }

    /// A path that raw files are to fit.
    fn listing(&self, key: &str, path: &Template) -> Result<(), SpecError> {
        if let Some(field) = path.fields().find(|f| f.index.is_some() || f.width.is_some()) {
            return self.wrong(key, format!("is `{path}`, expected `{{{}}}` alone", field.name));
        }
        let two = |pair: &[Piece]| matches!(pair, [Piece::Field(_), Piece::Field(_)]);
        match path.pieces().windows(2).any(two) {
            true => self.wrong(key, format!("is `{path}`, expected text between two placeholders")),
            false => Ok(()),
        }
    }

    fn answers(&self) -> Result<(), SpecError> {
        let answers = &self.split.answers;
        if answers.join.is_some() && answers.one_row_per.is_none() {
            return self.wrong("answers.join", "says nothing without `one_row_per`");
        }
        if let Some(one_hot) = &answers.one_hot
            && !one_hot.has_fields()
        {
            return self.wrong(
                "answers.one_hot",
                format!("is `{one_hot}`, expected a column such as `{{label}}`"),
            );
        }
        match &answers.unpivot {
            Some(_) if answers.one_hot.is_some() => {
                self.wrong("answers.unpivot", "and `one_hot` are both given, expected one of them")
            }
            Some(Unpivot { id, .. }) if !id.names("column") => {
                self.wrong("answers.unpivot.id", format!("is `{id}`, expected `{{column}}` in it"))
            }
            _ => Ok(()),
        }
    }

    fn sample(&self) -> Result<(), SpecError> {
        let Self { split, grading, .. } = self;
        let sample = &split.sample;
        let is_copied = sample.from.is_some() && sample.fill.is_empty() && sample.columns.is_none();
        let columns = split.sample_columns(grading);
        for target in grading.target_columns.iter().filter(|target| columns.contains(target)) {
            if !is_copied && sample.fill_of(target, &grading.target_columns).is_none() {
                return self.wrong(
                    "sample.fill",
                    format!("has no value for `{target}`; `\"*\"` stands for all target columns"),
                );
            }
        }
        for (column, fill) in &sample.fill {
            if column != "*" && sample.from.is_none() && !columns.contains(column) {
                let near = suggestion(column, columns.iter().map(String::as_str));
                return self.wrong(
                    "sample.fill",
                    format!("fills `{column}`, which the sample submission does not have{near}"),
                );
            }
            if let Fill::Guess(guess) = fill
                && let Err(problem) = guess.check(split.answers.one_hot.is_some())
            {
                return self.wrong("sample.fill", format!("of `{column}` {problem}"));
            }
        }
        Ok(())
    }

    /// Nothing that agents see tells answers.
    fn secrecy(&self) -> Result<(), SpecError> {
        let Self { split, grading, .. } = self;
        let secrets = split.secrets(grading);
        let told = |template: &Template| {
            template.fields().map(|field| field.name.clone()).find(|name| secrets.contains(name))
        };
        if let Some(shown) = split.test.as_ref().and_then(|test| test.columns.as_ref())
            && let Some(name) = shown.iter().find(|name| secrets.contains(*name))
        {
            return self.wrong("test.columns", format!("shows `{name}`, which tells the answers"));
        }
        for column in split.sample.fill.values() {
            if let Fill::Text(template) = column
                && let Some(name) = told(template)
            {
                return self
                    .wrong("sample.fill", format!("names `{name}`, which tells the answers"));
            }
        }
        let sample = split.sample.columns.iter().flatten();
        let is_filled = |name: &str| split.sample.fill_of(name, &grading.target_columns).is_some();
        let is_told = |name: &&String| {
            (secrets.contains(*name)
                || split.answers.rename.get(*name).is_some_and(|new| secrets.contains(new)))
                && !is_filled(name)
        };
        if let Some(name) = sample.into_iter().find(is_told).filter(|_| split.sample.from.is_none())
        {
            return self.wrong(
                "sample.columns",
                format!(
                    "shows `{name}`, which tells the answers; `sample.fill` has no value for it"
                ),
            );
        }
        for (i, copy) in
            split.copy.iter().enumerate().filter(|(_, copy)| copy.part != Some(Part::Train))
        {
            let targets = copy.targets();
            let public = targets.iter().filter(|to| to.to_string().starts_with("public/"));
            if let Some(name) = public.filter_map(told).next() {
                return self.wrong(
                    &format!("copy.{i}"),
                    format!("gives `{name}` away in the paths of test files; let it be for `part = \"train\"`, with another for the test part"),
                );
            }
        }
        Ok(())
    }

    /// Every written path is below `public/` or `private/`, and written once.
    fn outputs(&self) -> Result<(), SpecError> {
        self.copied()?;
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for (key, path) in self.written() {
            if !is_prepared_path(&path) {
                return self.wrong(&key, format!("is `{path}`, expected {PREPARED}"));
            }
            if let Some(other) = written.insert(path.clone(), key.clone()) {
                let other = described(&other);
                return self.wrong(&key, format!("is `{path}`, which `{other}` writes too"));
            }
        }
        let packed = written.keys().find_map(|path| {
            let (archive, _) = archive_in(path)?;
            written.get_key_value(archive)
        });
        match packed {
            Some((archive, key)) => {
                self.wrong(key, format!("is `{archive}`, in which other files are packed"))
            }
            None => Ok(()),
        }
    }

    /// Where files are copied to.
    fn copied(&self) -> Result<(), SpecError> {
        for (i, copy) in self.split.copy.iter().enumerate() {
            for path in copy.targets().iter().map(Template::to_string) {
                let inside = path.trim_end_matches('/');
                let is_side = matches!(inside, "public" | "private");
                let problem = match archive_in(&path) {
                    _ if !is_side && !is_prepared_path(inside) => format!("expected {PREPARED}"),
                    Some((archive, _)) if archive.replace("{part}", "").contains('{') => {
                        "expected no column in the name of an archive".to_owned()
                    }
                    _ => continue,
                };
                return self.wrong(&key_of_copy(i, copy), format!("is `{path}`, {problem}"));
            }
        }
        Ok(())
    }

    /// All written files whose paths do not depend on the data, with the keys that name them.
    fn written(&self) -> Vec<(String, String)> {
        let Self { split, data, .. } = self;
        let mut written: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, path: &str| written.push((key.to_owned(), path.to_owned()));
        add("answers", &data.answers);
        add("sample", &data.sample_submission);
        data.gold_submission.iter().for_each(|path| add("gold", path));
        split.train_file().into_iter().for_each(|path| add("train.file", path));
        split.test_file().into_iter().for_each(|path| add("test.file", path));
        for (i, path) in split.sample.also.iter().enumerate() {
            add(&format!("sample.also.{i}"), path);
        }
        let parts = |only: Option<Part>| {
            Part::ALL.into_iter().filter(move |part| only.is_none_or(|only| only == *part))
        };
        for (i, table) in split.tables.iter().enumerate() {
            for part in parts(table.part) {
                let path = table.to.with("part", part.as_str()).to_string();
                add(&format!("tables.{i}.to"), &path);
            }
        }
        for (i, copy) in split.copy.iter().enumerate() {
            for to in copy.targets().iter().filter(|to| !to.is_folder()) {
                // What names no part is copied once for both.
                let once =
                    if to.names("part") { copy.part } else { copy.part.or(Some(Part::Train)) };
                for to in parts(once).map(|part| to.with("part", part.as_str())) {
                    to.as_literal().into_iter().for_each(|path| add(&key_of_copy(i, copy), path));
                }
            }
        }
        written
    }
}

/// What written paths must be.
const PREPARED: &str = "a path that starts with `public/` or `private/`";

/// The key that says where files are copied to.
fn key_of_copy(place: usize, copy: &CopyFiles) -> String {
    format!("copy.{place}.{}", if copy.to.is_some() { "to" } else { "from" })
}

/// A key of `split` as it is written, without places in lists.
fn described(key: &str) -> String {
    let names: Vec<&str> = key.split('.').filter(|name| name.parse::<usize>().is_err()).collect();
    format!("split.{}", names.join("."))
}

#[cfg(test)]
mod tests;
