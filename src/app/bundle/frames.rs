//! A zstd stream that all processors make: of frames of one size, each packed apart from the others, so
//! that the same bytes come out wherever it is made.

use std::io::{self, Write};

use rayon::prelude::*;

/// Bytes of a frame before it is packed.
const FRAME: usize = 4 << 20;
/// Frames that are packed together.
const TOGETHER: usize = 4;
/// How hard zstd tries.
const LEVEL: i32 = 3;

/// Packs what is written.
pub struct Frames<W> {
    to: W,
    held: Vec<u8>,
}

impl<W: Write> Frames<W> {
    /// Packs into `to`.
    pub fn new(to: W) -> Self {
        Self { to, held: Vec::with_capacity(FRAME * TOGETHER) }
    }

    fn pack(&mut self) -> io::Result<()> {
        let packed: Vec<io::Result<Vec<u8>>> =
            self.held.par_chunks(FRAME).map(|frame| zstd::bulk::compress(frame, LEVEL)).collect();
        for frame in packed {
            self.to.write_all(&frame?)?;
        }
        self.held.clear();
        Ok(())
    }

    /// Packs the rest and gives back where it went.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.pack()?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME * TOGETHER - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        if self.held.len() == FRAME * TOGETHER {
            self.pack()?;
        }
        Ok(taken)
    }

    /// Nothing: a frame that is not full is no frame yet.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_reader_of_zstd_gets_the_bytes_back() {
        for length in [1, FRAME - 1, FRAME, FRAME * TOGETHER + 3] {
            let text: Vec<u8> = (0..length).map(|at| (at * at / 7) as u8).collect();
            let pack = |step: usize| {
                let mut frames = Frames::new(Vec::new());
                text.chunks(step).for_each(|piece| frames.write_all(piece).unwrap());
                frames.finish().unwrap()
            };
            let packed = pack(usize::MAX >> 1);
            assert_eq!(packed, pack(1 << 16), "however it is written");
            assert_eq!(zstd::decode_all(&packed[..]).unwrap(), text);
        }
    }
}
