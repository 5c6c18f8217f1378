//! Pictures of time: where it went, and how scores grew.

use super::agents::medal_ink;
use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::{Axis, Form, Plot, SMALL, TEXT, build};
use crate::attempt::Medal;
use crate::data::{AttemptReport, CompetitionReport, ReportData};

/// Most attempts that the score picture draws.
const SCORES_SHOWN: usize = 12;

/// Wall-clock time of the attempts of each competition, per agent.
pub(super) fn spent(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    if data.attempts.iter().all(|a| a.took_s.is_none()) {
        return Ok(None);
    }
    let caption = "Wall-clock time of every attempt, one mark each; the vertical bar is the mean. A dashed line is the time limit where \
                   it lies in the picture."
        .to_owned();
    build("time", "Where the time went", caption, |form| draw_spent(data, form))
}

fn draw_spent(data: &ReportData, form: Form) -> Scene {
    let names: Vec<&str> = data.agents.iter().map(|a| a.agent.as_str()).collect();
    let longest = data.attempts.iter().filter_map(|a| a.took_s).fold(0.0, f64::max);
    let lane = 16.0;
    let heading = if form.is_narrow() { 20.0 } else { 0.0 };
    let row = heading + lane * names.len() as f64 + 10.0;
    let label = data.competitions.iter().map(|c| text_width(&c.facts.id, SMALL)).fold(0.0, f64::max);
    let label = label.min(form.width() * 0.4);
    let from = if form.is_narrow() { 8.0 } else { label + 20.0 };
    let axis = Axis { low: 0.0, high: longest.max(1e-3) * 1.05, from, to: form.width() - 20.0 };
    let height = 20.0 * names.len() as f64 + 24.0 + row * data.competitions.len() as f64 + 34.0;
    let mut scene = Scene::new(form.width(), height);
    let top = super::legend(&mut scene, &names, 0.0, form) + 12.0;
    let bottom = top + row * data.competitions.len() as f64;
    scene.end_at(bottom + 26.0);
    let (unit, per) = time_unit(longest);
    let ticks = Axis { low: 0.0, high: axis.high / per, ..axis };
    for tick in ticks.ticks(if form.is_narrow() { 3 } else { 6 }) {
        let x = ticks.at(tick);
        scene.line((x, top - 4.0), (x, bottom), Ink::Grid, 1);
        scene.text(x, bottom + 14.0, format!("{} {unit}", trim(tick)), SMALL, Ink::Muted, Align::Middle);
    }
    for (r, competition) in data.competitions.iter().enumerate() {
        let y = top + row * r as f64;
        let id = &competition.facts.id;
        if form.is_narrow() {
            scene.text(0.0, y + 8.0, fit(id, SMALL, form.width()), SMALL, Ink::Text, Align::Left);
        } else {
            let middle = y + lane * names.len() as f64 / 2.0;
            scene.text(label + 6.0, middle, fit(id, SMALL, label + 4.0), SMALL, Ink::Text, Align::Right);
        }
        for (i, agent) in names.iter().enumerate() {
            let middle = y + heading + lane * (i as f64 + 0.5);
            let times: Vec<f64> =
                data.attempts_of(agent).filter(|a| a.key.competition == *id).filter_map(|a| a.took_s).collect();
            if times.is_empty() {
                continue;
            }
            let mean = crate::stats::mean(&times);
            let farthest = times.iter().copied().fold(0.0, f64::max);
            scene.line((axis.at(0.0), middle), (axis.at(farthest), middle), Ink::Grid, 1);
            scene.line((axis.at(mean), middle - 6.0), (axis.at(mean), middle + 6.0), Ink::Series(i), 2);
            for time in times {
                scene.marker(axis.at(time), middle, 4.0, Ink::Series(i), Marker::of_series(i));
            }
        }
    }
    let limits = data.attempts.iter().filter_map(|a| a.conditions.as_ref()?.limits.time_s);
    if let Some(limit) = limits.min_by(f64::total_cmp).filter(|limit| *limit <= axis.high) {
        scene.dashed((axis.at(limit), top - 4.0), (axis.at(limit), bottom), Ink::Text);
    }
    scene
}

/// Unit for times up to `longest` seconds, and its seconds.
pub(crate) fn time_unit(longest: f64) -> (&'static str, f64) {
    match longest {
        s if s < 180.0 => ("s", 1.0),
        s if s < 10_800.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    }
}

fn trim(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// Score against time from snapshots, with medal lines.
pub(super) fn scores(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    let tracked = tracked(data);
    if tracked.is_empty() {
        return Ok(None);
    }
    let all = data.attempts.iter().filter(|a| scored(a) > 0).count();
    let shown: usize = tracked.iter().map(|(_, attempts)| attempts.len()).sum();
    let caption = format!(
        "Score of the submission at each snapshot, graded afterwards; dashed lines are the medal thresholds. Shown: {shown} of {all} \
         attempts with snapshots."
    );
    build("score-over-time", "Score against time", caption, |form| draw_scores(data, &tracked, form))
}

fn scored(attempt: &AttemptReport) -> usize {
    attempt.snapshots.iter().filter(|s| s.score.is_some_and(f64::is_finite)).count()
}

type Tracked<'a> = Vec<(&'a CompetitionReport, Vec<&'a AttemptReport>)>;

fn tracked(data: &ReportData) -> Tracked<'_> {
    let mut room = SCORES_SHOWN;
    let mut tracked = Vec::new();
    for competition in &data.competitions {
        let here = data.attempts.iter().filter(|a| a.key.competition == competition.facts.id && scored(a) > 0);
        let attempts: Vec<&AttemptReport> = here.take(room).collect();
        room -= attempts.len();
        if !attempts.is_empty() {
            tracked.push((competition, attempts));
        }
    }
    tracked
}

fn draw_scores(data: &ReportData, tracked: &Tracked<'_>, form: Form) -> Scene {
    let names: Vec<&str> = data.agents.iter().map(|a| a.agent.as_str()).collect();
    let columns = if form.is_narrow() { 1 } else { 2 };
    let gap = 36.0;
    let panel_width = (form.width() - gap * (columns - 1) as f64) / columns as f64;
    let panel_height = 230.0;
    let rows = tracked.len().div_ceil(columns);
    let mut scene = Scene::new(form.width(), 20.0 * names.len() as f64 + 20.0 + panel_height * rows as f64);
    let top = super::legend(&mut scene, &names, 0.0, form) + 8.0;
    scene.end_at(top + panel_height * rows as f64);
    for (p, (competition, attempts)) in tracked.iter().enumerate() {
        let left = (p % columns) as f64 * (panel_width + gap);
        let y0 = top + (p / columns) as f64 * panel_height;
        draw_panel(&mut scene, data, competition, attempts, (left, y0, panel_width, panel_height - 20.0));
    }
    scene
}

fn draw_panel(
    scene: &mut Scene,
    data: &ReportData,
    competition: &CompetitionReport,
    attempts: &[&AttemptReport],
    (left, top, width, height): (f64, f64, f64, f64),
) {
    let points = || attempts.iter().flat_map(|a| a.snapshots.iter().filter_map(|s| Some((s.after_s, s.score?))));
    let mut values: Vec<f64> = points().map(|p| p.1).filter(|v| v.is_finite()).collect();
    let medals: Vec<(Medal, f64)> = competition
        .thresholds
        .map_or_else(Vec::new, |t| vec![(Medal::Gold, t.gold), (Medal::Silver, t.silver), (Medal::Bronze, t.bronze)]);
    values.extend(medals.iter().map(|(_, v)| *v));
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let pad = ((high - low) * 0.08).max(1e-9);
    let longest = points().map(|p| p.0).fold(1.0, f64::max);
    scene.bold(left, top + 8.0, fit(&competition.facts.id, TEXT, width), TEXT, Ink::Text, Align::Left);
    let better = if competition.lower_is_better { "lower is better" } else { "higher is better" };
    scene.text(left, top + 26.0, better, SMALL, Ink::Muted, Align::Left);
    let x = Axis { low: 0.0, high: longest * 1.02, from: left + 52.0, to: left + width - 22.0 };
    let y = Axis { low: low - pad, high: high + pad, from: top + height - 26.0, to: top + 42.0 };
    for tick in y.ticks(4) {
        scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
        scene.text(x.from - 6.0, y.at(tick), trim(tick), SMALL, Ink::Muted, Align::Right);
    }
    let (unit, per) = time_unit(longest);
    let ticks = Axis { high: x.high / per, ..x };
    for tick in ticks.ticks(3) {
        scene.text(ticks.at(tick), y.from + 14.0, format!("{} {unit}", trim(tick)), SMALL, Ink::Muted, Align::Middle);
    }
    let mut lettered: Vec<f64> = Vec::new();
    for (medal, value) in medals {
        let (ink, letter) = medal_ink(medal);
        let line = y.at(value);
        scene.dashed((x.from, line), (x.to, line), ink);
        if lettered.iter().all(|other| (other - line).abs() > 12.0) {
            scene.bold(x.to + 12.0, line, letter, SMALL, ink, Align::Middle);
            lettered.push(line);
        }
    }
    for attempt in attempts {
        let i = data.agents.iter().position(|a| a.agent == attempt.key.agent).unwrap_or(0);
        let mut path = Vec::new();
        for snapshot in &attempt.snapshots {
            if let Some(score) = snapshot.score.filter(|s| s.is_finite()) {
                let point = (x.at(snapshot.after_s), y.at(score));
                if let Some(last) = path.last().copied() {
                    let (_, before): (f64, f64) = last;
                    path.push((point.0, before));
                }
                path.push(point);
                scene.marker(point.0, point.1, 3.0, Ink::Series(i), Marker::of_series(i));
            }
        }
        scene.path(path, Ink::Series(i), 2);
    }
}
