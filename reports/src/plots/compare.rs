//! The picture of a comparison.

use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::{Axis, Form, Plot, SMALL, build};
use crate::compare::{Comparison, CompetitionChange};

/// Paired differences of the medal rate, one line a competition that moved, and the mean with its intervals.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn difference(comparison: &Comparison) -> Result<Option<Plot>, PlotError> {
    let moved: Vec<&CompetitionChange> = {
        let mut moved: Vec<_> = comparison.competitions.iter().filter(|c| c.medal_difference != 0.0).collect();
        moved.sort_by(|a, b| b.medal_difference.total_cmp(&a.medal_difference));
        moved
    };
    let caption = format!(
        "Change of the share of attempts with a medal, candidate minus baseline. {} of {} paired competitions moved. On top the mean \
         over all with its 95% intervals: on these competitions (thick) and on ones like these (thin).",
        moved.len(),
        comparison.paired
    );
    build("difference", "What moved", caption, |form| draw(comparison, &moved, form))
}

fn draw(comparison: &Comparison, moved: &[&CompetitionChange], form: Form) -> Scene {
    let label =
        moved.iter().map(|c| text_width(&c.competition, SMALL)).fold(text_width("All competitions", SMALL), f64::max);
    let (label, heading) = if form.is_narrow() { (0.0, 18.0) } else { (label.min(form.width() * 0.42), 0.0) };
    let row = heading + 22.0;
    let mut scene = Scene::new(form.width(), row * (moved.len() + 1) as f64 + 46.0);
    let axis = Axis { low: -1.0, high: 1.0, from: label + 22.0, to: form.width() - 22.0 };
    let bottom = row * (moved.len() + 1) as f64 + 12.0;
    for tick in axis.ticks(if form.is_narrow() { 2 } else { 4 }) {
        let ink = if tick == 0.0 { Ink::Muted } else { Ink::Grid };
        scene.line((axis.at(tick), 0.0), (axis.at(tick), bottom), ink, 1);
        scene.text(axis.at(tick), bottom + 14.0, format!("{:+.0}", tick * 100.0), SMALL, Ink::Muted, Align::Middle);
    }
    let name = |scene: &mut Scene, y: f64, text: &str, bold: bool| {
        let (x, y, align) =
            if form.is_narrow() { (0.0, y + 8.0, Align::Left) } else { (label + 8.0, y + row / 2.0, Align::Right) };
        let shown = fit(text, SMALL, if form.is_narrow() { form.width() } else { label + 8.0 });
        if bold {
            scene.bold(x, y, shown, SMALL, Ink::Text, align);
        } else {
            scene.text(x, y, shown, SMALL, Ink::Text, align);
        }
    };
    let middle = |i: usize| row * i as f64 + heading + (row - heading) / 2.0;
    let mean = &comparison.medal_rate;
    name(&mut scene, 0.0, "All competitions", true);
    for (interval, width) in [(mean.on_like_these, 2), (mean.on_these, 5)] {
        if let Some(interval) = interval {
            scene.line(
                (axis.at(interval.lower), middle(0)),
                (axis.at(interval.upper), middle(0)),
                Ink::Series(0),
                width,
            );
        }
    }
    scene.marker(axis.at(mean.difference), middle(0), 6.0, Ink::Series(0), Marker::Diamond);
    for (i, change) in moved.iter().enumerate() {
        let y = middle(i + 1);
        name(&mut scene, row * (i + 1) as f64, &change.competition, false);
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
