//! Pictures that compare agents: medal rates, outcomes, percentile profiles, cost.

use std::collections::BTreeMap;

use super::scene::{Align, Ink, Marker, PlotError, Scene, fit, text_width};
use super::{
    Axis, Form, Plot, SMALL, TEXT, build, legend, percent_axis, percent_grid, percent_lines,
};
use crate::attempt::{Measure, Medal};
use crate::data::{AgentReport, Breakdown, ReportData};
use crate::text::capitalised;

/// Medal rate overall, by complexity and by modality, with intervals.
pub(super) fn rates(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    if data.agents.is_empty() {
        return Ok(None);
    }
    let caption =
        "Share of attempts with any medal. Lines are 95% intervals: for several competitions how far the rate would \
                   move on other competitions like these, for a single one over its attempts. \
                   Numbers are medals of attempts."
            .to_owned();
    build("medal-rates", "Medal rate by complexity and modality", caption, |form| {
        draw_rates(data, form)
    })
    .map(Some)
}

type Section<'a> = (&'static str, Vec<(String, Vec<Option<&'a Breakdown>>)>);

fn sections(data: &ReportData) -> Vec<Section<'_>> {
    let find = |of: fn(&AgentReport) -> &Vec<Breakdown>| {
        let mut names: Vec<String> = Vec::new();
        for part in data.agents.iter().flat_map(of) {
            if !names.contains(&part.name) {
                names.push(part.name.clone());
            }
        }
        names
            .into_iter()
            .map(|name| {
                let parts = data
                    .agents
                    .iter()
                    .map(|a| of(a).iter().find(|part| part.name == name))
                    .collect();
                (name, parts)
            })
            .collect::<Vec<_>>()
    };
    let overall = vec![(
        "All competitions".to_owned(),
        data.agents.iter().map(|a| Some(&a.overall)).collect(),
    )];
    vec![
        ("", overall),
        ("Complexity", find(|a| &a.by_complexity)),
        ("Modality", find(|a| &a.by_modality)),
    ]
}

fn draw_rates(data: &ReportData, form: Form) -> Scene {
    let sections = sections(data);
    let names: Vec<&str> = data.agents.iter().map(|a| a.agent.as_str()).collect();
    let lane = 17.0;
    let heading = if form.is_narrow() { 20.0 } else { 0.0 };
    let row = heading + lane * names.len() as f64 + 12.0;
    let rows: usize = sections.iter().map(|(_, rows)| rows.len()).sum();
    let titles = sections.iter().filter(|(title, _)| !title.is_empty()).count() as f64 * 34.0;
    let mut scene = Scene::new(
        form.width(),
        40.0 + 20.0 * names.len() as f64 + titles + row * rows as f64 + 30.0,
    );
    let mut y = legend(&mut scene, &names, 0.0, form) + 10.0;
    let label_width = sections
        .iter()
        .flat_map(|(_, rows)| rows)
        .map(|(name, _)| text_width(name, TEXT))
        .fold(0.0, f64::max)
        .min(220.0);
    let from = if form.is_narrow() { 14.0 } else { label_width + 24.0 };
    let axis = Axis { low: 0.0, high: 1.0, from, to: form.width() - 84.0 };
    for (title, rows) in &sections {
        if rows.is_empty() {
            continue;
        }
        if !title.is_empty() {
            y += 12.0;
            scene.bold(0.0, y + 8.0, *title, TEXT, Ink::Muted, Align::Left);
            y += 22.0;
        }
        let bottom = y + row * rows.len() as f64 - 12.0;
        for tick in axis.ticks(if form.is_narrow() { 2 } else { 5 }) {
            scene.line(
                (axis.at(tick), y + heading - 4.0),
                (axis.at(tick), bottom + 4.0),
                Ink::Grid,
                1,
            );
        }
        for (name, parts) in rows {
            let shown = capitalised(name);
            if form.is_narrow() {
                scene.text(
                    0.0,
                    y + 8.0,
                    fit(&shown, TEXT, form.width()),
                    TEXT,
                    Ink::Text,
                    Align::Left,
                );
            } else {
                let middle = y + lane * names.len() as f64 / 2.0;
                scene.text(
                    label_width + 8.0,
                    middle,
                    fit(&shown, TEXT, label_width + 8.0),
                    TEXT,
                    Ink::Text,
                    Align::Right,
                );
            }
            for (i, part) in parts.iter().enumerate() {
                let Some(part) = part else { continue };
                let estimate = part.get(Measure::AnyMedal);
                let Some(value) = estimate.value else { continue };
                let middle = y + heading + lane * (i as f64 + 0.5);
                if let Some((interval, _)) = estimate.headline() {
                    let (a, b) = (axis.at(interval.lower), axis.at(interval.upper));
                    scene.line((a, middle), (b, middle), Ink::Series(i), 2);
                    scene.line((a, middle - 4.0), (a, middle + 4.0), Ink::Series(i), 2);
                    scene.line((b, middle - 4.0), (b, middle + 4.0), Ink::Series(i), 2);
                }
                scene.marker(axis.at(value), middle, 5.0, Ink::Series(i), Marker::of_series(i));
                let count = format!("{:.0} of {}", estimate.sum, estimate.attempts);
                scene.text(form.width() - 2.0, middle, count, SMALL, Ink::Muted, Align::Right);
            }
            y += row;
        }
        y = bottom + 8.0;
    }
    percent_grid(&mut scene, axis, y - 4.0, y, form);
    scene.end_at(y + 24.0);
    scene
}

/// How attempts ended: medals, valid, invalid, none, infrastructure.
pub(super) fn outcomes(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    if data.agents.is_empty() {
        return Ok(None);
    }
    let caption =
        "What became of every planned attempt. Infrastructure failures are the machine's fault and are shown apart; \
                   in every rate they count as attempts without a medal."
            .to_owned();
    build("outcomes", "What became of the attempts", caption, |form| draw_outcomes(data, form))
        .map(Some)
}

fn draw_outcomes(data: &ReportData, form: Form) -> Scene {
    let kinds: [(&str, &str, Ink); 7] = [
        ("Gold", "G", Ink::Gold),
        ("Silver", "S", Ink::Silver),
        ("Bronze", "B", Ink::Bronze),
        ("Valid, no medal", "V", Ink::Valid),
        ("Invalid or none", "I", Ink::Invalid),
        ("Infrastructure", "X", Ink::Infrastructure),
        ("Unfinished", "U", Ink::Unfinished),
    ];
    let row = 52.0;
    let columns = if form.is_narrow() { 2 } else { 7 };
    let legend_height = kinds.len().div_ceil(columns) as f64 * 20.0 + 8.0;
    let mut scene = Scene::new(form.width(), legend_height + row * data.agents.len() as f64 + 4.0);
    let mut x = 0.0;
    for (i, (name, letter, ink)) in kinds.iter().enumerate() {
        let y = 9.0 + (i / columns) as f64 * 20.0;
        if form.is_narrow() {
            x = (i % 2) as f64 * 160.0;
        }
        scene.area(x, y - 8.0, 16.0, 16.0, *ink);
        scene.bold(x + 8.0, y, *letter, 11.0, Ink::OnMedal, Align::Middle);
        scene.text(x + 22.0, y, *name, SMALL, Ink::Text, Align::Left);
        x += 22.0 + text_width(name, SMALL) + 20.0;
    }
    for (i, agent) in data.agents.iter().enumerate() {
        let c = &agent.counts;
        let lost = data
            .attempts_of(&agent.agent)
            .filter(|a| a.infrastructure && a.grade.medal.is_none())
            .count();
        let plain = data
            .attempts_of(&agent.agent)
            .filter(|a| !a.infrastructure && a.grade.valid && a.grade.medal.is_none())
            .count();
        let bad = c.planned.saturating_sub(c.medals() + lost + plain + c.unfinished);
        let values = [c.gold, c.silver, c.bronze, plain, bad, lost, c.unfinished];
        let y = legend_height + row * i as f64;
        let total = format!("{} attempts", c.planned);
        let room = form.width() - text_width(&total, SMALL) - 12.0;
        scene.bold(0.0, y + 10.0, fit(&agent.agent, TEXT, room), TEXT, Ink::Text, Align::Left);
        scene.text(form.width(), y + 10.0, total, SMALL, Ink::Muted, Align::Right);
        let scale = form.width() / c.planned.max(1) as f64;
        let mut x = 0.0;
        for ((_, letter, ink), n) in kinds.iter().zip(values) {
            if n == 0 {
                continue;
            }
            let w = n as f64 * scale;
            scene.area(x, y + 20.0, (w - 2.0).max(1.0), 22.0, *ink);
            let fits = [format!("{letter} {n}"), n.to_string()]
                .into_iter()
                .find(|l| w > text_width(l, SMALL) + 6.0);
            if let Some(label) = fits {
                scene.bold(x + w / 2.0 - 1.0, y + 31.0, label, SMALL, Ink::OnMedal, Align::Middle);
            }
            x += w;
        }
    }
    let end = legend_height + row * data.agents.len() as f64;
    let axis = percent_axis(&mut scene, end, form);
    scene.end_at(end + axis);
    scene
}

/// Percentile ranks of each agent's attempts, best first.
pub(super) fn percentiles(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    let profiles: Vec<Vec<f64>> = data
        .agents
        .iter()
        .map(|agent| {
            let mut values: Vec<f64> = data
                .attempts_of(&agent.agent)
                .filter_map(|a| Measure::Percentile.value(&a.grade))
                .collect();
            values.sort_by(|a, b| b.total_cmp(a));
            values
        })
        .collect();
    if profiles.iter().all(|values| values.iter().filter(|v| **v > 0.0).count() < 2) {
        return Ok(None);
    }
    let caption = "Each attempt's place on its Kaggle leaderboard, as the share of teams that are not better, sorted from best to worst. \
                   A curve further up is better everywhere; attempts without a valid submission lie at 0%."
        .to_owned();
    build("percentiles", "Percentile profiles", caption, |form| {
        draw_percentiles(data, &profiles, form)
    })
    .map(Some)
}

fn draw_percentiles(data: &ReportData, profiles: &[Vec<f64>], form: Form) -> Scene {
    let names: Vec<&str> = data.agents.iter().map(|a| a.agent.as_str()).collect();
    let plot_height = if form.is_narrow() { 220.0 } else { 280.0 };
    let mut scene = Scene::new(form.width(), 20.0 * names.len() as f64 + plot_height + 70.0);
    let top = legend(&mut scene, &names, 0.0, form) + 12.0;
    let bottom = top + plot_height;
    scene.end_at(bottom + 46.0);
    let y = Axis { low: 0.0, high: 1.0, from: bottom, to: top };
    let x = Axis { low: 0.0, high: 1.0, from: 46.0, to: form.width() - 12.0 };
    percent_lines(&mut scene, x, y, 4);
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let align = if tick == 1.0 { Align::Right } else { Align::Middle };
        scene.text(
            x.at(tick),
            bottom + 14.0,
            format!("{}%", tick * 100.0),
            SMALL,
            Ink::Muted,
            align,
        );
    }
    let middle = f64::midpoint(x.from, x.to);
    scene.text(
        middle,
        bottom + 34.0,
        "share of attempts, best first",
        SMALL,
        Ink::Muted,
        Align::Middle,
    );
    for (i, values) in profiles.iter().enumerate() {
        let n = values.len() as f64;
        let mut points = Vec::with_capacity(values.len() * 2);
        for (k, value) in values.iter().enumerate() {
            points.push((x.at(k as f64 / n), y.at(*value)));
            points.push((x.at((k + 1) as f64 / n), y.at(*value)));
        }
        if points.is_empty() {
            continue;
        }
        let every = values.len().div_ceil(8);
        for (k, value) in values.iter().enumerate().filter(|(k, _)| k % every == 0) {
            scene.marker(
                x.at((k as f64 + 0.5) / n),
                y.at(*value),
                4.0,
                Ink::Series(i),
                Marker::of_series(i),
            );
        }
        scene.path(points, Ink::Series(i), 2);
    }
    scene
}

/// What an agent's attempts cost and won.
struct CostPoint {
    agent: usize,
    /// Dollars an attempt, or their lower bound.
    cost: f64,
    rate: f64,
    /// Whether nothing is missing in the cost.
    is_exact: bool,
}

/// Cost against medal rate with the Pareto front.
pub(super) fn cost(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    let points: Vec<CostPoint> = data
        .agents
        .iter()
        .enumerate()
        .filter_map(|(i, agent)| {
            let cost = agent.llm.as_ref()?.per_attempt?;
            Some(CostPoint {
                agent: i,
                cost: cost.usd()?,
                rate: agent.overall.get(Measure::AnyMedal).value?,
                is_exact: cost.exact().is_some(),
            })
        })
        .collect();
    if points.len() < 2 {
        return Ok(None);
    }
    let mut caption = "LLM cost of an attempt against medal rate. The stepped line joins agents that none beats at the same or a lower \
                   cost (the Pareto front); dashed lines join agents with the same backbone, which stands in brackets."
        .to_owned();
    if points.iter().any(|point| !point.is_exact) {
        caption.push_str(
            " Where a price is missing the cost is a lower bound, marked \u{2265}, and the agent is not on the front.",
        );
    }
    let left_out = data.agents.len() - points.len();
    if left_out > 0 {
        caption.push_str(&format!(
            " Left out: {left_out} of {} agents, whose cost is not recorded or not priced.",
            data.agents.len()
        ));
    }
    build("cost", "Cost against medal rate", caption, |form| draw_cost(data, &points, form))
        .map(Some)
}

fn draw_cost(data: &ReportData, points: &[CostPoint], form: Form) -> Scene {
    let height = 320.0;
    let mut scene = Scene::new(form.width(), height + 50.0);
    let dearest = points.iter().map(|point| point.cost).fold(0.0, f64::max);
    let x = Axis { low: 0.0, high: dearest * 1.08, from: 46.0, to: form.width() - 16.0 };
    let y = Axis { low: 0.0, high: 1.0, from: height, to: 16.0 };
    percent_lines(&mut scene, x, y, 5);
    for tick in x.ticks(if form.is_narrow() { 3 } else { 6 }) {
        scene.text(
            x.at(tick),
            height + 14.0,
            crate::text::dollars(tick),
            SMALL,
            Ink::Muted,
            Align::Middle,
        );
    }
    scene.text(
        f64::midpoint(x.from, x.to),
        height + 34.0,
        "US dollars an attempt",
        SMALL,
        Ink::Muted,
        Align::Middle,
    );
    let mut sorted: Vec<&CostPoint> = points.iter().collect();
    sorted.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.rate.total_cmp(&a.rate)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    let mut best = f64::NEG_INFINITY;
    for point in sorted.iter().filter(|point| point.is_exact) {
        if point.rate > best {
            if let Some(last) = front.last().copied() {
                front.push((x.at(point.cost), last.1));
            }
            front.push((x.at(point.cost), y.at(point.rate)));
            best = point.rate;
        }
    }
    scene.path(front, Ink::Muted, 1);
    let mut last: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for point in &sorted {
        if let Some(backbone) = &data.agents[point.agent].backbone {
            let point = (x.at(point.cost), y.at(point.rate));
            if let Some(before) = last.insert(backbone, point) {
                scene.dashed(before, point, Ink::Muted);
            }
        }
    }
    for CostPoint { agent: i, cost, rate, is_exact } in points {
        let agent = &data.agents[*i];
        scene.marker(x.at(*cost), y.at(*rate), 6.0, Ink::Series(*i), Marker::of_series(*i));
        let mark = if *is_exact { "" } else { "\u{2265} " };
        let name = match &agent.backbone {
            Some(backbone) => format!("{mark}{} [{backbone}]", agent.agent),
            None => format!("{mark}{}", agent.agent),
        };
        let name = fit(&name, SMALL, form.width() / 2.0);
        let right = x.at(*cost) + 12.0 + text_width(&name, SMALL) > form.width();
        let (at, align) = if right { (-11.0, Align::Right) } else { (11.0, Align::Left) };
        scene.text(x.at(*cost) + at, y.at(*rate), name, SMALL, Ink::Text, align);
    }
    scene
}

/// Ink and letter of a medal.
pub(super) fn medal_ink(medal: Medal) -> (Ink, &'static str) {
    match medal {
        Medal::Gold => (Ink::Gold, "G"),
        Medal::Silver => (Ink::Silver, "S"),
        Medal::Bronze => (Ink::Bronze, "B"),
    }
}
