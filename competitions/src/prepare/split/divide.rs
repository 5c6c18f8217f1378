//! Which rows are the train part and which the test part.

use std::collections::BTreeMap;

use crate::frame::{Frame, FrameError, Kind, Size, stratified_split, test_rows};
use crate::prepare::PrepareError;
use crate::spec::split::clock::Clock;
use crate::spec::split::{SplitMethod, TestSize};

use super::{Parts, Run, distinct};

impl Run<'_> {
    /// The parts of the table.
    pub(super) fn divided(&self, table: Frame) -> Result<Parts, PrepareError> {
        let by = self.split.by.as_deref();
        match (self.split.method, by) {
            (SplitMethod::Random, _) => {
                let size = self.size(&table)?;
                let (train, test) = table.train_test_split(size, self.seed()?)?;
                Ok(Parts { train, test })
            }
            (SplitMethod::Stratified, Some(by)) => self.stratified(&table, by),
            (SplitMethod::Grouped, Some(by)) => {
                let size = self.size(&table)?;
                let split = table.split_by_value(by, size, self.seed()?);
                let (train, test) = split.map_err(|error| match error {
                    FrameError::Split { rows, what } => self.ctx.unexpected(
                        &self.table_name(),
                        format!("cannot divide {rows} values of column `{by}`: {what}"),
                    ),
                    other => other.into(),
                })?;
                Ok(Parts { train, test })
            }
            (SplitMethod::Time, Some(by)) => self.by_time(&table, by),
            (SplitMethod::Given, by) => self.given(table, by),
            // Ruled out when the catalogue is read.
            (_, None) => Err(self.ctx.unexpected(&self.table_name(), "expected `by`")),
        }
    }

    fn seed(&self) -> Result<u32, PrepareError> {
        self.ctx.option("seed", self.split.seed)
    }

    /// The size of the test part as the catalogue or `--override` gives it.
    fn chosen_size(&self) -> Result<Option<TestSize>, PrepareError> {
        let text = self.ctx.option("test_size", String::new())?;
        if text.is_empty() {
            return Ok(self.split.test_size.clone());
        }
        let rows = text.parse().map(TestSize::Rows);
        let size = rows.or_else(|_| text.parse().map(TestSize::Share)).ok();
        let size = match self.split.method {
            SplitMethod::Time => size.or_else(|| text.parse().map(TestSize::Lasting).ok()),
            _ => size,
        };
        size.map(Some).ok_or_else(|| PrepareError::Override {
            key: "test_size".to_owned(),
            what: format!("expected a share such as 0.1 or a number of rows, found `{text}`"),
        })
    }

    fn size(&self, table: &Frame) -> Result<Size, PrepareError> {
        match self.chosen_size()? {
            Some(TestSize::Share(share)) => Ok(Size::Share(share)),
            Some(TestSize::Rows(rows)) => Ok(Size::Rows(rows)),
            Some(TestSize::Like(like)) => {
                let (n, m) = (table.rows() as f64, self.count(&like)? as f64);
                Ok(Size::Share(m / (n + m)))
            }
            // Ruled out when the catalogue is read.
            Some(TestSize::Lasting(_)) | None => {
                Err(self.ctx.unexpected(&self.table_name(), "expected `test_size`"))
            }
        }
    }

    fn stratified(&self, table: &Frame, by: &str) -> Result<Parts, PrepareError> {
        let size = self.size(table)?;
        // Classes in the order of numpy, which sorts numbers as numbers.
        let mut classes: BTreeMap<(i64, String), u32> = BTreeMap::new();
        let is_number = matches!(table.kind(by)?, Kind::Int | Kind::UInt | Kind::Float);
        let (mut codes, mut members, mut row) = (Vec::with_capacity(table.rows()), Vec::new(), 0);
        let mut missing = None;
        table.each(by, |value| {
            if value.is_missing() {
                missing.get_or_insert(row);
            }
            let text = value.to_string();
            let number =
                if is_number { Clock::read(&text).map_or(0, |(_, place)| place) } else { 0 };
            let new = classes.len() as u32;
            let code = *classes.entry((number, text)).or_insert(new);
            if code as usize == members.len() {
                members.push((row, 0));
            }
            members[code as usize].1 += 1;
            codes.push(code);
            row += 1;
        })?;
        if let Some(row) = missing {
            return Err(self.cell(table, by, row, "a class", ""));
        }
        for ((_, class), code) in &classes {
            if let (row, 1) = members[*code as usize] {
                return Err(self.cell(
                    table,
                    by,
                    row,
                    "a class of two rows at least, one for each part",
                    class,
                ));
            }
        }
        let mut ranks = vec![0; classes.len()];
        for (rank, code) in (0..).zip(classes.values()) {
            ranks[*code as usize] = rank;
        }
        let labels: Vec<u32> = codes.into_iter().map(|code| ranks[code as usize]).collect();
        let split = stratified_split(&labels, size, self.seed()?)?;
        Ok(Parts { train: table.take(&split.train), test: table.take(&split.test) })
    }

    fn by_time(&self, table: &Frame, by: &str) -> Result<Parts, PrepareError> {
        let mut times = Times { run: self, table, by, clock: None };
        let cut = match &self.split.cut {
            Some(cut) => times.given(cut)?,
            None => times.cut(&self.chosen_size()?)?,
        };
        let (mut train, mut test) = (Vec::new(), Vec::new());
        times.each(|row, time| if time < cut { train.push(row) } else { test.push(row) })?;
        for (part, rows) in [("train", &train), ("test", &test)] {
            if rows.is_empty() {
                let what = format!(
                    "expected times of column `{by}` on both sides of the cut, but the {part} part would have no row"
                );
                return Err(self.ctx.unexpected(&self.table_name(), what));
            }
        }
        Ok(Parts { train: table.take(&train), test: table.take(&test) })
    }

    /// The parts that are files of their own.
    fn given(&self, train: Frame, by: Option<&str>) -> Result<Parts, PrepareError> {
        let from = self.split.test.as_ref().and_then(|test| test.from.as_deref());
        let from = from.unwrap_or_default();
        let test = self.read(from, true)?;
        if let Some(by) = by {
            let seen = distinct(&train, by)?;
            let mut row = 0;
            let mut repeated = None;
            test.each(by, |value| {
                if repeated.is_none() {
                    let value = value.to_string();
                    repeated = seen.contains(&value).then_some((row, value));
                    row += 1;
                }
            })?;
            if let Some((row, value)) = repeated {
                let expected = "a value that the train part does not have";
                return Err(self.cell(&test, by, row, expected, &value));
            }
        }
        Ok(Parts { train, test })
    }

    /// The error for a cell of a raw table, named by its place in the file.
    pub(super) fn cell(
        &self,
        table: &Frame,
        column: &str,
        row: usize,
        expected: &'static str,
        value: &str,
    ) -> PrepareError {
        let place = match table.place_of(column, row) {
            Ok(place) => place,
            Err(error) => return error.into(),
        };
        let (file, column, value) = (table.name().to_owned(), column.to_owned(), value.to_owned());
        FrameError::Cell { file, row: place + 1, column, expected, value }.into()
    }
}

/// The times of a column, all of one kind.
struct Times<'r, 'a> {
    run: &'r Run<'a>,
    table: &'r Frame,
    by: &'r str,
    clock: Option<Clock>,
}

impl Times<'_, '_> {
    /// Goes through the times in order.
    fn each(&mut self, mut visit: impl FnMut(u32, i64)) -> Result<(), PrepareError> {
        let (mut row, mut wrong) = (0, None);
        // Times often repeat from row to row.
        let mut last: (String, i64) = Default::default();
        let clock = &mut self.clock;
        self.table.each(self.by, |value| {
            use std::fmt::Write as _;
            if wrong.is_some() {
                return;
            }
            let mut text = String::new();
            write!(text, "{value}").expect("writing to a string cannot fail");
            if row == 0 || text != last.0 {
                match Clock::read(&text) {
                    Some((kind, time)) if clock.is_none_or(|known| known == kind) => {
                        *clock = Some(kind);
                        last = (text, time);
                    }
                    _ => {
                        wrong = Some((row, text));
                        return;
                    }
                }
            }
            visit(row, last.1);
            row += 1;
        })?;
        match wrong {
            None => Ok(()),
            Some((row, text)) => {
                let expected = self.clock.map_or(Clock::EITHER, Clock::expected);
                Err(self.run.cell(self.table, self.by, row as usize, expected, &text))
            }
        }
    }

    /// A cut that was given as a time.
    fn given(&mut self, cut: &str) -> Result<i64, PrepareError> {
        let (clock, time) = Clock::read(cut).ok_or_else(|| {
            self.run.ctx.unexpected(
                &self.run.table_name(),
                format!("expected {} as `cut`, found `{cut}`", Clock::EITHER),
            )
        })?;
        self.clock = Some(clock);
        Ok(time)
    }

    /// The first time of the test part.
    fn cut(&mut self, size: &Option<TestSize>) -> Result<i64, PrepareError> {
        let size = match size {
            Some(TestSize::Lasting(lasting)) => {
                let mut last = i64::MIN;
                self.each(|_, time| last = last.max(time))?;
                if self.clock == Some(Clock::Number) {
                    return Err(self.run.ctx.unexpected(
                        &self.run.table_name(),
                        format!("expected dates in column `{}` for `test_size = \"{lasting}\"`, found numbers", self.by),
                    ));
                }
                return Ok(last.saturating_sub(lasting.seconds().saturating_mul(Clock::SECOND)));
            }
            Some(TestSize::Share(share)) => Size::Share(*share),
            Some(TestSize::Rows(rows)) => Size::Rows(*rows),
            // Ruled out when the catalogue is read.
            Some(TestSize::Like(_)) | None => {
                return Err(self
                    .run
                    .ctx
                    .unexpected(&self.run.table_name(), "expected `test_size`"));
            }
        };
        let test = test_rows(self.table.rows(), size)?;
        let mut times = Vec::with_capacity(self.table.rows());
        self.each(|_, time| times.push(time))?;
        let first = times.len() - test;
        Ok(*times.select_nth_unstable(first).1)
    }
}
