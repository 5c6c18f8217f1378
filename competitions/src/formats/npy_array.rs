use super::FormatError;
use super::npy::{MAGIC, element_bytes, parse_header};

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
    /// When they are no whole array, or one that is stored column after column.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, FormatError> {
        Self::parts(bytes)
            .map(|(element, shape, data)| Self { name: name.to_owned(), element, shape, data })
            .ok_or_else(|| FormatError::Binary {
                file: name.to_owned(),
                format: "npy",
                what: format!(
                    "its {} bytes hold no array that is stored row after row",
                    bytes.len()
                ),
            })
    }

    fn parts(bytes: &[u8]) -> Option<(String, Vec<usize>, Vec<u8>)> {
        let head = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = match head.first()? {
            1 => (usize::from(u16::from_le_bytes(head.get(2..4)?.try_into().ok()?)), &head[4..]),
            _ => (u32::from_le_bytes(head.get(2..6)?.try_into().ok()?) as usize, &head[6..]),
        };
        let header = std::str::from_utf8(rest.get(..length)?).ok()?;
        let (element, shape) = parse_header(header)?;
        let size =
            shape.iter().try_fold(element_bytes(&element)?, |all, axis| all.checked_mul(*axis))?;
        let data = rest[length..].get(..size)?.to_vec();
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
        let floats = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        assert!(NpyArray::parse(&floats, "a.npy").unwrap().ints().is_err());
    }
}
