//! PNG pictures: a plotters backend that fills and strokes with antialiasing, in the colours of one
//! theme.
//!
//! The same `Scene` is drawn as for SVG. Text is set in an embedded subset of Inter, so that
//! pictures look alike on every machine; characters that it lacks appear as its empty box.

use std::convert::Infallible;
use std::io::Write as _;

use plotters_backend::text_anchor::HPos;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle,
};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::{Face, OutlineBuilder};

use super::scene::{FONT_SCALE, Ink, PlotError};
use crate::palette::{self, Theme};

/// Pixels of the picture for one CSS pixel, so that it is sharp on dense screens and in print.
const SCALE: f32 = 2.0;
/// Most pixels at that scale, which take 80 MB; a picture with hundreds of rows is drawn at half of
/// it.
const MOST_PIXELS: f32 = 20e6;

const REGULAR: &[u8] = include_bytes!("font/Inter-Regular.otf");
const BOLD: &[u8] = include_bytes!("font/Inter-SemiBold.otf");

/// Draws on `width` times `height` CSS pixels of the theme's ground and gives the picture as a PNG
/// file, 8-bit RGB.
pub(super) fn png(
    (width, height): (u32, u32),
    theme: Theme,
    draw: impl FnOnce(Raster<'_>) -> Result<(), PlotError>,
) -> Result<Vec<u8>, PlotError> {
    let failed =
        |what: String| PlotError::new(format!("{what} in a picture of {width} x {height}"));
    let face = |bytes| {
        Face::parse(bytes, 0).map_err(|error| failed(format!("the font cannot be read ({error})")))
    };
    let large = width as f32 * height as f32 * SCALE * SCALE > MOST_PIXELS;
    let scale = if large { 1.0 } else { SCALE };
    let mut pixels = Pixmap::new((width as f32 * scale) as u32, (height as f32 * scale) as u32)
        .ok_or_else(|| failed("no room for the pixels".to_owned()))?;
    let raster = Raster {
        pixels: &mut pixels,
        size: (width, height),
        transform: Transform::from_scale(scale, scale),
        theme,
        regular: face(REGULAR)?,
        bold: face(BOLD)?,
    };
    let ground = raster.resolve(Ink::Surface.placeholder_backend());
    raster.pixels.fill(ground);
    draw(raster)?;
    encode(&pixels, scale)
        .map_err(|error| PlotError::new(format!("cannot encode the PNG ({error})")))
}

fn encode(pixels: &Pixmap, scale: f32) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    // Pixels a metre at 96 CSS pixels an inch, so that documents place it at its size in the page.
    let density = (96.0 * scale / 0.0254) as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: density,
        yppu: density,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    let mut rgb = Vec::with_capacity(pixels.width() as usize * 3);
    for row in pixels.data().chunks_exact(pixels.width() as usize * 4) {
        rgb.clear();
        // The ground is opaque, so every pixel is and alpha can go.
        for pixel in row.chunks_exact(4) {
            rgb.extend_from_slice(&pixel[..3]);
        }
        stream.write_all(&rgb)?;
    }
    stream.finish()?;
    writer.finish()?;
    Ok(file)
}

/// A picture in memory that plotters draws on.
pub(super) struct Raster<'a> {
    pixels: &'a mut Pixmap,
    size: (u32, u32),
    transform: Transform,
    theme: Theme,
    regular: Face<'static>,
    bold: Face<'static>,
}

impl Raster<'_> {
    /// The theme's colour for a placeholder.
    fn resolve(&self, colour: BackendColor) -> Color {
        let [r, g, b] = Ink::css_name(colour.rgb)
            .and_then(|name| palette::colour(&name, self.theme))
            .unwrap_or(colour.rgb.into());
        Color::from_rgba8(r, g, b, (colour.alpha * 255.0).round() as u8)
    }

    fn paint(&self, colour: BackendColor) -> Paint<'static> {
        let mut paint = Paint::default();
        paint.set_color(self.resolve(colour));
        paint
    }

    fn fill(&mut self, path: Option<Path>, colour: BackendColor) {
        let Some(path) = path else { return };
        let paint = self.paint(colour);
        self.pixels.fill_path(&path, &paint, FillRule::Winding, self.transform, None);
    }

    fn stroke(&mut self, path: Option<Path>, style: &impl BackendStyle) {
        let Some(path) = path else { return };
        let paint = self.paint(style.color());
        let stroke = Stroke { width: style.stroke_width() as f32, ..Stroke::default() };
        self.pixels.stroke_path(&path, &paint, &stroke, self.transform, None);
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Raster<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.fill(
            Rect::from_xywh(x as f32, y as f32, 1.0, 1.0).map(PathBuilder::from_rect),
            colour,
        );
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.stroke(polyline([from, to], false), style);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.stroke(polyline(path, false), style);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        a: BackendCoord,
        b: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let rect = Rect::from_ltrb(a.0 as f32, a.1 as f32, b.0 as f32, b.1 as f32)
            .map(PathBuilder::from_rect);
        if fill {
            self.fill(rect, style.color())
        } else {
            self.stroke(rect, style)
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let circle = PathBuilder::from_circle(centre.0 as f32, centre.1 as f32, radius as f32);
        if fill {
            self.fill(circle, style.color())
        } else {
            self.stroke(circle, style)
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        self.fill(polyline(points, true), style.color());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        let face =
            if matches!(style.style(), FontStyle::Bold) { &self.bold } else { &self.regular };
        let em = (style.size() / FONT_SCALE) as f32 / f32::from(face.units_per_em());
        let width = text_units(face, text) * em;
        let left = match style.anchor().h_pos {
            HPos::Left => x as f32,
            HPos::Center => x as f32 - width / 2.0,
            HPos::Right => x as f32 - width,
        };
        // As SVG does it: half the height of an x above and below the point.
        let baseline = y as f32 + f32::from(face.x_height().unwrap_or_default()) * em / 2.0;
        let mut outline = Outline { path: PathBuilder::new(), x: left, y: baseline, em };
        for character in text.chars() {
            let glyph = face.glyph_index(character).unwrap_or_default();
            face.outline_glyph(glyph, &mut outline);
            outline.x += f32::from(face.glyph_hor_advance(glyph).unwrap_or_default()) * em;
        }
        let path = outline.path.finish();
        self.fill(path, style.color());
        Ok(())
    }
}

fn text_units(face: &Face<'_>, text: &str) -> f32 {
    text.chars()
        .filter_map(|character| {
            face.glyph_hor_advance(face.glyph_index(character).unwrap_or_default())
        })
        .map(f32::from)
        .sum()
}

fn polyline(points: impl IntoIterator<Item = BackendCoord>, close: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, (x, y)) in points.into_iter().enumerate() {
        if i == 0 { path.move_to(x as f32, y as f32) } else { path.line_to(x as f32, y as f32) }
    }
    if close {
        path.close();
    }
    path.finish()
}

/// Puts glyphs, whose units run upwards, on a line of the picture.
struct Outline {
    path: PathBuilder,
    x: f32,
    y: f32,
    em: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.em, self.y - y * self.em)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Align, Scene};
    use super::*;

    /// Width in pixels and rows of RGB bytes.
    fn pixels(file: &[u8]) -> (usize, Vec<u8>) {
        let mut reader =
            png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
        let mut data = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut data).expect("one picture");
        assert_eq!(info.color_type, png::ColorType::Rgb);
        (info.width as usize, data)
    }

    #[test]
    fn every_ink_has_a_colour_in_both_themes() {
        for theme in [Theme::Light, Theme::Dark] {
            let inks = Ink::all();
            assert!(inks.len() > 12);
            for ink in inks {
                let name =
                    Ink::css_name(ink.placeholder_backend().rgb).expect("a placeholder has a name");
                assert!(palette::colour(&name, theme).is_some(), "{name} in {theme:?}");
            }
        }
    }

    #[test]
    fn areas_have_the_colours_of_the_style_sheet_at_twice_the_size() {
        let mut scene = Scene::new(20.0, 10.0);
        scene.area(5.0, 2.0, 4.0, 4.0, Ink::Gold);
        for theme in [Theme::Light, Theme::Dark] {
            let (width, data) = pixels(&scene.to_png(theme).expect("a picture"));
            assert_eq!((width, data.len()), (40, 40 * 20 * 3));
            let at = |x: usize, y: usize| &data[(y * 40 + x) * 3..][..3];
            let colour = |name| palette::colour(name, theme).expect("a known name");
            assert_eq!(at(14, 8), colour("gold"));
            assert_eq!(at(9, 8), colour("surface"), "left of the area");
            assert_eq!(at(18, 8), colour("surface"), "right of it");
        }
    }

    #[test]
    fn text_ends_where_it_is_anchored() {
        // First and last column of pixels that are not ground.
        let ink = |align: Align| {
            let mut scene = Scene::new(200.0, 20.0);
            scene.text(100.0, 10.0, "HHHHH", 13.0, Ink::Text, align);
            let (width, data) = pixels(&scene.to_png(Theme::Light).expect("a picture"));
            let columns: Vec<usize> = data
                .chunks(3)
                .enumerate()
                .filter(|(_, p)| p[0] < 128)
                .map(|(i, _)| i % width)
                .collect();
            (*columns.iter().min().expect("ink"), *columns.iter().max().expect("ink"))
        };
        let (left, middle, right) = (ink(Align::Left), ink(Align::Middle), ink(Align::Right));
        assert!((200..206).contains(&left.0), "{left:?}");
        assert!((194..200).contains(&right.1), "{right:?}");
        assert!((middle.0 + middle.1).abs_diff(399) <= 2, "{middle:?}");
        assert_eq!(left.1 - left.0, right.1 - right.0);
    }

    #[test]
    fn letters_that_the_font_lacks_are_boxes_and_not_nothing() {
        let face = Face::parse(REGULAR, 0).expect("the embedded font");
        for character in "Aé±–…•×ßŁДΩ≥−→".chars() {
            assert!(face.glyph_index(character).is_some(), "{character}");
        }
        let mut scene = Scene::new(40.0, 20.0);
        scene.text(5.0, 10.0, "漢", 13.0, Ink::Text, Align::Left);
        let (_, data) = pixels(&scene.to_png(Theme::Light).expect("a picture"));
        assert!(data.iter().any(|byte| *byte < 128));
    }
}
