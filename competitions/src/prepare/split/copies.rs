//! Files and folders that are copied, for each row or once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::frame::Frame;
use crate::prepare::PrepareError;
use crate::spec::split::check::archive_in;
use crate::spec::split::{Part, Template};

use super::Run;
use super::outputs::{Outputs, safe_member};
use super::texts::{Printer, Texts};

/// Where the values of a column are: as they were in the raw table, or as they became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Old,
    New,
}

/// The rows of a part and the texts of their columns, each read once.
pub(super) struct Rows<'r> {
    part: Part,
    old: Frame,
    new: Frame,
    /// The column whose values are not those of the raw table.
    renumbered: Option<&'r str>,
    texts: BTreeMap<(Age, String), Texts>,
    distinct: BTreeMap<String, Texts>,
}

impl<'r> Rows<'r> {
    pub(super) fn new(run: &Run<'r>, part: Part, old: Frame, new: Frame) -> Self {
        let renumbered = run.split.renumber.as_ref().map(|renumber| renumber.column.as_str());
        Self { part, old, new, renumbered, texts: BTreeMap::new(), distinct: BTreeMap::new() }
    }

    /// Where a column that was asked for at one age is really read.
    fn age(&self, column: &str, wanted: Age) -> Age {
        let is_raw = self.old.column_names().contains(&column);
        match wanted {
            Age::New if self.renumbered == Some(column) || !is_raw => Age::New,
            Age::Old if !is_raw => Age::New,
            _ => Age::Old,
        }
    }

    fn texts(&mut self, column: &str, wanted: Age) -> Result<Texts, PrepareError> {
        let age = self.age(column, wanted);
        let key = (age, column.to_owned());
        if let Some(known) = self.texts.get(&key) {
            return Ok(Arc::clone(known));
        }
        let table = if age == Age::Old { &self.old } else { &self.new };
        let texts = Arc::new(table.texts(column)?);
        self.texts.insert(key, Arc::clone(&texts));
        Ok(texts)
    }

    /// The values of a column of the raw table without those that repeat from row to row.
    fn changing(&mut self, column: &str) -> Result<Texts, PrepareError> {
        if let Some(known) = self.distinct.get(column) {
            return Ok(Arc::clone(known));
        }
        let mut texts: Vec<String> = Vec::new();
        self.old.each(column, |value| {
            let text = value.to_string();
            if texts.last() != Some(&text) {
                texts.push(text);
            }
        })?;
        let texts = Arc::new(texts);
        self.distinct.insert(column.to_owned(), Arc::clone(&texts));
        Ok(texts)
    }

    /// The files of the rows: where each comes from and goes to, each once.
    fn files(&mut self, from: &Template, to: &Template) -> Result<Files, PrepareError> {
        let fields = || {
            let from = from.fields().map(|field| (field, Age::Old));
            from.chain(to.fields().map(|field| (field, Age::New)))
        };
        let mut named: Vec<(Age, String)> =
            fields().map(|(field, age)| (self.age(&field.name, age), field.name.clone())).collect();
        named.sort();
        named.dedup();
        if let [(Age::Old, column)] = &named[..] {
            let texts = self.changing(column)?;
            let keys = [Arc::clone(&texts)];
            return Files::new(from, to, &keys, |_, _| Ok(Arc::clone(&texts)));
        }
        let keys: Vec<Texts> = named
            .iter()
            .map(|(age, column)| self.texts(column, *age))
            .collect::<Result<_, PrepareError>>()?;
        Files::new(from, to, &keys, |column, age| self.texts(column, age))
    }
}

/// Paths with what is copied and where to.
struct Files {
    from: Printer,
    to: Printer,
    /// The rows that name a file first; all, if no two name the same.
    firsts: Option<Vec<u32>>,
    rows: usize,
}

impl Files {
    fn new(
        from: &Template,
        to: &Template,
        keys: &[Texts],
        mut texts: impl FnMut(&str, Age) -> Result<Texts, PrepareError>,
    ) -> Result<Self, PrepareError> {
        Ok(Self {
            from: Printer::new(from, |column| texts(column, Age::Old))?,
            to: Printer::new(to, |column| texts(column, Age::New))?,
            firsts: firsts(keys),
            // Without a column there is one path.
            rows: keys.first().map_or(1, |texts| texts.len()),
        })
    }

    fn each(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let count = self.firsts.as_ref().map_or(self.rows, Vec::len);
        (0..count).map(|i| {
            let row = self.firsts.as_ref().map_or(i, |firsts| firsts[i] as usize);
            (self.from.text(row), self.to.text(row))
        })
    }
}

/// The rows that are the first with their values, if some are not.
fn firsts(columns: &[Texts]) -> Option<Vec<u32>> {
    let [first, ..] = columns else { return None };
    if first.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let compare = |a: u32, b: u32| {
        let values = |row: u32| columns.iter().map(move |texts| &texts[row as usize]);
        values(a).cmp(values(b))
    };
    // Sorted numbers of rows take less room than a set of texts.
    let mut order: Vec<u32> = (0..first.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| compare(a, b).then(a.cmp(&b)));
    let before = order.len();
    order.dedup_by(|later, kept| compare(*later, *kept).is_eq());
    if order.len() == before {
        return None;
    }
    order.sort_unstable();
    Some(order)
}

impl<'a> Run<'a> {
    /// Copies the files of a part, and with the train part those that belong to none.
    pub(super) fn copy(
        &self,
        rows: &mut Rows<'_>,
        outputs: &mut Outputs<'a>,
    ) -> Result<(), PrepareError> {
        for copy in &self.split.copy {
            for (from, to) in copy.from.iter().zip(copy.targets()) {
                let is_of_both = !from.has_fields() && !to.names("part");
                let part = if is_of_both { copy.part.or(Some(Part::Train)) } else { copy.part };
                if part.is_none_or(|part| part == rows.part) {
                    let to = to.with("part", rows.part.as_str());
                    self.copy_path(from, &to, rows, outputs)?;
                }
            }
        }
        Ok(())
    }

    fn copy_path(
        &self,
        from: &Template,
        to: &Template,
        rows: &mut Rows<'_>,
        outputs: &mut Outputs<'a>,
    ) -> Result<(), PrepareError> {
        let is_folder = from.is_folder();
        let files = rows.files(from, to)?;
        // The name of an archive has no column in it.
        let Some((archive, _)) = archive_in(to.prefix()) else {
            return match is_folder {
                true => files.each().try_for_each(|(from, to)| self.ctx.copy_folder(&from, &to)),
                false => self.ctx.copy_all(files.each()),
            };
        };
        let (ctx, name) = (self.ctx, archive.to_owned());
        outputs.pack(
            archive,
            Box::new(move |packer| {
                let mut wrong = None;
                let inside = |to: String| safe_member(&name, to[name.len() + 1..].to_owned());
                let members = files.each().map_while(|(from, to)| match inside(to) {
                    Ok(member) => Some((from, member)),
                    Err(error) => {
                        wrong = Some(error);
                        None
                    }
                });
                if is_folder {
                    for (from, member) in members {
                        for file in ctx.walk(&from)? {
                            packer.add(&format!("{from}{file}"), &format!("{member}/{file}"))?;
                        }
                    }
                } else {
                    packer.add_all(members)?;
                }
                wrong.map_or(Ok(()), Err)
            }),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_has_one_first_row(values in prop::collection::vec("[ab]{1,2}", 0..40)) {
            let texts = Arc::new(values.clone());
            let rows: Vec<usize> = match firsts(&[texts]) {
                Some(rows) => rows.into_iter().map(|row| row as usize).collect(),
                None => (0..values.len()).collect(),
            };
            let expected: Vec<usize> = (0..values.len())
                .filter(|&row| !values[..row].contains(&values[row]))
                .collect();
            prop_assert_eq!(rows, expected);
        }
    }
}
