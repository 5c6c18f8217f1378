//! Rows that lie anywhere in a file, read together: a call to the system for each would cost more
//! than all the rest.

use std::sync::{Arc, PoisonError};

use medalist_grading::platform;
use rayon::prelude::*;

use super::{Bytes, CsvSource, LoadedRow, RowReader};
use crate::frame::FrameError;

/// Rows of a source in memory, in the order in which they were wanted.
pub(in crate::frame) struct FetchedRows {
    parts: Vec<Arc<Kept>>,
    places: Vec<Fetched>,
}

/// Rows of a source in memory, in the order of the source.
#[derive(Debug, Default)]
pub(in crate::frame) struct Kept {
    rows: Vec<u32>,
    begins: Vec<u64>,
    bytes: Vec<u8>,
}

/// Rows that are kept for whom they may serve next have no more bytes than this.
pub(in crate::frame) const KEPT: u64 = 128 << 20;

impl Kept {
    /// Adds a row, which lies behind those that are there.
    pub(in crate::frame) fn push(&mut self, row: u32, text: &[u8]) {
        self.rows.push(row);
        self.begins.push(self.bytes.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    /// Adds rows that lie behind those that are there.
    pub(in crate::frame) fn append(&mut self, later: &Self) {
        let begin = self.bytes.len() as u64;
        self.rows.extend_from_slice(&later.rows);
        self.begins.extend(later.begins.iter().map(|place| begin + place));
        self.bytes.extend_from_slice(&later.bytes);
    }

    fn range(&self, place: usize) -> (u64, u64) {
        let end = self.begins.get(place + 1).copied().unwrap_or(self.bytes.len() as u64);
        (self.begins[place], end)
    }
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
        if let Some(kept) = self.kept()
            && let Some(places) = places_in(&kept, &order)
        {
            return Ok(FetchedRows { parts: vec![kept], places });
        }
        // Every part of a member is a pass of its own.
        let is_member = matches!(self.bytes, Bytes::Member(_));
        let parts = if is_member { 1 } else { rayon::current_num_threads() };
        let share = order.len().div_ceil(parts).max(1);
        let parts = order
            .par_chunks(share)
            .map(|order| self.fetch_part(order).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut places = vec![Fetched::default(); rows.len()];
        for (part, (order, fetched)) in (0..).zip(order.chunks(share).zip(&parts)) {
            for (place, &wanted) in order.iter().enumerate() {
                let (begin, end) = fetched.range(place);
                places[wanted as u32 as usize] =
                    Fetched { part, begin, length: (end - begin) as u32 };
            }
        }
        if let ([all], true) = (&parts[..], is_member)
            && all.bytes.len() as u64 <= KEPT
        {
            self.keep(Arc::clone(all));
        }
        Ok(FetchedRows { parts, places })
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps rows in memory in place of those that were kept before.
    pub(in crate::frame) fn keep(&self, rows: Arc<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    /// Some rows in ascending order, one behind another.
    fn fetch_part(&self, order: &[u64]) -> Result<Kept, FrameError> {
        /// A gap as large as a page costs no more than another call.
        const GAP: u64 = 4 << 10;
        const LONGEST_RUN: u64 = 1 << 20;
        let (file, path) = match &self.bytes {
            Bytes::File { file, path } => (file, path),
            Bytes::Memory(_) => return Ok(Kept::default()),
            Bytes::Member(_) => return self.fetch_pass(order),
        };
        let range = |wanted: &u64| {
            let row = (wanted >> 32) as usize;
            self.offsets.at(row)..self.offsets.at(row + 1)
        };
        let total: u64 = order.iter().map(range).map(|range| range.end - range.start).sum();
        let mut fetched = Kept { bytes: Vec::with_capacity(total as usize), ..Kept::default() };
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
            for wanted in &order[next..last] {
                let row = range(wanted);
                let text = &run[(row.start - begin) as usize..(row.end - begin) as usize];
                fetched.push((wanted >> 32) as u32, text);
            }
            next = last;
        }
        Ok(fetched)
    }
}

impl CsvSource {
    /// As [`fetch_part`](Self::fetch_part), in one pass over a member.
    fn fetch_pass(&self, order: &[u64]) -> Result<Kept, FrameError> {
        let mut fetched = Kept::default();
        let mut wanted = order.iter().map(|wanted| (wanted >> 32) as u32).peekable();
        self.each_block(|block| {
            while let Some(row) = wanted.next_if(|&row| (row as usize) < block.rows.end) {
                fetched.push(row, block.text(row as usize));
            }
            Ok::<_, FrameError>(())
        })?;
        Ok(fetched)
    }
}

/// Where rows are among those that are kept, if all are; the place that each is wanted for is in
/// the lower half.
fn places_in(kept: &Kept, order: &[u64]) -> Option<Vec<Fetched>> {
    let mut places = vec![Fetched::default(); order.len()];
    let mut at = 0;
    for wanted in order {
        let row = (wanted >> 32) as u32;
        at += kept.rows[at..].iter().position(|&other| other >= row)?;
        if kept.rows[at] != row {
            return None;
        }
        let (begin, end) = kept.range(at);
        places[*wanted as u32 as usize] = Fetched { part: 0, begin, length: (end - begin) as u32 };
    }
    Some(places)
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
        let text = &fetched.parts[part as usize].bytes[begin as usize..][..length as usize];
        self.load_text(row, text)
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
