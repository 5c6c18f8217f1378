//! The picture of a history.

use super::scene::{Align, Ink, Marker, PlotError, Scene};
use super::{Axis, Form, Plot, SMALL, build, legend, percent_lines};
use crate::history::{History, HistoryEntry};

/// Medal rate against time, one line an agent, with 95% intervals on the group's competitions.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn history(history: &History) -> Result<Option<Plot>, PlotError> {
    let dated: Vec<(i64, f64, &HistoryEntry)> = history
        .entries
        .iter()
        .filter_map(|entry| Some((entry.started_at?.timestamp(), entry.any_medal.value?, entry)))
        .collect();
    if dated.is_empty() {
        return Ok(None);
    }
    let caption = "Share of attempts with any medal in each run group, by the day it began. Lines through the marks are 95% intervals \
                   on the group's competitions, or for groups of one seed on competitions like these."
        .to_owned();
    build("history", "Medal rate over time", caption, |form| draw(&dated, form)).map(Some)
}

fn draw(dated: &[(i64, f64, &HistoryEntry)], form: Form) -> Scene {
    let mut agents: Vec<&str> = dated.iter().map(|(_, _, entry)| entry.agent.as_str()).collect();
    agents.dedup();
    let height = 300.0;
    let mut scene = Scene::new(form.width(), height);
    let top = legend(&mut scene, &agents, 0.0, form) + 14.0;
    let bottom = top + height;
    scene.end_at(bottom + 28.0);
    let times = || dated.iter().map(|(at, _, _)| *at as f64);
    let (low, high) =
        times().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), t| (a.min(t), b.max(t)));
    let pad = ((high - low) * 0.04).max(3600.0);
    let x = Axis { low: low - pad, high: high + pad, from: 46.0, to: form.width() - 12.0 };
    let y = Axis { low: 0.0, high: 1.0, from: bottom, to: top };
    percent_lines(&mut scene, x, y, 5);
    let marks = if form.is_narrow() { 3 } else { 6 };
    for i in 0..marks {
        let at = x.low + (x.high - x.low) * (f64::from(i) + 0.5) / f64::from(marks);
        let day = chrono::DateTime::from_timestamp(at as i64, 0)
            .map_or_else(String::new, |d| d.format("%Y-%m-%d").to_string());
        scene.text(x.at(at), bottom + 16.0, day, SMALL, Ink::Muted, Align::Middle);
    }
    for (i, agent) in agents.iter().enumerate() {
        let mut path = Vec::new();
        for (at, rate, entry) in dated.iter().filter(|(_, _, entry)| entry.agent == *agent) {
            let point = (x.at(*at as f64), y.at(*rate));
            if let Some((interval, _)) = entry.interval() {
                scene.line(
                    (point.0, y.at(interval.lower)),
                    (point.0, y.at(interval.upper)),
                    Ink::Series(i),
                    1,
                );
            }
            scene.marker(point.0, point.1, 5.0, Ink::Series(i), Marker::of_series(i));
            path.push(point);
        }
        scene.path(path, Ink::Series(i), 2);
    }
    scene
}
