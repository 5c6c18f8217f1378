//! A drawing as a list of shapes in pixels, and its two outputs through plotters: SVG whose colours
//! follow the page's theme, and PNG.
//!
//! Colours are names ([`Ink`]). In SVG they become CSS variables, so that one picture serves light,
//! dark and print; in PNG they become the colours of one theme.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{
    DrawingArea, DrawingBackend, IntoDrawingArea, IntoFont, RGBColor, SVGBackend, ShapeStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, TextStyle};
use plotters_backend::BackendColor;

use super::raster;
use crate::palette::Theme;

/// Plotters divides font sizes by this in SVG, because it measures boxes and not ems.
pub(super) const FONT_SCALE: f64 = 1.24;

/// Text size of captions inside pictures.
const CAPTION: f64 = 13.0;

/// A colour by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Text,
    Muted,
    Grid,
    Surface,
    Gold,
    Silver,
    Bronze,
    Valid,
    Invalid,
    Infrastructure,
    Unfinished,
    /// Text on a medal-coloured ground.
    OnMedal,
    /// One of six series colours; further ones repeat with another marker.
    Series(usize),
}

/// Number of different series colours.
pub(crate) const SERIES: usize = 6;

impl Ink {
    const NAMED: [(Self, &'static str); 12] = [
        (Self::Text, "text"),
        (Self::Muted, "muted"),
        (Self::Grid, "grid"),
        (Self::Surface, "surface"),
        (Self::Gold, "gold"),
        (Self::Silver, "silver"),
        (Self::Bronze, "bronze"),
        (Self::Valid, "valid"),
        (Self::Invalid, "invalid"),
        (Self::Infrastructure, "infra"),
        (Self::Unfinished, "unfinished"),
        (Self::OnMedal, "on-medal"),
    ];

    fn index(self) -> u8 {
        match self {
            Self::Series(i) => 100 + (i % SERIES) as u8,
            named => Self::NAMED.iter().position(|(ink, _)| *ink == named).map_or(0, |i| i as u8),
        }
    }

    /// A colour that no theme uses, standing for this ink until the SVG is written.
    fn placeholder(self) -> RGBColor {
        RGBColor(1, 2, self.index())
    }

    /// [`Ink::placeholder`] as backends see it.
    pub(super) fn placeholder_backend(self) -> BackendColor {
        self.placeholder().to_backend_color()
    }

    /// Name of the CSS variable that a placeholder stands for; `None` for any other colour.
    pub(super) fn css_name((r, g, index): (u8, u8, u8)) -> Option<String> {
        if (r, g) != (1, 2) {
            return None;
        }
        match index.checked_sub(100) {
            Some(series) => Some(format!("s{series}")),
            None => Self::NAMED.get(usize::from(index)).map(|(_, name)| (*name).to_owned()),
        }
    }

    /// Every ink there is.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        Self::NAMED.iter().map(|(ink, _)| *ink).chain((0..SERIES).map(Self::Series)).collect()
    }
}

/// Where a text sits relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// A marker, so that series differ without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Disc,
    Ring,
    Square,
    Diamond,
    Triangle,
    Box,
}

impl Marker {
    pub(crate) fn of_series(i: usize) -> Self {
        [Self::Disc, Self::Square, Self::Diamond, Self::Triangle, Self::Ring, Self::Box][i % SERIES]
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Area { x: f64, y: f64, w: f64, h: f64, ink: Ink, opacity: f64 },
    Path { points: Vec<(f64, f64)>, ink: Ink, width: u32, opacity: f64 },
    Marker { x: f64, y: f64, size: f64, ink: Ink, marker: Marker },
    Label { x: f64, y: f64, text: String, size: f64, ink: Ink, align: Align, bold: bool },
}

impl Shape {
    fn moved(&self, right: f64, down: f64) -> Self {
        let mut moved = self.clone();
        match &mut moved {
            Self::Area { x, y, .. } | Self::Marker { x, y, .. } | Self::Label { x, y, .. } => {
                *x += right;
                *y += down;
            }
            Self::Path { points, .. } => {
                for (x, y) in points {
                    *x += right;
                    *y += down;
                }
            }
        }
        moved
    }
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    width: u32,
    height: u32,
    shapes: Vec<Shape>,
}

/// Drawing failed inside the plotting library.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the plot: {0}")]
pub struct PlotError(String);

impl PlotError {
    pub(super) fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl Scene {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self {
            width: width.ceil() as u32,
            height: height.ceil().max(1.0) as u32,
            shapes: Vec::new(),
        }
    }

    pub(crate) fn area(&mut self, x: f64, y: f64, w: f64, h: f64, ink: Ink) {
        self.shapes.push(Shape::Area { x, y, w, h, ink, opacity: 1.0 });
    }

    pub(crate) fn tint(&mut self, x: f64, y: f64, w: f64, h: f64, ink: Ink, opacity: f64) {
        self.shapes.push(Shape::Area { x, y, w, h, ink, opacity });
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: u32) {
        self.path(vec![from, to], ink, width);
    }

    pub(crate) fn path(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: u32) {
        self.shapes.push(Shape::Path { points, ink, width, opacity: 1.0 });
    }

    pub(crate) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let (dash, gap) = (4.0, 4.0);
        let at =
            |d: f64| (from.0 + (to.0 - from.0) * d / length, from.1 + (to.1 - from.1) * d / length);
        let mut d = 0.0;
        while d < length {
            self.line(at(d), at((d + dash).min(length)), ink, 1);
            d += dash + gap;
        }
    }

    pub(crate) fn marker(&mut self, x: f64, y: f64, size: f64, ink: Ink, marker: Marker) {
        self.shapes.push(Shape::Marker { x, y, size, ink, marker });
    }

    pub(crate) fn text(
        &mut self,
        x: f64,
        y: f64,
        text: impl Into<String>,
        size: f64,
        ink: Ink,
        align: Align,
    ) {
        self.shapes.push(Shape::Label { x, y, text: text.into(), size, ink, align, bold: false });
    }

    pub(crate) fn bold(
        &mut self,
        x: f64,
        y: f64,
        text: impl Into<String>,
        size: f64,
        ink: Ink,
        align: Align,
    ) {
        self.shapes.push(Shape::Label { x, y, text: text.into(), size, ink, align, bold: true });
    }

    /// The drawing with a margin, below a heading and a caption: what a picture needs that stands
    /// alone.
    pub(crate) fn framed(&self, title: &str, caption: &str) -> Self {
        let (margin, line) = (24.0, 18.0);
        let width = f64::from(self.width);
        let lines = wrap(caption, CAPTION, width);
        let top = margin + 30.0 + line * lines.len() as f64 + 14.0;
        let mut framed = Self::new(width + 2.0 * margin, f64::from(self.height) + top + margin);
        framed.bold(margin, margin + 8.0, title, 18.0, Ink::Text, Align::Left);
        for (i, text) in lines.into_iter().enumerate() {
            framed.text(
                margin,
                margin + 38.0 + line * i as f64,
                text,
                CAPTION,
                Ink::Muted,
                Align::Left,
            );
        }
        framed.shapes.extend(self.shapes.iter().map(|shape| shape.moved(margin, top)));
        framed
    }

    /// Sets the height once everything is placed.
    pub(crate) fn end_at(&mut self, y: f64) {
        self.height = y.ceil().max(1.0) as u32;
    }

    /// An `<svg>` element for use inside a page; colours are `var(--name)`.
    pub(crate) fn to_svg(&self, label: &str) -> Result<String, PlotError> {
        let mut svg = String::new();
        {
            let area =
                SVGBackend::with_string(&mut svg, (self.width, self.height)).into_drawing_area();
            self.draw(&area)?;
            area.present().map_err(|e| PlotError(e.to_string()))?;
        }
        let start =
            svg.find("<svg").and_then(|i| svg[i..].find('>').map(|j| i + j + 1)).unwrap_or(0);
        let mut out = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{label}">"#,
            w = self.width,
            h = self.height,
            label = escape(label),
        );
        out.push_str(&theme(svg[start..].trim_start()));
        Ok(out)
    }

    /// The drawing as a PNG file, at twice its size in pixels, in the colours of `theme`.
    pub(super) fn to_png(&self, theme: Theme) -> Result<Vec<u8>, PlotError> {
        raster::png((self.width, self.height), theme, |raster| {
            self.draw(&raster.into_drawing_area())
        })
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<(), PlotError> {
        let failed =
            |e: plotters::drawing::DrawingAreaErrorKind<DB::ErrorType>| PlotError(e.to_string());
        let px = |v: f64| v.round() as i32;
        for shape in &self.shapes {
            match shape {
                Shape::Area { x, y, w, h, ink, opacity } => area
                    .draw(&Rectangle::new(
                        [(px(*x), px(*y)), (px(x + w), px(y + h))],
                        ink.placeholder().mix(*opacity).filled(),
                    ))
                    .map_err(failed)?,
                Shape::Path { points, ink, width, opacity } => area
                    .draw(&PathElement::new(
                        points.iter().map(|(x, y)| (px(*x), px(*y))).collect::<Vec<_>>(),
                        ink.placeholder().mix(*opacity).stroke_width(*width),
                    ))
                    .map_err(failed)?,
                Shape::Marker { x, y, size, ink, marker } => {
                    draw_marker(area, (px(*x), px(*y)), *size, *ink, *marker).map_err(failed)?;
                }
                Shape::Label { x, y, text, size, ink, align, bold } => {
                    let style = if *bold { FontStyle::Bold } else { FontStyle::Normal };
                    let font = ("sans-serif", size * FONT_SCALE, style).into_font();
                    let h = match align {
                        Align::Left => HPos::Left,
                        Align::Middle => HPos::Center,
                        Align::Right => HPos::Right,
                    };
                    let colour = ink.placeholder();
                    let style = TextStyle::from(font).color(&colour).pos(Pos::new(h, VPos::Center));
                    area.draw(&Text::new(text.as_str(), (px(*x), px(*y)), style))
                        .map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

fn draw_marker<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    (x, y): (i32, i32),
    size: f64,
    ink: Ink,
    marker: Marker,
) -> Result<(), plotters::drawing::DrawingAreaErrorKind<DB::ErrorType>> {
    let r = size.round() as i32;
    let colour = ink.placeholder();
    let hollow: ShapeStyle = colour.stroke_width(2);
    match marker {
        Marker::Disc => area.draw(&Circle::new((x, y), r, colour.filled())),
        Marker::Ring => area.draw(&Circle::new((x, y), r, hollow)),
        Marker::Square => area.draw(&Rectangle::new(
            [(x - r + 1, y - r + 1), (x + r - 1, y + r - 1)],
            colour.filled(),
        )),
        Marker::Box => {
            area.draw(&Rectangle::new([(x - r + 1, y - r + 1), (x + r - 1, y + r - 1)], hollow))
        }
        Marker::Diamond => area.draw(&Polygon::new(
            vec![(x, y - r - 1), (x + r + 1, y), (x, y + r + 1), (x - r - 1, y)],
            colour.filled(),
        )),
        Marker::Triangle => area.draw(&Polygon::new(
            vec![(x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)],
            colour.filled(),
        )),
    }
}

/// Replaces placeholders by CSS variables.
fn theme(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut rest = svg;
    while let Some(at) = rest.find("\"#0102") {
        let end = at + 8;
        out.push_str(&rest[..at]);
        let index = rest.get(at + 6..end).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match index.and_then(|index| Ink::css_name((1, 2, index))) {
            Some(name) => {
                let _ = write!(out, "\"var(--{name})");
            }
            None => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Width of a text in a common sans-serif font, a little generous.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    text.chars()
        .map(|c| match c {
            'i' | 'l' | 'j' | 't' | 'f' | 'r' | '.' | ',' | ':' | ' ' | '|' | '-' => 0.34,
            'm' | 'w' | 'M' | 'W' | '%' => 0.86,
            c if c.is_uppercase() || c.is_ascii_digit() => 0.62,
            _ => 0.56,
        })
        .sum::<f64>()
        * size
        * 1.1
}

/// The text, or its beginning and an ellipsis where it is wider than `width`.
pub(crate) fn fit(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if text_width(&kept, size) + size > width {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}

/// The text in lines of at most `width`, broken between words.
fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size / 3.0 <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
