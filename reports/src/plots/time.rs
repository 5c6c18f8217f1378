//! Pictures of time: where it went, and how scores grew.

use super::agents::medal_ink;
use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::{Axis, Form, Plot, SMALL, TEXT, build, percent_axis};
use crate::attempt::Medal;
use crate::data::{AttemptReport, CompetitionReport, ReportData};
use crate::record::Phase;

/// Most attempts that the score picture draws.
const SCORES_SHOWN: usize = 12;

/// Phases of a try in their order, and what they are called in the picture.
const PHASES: [(Phase, &str); 6] = [
    (Phase::Image, "getting the image"),
    (Phase::Create, "creating the container"),
    (Phase::Agent, "the agent at work"),
    (Phase::Grace, "its grace period"),
    (Phase::Collect, "collecting files"),
    (Phase::Grade, "grading"),
];

/// Where each agent's time went: shares of the phases in the time of all its attempts.
pub(super) fn phases(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    let rows: Vec<(&str, usize, Vec<f64>)> = data
        .agents
        .iter()
        .map(|agent| {
            let known =
                || data.attempts_of(&agent.agent).filter(|attempt| !attempt.phases.is_empty());
            let of = |wanted: &dyn Fn(&Phase) -> bool| -> f64 {
                known()
                    .flat_map(|a| &a.phases)
                    .filter(|phase| wanted(&phase.name))
                    .map(|phase| phase.took_s)
                    .sum()
            };
            let mut seconds: Vec<f64> =
                PHASES.iter().map(|(name, _)| of(&|phase| phase == name)).collect();
            seconds.push(of(&|phase| PHASES.iter().all(|(name, _)| phase != name)));
            (agent.agent.as_str(), known().count(), seconds)
        })
        .filter(|(_, _, seconds)| seconds.iter().sum::<f64>() > 0.0)
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let caption = "Shares of the phases in the wall-clock time of all attempts whose phases were recorded. Numbers are the letters of the \
                   phases below and their percentages."
        .to_owned();
    build("phases", "Where the time went", caption, |form| draw_phases(&rows, form)).map(Some)
}

fn draw_phases(rows: &[(&str, usize, Vec<f64>)], form: Form) -> Scene {
    let names: Vec<&str> = PHASES.iter().map(|(_, name)| *name).chain(["other"]).collect();
    let inks = [
        Ink::Series(0),
        Ink::Series(1),
        Ink::Valid,
        Ink::Infrastructure,
        Ink::Invalid,
        Ink::Series(2),
        Ink::Unfinished,
    ];
    let letters = ["A", "B", "C", "D", "E", "F", "G"];
    let row = 52.0;
    let columns = if form.is_narrow() { 1 } else { 4 };
    let legend = names.len().div_ceil(columns) as f64 * 20.0 + 8.0;
    let mut scene = Scene::new(form.width(), legend + row * rows.len() as f64 + 4.0);
    for (i, name) in names.iter().enumerate() {
        let (x, y) = (
            (i % columns) as f64 * form.width() / columns as f64,
            9.0 + (i / columns) as f64 * 20.0,
        );
        scene.area(x, y - 8.0, 16.0, 16.0, inks[i]);
        scene.bold(x + 8.0, y, letters[i], 11.0, on(inks[i]), Align::Middle);
        scene.text(x + 22.0, y, *name, SMALL, Ink::Text, Align::Left);
    }
    for (r, (agent, attempts, seconds)) in rows.iter().enumerate() {
        let y = legend + row * r as f64;
        let total: f64 = seconds.iter().sum();
        let told = format!("{} over {attempts} attempts", crate::text::duration(Some(total)));
        let room = form.width() - text_width(&told, SMALL) - 12.0;
        scene.bold(0.0, y + 10.0, fit(agent, TEXT, room), TEXT, Ink::Text, Align::Left);
        scene.text(form.width(), y + 10.0, told, SMALL, Ink::Muted, Align::Right);
        let mut x = 0.0;
        for (i, share) in
            seconds.iter().map(|s| s / total).enumerate().filter(|(_, share)| *share > 0.0)
        {
            let w = share * form.width();
            scene.area(x, y + 20.0, (w - 2.0).max(1.0), 22.0, inks[i]);
            let label = format!("{} {:.1}%", letters[i], share * 100.0);
            if w > text_width(&label, SMALL) + 6.0 {
                scene.bold(x + w / 2.0 - 1.0, y + 31.0, label, SMALL, on(inks[i]), Align::Middle);
            }
            x += w;
        }
    }
    let end = legend + row * rows.len() as f64;
    let axis = percent_axis(&mut scene, end, form);
    scene.end_at(end + axis);
    scene
}

/// Ink of text on an area.
fn on(ground: Ink) -> Ink {
    if matches!(ground, Ink::Series(_)) { Ink::Surface } else { Ink::OnMedal }
}

/// Wall-clock time of the attempts of each competition, per agent.
pub(super) fn spent(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    if data.attempts.iter().all(|a| a.took_s.is_none()) {
        return Ok(None);
    }
    let caption = "Wall-clock time of every attempt, one mark each; the vertical bar is the mean. A dashed line is the time limit where \
                   it lies in the picture."
        .to_owned();
    build("time", "Time of every attempt", caption, |form| draw_spent(data, form)).map(Some)
}

fn draw_spent(data: &ReportData, form: Form) -> Scene {
    let names: Vec<&str> = data.agents.iter().map(|a| a.agent.as_str()).collect();
    let longest = data.attempts.iter().filter_map(|a| a.took_s).fold(0.0, f64::max);
    let lane = 16.0;
    let heading = if form.is_narrow() { 20.0 } else { 0.0 };
    let row = heading + lane * names.len() as f64 + 10.0;
    let label =
        data.competitions.iter().map(|c| text_width(&c.facts.id, SMALL)).fold(0.0, f64::max);
    let label = label.min(form.width() * 0.4);
    let from = if form.is_narrow() { 8.0 } else { label + 20.0 };
    let axis = Axis { low: 0.0, high: longest.max(1e-3) * 1.05, from, to: form.width() - 20.0 };
    let height = 20.0 * names.len() as f64 + 40.0 + row * data.competitions.len() as f64 + 34.0;
    let mut scene = Scene::new(form.width(), height);
    let top = super::legend(&mut scene, &names, 0.0, form) + 28.0;
    let bottom = top + row * data.competitions.len() as f64;
    scene.end_at(bottom + 26.0);
    let (unit, per) = time_unit(longest);
    let ticks = Axis { low: 0.0, high: axis.high / per, ..axis };
    for tick in ticks.ticks(if form.is_narrow() { 3 } else { 6 }) {
        let x = ticks.at(tick);
        scene.line((x, top - 4.0), (x, bottom), Ink::Grid, 1);
        // Also on top: with 75 competitions the bottom is far away.
        for y in [top - 14.0, bottom + 14.0] {
            scene.text(x, y, format!("{} {unit}", trim(tick)), SMALL, Ink::Muted, Align::Middle);
        }
    }
    for (r, competition) in data.competitions.iter().enumerate() {
        let y = top + row * r as f64;
        let id = &competition.facts.id;
        if form.is_narrow() {
            scene.text(0.0, y + 8.0, fit(id, SMALL, form.width()), SMALL, Ink::Text, Align::Left);
        } else {
            let middle = y + lane * names.len() as f64 / 2.0;
            scene.text(
                label + 6.0,
                middle,
                fit(id, SMALL, label + 4.0),
                SMALL,
                Ink::Text,
                Align::Right,
            );
        }
        for (i, agent) in names.iter().enumerate() {
            let middle = y + heading + lane * (i as f64 + 0.5);
            let times: Vec<f64> = data
                .attempts_of(agent)
                .filter(|a| a.key.competition == *id)
                .filter_map(|a| a.took_s)
                .collect();
            if times.is_empty() {
                continue;
            }
            let mean = crate::stats::mean(&times);
            let farthest = times.iter().copied().fold(0.0, f64::max);
            scene.line((axis.at(0.0), middle), (axis.at(farthest), middle), Ink::Grid, 1);
            scene.line(
                (axis.at(mean), middle - 6.0),
                (axis.at(mean), middle + 6.0),
                Ink::Series(i),
                2,
            );
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

pub(super) fn trim(value: f64) -> String {
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
    build("score-over-time", "Score against time", caption, |form| {
        draw_scores(data, &tracked, form)
    })
    .map(Some)
}

fn scored(attempt: &AttemptReport) -> usize {
    attempt.snapshots.iter().filter(|s| s.score.is_some_and(f64::is_finite)).count()
}

type Tracked<'a> = Vec<(&'a CompetitionReport, Vec<&'a AttemptReport>)>;

fn tracked(data: &ReportData) -> Tracked<'_> {
    let mut room = SCORES_SHOWN;
    let mut tracked = Vec::new();
    for competition in &data.competitions {
        let here = data
            .attempts
            .iter()
            .filter(|a| a.key.competition == competition.facts.id && scored(a) > 0);
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
    let mut scene =
        Scene::new(form.width(), 20.0 * names.len() as f64 + 20.0 + panel_height * rows as f64);
    let top = super::legend(&mut scene, &names, 0.0, form) + 8.0;
    scene.end_at(top + panel_height * rows as f64);
    for (p, (competition, attempts)) in tracked.iter().enumerate() {
        let left = (p % columns) as f64 * (panel_width + gap);
        let y0 = top + (p / columns) as f64 * panel_height;
        draw_panel(
            &mut scene,
            data,
            competition,
            attempts,
            (left, y0, panel_width, panel_height - 20.0),
        );
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
    let points = || {
        attempts.iter().flat_map(|a| a.snapshots.iter().filter_map(|s| Some((s.after_s, s.score?))))
    };
    let mut values: Vec<f64> = points().map(|p| p.1).filter(|v| v.is_finite()).collect();
    let medals: Vec<(Medal, f64)> = competition.thresholds.map_or_else(Vec::new, |t| {
        vec![(Medal::Gold, t.gold), (Medal::Silver, t.silver), (Medal::Bronze, t.bronze)]
    });
    values.extend(medals.iter().map(|(_, v)| *v));
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let pad = ((high - low) * 0.08).max(1e-9);
    let longest = points().map(|p| p.0).fold(1.0, f64::max);
    scene.bold(
        left,
        top + 8.0,
        fit(&competition.facts.id, TEXT, width),
        TEXT,
        Ink::Text,
        Align::Left,
    );
    let better = if competition.lower_is_better { "lower is better" } else { "higher is better" };
    scene.text(left, top + 26.0, better, SMALL, Ink::Muted, Align::Left);
    let x = Axis { low: 0.0, high: longest * 1.02, from: left + 52.0, to: left + width - 22.0 };
    let y = Axis { low: low - pad, high: high + pad, from: top + height - 26.0, to: top + 42.0 };
    for tick in y.ticks(6) {
        scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
        scene.text(x.from - 6.0, y.at(tick), trim(tick), SMALL, Ink::Muted, Align::Right);
    }
    let (unit, per) = time_unit(longest);
    let ticks = Axis { high: x.high / per, ..x };
    for tick in ticks.ticks(3) {
        scene.text(
            ticks.at(tick),
            y.from + 14.0,
            format!("{} {unit}", trim(tick)),
            SMALL,
            Ink::Muted,
            Align::Middle,
        );
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
