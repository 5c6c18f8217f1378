//! The picture of a comparison.

use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::{Axis, Form, Plot, SMALL, build};
use crate::compare::{Comparison, CompetitionChange};
use crate::stats::Interval;

/// Paired differences of the medal rate, one line a competition that moved, and the mean with its
/// intervals.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn difference(comparison: &Comparison) -> Result<Plot, PlotError> {
    let moved: Vec<&CompetitionChange> = {
        let mut moved: Vec<_> =
            comparison.competitions.iter().filter(|c| c.medal_difference != 0.0).collect();
        moved.sort_by(|a, b| b.medal_difference.total_cmp(&a.medal_difference));
        moved
    };
    let caption = format!(
        "Change of the share of attempts with a medal, candidate minus baseline. {} of {} paired competitions moved. On top the mean \
         over all with its 95% intervals.",
        moved.len(),
        comparison.paired
    );
    build("difference", "What moved", caption, |form| draw(comparison, &moved, form))
}

fn draw(comparison: &Comparison, moved: &[&CompetitionChange], form: Form) -> Scene {
    let mean = &comparison.medal_rate;
    let means = [
        ("All: on these competitions", mean.on_these),
        ("All: on ones like these", mean.on_like_these),
    ];
    let widest = moved.iter().map(|c| text_width(&c.competition, SMALL)).fold(0.0, f64::max);
    // Headings are bold, which is a little wider.
    let label = means.iter().map(|(name, _)| text_width(name, SMALL) * 1.06).fold(widest, f64::max);
    let (label, heading) =
        if form.is_narrow() { (0.0, 18.0) } else { (label.min(form.width() * 0.42), 0.0) };
    let row = heading + 22.0;
    let rows = moved.len() + means.len();
    let mut scene = Scene::new(form.width(), row * rows as f64 + 62.0);
    let axis = Axis { low: -1.0, high: 1.0, from: label + 22.0, to: form.width() - 22.0 };
    let bottom = row * rows as f64 + 12.0;
    for tick in axis.ticks(if form.is_narrow() { 2 } else { 4 }) {
        let ink = if tick == 0.0 { Ink::Muted } else { Ink::Grid };
        scene.line((axis.at(tick), 0.0), (axis.at(tick), bottom), ink, 1);
        let shown = if tick == 0.0 { "0".to_owned() } else { format!("{:+.0}", tick * 100.0) };
        scene.text(axis.at(tick), bottom + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
    }
    scene.text(axis.at(0.0), bottom + 34.0, "percentage points", SMALL, Ink::Muted, Align::Middle);
    let name = |scene: &mut Scene, y: f64, text: &str, bold: bool| {
        let (x, y, align) = if form.is_narrow() {
            (0.0, y + 8.0, Align::Left)
        } else {
            (label + 8.0, y + row / 2.0, Align::Right)
        };
        let shown = fit(text, SMALL, if form.is_narrow() { form.width() } else { label + 8.0 });
        if bold {
            scene.bold(x, y, shown, SMALL, Ink::Text, align);
        } else {
            scene.text(x, y, shown, SMALL, Ink::Text, align);
        }
    };
    let middle = |i: usize| row * i as f64 + heading + (row - heading) / 2.0;
    for (i, (heading, interval)) in means.into_iter().enumerate() {
        name(&mut scene, row * i as f64, heading, true);
        let y = middle(i);
        if let Some(Interval { lower, upper, .. }) = interval {
            let (a, b) = (axis.at(lower), axis.at(upper));
            scene.line((a, y), (b, y), Ink::Text, 2);
            scene.line((a, y - 4.0), (a, y + 4.0), Ink::Text, 2);
            scene.line((b, y - 4.0), (b, y + 4.0), Ink::Text, 2);
        }
        scene.marker(axis.at(mean.difference), y, 5.0, Ink::Text, Marker::Diamond);
    }
    for (i, change) in moved.iter().enumerate() {
        let y = middle(i + means.len());
        name(&mut scene, row * (i + means.len()) as f64, &change.competition, false);
        let (ink, marker) = if change.medal_difference > 0.0 {
            (Ink::Series(0), Marker::Disc)
        } else {
            (Ink::Series(1), Marker::Square)
        };
        scene.line((axis.at(0.0), y), (axis.at(change.medal_difference), y), ink, 2);
        scene.marker(axis.at(change.medal_difference), y, 4.0, ink, marker);
    }
    scene
}
