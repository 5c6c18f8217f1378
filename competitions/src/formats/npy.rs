//! Arrays in numpy's `.npy` files: rows are picked from a file on disk, so that the array need not
//! fit into memory.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use medalist_grading::platform;

use super::FormatError;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// An array on disk, stored row after row.
#[derive(Debug)]
pub struct Npy {
    file: File,
    name: String,
    /// numpy's name of the element type, such as `<f4`.
    element: String,
    shape: Vec<usize>,
    /// Where the elements begin.
    begin: u64,
    row_bytes: usize,
}

impl Npy {
    /// Opens a file; messages call it `name`.
    ///
    /// # Errors
    /// When it cannot be read, is not whole, or is stored column after column.
    pub fn open(path: &Path, name: &str) -> Result<Self, FormatError> {
        let io = |source| FormatError::Io { action: "read", file: name.to_owned(), source };
        let wrong = |what: &str| FormatError::Binary {
            file: name.to_owned(),
            format: "npy",
            what: what.to_owned(),
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut head = [0; 12];
        platform::read_exact_at(&file, &mut head, 0).map_err(|_| wrong("it is too short"))?;
        if !head.starts_with(MAGIC) {
            return Err(wrong("it does not begin as one"));
        }
        // Version 1 has two bytes for the length of the header, later ones have four.
        let (begin, size) = match head[6] {
            1 => (10, u64::from(u16::from_le_bytes([head[8], head[9]]))),
            _ => (12, u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]]))),
        };
        if begin + size > length {
            return Err(wrong("it ends within its header"));
        }
        let mut header = vec![0; size as usize];
        platform::read_exact_at(&file, &mut header, begin).map_err(io)?;
        let header = String::from_utf8_lossy(&header);
        let Header { element, shape, .. } = parse_header(&header)
            .filter(|header| !header.by_columns)
            .ok_or_else(|| wrong(&format!("its header is `{}`", header.trim())))?;
        let bytes = element_bytes(&element)
            .ok_or_else(|| wrong(&format!("elements of type `{element}` are not supported")))?;
        let row_bytes = shape[1..].iter().try_fold(bytes, |all, axis| all.checked_mul(*axis));
        let begin = begin + size;
        let whole = row_bytes
            .and_then(|row| row.checked_mul(shape[0]))
            .and_then(|all| begin.checked_add(all as u64));
        match (row_bytes, whole) {
            (Some(row_bytes), Some(whole)) if whole <= length => {
                Ok(Self { file, name: name.to_owned(), element, shape, begin, row_bytes })
            }
            _ => Err(wrong(&format!(
                "its {length} bytes are too few for the shape {shape:?} of `{element}`"
            ))),
        }
    }

    /// The length of the first axis.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Writes a `.npy` file of the rows with these numbers, in this order, byte for byte as
    /// `numpy.save` does.
    ///
    /// # Errors
    /// When a row cannot be read or written.
    ///
    /// # Source
    /// numpy 1.26.4 `lib/format.py`: version 1.0, room for the first axis to grow to 21 digits,
    /// elements aligned to 64 bytes.
    pub fn write_rows(&self, rows: &[u32], out: &mut dyn Write) -> io::Result<()> {
        let mut axes = vec![rows.len()];
        axes.extend_from_slice(&self.shape[1..]);
        let shape = match axes[..] {
            [only] => format!("({only},)"),
            _ => format!("({})", axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        };
        let mut header =
            format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", self.element);
        header.extend(std::iter::repeat_n(
            ' ',
            21_usize.saturating_sub(rows.len().to_string().len()),
        ));
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        header.extend(std::iter::repeat_n(' ', 64 - unpadded % 64));
        header.push('\n');
        out.write_all(MAGIC)?;
        out.write_all(&[1, 0])?;
        out.write_all(&(header.len() as u16).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut row = vec![0; self.row_bytes];
        for &number in rows {
            self.read_row(number, &mut row)?;
            out.write_all(&row)?;
        }
        Ok(())
    }

    /// The texts with these numbers, of an array of text (`<U…`).
    ///
    /// # Errors
    /// When this is no list of text, or a text cannot be read.
    pub fn texts(&self, rows: &[u32]) -> Result<Vec<String>, FormatError> {
        let wrong = |what: &str| FormatError::Binary {
            file: self.name.clone(),
            format: "npy",
            what: what.to_owned(),
        };
        if !self.element.starts_with("<U") || self.shape.len() != 1 {
            return Err(wrong(&format!(
                "expected a list of text, found `{}` with shape {:?}",
                self.element, self.shape
            )));
        }
        let mut row = vec![0; self.row_bytes];
        let mut texts = Vec::with_capacity(rows.len());
        for &number in rows {
            let io = |source| FormatError::Io { action: "read", file: self.name.clone(), source };
            self.read_row(number, &mut row).map_err(io)?;
            let units = row.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let text: Option<String> =
                units.take_while(|unit| *unit != 0).map(char::from_u32).collect();
            texts.push(text.ok_or_else(|| wrong(&format!("row {number} is no Unicode text")))?);
        }
        Ok(texts)
    }

    fn read_row(&self, number: u32, row: &mut [u8]) -> io::Result<()> {
        platform::read_exact_at(
            &self.file,
            row,
            self.begin + u64::from(number) * self.row_bytes as u64,
        )
    }
}

/// What stands before the elements of an array.
pub(super) struct Header {
    pub(super) element: String,
    pub(super) shape: Vec<usize>,
    /// Whether the first axis runs fastest.
    pub(super) by_columns: bool,
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
pub(super) fn parse_header(header: &str) -> Option<Header> {
    let after =
        |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([' ', ':']));
    let by_columns = after("'fortran_order'")?.starts_with("True");
    let element = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0;
    let axes = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
    let axes = axes
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty())
        .map(|axis| axis.parse().ok());
    let shape = axes.collect::<Option<Vec<usize>>>()?;
    (!shape.is_empty()).then(|| Header { element: element.to_owned(), shape, by_columns })
}

/// The size of an element of a type such as `<f4`, `|u1` or `<U2`.
pub(super) fn element_bytes(element: &str) -> Option<usize> {
    let mut chars = element.chars();
    let order = chars.next()?;
    let kind = chars.next()?;
    let count: usize = chars.as_str().parse().ok()?;
    match (order, kind) {
        ('<' | '|', 'f' | 'i' | 'u' | 'b' | 'c' | 'S' | 'V') => Some(count),
        ('<', 'U') => count.checked_mul(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(header: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let header = format!("{header:<117}\n");
        file.write_all(b"\x93NUMPY\x01\x00").unwrap();
        file.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(data).unwrap();
        file
    }

    #[test]
    fn rows_are_picked_and_written_as_numpy_does() {
        let data: Vec<u8> = (0..12f32 as u32).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let file = array("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }", &data);
        let npy = Npy::open(file.path(), "a.npy").unwrap();
        assert_eq!(npy.rows(), 4);
        let mut out = Vec::new();
        npy.write_rows(&[3, 0], &mut out).unwrap();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(out.len(), 128 + 24);
        assert_eq!(&out[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(String::from_utf8_lossy(&out[10..128]), format!("{header:<117}\n"));
        assert_eq!(out[128..140], data[36..48]);
        assert_eq!(out[140..], data[..12]);
    }

    #[test]
    fn texts_are_read() {
        let units = ['7', '\0', '3', '8'].map(|c| (c as u32).to_le_bytes()).concat();
        let file = array("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", &units);
        assert_eq!(Npy::open(file.path(), "a.npy").unwrap().texts(&[1, 0]).unwrap(), ["38", "7"]);
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let cases = [
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 9), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 9), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
            "nothing",
        ];
        for header in cases {
            assert!(Npy::open(array(header, &[0; 24]).path(), "a.npy").is_err(), "{header}");
        }
    }
}
