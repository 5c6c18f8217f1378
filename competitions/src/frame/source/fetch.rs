//! Rows that lie anywhere in a file, read together: a call to the system for each would cost more
//! than all the rest.

use medalist_grading::platform;
use rayon::prelude::*;

use super::{Bytes, CsvSource, LoadedRow, RowReader};
use crate::frame::FrameError;

/// Rows of a source in memory, in the order in which they were wanted.
pub(in crate::frame) struct FetchedRows {
    parts: Vec<Vec<u8>>,
    places: Vec<Fetched>,
}

/// Where a row is: in which part, where it begins there and how long it is.
#[derive(Clone, Copy, Default)]
struct Fetched {
    part: u32,
    length: u32,
    begin: u64,
}

impl CsvSource {
    /// About how many bytes some rows have together: a sample of them is looked at.
    pub(in crate::frame) fn about_bytes(&self, rows: impl ExactSizeIterator<Item = usize>) -> u64 {
        const EVERY: usize = 61;
        let count = rows.len() as u64;
        let (mut sampled, mut bytes) = (0, 0);
        for row in rows.step_by(EVERY) {
            sampled += 1;
            bytes += self.offsets.at(row + 1) - self.offsets.at(row);
        }
        (bytes * count).checked_div(sampled).unwrap_or(0)
    }

    /// Reads many rows that lie anywhere, in the order in which they lie: neighbours come with one
    /// call.
    pub(in crate::frame) fn fetch(&self, rows: &[u32]) -> Result<FetchedRows, FrameError> {
        // The place among the wanted ones goes along in the lower half.
        let mut order: Vec<u64> =
            rows.iter().zip(0u64..).map(|(&row, place)| u64::from(row) << 32 | place).collect();
        order.par_sort_unstable();
        // Every part of a member is a pass of its own.
        let parts = match &self.bytes {
            Bytes::Member(_) => 1,
            _ => rayon::current_num_threads(),
        };
        let share = order.len().div_ceil(parts).max(1);
        let parts = order
            .par_chunks(share)
            .map(|order| self.fetch_part(order))
            .collect::<Result<Vec<_>, _>>()?;
        let mut places = vec![Fetched::default(); rows.len()];
        for (part, (order, (bytes, begins))) in (0..).zip(order.chunks(share).zip(&parts)) {
            let ends = begins.iter().skip(1).copied().chain([bytes.len() as u64]);
            for ((&wanted, &begin), end) in order.iter().zip(begins).zip(ends) {
                places[(wanted & u64::from(u32::MAX)) as usize] =
                    Fetched { part, begin, length: (end - begin) as u32 };
            }
        }
        Ok(FetchedRows { parts: parts.into_iter().map(|(bytes, _)| bytes).collect(), places })
    }

    /// The bytes of some rows in ascending order, one behind another, and where each begins.
    fn fetch_part(&self, order: &[u64]) -> Result<(Vec<u8>, Vec<u64>), FrameError> {
        /// A gap as large as a page costs no more than another call.
        const GAP: u64 = 4 << 10;
        const LONGEST_RUN: u64 = 1 << 20;
        let (file, path) = match &self.bytes {
            Bytes::File { file, path } => (file, path),
            Bytes::Memory(_) => return Ok(Default::default()),
            Bytes::Member(_) => return self.fetch_pass(order),
        };
        let range = |wanted: &u64| {
            let row = (wanted >> 32) as usize;
            self.offsets.at(row)..self.offsets.at(row + 1)
        };
        let total: u64 = order.iter().map(range).map(|range| range.end - range.start).sum();
        let (mut bytes, mut begins) =
            (Vec::with_capacity(total as usize), Vec::with_capacity(order.len()));
        let (mut run, mut next) = (Vec::new(), 0);
        while next < order.len() {
            let begin = range(&order[next]).start;
            let (mut end, mut last) = (begin, next);
            while let Some(row) = order.get(last).map(range)
                && (last == next || row.start <= end + GAP && row.end - begin <= LONGEST_RUN)
            {
                end = row.end;
                last += 1;
            }
            run.resize((end - begin) as usize, 0);
            let io = |source| FrameError::Io { action: "read", path: path.clone(), source };
            platform::read_exact_at(file, &mut run, begin).map_err(io)?;
            for row in order[next..last].iter().map(range) {
                begins.push(bytes.len() as u64);
                bytes.extend_from_slice(
                    &run[(row.start - begin) as usize..(row.end - begin) as usize],
                );
            }
            next = last;
        }
        Ok((bytes, begins))
    }
}

impl CsvSource {
    /// As [`fetch_part`](Self::fetch_part), in one pass over a member.
    fn fetch_pass(&self, order: &[u64]) -> Result<(Vec<u8>, Vec<u64>), FrameError> {
        let (mut bytes, mut begins) = (Vec::new(), Vec::with_capacity(order.len()));
        let mut reader = self.reader();
        for wanted in order {
            begins.push(bytes.len() as u64);
            bytes.extend_from_slice(reader.load((wanted >> 32) as usize)?.text);
        }
        Ok((bytes, begins))
    }
}

impl RowReader<'_> {
    /// As [`load`](Self::load), for the row that was fetched for a place.
    pub(in crate::frame) fn load_fetched<'b>(
        &'b mut self,
        row: usize,
        fetched: &'b FetchedRows,
        place: usize,
    ) -> LoadedRow<'b> {
        let Fetched { part, begin, length } = fetched.places[place];
        let text = &fetched.parts[part as usize][begin as usize..][..length as usize];
        self.spans.split(text, self.source.separator);
        LoadedRow { source: self.source, row, text, spans: &self.spans }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, Read};
    use std::path::PathBuf;

    use super::super::Reopen;
    use super::*;
    use crate::frame::CsvOptions;

    /// A file as the member of an archive: it can only be read from its front.
    #[derive(Debug)]
    struct Member(PathBuf);

    impl Reopen for Member {
        fn reopen(&self) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(File::open(&self.0)?))
        }
    }

    #[test]
    fn fetched_rows_are_those_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        // Short rows in quotes, rows longer than a gap, and some longer than what is read at once.
        let cell = |row: usize| match row % 500 {
            0 => "x".repeat(1_500_000),
            1..10 => "y".repeat(3000 * (row % 7)),
            _ => format!("\"{row}, with\n\"\"lines\"\"\""),
        };
        let text: String = (0..2000).map(|row| format!("{row},{}\n", cell(row))).collect();
        fs::write(&path, format!("id,text\n{text}")).unwrap();
        let open = |place| {
            let stream = Box::new(File::open(&path).unwrap());
            CsvSource::scan_stream(stream, place, "a.csv", &CsvOptions::default()).unwrap()
        };
        let mut rows: Vec<u32> = (0..2000).map(|row| row * 613 % 2000).collect();
        rows.truncate(1500);
        rows.push(rows[3]);
        let memory = open(None);
        let file = Bytes::File { file: File::open(&path).unwrap(), path: path.clone() };
        for source in [open(Some(file)), open(Some(Bytes::Member(Box::new(Member(path.clone())))))]
        {
            let fetched = source.fetch(&rows).unwrap();
            let (mut reader, mut in_order, mut expected) =
                (source.reader(), source.reader(), memory.reader());
            for (place, &row) in rows.iter().enumerate() {
                let found = reader.load_fetched(row as usize, &fetched, place);
                let expected = expected.load(row as usize).unwrap();
                assert_eq!(
                    [0, 1].map(|i| found.cell(i)),
                    [0, 1].map(|i| expected.cell(i)),
                    "{row}"
                );
            }
            for row in (0..2000).step_by(3) {
                let (found, expected) = (in_order.load(row).unwrap(), expected.load(row).unwrap());
                assert_eq!(
                    [0, 1].map(|i| found.cell(i)),
                    [0, 1].map(|i| expected.cell(i)),
                    "{row}"
                );
            }
            assert!(source.fetch(&[]).unwrap().places.is_empty());
        }
    }
}
