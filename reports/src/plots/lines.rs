//! Curves and shares: pictures whose data are names and numbers alone.

use super::scene::{Align, Ink, Marker, Scene, fit, text_width};
use super::{Axis, Form, SMALL, TEXT, legend, percent_axis};

/// A picture of curves.
pub(super) struct Curves<'a> {
    /// Their names, in the order of their colours.
    pub(super) names: Vec<&'a str>,
    /// The points of each, by x.
    pub(super) points: Vec<&'a [(f64, f64)]>,
    /// What stands below the x axis.
    pub(super) x_label: &'a str,
    /// The greatest y; the axis begins at 0.
    pub(super) high: f64,
    /// How numbers of the x axis are written.
    pub(super) x_text: &'a dyn Fn(f64) -> String,
    /// What a number of the x axis is of x: 60 for minutes of seconds.
    pub(super) x_unit: f64,
    /// How numbers of the y axis are written.
    pub(super) y_text: &'a dyn Fn(f64) -> String,
    /// Whether values hold until the next point.
    pub(super) steps: bool,
}

impl Curves<'_> {
    /// Draws the curves.
    pub(super) fn draw(&self, form: Form) -> Scene {
        let plot_height = if form.is_narrow() { 220.0 } else { 280.0 };
        let names = 20.0 * self.names.len() as f64;
        let mut scene = Scene::new(form.width(), names + plot_height + 70.0);
        let top = legend(&mut scene, &self.names, 0.0, form) + 12.0;
        let bottom = top + plot_height;
        scene.end_at(bottom + 46.0);
        let y = Axis { low: 0.0, high: self.high.max(1e-9), from: bottom, to: top };
        let ticks = y.ticks(4);
        let room = ticks.iter().map(|t| text_width(&(self.y_text)(*t), SMALL)).fold(0.0, f64::max);
        let end =
            self.points.iter().flat_map(|points| points.iter()).map(|p| p.0).fold(0.0, f64::max);
        let x = Axis { low: 0.0, high: end.max(1e-9), from: room + 14.0, to: form.width() - 24.0 };
        for tick in ticks {
            scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
            let shown = (self.y_text)(tick);
            scene.text(x.from - 8.0, y.at(tick), shown, SMALL, Ink::Muted, Align::Right);
        }
        let units = Axis { high: x.high / self.x_unit, ..x };
        for tick in units.ticks(if form.is_narrow() { 3 } else { 6 }) {
            let shown = (self.x_text)(tick);
            scene.text(units.at(tick), bottom + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
        }
        let middle = f64::midpoint(x.from, x.to);
        scene.text(middle, bottom + 34.0, self.x_label, SMALL, Ink::Muted, Align::Middle);
        for (i, points) in self.points.iter().enumerate() {
            let at: Vec<(f64, f64)> = points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect();
            let mut path: Vec<(f64, f64)> = Vec::with_capacity(2 * at.len());
            for point in &at {
                if let (true, Some(last)) = (self.steps, path.last().copied()) {
                    path.push((point.0, last.1));
                }
                path.push(*point);
            }
            if path.len() > 1 {
                scene.path(path, Ink::Series(i), 2);
            }
            let every = at.len().div_ceil(8).max(1);
            for (px, py) in at.iter().skip(i % every).step_by(every) {
                scene.marker(*px, *py, 4.0, Ink::Series(i), Marker::of_series(i));
            }
        }
        scene
    }
}

/// Bars over the whole width, parted by shares that add up to 1.
pub(super) struct Shares<'a> {
    /// What is parted, what stands beside it, and its shares, each with a place in `parts`.
    pub(super) rows: Vec<(&'a str, String, Vec<(usize, f64)>)>,
    /// Names of the parts, in the order of their colours.
    pub(super) parts: Vec<&'a str>,
}

impl Shares<'_> {
    /// Draws the bars.
    pub(super) fn draw(&self, form: Form) -> Scene {
        let row = 52.0;
        let mut scene = Scene::new(form.width(), 0.0);
        let columns = if form.is_narrow() { 2 } else { 4 };
        let column = form.width() / columns as f64;
        for (i, name) in self.parts.iter().enumerate() {
            let (x, y) = ((i % columns) as f64 * column, 9.0 + (i / columns) as f64 * 20.0);
            scene.area(x, y - 8.0, 16.0, 16.0, Ink::Series(i));
            let letter = letter(i);
            scene.bold(x + 8.0, y, letter, 11.0, Ink::Surface, Align::Middle);
            let name = fit(name, SMALL, column - 30.0);
            scene.text(x + 22.0, y, name, SMALL, Ink::Text, Align::Left);
        }
        let top = self.parts.len().div_ceil(columns) as f64 * 20.0 + 12.0;
        for (r, (name, told, shares)) in self.rows.iter().enumerate() {
            let y = top + row * r as f64;
            let room = form.width() - text_width(told, SMALL) - 12.0;
            scene.bold(0.0, y + 10.0, fit(name, TEXT, room), TEXT, Ink::Text, Align::Left);
            scene.text(form.width(), y + 10.0, told, SMALL, Ink::Muted, Align::Right);
            let mut x = 0.0;
            for (part, share) in shares.iter().filter(|(_, share)| *share > 0.0) {
                let w = share * form.width();
                scene.area(x, y + 20.0, (w - 2.0).max(1.0), 22.0, Ink::Series(*part));
                let label = format!("{} {:.0}%", letter(*part), share * 100.0);
                if w > text_width(&label, SMALL) + 6.0 {
                    let middle = x + w / 2.0 - 1.0;
                    scene.bold(middle, y + 31.0, label, SMALL, Ink::Surface, Align::Middle);
                }
                x += w;
            }
        }
        let end = top + row * self.rows.len() as f64;
        let axis = percent_axis(&mut scene, end, form);
        scene.end_at(end + axis);
        scene
    }
}

/// A, B, C, … beside the colour, so that neither is needed.
fn letter(place: usize) -> String {
    let letter = u8::try_from(place % 26).unwrap_or(0) + b'A';
    char::from(letter).to_string()
}
