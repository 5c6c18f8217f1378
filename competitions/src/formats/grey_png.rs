use std::io::Cursor;

use png::{ColorType, Decoder, Transformations};

use super::FormatError;

/// The grey values of a picture, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreyImage {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` values, 0 is black.
    pub pixels: Vec<u8>,
}

/// Reads a PNG as 8-bit grey; messages call it `file`.
///
/// # Errors
/// When it is damaged or absurdly large.
///
/// # Source
/// Pillow's `convert("L")`: colours become grey by the weights of ITU-R 601-2 in 16-bit fixed
/// point, transparency is dropped.
pub fn read_grey_png(bytes: &[u8], file: &str) -> Result<GreyImage, FormatError> {
    const LARGEST: usize = 256 << 20;
    let wrong = |what: String| FormatError::Binary { file: file.to_owned(), format: "PNG", what };
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|error| wrong(error.to_string()))?;
    let size = reader.output_buffer_size().filter(|size| *size <= LARGEST);
    let size = size.ok_or_else(|| wrong(format!("expected at most {LARGEST} bytes of pixels")))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(|error| wrong(error.to_string()))?;
    buffer.truncate(frame.buffer_size());
    let grey = |pixel: &[u8]| {
        let weighted =
            u32::from(pixel[0]) * 19595 + u32::from(pixel[1]) * 38470 + u32::from(pixel[2]) * 7471;
        ((weighted + 0x8000) >> 16) as u8
    };
    let pixels = match frame.color_type {
        ColorType::Grayscale => buffer,
        ColorType::GrayscaleAlpha => buffer.chunks_exact(2).map(|pixel| pixel[0]).collect(),
        ColorType::Rgb => buffer.chunks_exact(3).map(grey).collect(),
        ColorType::Rgba => buffer.chunks_exact(4).map(grey).collect(),
        ColorType::Indexed => return Err(wrong("its palette was not resolved".into())),
    };
    Ok(GreyImage { width: frame.width as usize, height: frame.height as usize, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(color: ColorType, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    #[test]
    fn colours_become_grey_as_in_pillow() {
        let grey =
            |color, data: &[u8]| read_grey_png(&encode(color, data), "t.png").unwrap().pixels;
        assert_eq!(grey(ColorType::Grayscale, &[0, 200]), [0, 200]);
        assert_eq!(grey(ColorType::GrayscaleAlpha, &[7, 0, 200, 255]), [7, 200]);
        assert_eq!(grey(ColorType::Rgb, &[255, 0, 0, 0, 255, 0]), [76, 150]);
        assert_eq!(grey(ColorType::Rgba, &[0, 0, 255, 9, 255, 255, 255, 0]), [29, 255]);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = encode(ColorType::Grayscale, &[1, 2]);
        assert!(read_grey_png(&whole[..whole.len() / 2], "t.png").is_err());
        assert!(read_grey_png(b"no picture", "t.png").is_err());
    }
}
