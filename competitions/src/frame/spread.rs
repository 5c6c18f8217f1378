//! Writing a table whose text has no room in memory: one pass over the text prints each row as it comes
//! by. Rows that are wanted in another order are put aside first, each with those that end up near
//! it, and then put in order part by part.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem;
use std::path::Path;
use std::sync::Arc;

use medalist_grading::platform;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::FrameError;
use super::column::Rows;
use super::source::{Block, KEPT, Kept};
use super::write::{Printer, WriteCsvError};

/// How many bytes are put in order at a time.
pub(super) const PART: u64 = 4 << 20;
/// The most parts, each of which has a buffer.
const MOST_PARTS: u64 = 256;
/// The most files that parts are put aside in: with each that was put in order, its room is given
/// back.
const MOST_FILES: usize = 64;
/// How much is put aside at a time.
const CHUNK: usize = 64 << 10;
/// Rows that are printed by one thread at a time: so few that the threads end at about the same time.
const ROWS: usize = 1024;
/// The place of a row that is not in the table.
const NOWHERE: u32 = u32::MAX;

/// The place in a table of each of the `count` rows of its source; none if a row is there twice.
pub(super) fn places(rows: &Rows, count: usize) -> Option<Vec<u32>> {
    let mut places = vec![NOWHERE; count];
    for place in 0..rows.len() {
        let known = mem::replace(&mut places[rows.at(place)], place as u32);
        if known != NOWHERE {
            return None;
        }
    }
    Some(places)
}

/// Prints a table with one source, of whose rows the places are given. `write` gets the texts in
/// order, some at a time.
pub(super) fn print(
    printer: &Printer<'_>,
    places: Vec<u32>,
    part: u64,
    mut write: impl FnMut(Vec<Vec<u8>>) -> Result<(), WriteCsvError>,
) -> Result<(), WriteCsvError> {
    let [(source, rows)] = &printer.sources[..] else { return Ok(()) };
    let about = |rows: &mut dyn ExactSizeIterator<Item = usize>| source.about_bytes(rows);
    let bytes = about(&mut (0..rows.len()).map(|row| rows.at(row)));
    // The rows that are passed over are often the next table, if they are few.
    let others = about(&mut (0..source.rows())).saturating_sub(bytes);
    let mut kept = (others <= KEPT).then(Kept::default);
    let folder = source.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let in_order = rows.are_ascending();
    let aside = || Aside::new(&folder, rows.len(), bytes, part);
    let mut aside = (!in_order).then(aside).transpose()?;
    let mut put = |printed: &[Printed]| -> io::Result<()> {
        if let Some(kept) = &mut kept {
            printed.iter().for_each(|printed| kept.append(&printed.others));
        }
        let Some(aside) = &mut aside else { return Ok(()) };
        printed.iter().try_for_each(|printed| aside.put(printed))
    };
    let mut before: Vec<Printed> = Vec::new();
    source.each_block(|block| {
        let starts: Vec<usize> = block.rows.clone().step_by(ROWS).collect();
        let print = || {
            let printed = starts.par_iter().map(|&start| {
                let rows = start..(start + ROWS).min(block.rows.end);
                Printed::of(printer, &places, block, rows, others <= KEPT)
            });
            printed.collect::<Result<Vec<_>, FrameError>>()
        };
        // What was printed before is put aside meanwhile: that is work for one thread.
        let (printed, done) = rayon::join(print, || put(&before));
        done?;
        before = printed?;
        match in_order {
            true => write(before.iter_mut().map(|printed| mem::take(&mut printed.text)).collect()),
            false => Ok(()),
        }
    })?;
    put(&mem::take(&mut before))?;
    // Four bytes a row, which the second pass may need.
    drop(places);
    if let Some(kept) = kept {
        source.keep(Arc::new(kept));
    }
    match aside {
        Some(aside) => aside.in_order(write),
        None => Ok(()),
    }
}

/// Some rows, printed.
#[derive(Default)]
struct Printed {
    text: Vec<u8>,
    /// Of each row its place in the table, and where its text ends.
    ends: Vec<(u32, usize)>,
    /// The rows that are not in the table, as they were read.
    others: Kept,
}

impl Printed {
    fn of(
        printer: &Printer<'_>,
        places: &[u32],
        block: &Block<'_>,
        rows: std::ops::Range<usize>,
        keeps_others: bool,
    ) -> Result<Self, FrameError> {
        let mut printed = Self::default();
        let [(source, _)] = &printer.sources[..] else { return Ok(printed) };
        let mut reader = source.reader();
        for row in rows {
            let place = places[row];
            if place != NOWHERE {
                let loaded = [reader.load_text(row, block.text_from(row))];
                printer.print_row(&mut printed.text, place as usize, &loaded)?;
                printed.ends.push((place, printed.text.len()));
            } else if keeps_others {
                printed.others.push(row as u32, block.text(row));
            }
        }
        Ok(printed)
    }
}

/// Printed rows in files of their own, those of a part of the table together.
struct Aside {
    files: Vec<AsideFile>,
    parts_a_file: usize,
    rows_a_part: usize,
    rows: usize,
    parts: Vec<Part>,
}

/// The chunks of neighbouring parts.
struct AsideFile {
    file: NamedTempFile,
    /// Where the next chunk goes.
    end: u64,
}

/// The rows of consecutive places: each its place and its length, 4 bytes each, and its text.
#[derive(Default)]
struct Part {
    /// Where its chunks are in the file, in order.
    chunks: Vec<u64>,
    /// What does not make a chunk.
    rest: Vec<u8>,
}

impl Aside {
    fn new(folder: &Path, rows: usize, bytes: u64, part: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let parts = (bytes / part).clamp(1, MOST_PARTS) as usize;
        let rows_a_part = rows.div_ceil(parts).max(1);
        let parts: Vec<Part> = (0..rows.div_ceil(rows_a_part)).map(|_| Part::default()).collect();
        let parts_a_file = parts.len().div_ceil(MOST_FILES).max(1);
        let file = |_| Ok(AsideFile { file: NamedTempFile::new_in(folder)?, end: 0 });
        let files = (0..parts.len().div_ceil(parts_a_file)).map(file);
        let files = files.collect::<io::Result<_>>()?;
        Ok(Self { files, parts_a_file, rows_a_part, rows, parts })
    }

    fn put(&mut self, printed: &Printed) -> io::Result<()> {
        let mut begin = 0;
        for &(place, end) in &printed.ends {
            let text = &printed.text[begin..end];
            begin = end;
            let number = place as usize / self.rows_a_part;
            let part = &mut self.parts[number];
            part.rest.extend_from_slice(&place.to_le_bytes());
            part.rest.extend_from_slice(&(text.len() as u32).to_le_bytes());
            part.rest.extend_from_slice(text);
            if part.rest.len() >= CHUNK {
                let whole = part.rest.len() / CHUNK * CHUNK;
                let AsideFile { file, end } = &mut self.files[number / self.parts_a_file];
                file.as_file_mut().write_all(&part.rest[..whole])?;
                for _ in 0..whole / CHUNK {
                    part.chunks.push(*end);
                    *end += CHUNK as u64;
                }
                part.rest.drain(..whole);
            }
        }
        Ok(())
    }

    /// Gives all rows in order, several parts at a time. What was put aside makes room for it.
    fn in_order(
        self,
        mut write: impl FnMut(Vec<Vec<u8>>) -> Result<(), WriteCsvError>,
    ) -> Result<(), WriteCsvError> {
        let Self { mut files, parts_a_file, rows_a_part, rows, parts } = self;
        let numbered: Vec<(usize, Part)> = parts.into_iter().enumerate().collect();
        let mut gone = 0;
        for parts in numbered.chunks(rayon::current_num_threads()) {
            let texts = parts.par_iter().map(|(number, part)| {
                let first = number * rows_a_part;
                let file = files[number / parts_a_file - gone].file.as_file();
                part.in_order(file, first..rows.min(first + rows_a_part))
            });
            let texts = texts.collect::<io::Result<Vec<_>>>()?;
            let done = parts.last().map_or(0, |(number, _)| number + 1) / parts_a_file;
            files.drain(..done - gone);
            gone = done;
            write(texts)?;
        }
        Ok(())
    }
}

impl Part {
    /// The texts of all rows from the first place to the last.
    fn in_order(&self, file: &File, places: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
        let chunks = self.chunks.len() * CHUNK;
        let mut bytes = vec![0; chunks + self.rest.len()];
        for (&place, chunk) in self.chunks.iter().zip(bytes.chunks_mut(CHUNK)) {
            platform::read_exact_at(file, chunk, place)?;
        }
        bytes[chunks..].copy_from_slice(&self.rest);
        let mut texts = vec![(0, 0); places.len()];
        let (mut at, mut total) = (0, 0);
        while let Some((head, _)) = bytes[at..].split_first_chunk::<8>() {
            let [a, b, c, d, e, f, g, h] = *head;
            let place = u32::from_le_bytes([a, b, c, d]) as usize - places.start;
            let length = u32::from_le_bytes([e, f, g, h]) as usize;
            texts[place] = (at + 8, length);
            at += 8 + length;
            total += length;
        }
        let mut ordered = Vec::with_capacity(total);
        for (begin, length) in texts {
            ordered.extend_from_slice(&bytes[begin..begin + length]);
        }
        Ok(ordered)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::frame::{CsvOptions, CsvStyle, Frame, Reopen};

    /// A text that counts how often it is read.
    #[derive(Clone, Debug)]
    struct Text(Arc<String>, Arc<AtomicUsize>);

    impl Reopen for Text {
        fn reopen(&self) -> io::Result<Box<dyn Read + Send>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(io::Cursor::new(self.0.as_bytes().to_vec())))
        }
    }

    fn text(rows: usize) -> Text {
        let row = |k: usize| match k % 7 {
            0 => format!("{k},\"a, {}\",{k}.50\r\n", "x".repeat(k % 400)),
            1 => format!("{k},,\n\n"),
            _ => format!("{k},\u{e9}{},{}\n", "y".repeat(k % 90), k as f64 / 8.0),
        };
        let body: String = (0..rows).map(row).collect();
        Text(Arc::new(format!("id,text,value\n{body}")), Arc::default())
    }

    /// A table whose text is not in memory, whatever its size.
    fn large(text: &Text, options: &CsvOptions) -> Frame {
        Frame::stream_csv(Box::new(text.clone()), u64::MAX, "t.csv", options).unwrap()
    }

    fn spread(table: &Frame, part: u64) -> Vec<u8> {
        let style = CsvStyle::default();
        let printer = table.printer(&style);
        let (source, rows) = printer.sources[0];
        let places = places(rows, source.rows()).unwrap();
        let mut out = Vec::new();
        let write = |texts: Vec<Vec<u8>>| {
            out.extend(texts.into_iter().flatten());
            Ok(())
        };
        print(&printer, places, part, write).unwrap();
        out
    }

    #[test]
    fn rows_that_come_by_are_printed_as_those_in_memory() {
        const ROWS: usize = 30_000;
        let scratch = tempfile::tempdir().unwrap();
        let text = text(ROWS);
        let options = CsvOptions::default().scratch(&scratch.path().join("aside"));
        let memory = Frame::from_csv(text.0.as_bytes(), "t.csv", &options).unwrap();
        let large = large(&text, &options);
        let mixed: Vec<u32> = (0..ROWS as u32).map(|k| k * 7_919 % ROWS as u32).collect();
        let cases = [
            ("all", (0..ROWS as u32).collect()),
            ("all in another order", mixed.clone()),
            ("most in another order", mixed[3_000..].to_vec()),
            ("few in order", (0..ROWS as u32).step_by(100).collect()),
            ("few in another order", mixed[..10].to_vec()),
            ("one", vec![17]),
            ("none", Vec::new()),
        ];
        for (what, rows) in cases {
            let table = |whole: &Frame| whole.take(&rows).with("more", 1).unwrap();
            let mut expected = table(&memory).to_csv(&CsvStyle::default()).unwrap();
            expected.drain(.."id,text,value,more\n".len());
            for part in [1, 300 << 10, PART] {
                let found = spread(&table(&large), part);
                assert!(found == expected, "{what}, parts of {part} bytes");
            }
        }
        assert_eq!(fs::read_dir(scratch.path().join("aside")).unwrap().count(), 0);
    }

    #[test]
    fn a_split_takes_one_pass_besides_the_first() {
        let text = text(30_000);
        let (train, test) = large(&text, &CsvOptions::default()).train_test_split(0.1, 0).unwrap();
        let reads = || text.1.load(Ordering::Relaxed);
        assert_eq!(reads(), 1);
        spread(&train, PART);
        assert_eq!(reads(), 2);
        let memory = Frame::from_csv(text.0.as_bytes(), "t.csv", &CsvOptions::default()).unwrap();
        let expected = memory.train_test_split(0.1, 0).unwrap().1;
        for columns in [&["id", "text", "value"][..], &["id"]] {
            let style = CsvStyle::default();
            let found = test.select(columns).unwrap().to_csv(&style).unwrap();
            assert!(found == expected.select(columns).unwrap().to_csv(&style).unwrap());
        }
        assert_eq!(reads(), 2);
    }

    #[test]
    fn a_row_that_is_wanted_twice_has_no_one_place() {
        let rows = |list: &[u32]| Rows::Picked(list.into(), 0..list.len());
        assert_eq!(places(&rows(&[2, 0]), 3), Some(vec![1, NOWHERE, 0]));
        assert_eq!(places(&rows(&[2, 0, 2]), 3), None);
        assert_eq!(places(&Rows::All(2), 2), Some(vec![0, 1]));
    }
}
