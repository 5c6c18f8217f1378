use super::FormatError;
use super::npy::{Header, MAGIC, element_bytes, parse_header};

/// A small `.npy` array, held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyArray {
    name: String,
    element: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl NpyArray {
    /// Reads the bytes of a file; messages call it `name`.
    ///
    /// # Errors
    /// When they are no whole array.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, FormatError> {
        Self::parts(bytes)
            .map(|(element, shape, data)| Self { name: name.to_owned(), element, shape, data })
            .ok_or_else(|| FormatError::Binary {
                file: name.to_owned(),
                format: "npy",
                what: format!("its {} bytes hold no whole array", bytes.len()),
            })
    }

    fn parts(bytes: &[u8]) -> Option<(String, Vec<usize>, Vec<u8>)> {
        let head = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = match head.first()? {
            1 => (usize::from(u16::from_le_bytes(head.get(2..4)?.try_into().ok()?)), &head[4..]),
            _ => (u32::from_le_bytes(head.get(2..6)?.try_into().ok()?) as usize, &head[6..]),
        };
        let header = std::str::from_utf8(rest.get(..length)?).ok()?;
        let Header { element, shape, by_columns } = parse_header(header)?;
        let bytes = element_bytes(&element)?;
        let size = shape.iter().try_fold(bytes, |all, axis| all.checked_mul(*axis))?;
        let data = rest[length..].get(..size)?;
        let data = if by_columns { row_after_row(data, &shape, bytes) } else { data.to_vec() };
        Some((element, shape, data))
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements of an array of integers or truth values, row after row.
    ///
    /// # Errors
    /// When they are something else.
    pub fn ints(&self) -> Result<Vec<i64>, FormatError> {
        macro_rules! each {
            ($($name:literal => $type:ty),* $(,)?) => {
                match self.element.as_str() {
                    $($name => self
                        .data
                        .chunks_exact(size_of::<$type>())
                        .map(|bytes| <$type>::from_le_bytes(bytes.try_into().expect("chunks are exact")) as i64)
                        .collect(),)*
                    "|b1" => self.data.iter().map(|&byte| i64::from(byte)).collect(),
                    other => {
                        return Err(FormatError::Binary {
                            file: self.name.clone(),
                            format: "npy",
                            what: format!("expected integers, found elements of type `{other}`"),
                        });
                    }
                }
            };
        }
        Ok(each! {
            "|i1" => i8, "|u1" => u8, "<i2" => i16, "<u2" => u16, "<i4" => i32, "<u4" => u32, "<i8" => i64, "<u8" => u64,
        })
    }
}

/// The elements of an array whose first axis runs fastest, in the order in which its last does.
fn row_after_row(data: &[u8], shape: &[usize], bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut at = vec![0; shape.len()];
    for _ in 0..data.len() / bytes.max(1) {
        let place = at.iter().zip(shape).rev().fold(0, |place, (at, axis)| place * axis + at);
        out.extend_from_slice(&data[place * bytes..][..bytes]);
        for (at, axis) in at.iter_mut().zip(shape).rev() {
            *at += 1;
            if *at < *axis {
                break;
            }
            *at = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{header:<117}\n");
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn integers_of_all_sizes_are_read() {
        let data: Vec<u8> = [1i32, -2, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
        let whole = file("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2, 1), }", &data);
        let array = NpyArray::parse(&whole, "a.npy").unwrap();
        assert_eq!((array.shape(), array.ints().unwrap()), (&[2, 2, 1][..], vec![1, -2, 3, 4]));
        for length in 0..whole.len() {
            assert!(NpyArray::parse(&whole[..length], "a.npy").is_err(), "cut at {length}");
        }
        let truth = file("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", &[1, 0, 1]);
        assert_eq!(NpyArray::parse(&truth, "a.npy").unwrap().ints().unwrap(), [1, 0, 1]);
        let columns = file(
            "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }",
            b"\x00\x03\x01\x04\x02\x05",
        );
        assert_eq!(NpyArray::parse(&columns, "a.npy").unwrap().ints().unwrap(), [0, 1, 2, 3, 4, 5]);
        let floats = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        assert!(NpyArray::parse(&floats, "a.npy").unwrap().ints().is_err());
    }
}
