//! The pictures of an experiment.

use super::lines::{Curves, Shares};
use super::scene::{Align, Ink, Marker, PlotError, SERIES, Scene, fit, text_width};
use super::time::time_unit;
use super::{Axis, Form, Plot, SMALL, build};
use crate::experiment::{Curve, ExperimentReport, Front, Growth, PairReport, Table};
use crate::stats::Interval;
use crate::text;

/// All pictures that the report allows. A picture without data is left out.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn experiment(report: &ExperimentReport) -> Result<Vec<Plot>, PlotError> {
    let mut plots = Vec::new();
    let known: Vec<&PairReport> =
        report.pairs.iter().filter(|pair| pair.change.is_some()).collect();
    if !known.is_empty() {
        let caption = "Difference of medal rates, candidate minus baseline, in percentage points. Thick lines are 95% intervals on these \
                       competitions; thin ones hold at every look at once, and are wider before the last."
            .to_owned();
        plots.push(build("differences", "Paired differences", caption, |form| {
            differences(&known, form)
        })?);
    }
    for (i, one) in report.fronts.iter().enumerate() {
        plots.extend(front(one, i)?);
    }
    for (i, table) in report.tables.iter().enumerate() {
        plots.extend(scores(table, i)?);
        plots.extend(context(table, i)?);
        plots.extend(roles(table, i)?);
    }
    Ok(plots)
}

fn differences(pairs: &[&PairReport], form: Form) -> Scene {
    let name = |pair: &PairReport| {
        let pair = &pair.pair;
        format!("{} minus {} ({})", pair.candidate, pair.baseline, pair.setting)
    };
    let widest = pairs.iter().map(|pair| text_width(&name(pair), SMALL)).fold(0.0, f64::max);
    let (label, heading) =
        if form.is_narrow() { (0.0, 18.0) } else { (widest.min(form.width() * 0.45), 0.0) };
    let row = heading + 26.0;
    let bottom = row * pairs.len() as f64 + 8.0;
    let mut scene = Scene::new(form.width(), bottom + 46.0);
    let axis = Axis { low: -1.0, high: 1.0, from: label + 24.0, to: form.width() - 24.0 };
    for tick in axis.ticks(if form.is_narrow() { 2 } else { 4 }) {
        let ink = if tick == 0.0 { Ink::Muted } else { Ink::Grid };
        scene.line((axis.at(tick), 0.0), (axis.at(tick), bottom), ink, 1);
        let shown = if tick == 0.0 { "0".to_owned() } else { format!("{:+.0}", tick * 100.0) };
        scene.text(axis.at(tick), bottom + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
    }
    scene.text(axis.at(0.0), bottom + 34.0, "percentage points", SMALL, Ink::Muted, Align::Middle);
    for (i, pair) in pairs.iter().enumerate() {
        let (top, y) = (row * i as f64, row * i as f64 + heading + (row - heading) / 2.0);
        let (x, at, align, room) = if form.is_narrow() {
            (0.0, top + 10.0, Align::Left, form.width())
        } else {
            (label + 8.0, y, Align::Right, label + 8.0)
        };
        scene.text(x, at, fit(&name(pair), SMALL, room), SMALL, Ink::Text, align);
        let Some(change) = &pair.change else { continue };
        let mut bar = |interval: Option<Interval>, width: u32, ends: f64| {
            let Some(interval) = interval else { return };
            let (a, b) = (axis.at(interval.lower), axis.at(interval.upper));
            scene.line((a, y), (b, y), Ink::Text, width);
            for end in [a, b] {
                scene.line((end, y - ends), (end, y + ends), Ink::Text, width);
            }
        };
        bar(pair.repeated, 1, 6.0);
        bar(change.on_these, 3, 4.0);
        scene.marker(axis.at(change.difference), y, 6.0, Ink::Series(0), Marker::Diamond);
    }
    scene
}

fn front(front: &Front, number: usize) -> Result<Option<Plot>, PlotError> {
    if front.points.is_empty() {
        return Ok(None);
    }
    let mut caption = "LLM cost of an attempt against medal rate. The stepped line joins what nothing beats at the same or a lower cost \
                       (the Pareto front)."
        .to_owned();
    if front.points.iter().any(|point| point.cost.exact().is_none()) {
        caption.push_str(
            " Where a price is missing the cost is a lower bound, marked \u{2265}, and not on the front.",
        );
    }
    if !front.left_out.is_empty() {
        caption.push_str(&format!(
            " Left out, since their cost is not recorded or not priced: {}.",
            front.left_out.join(", ")
        ));
    }
    let title = format!("Cost against medals: {}, {}", front.of, front.suite);
    build(&format!("front-{number}"), &title, caption, |form| draw_front(front, form)).map(Some)
}

fn draw_front(front: &Front, form: Form) -> Scene {
    let height = 300.0;
    let mut scene = Scene::new(form.width(), height + 50.0);
    let usd = |cost: crate::llm::Cost| cost.usd().unwrap_or(0.0);
    let dearest = front.points.iter().map(|point| usd(point.cost)).fold(0.0, f64::max);
    let high = if dearest > 0.0 { dearest * 1.12 } else { 1.0 };
    let x = Axis { low: 0.0, high, from: 46.0, to: form.width() - 24.0 };
    let y = Axis { low: 0.0, high: 1.0, from: height, to: 16.0 };
    for tick in y.ticks(5) {
        scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
        let shown = text::percent(Some(tick)).replace(".0", "");
        scene.text(x.from - 8.0, y.at(tick), shown, SMALL, Ink::Muted, Align::Right);
    }
    for tick in x.ticks(if form.is_narrow() { 3 } else { 6 }) {
        let shown = text::dollars(tick);
        scene.text(x.at(tick), height + 14.0, shown, SMALL, Ink::Muted, Align::Middle);
    }
    let middle = f64::midpoint(x.from, x.to);
    scene.text(middle, height + 34.0, "US dollars an attempt", SMALL, Ink::Muted, Align::Middle);
    let mut best: Vec<(f64, f64)> =
        front.points.iter().filter(|p| p.on_front).map(|p| (usd(p.cost), p.medal_rate)).collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut path: Vec<(f64, f64)> = Vec::new();
    for (cost, rate) in best {
        if let Some(last) = path.last().copied() {
            path.push((x.at(cost), last.1));
        }
        path.push((x.at(cost), y.at(rate)));
    }
    if path.len() > 1 {
        scene.path(path, Ink::Muted, 1);
    }
    let mut named: Vec<(f64, f64)> = Vec::new();
    for point in &front.points {
        let (px, py) = (x.at(usd(point.cost)), y.at(point.medal_rate));
        let series = point.series;
        scene.marker(px, py, 6.0, Ink::Series(series), Marker::of_series(series));
        let mark = if point.cost.exact().is_some() { "" } else { "\u{2265} " };
        let name = fit(&format!("{mark}{}", point.name), SMALL, form.width() / 2.0);
        let right = px + 12.0 + text_width(&name, SMALL) > form.width();
        let (at, align) = if right { (-11.0, Align::Right) } else { (11.0, Align::Left) };
        // Away from the edge that the point is nearer to, and from names that stand there already.
        let step = if point.medal_rate > 0.5 { 15.0 } else { -15.0 };
        let mut line = py + step * 0.7;
        let room = text_width(&name, SMALL);
        while named.iter().any(|(x, y)| (x - px).abs() < room && (y - line).abs() < 14.0) {
            line += step;
        }
        named.push((px, line));
        scene.text(px + at, line, name, SMALL, Ink::Text, align);
    }
    scene
}

/// What a caption says of curves that rest on a part of the attempts.
fn basis(growth: &Growth) -> String {
    let of = |curve: &Curve| {
        let all = curve.attempts + curve.left_out;
        match curve.attempts {
            0 => format!("{}: not recorded", curve.name),
            attempts => format!("{}: {attempts} of {all} attempts", curve.name),
        }
    };
    growth.curves.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn drawn(growth: &Growth) -> (Vec<&str>, Vec<&[(f64, f64)]>) {
    let shown = growth.curves.iter().take(SERIES);
    shown.map(|curve| (curve.name.as_str(), curve.points.as_slice())).unzip()
}

fn scores(table: &Table, number: usize) -> Result<Vec<Plot>, PlotError> {
    const HOW: &str = "Normalised score of the submission: the share of the way from the median to the gold threshold, cut to 0 to 100%, 0 before \
                       the first valid one; averaged over the attempts at a competition and then over competitions. Where no snapshot was \
                       graded an attempt counts from its end on.";
    let percent = |value: f64| text::percent(Some(value)).replace(".0", "");
    let mut plots = Vec::new();
    if !table.time.is_empty() {
        let (names, points) = drawn(&table.time);
        let end = points.iter().flat_map(|p| p.iter()).map(|p| p.0).fold(0.0, f64::max);
        let (unit, per) = time_unit(end);
        let label = format!("elapsed time, {unit}");
        let snapshots: usize = table.time.curves.iter().map(|curve| curve.with_snapshots).sum();
        let caption =
            format!("{HOW} {}. Attempts with graded snapshots: {snapshots}.", basis(&table.time));
        let curves = Curves {
            names,
            points,
            x_label: &label,
            high: 1.0,
            x_text: &|x| text::score(Some(x)),
            x_unit: per,
            y_text: &percent,
            steps: true,
        };
        let title = format!("Score against time: {}", table.setting);
        plots.push(build(&format!("score-time-{number}"), &title, caption, |form| {
            curves.draw(form)
        })?);
    }
    if !table.dollars.is_empty() {
        let (names, points) = drawn(&table.dollars);
        let caption = format!(
            "{HOW} Only attempts all of whose calls have a price. {}.",
            basis(&table.dollars)
        );
        let curves = Curves {
            names,
            points,
            x_label: "US dollars spent",
            high: 1.0,
            x_text: &text::dollars,
            x_unit: 1.0,
            y_text: &percent,
            steps: true,
        };
        let title = format!("Score against dollars: {}", table.setting);
        plots.push(build(&format!("score-dollars-{number}"), &title, caption, |form| {
            curves.draw(form)
        })?);
    }
    Ok(plots)
}

fn context(table: &Table, number: usize) -> Result<Option<Plot>, PlotError> {
    if table.context.is_empty() {
        return Ok(None);
    }
    let (names, points) = drawn(&table.context);
    let all = || points.iter().flat_map(|points| points.iter());
    let (unit, per) = time_unit(all().map(|p| p.0).fold(0.0, f64::max));
    let high = all().map(|p| p.1).fold(0.0, f64::max) * 1.08;
    let label = format!("elapsed time, {unit}");
    let caption = format!(
        "Tokens that a call of a conversation reads, cached ones too: the median over the calls of a twenty-fourth of the time. {}.",
        basis(&table.context)
    );
    let curves = Curves {
        names,
        points,
        x_label: &label,
        high,
        x_text: &|x| text::score(Some(x)),
        x_unit: per,
        y_text: &|y| text::tokens(y.max(0.0) as u64),
        steps: false,
    };
    let title = format!("Context length over time: {}", table.setting);
    build(&format!("context-{number}"), &title, caption, |form| curves.draw(form)).map(Some)
}

fn roles(table: &Table, number: usize) -> Result<Option<Plot>, PlotError> {
    let mut parts: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for roles in &table.roles {
        let shares: Vec<(&str, f64)> =
            roles.roles.iter().filter_map(|role| Some((role.role.as_str(), role.share?))).collect();
        if shares.is_empty() {
            continue;
        }
        let placed = shares.into_iter().map(|(role, share)| {
            let place = parts.iter().position(|part| *part == role).unwrap_or_else(|| {
                parts.push(role);
                parts.len() - 1
            });
            (place, share)
        });
        let placed: Vec<(usize, f64)> = placed.collect();
        let told = format!("{} of {} attempts", roles.recorded, roles.attempts);
        rows.push((roles.name.as_str(), told, placed));
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let caption = "Share of the dollars of all calls by the part of the agent that made them, as it names itself to the gateway; where it names none \
                   the model's name stands. Letters are those of the parts."
        .to_owned();
    let shares = Shares { rows, parts };
    let title = format!("Money by role: {}", table.setting);
    build(&format!("roles-{number}"), &title, caption, |form| shares.draw(form)).map(Some)
}
