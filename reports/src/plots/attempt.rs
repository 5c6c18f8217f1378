//! The pictures of single pages: one attempt's score against time, and all scores at a competition.

use super::agents::medal_ink;
use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::time::{time_unit, trim};
use super::{Axis, Form, Plot, SMALL, build};
use crate::attempt::{Medal, Thresholds};
use crate::data::{AttemptReport, CompetitionReport};
use crate::text;
use crate::viewer::{Validation, VersionRow};

/// Most marks of one kind in a picture.
const MARKS: usize = 400;
/// Most rows of the picture of a competition.
const ROWS: usize = 40;
/// How far from the thresholds a score may lie and be drawn at its place, in their span.
const FAR: f64 = 3.0;

/// The score of an attempt against time: snapshots, validations, the submission and medal lines;
/// none if it has neither.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn attempt(
    attempt: &AttemptReport,
    validations: &[Validation],
) -> Result<Option<Plot>, PlotError> {
    let course = Course::of(attempt, validations);
    if course.points.is_empty() && course.end.is_none() {
        return Ok(None);
    }
    let better = if attempt.grade.lower_is_better {
        "lower scores are better and stand higher"
    } else {
        "higher scores are better"
    };
    let mut caption = format!("Scores were graded afterwards, the agent saw none; {better}.");
    if attempt.grade.thresholds.is_some() {
        caption.push_str(" Lines are the medal thresholds (G, S, B) and the median (M).");
    }
    let scores = || course.points.iter().map(|point| point.1).chain(course.end.map(|end| end.1));
    let range = Range::of(attempt.grade.thresholds, scores());
    let beyond = scores().filter(|score| !range.holds(*score)).count();
    if beyond > 0 {
        caption.push_str(&format!(
            " {beyond} score{} too far away for the scale stand at its edge as triangles.",
            if beyond == 1 { "" } else { "s" }
        ));
    }
    for (all, what) in [(attempt.snapshots.len(), "snapshots"), (validations.len(), "validations")]
    {
        if all > MARKS {
            caption.push_str(&format!(" {MARKS} of {all} {what} are drawn."));
        }
    }
    build("course", "Score against time", caption, |form| {
        draw_course(attempt, &course, range, form)
    })
    .map(Some)
}

/// What is drawn of an attempt; times in seconds.
struct Course {
    points: Vec<(f64, f64)>,
    invalid: Vec<f64>,
    /// Time and verdict of validations.
    asked: Vec<(f64, bool)>,
    /// When the attempt ended, and the score of its submission.
    end: Option<(f64, f64)>,
    longest: f64,
}

impl Course {
    fn of(attempt: &AttemptReport, validations: &[Validation]) -> Self {
        let usable = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        let every = attempt.snapshots.len().div_ceil(MARKS).max(1);
        let snapshots =
            || attempt.snapshots.iter().rev().step_by(every).filter(|s| usable(s.after_s));
        let mut points: Vec<(f64, f64)> = snapshots()
            .filter_map(|s| Some((s.after_s, s.score.filter(|score| score.is_finite())?)))
            .collect();
        points.reverse();
        let every = validations.len().div_ceil(MARKS).max(1);
        let asked: Vec<(f64, bool)> = validations
            .iter()
            .rev()
            .step_by(every)
            .map(|validation| (validation.after_s, validation.valid))
            .filter(|(after_s, _)| usable(*after_s))
            .collect();
        let invalid: Vec<f64> =
            snapshots().filter(|s| s.score.is_none()).map(|s| s.after_s).collect();
        let took = attempt.took_s.filter(|took| usable(*took));
        let longest = points
            .iter()
            .map(|point| point.0)
            .chain(asked.iter().map(|ask| ask.0))
            .chain(invalid.iter().copied())
            .chain(took)
            .fold(1.0, f64::max);
        let score = attempt.grade.score.filter(|score| score.is_finite());
        let end = score.map(|score| (took.unwrap_or(longest), score));
        Self { points, invalid, asked, end, longest }
    }
}

/// The scores that an axis shows.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Thresholds, and scores that do not lie so far from them that nothing else could be seen.
    fn of(thresholds: Option<Thresholds>, scores: impl Iterator<Item = f64>) -> Self {
        let lines: Vec<f64> = thresholds
            .map_or_else(Vec::new, |t| vec![t.gold, t.silver, t.bronze, t.median])
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        let span = |values: &[f64]| {
            values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)))
        };
        let (low, high) = span(&lines);
        let near = |score: &f64| {
            high <= low
                || lines.is_empty()
                || (*score >= low - FAR * (high - low) && *score <= high + FAR * (high - low))
        };
        let mut values: Vec<f64> = scores.filter(near).collect();
        values.extend(&lines);
        let (low, high) = span(&values);
        if !low.is_finite() || !high.is_finite() {
            return Self { low: 0.0, high: 1.0 };
        }
        let pad = if high > low { (high - low) * 0.08 } else { high.abs().max(1e-9) * 0.05 };
        Self { low: low - pad, high: high + pad }
    }

    fn holds(self, score: f64) -> bool {
        score >= self.low && score <= self.high
    }

    /// An axis on which better scores lie towards `best`.
    fn axis(self, lower_is_better: bool, worst: f64, best: f64) -> Axis {
        let (from, to) = if lower_is_better { (best, worst) } else { (worst, best) };
        Axis { low: self.low, high: self.high, from, to }
    }
}

/// Thresholds with their inks and letters, best first; lines that would lie on each other stay, their
/// letters do not.
fn lines(thresholds: Option<Thresholds>) -> Vec<(f64, Ink, &'static str)> {
    let Some(t) = thresholds else { return Vec::new() };
    let medals = [(t.gold, Medal::Gold), (t.silver, Medal::Silver), (t.bronze, Medal::Bronze)];
    let mut lines: Vec<(f64, Ink, &'static str)> = medals
        .into_iter()
        .map(|(value, medal)| {
            let (ink, letter) = medal_ink(medal);
            (value, ink, letter)
        })
        .collect();
    lines.push((t.median, Ink::Muted, "M"));
    lines.retain(|(value, ..)| value.is_finite());
    lines
}

fn draw_course(attempt: &AttemptReport, course: &Course, range: Range, form: Form) -> Scene {
    let mut scene = Scene::new(form.width(), 0.0);
    let top = draw_keys(&mut scene, course, form) + 14.0;
    let bottom = top + if form.is_narrow() { 200.0 } else { 240.0 };
    scene.end_at(bottom + 54.0);
    let lower = attempt.grade.lower_is_better;
    let y = range.axis(lower, bottom, top);
    let ticks = y.ticks(5);
    let room = ticks.iter().map(|tick| text_width(&text::score(Some(*tick)), SMALL));
    let left = room.fold(0.0, f64::max).min(form.width() * 0.3) + 12.0;
    let x = Axis { low: 0.0, high: course.longest, from: left, to: form.width() - 32.0 };
    for tick in ticks {
        scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
        let shown = fit(&text::score(Some(tick)), SMALL, left);
        scene.text(x.from - 8.0, y.at(tick), shown, SMALL, Ink::Muted, Align::Right);
    }
    let mut lettered: Vec<f64> = Vec::new();
    for (value, ink, letter) in lines(attempt.grade.thresholds) {
        let at = y.at(value);
        scene.line((x.from, at), (x.to, at), ink, 2);
        if lettered.iter().all(|other| (other - at).abs() > 12.0) {
            scene.bold(x.to + 18.0, at, letter, SMALL, Ink::Text, Align::Middle);
            lettered.push(at);
        }
    }
    let axis_at = bottom + 22.0;
    for (after_s, valid) in &course.asked {
        let marker = if *valid { Marker::Disc } else { Marker::Box };
        let ink = if *valid { Ink::Series(2) } else { Ink::Series(1) };
        scene.marker(x.at(*after_s), bottom + 10.0, 4.0, ink, marker);
    }
    let (unit, per) = time_unit(course.longest);
    let units = Axis { high: x.high / per, ..x };
    scene.line((x.from, axis_at), (x.to, axis_at), Ink::Grid, 1);
    for tick in units.ticks(if form.is_narrow() { 3 } else { 6 }) {
        let shown = format!("{} {unit}", trim(tick));
        scene.text(units.at(tick), axis_at + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
    }
    let place = |score: f64| y.at(score.clamp(range.low, range.high));
    let mut path: Vec<(f64, f64)> = Vec::new();
    for (after_s, score) in course.points.iter().chain(&course.end) {
        if let Some(last) = path.last().copied() {
            path.push((x.at(*after_s), last.1));
        }
        path.push((x.at(*after_s), place(*score)));
    }
    if path.len() > 1 {
        scene.path(path, Ink::Series(0), 2);
    }
    let mut mark = |(after_s, score): (f64, f64), size: f64, ink: Ink, marker: Marker| {
        let marker = if range.holds(score) { marker } else { Marker::Triangle };
        scene.marker(x.at(after_s), place(score), size, ink, marker);
    };
    for point in &course.points {
        mark(*point, 4.0, Ink::Series(0), Marker::Disc);
    }
    if let Some(end) = course.end {
        mark(end, 7.0, Ink::Text, Marker::Diamond);
    }
    for after_s in &course.invalid {
        scene.marker(x.at(*after_s), bottom - 6.0, 4.0, Ink::Series(1), Marker::Square);
    }
    scene
}

/// What the marks are, as far as the picture has them. Returns the height that it took.
fn draw_keys(scene: &mut Scene, course: &Course, form: Form) -> f64 {
    let keys = [
        (!course.points.is_empty(), "snapshot", Ink::Series(0), Marker::Disc),
        (course.end.is_some(), "submission", Ink::Text, Marker::Diamond),
        (!course.invalid.is_empty(), "invalid snapshot", Ink::Series(1), Marker::Square),
        (course.asked.iter().any(|ask| ask.1), "validation: valid", Ink::Series(2), Marker::Disc),
        (course.asked.iter().any(|ask| !ask.1), "validation: invalid", Ink::Series(1), Marker::Box),
    ];
    let (mut x, mut y) = (0.0, 8.0);
    for (_, name, ink, marker) in keys.into_iter().filter(|key| key.0) {
        let width = 18.0 + text_width(name, SMALL) + 16.0;
        if x > 0.0 && x + width > form.width() {
            (x, y) = (0.0, y + 20.0);
        }
        scene.marker(x + 7.0, y, 4.0, ink, marker);
        scene.text(x + 18.0, y, name, SMALL, Ink::Text, Align::Left);
        x += width;
    }
    y + 8.0
}

/// The scores of all valid submissions at a competition, a row for each version of an agent; none
/// without a score.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub(crate) fn competition(
    competition: &CompetitionReport,
    rows: &[VersionRow<'_>],
) -> Result<Option<Plot>, PlotError> {
    let scores = || rows.iter().flat_map(|row| row.scores.iter().map(|score| score.0));
    let all = scores().count();
    if all == 0 {
        return Ok(None);
    }
    let range = Range::of(competition.thresholds, scores());
    let beyond = scores().filter(|score| !range.holds(*score)).count();
    let better = if competition.lower_is_better { "lower" } else { "higher" };
    let mut caption = format!(
        "One mark a valid submission, better ones ({better} scores) to the right; the bar is the median. Lines are the medal thresholds \
         (G, S, B) and the median of the leaderboard (M), as far as they are known."
    );
    if beyond > 0 {
        caption.push_str(&format!(
            " {beyond} of {all} scores are too far away for the scale and stand at its edge as triangles."
        ));
    }
    if rows.len() > ROWS {
        caption.push_str(&format!(" Drawn are the first {ROWS} of {} rows.", rows.len()));
    }
    let rows = &rows[..rows.len().min(ROWS)];
    build("scores", "Scores", caption, |form| draw_scores(competition, rows, range, form)).map(Some)
}

fn draw_scores(
    competition: &CompetitionReport,
    rows: &[VersionRow<'_>],
    range: Range,
    form: Form,
) -> Scene {
    let name = |row: &VersionRow<'_>| match row.version {
        Some(version) => format!("{} {version}", row.agent),
        None => row.agent.to_owned(),
    };
    let widest = rows.iter().map(|row| text_width(&name(row), SMALL)).fold(0.0, f64::max);
    let (label, heading) =
        if form.is_narrow() { (0.0, 18.0) } else { (widest.min(form.width() * 0.3), 0.0) };
    let (row_height, top) = (heading + 26.0, 22.0);
    let bottom = top + row_height * rows.len() as f64;
    let mut scene = Scene::new(form.width(), bottom + 26.0);
    let x = range.axis(competition.lower_is_better, label + 20.0, form.width() - 16.0);
    for tick in x.ticks(if form.is_narrow() { 3 } else { 6 }) {
        scene.line((x.at(tick), top), (x.at(tick), bottom), Ink::Grid, 1);
        let shown = text::score(Some(tick));
        scene.text(x.at(tick), bottom + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
    }
    let mut lettered: Vec<f64> = Vec::new();
    for (value, ink, letter) in lines(competition.thresholds) {
        let at = x.at(value);
        scene.line((at, top), (at, bottom), ink, 2);
        if lettered.iter().all(|other| (other - at).abs() > 12.0) {
            scene.bold(at, 10.0, letter, SMALL, Ink::Text, Align::Middle);
            lettered.push(at);
        }
    }
    for (i, row) in rows.iter().enumerate() {
        let y = top + row_height * i as f64 + heading + 13.0;
        let (at, align, room) = if form.is_narrow() {
            ((0.0, y - 18.0), Align::Left, form.width())
        } else {
            ((label + 8.0, y), Align::Right, label + 8.0)
        };
        let shown = fit(&name(row), SMALL, room);
        scene.text(at.0, at.1, shown, SMALL, Ink::Text, align);
        for (k, (score, medal)) in row.scores.iter().take(MARKS).enumerate() {
            let (ink, marker) = match medal {
                Some(medal) => (medal_ink(*medal).0, Marker::Diamond),
                None => (Ink::Valid, Marker::Disc),
            };
            let marker = if range.holds(*score) { marker } else { Marker::Triangle };
            // Equal scores would hide each other.
            let beside = [0.0, -5.0, 5.0][k % 3];
            let at = x.at(score.clamp(range.low, range.high));
            scene.marker(at, y + beside, 5.0, ink, marker);
        }
        if let Some(median) = row.median.filter(|median| range.holds(*median)) {
            let at = x.at(median);
            scene.line((at, y - 10.0), (at, y + 10.0), Ink::Text, 2);
        }
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulation;

    fn thresholds() -> Thresholds {
        Thresholds { gold: 0.95, silver: 0.93, bronze: 0.9, median: 0.8 }
    }

    #[test]
    fn a_score_from_another_world_does_not_flatten_the_rest() {
        let range = Range::of(Some(thresholds()), [0.91, 1e12].into_iter());
        assert!(range.high < 1.1 && range.low > 0.7, "{range:?}");
        assert!(range.holds(0.91) && !range.holds(1e12));
        let range = Range::of(None, [3.0].into_iter());
        assert!(range.low < 3.0 && range.high > 3.0, "{range:?}");
        let range = Range::of(None, std::iter::empty());
        assert!(range.low < range.high);
    }

    #[test]
    fn better_is_higher_up_whichever_way_scores_go() {
        let range = Range { low: 0.0, high: 1.0 };
        let higher = range.axis(false, 200.0, 10.0);
        assert!(higher.at(0.9) < higher.at(0.1));
        let lower = range.axis(true, 200.0, 10.0);
        assert!(lower.at(0.1) < lower.at(0.9));
    }

    #[test]
    fn odd_numbers_draw_and_are_counted() {
        let group = Simulation {
            agent: "a".to_owned(),
            competitions: 1,
            seeds: 1,
            shift: 1.0,
            infrastructure: 0.0,
            truth: 1,
            draw: 1,
        }
        .group();
        let mut report = AttemptReport::from(&group.attempts[0]);
        for (snapshot, score) in
            report.snapshots.iter_mut().zip([f64::NAN, 1e300, f64::INFINITY, 0.9])
        {
            snapshot.score = Some(score);
        }
        report.snapshots[4].after_s = f64::NAN;
        let ask = |after_s, valid| Validation { after_s, valid, message: String::new() };
        let asked: Vec<Validation> =
            (0..1_000).map(|i| ask(f64::from(i) - 1.0, i % 2 == 0)).collect();
        let plot = attempt(&report, &asked).expect("draws").expect("has scores");
        assert!(plot.caption.contains("1 score too far away"), "{}", plot.caption);
        assert!(plot.caption.contains("400 of 1000 validations"), "{}", plot.caption);
        assert!(!plot.wide.contains("NaN") && plot.wide.len() < 200_000);
    }
}
