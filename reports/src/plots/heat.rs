//! Heat map: competitions by seeds, one block of columns an agent.

use super::agents::medal_ink;
use super::scene::{Align, Ink, PlotError, Scene, fit, text_width};
use super::{Form, Plot, SMALL, TEXT, build};
use crate::data::{AttemptReport, CompetitionReport, ReportData, Standing, part_key};
use crate::text::capitalised;

/// Medals of every attempt.
pub(super) fn medals(data: &ReportData) -> Result<Option<Plot>, PlotError> {
    if data.competitions.is_empty() {
        return Ok(None);
    }
    let caption = "One cell an attempt, one column a seed. G, S, B: gold, silver, bronze; \u{2022}: valid, no medal; \u{2013}: no valid \
                   submission; X: infrastructure failure; ?: unfinished; empty: not planned."
        .to_owned();
    build("heat-map", "Competitions and seeds", caption, |form| draw(data, form)).map(Some)
}

fn draw(data: &ReportData, form: Form) -> Scene {
    let ordered: Vec<&CompetitionReport> =
        data.by_complexity().map(|c| &data.competitions[c]).collect();
    let complexity = |competition: &CompetitionReport| part_key(&competition.facts.complexity);
    let most = |agent: &str| {
        data.competitions
            .iter()
            .filter_map(|c| c.results.iter().find(|r| r.agent == agent))
            .map(|r| r.attempts)
            .max()
            .unwrap_or(0)
    };
    let columns: Vec<usize> = data.agents.iter().map(|a| most(&a.agent)).collect();
    let total: usize = columns.iter().sum();
    let gaps = (columns.len().saturating_sub(1)) as f64 * 14.0;
    let longest =
        data.competitions.iter().map(|c| text_width(&c.facts.id, SMALL)).fold(0.0, f64::max);
    let names_above = form.is_narrow();
    let label_width = if names_above { 0.0 } else { longest.min(form.width() * 0.42) + 76.0 };
    let room = form.width() - label_width - gaps;
    let cell_width = (room / total.max(1) as f64).clamp(8.0, 64.0).floor();
    let (cell_height, row) = if names_above { (22.0, 44.0) } else { (24.0, 27.0) };
    let top = 44.0;
    let mut scene = Scene::new(form.width(), top + row * data.competitions.len() as f64 + 6.0);
    let mut x = label_width;
    for (i, agent) in data.agents.iter().enumerate() {
        let width = cell_width * columns[i] as f64;
        scene.bold(x, 10.0, fit(&agent.agent, TEXT, width + 10.0), TEXT, Ink::Text, Align::Left);
        if cell_width >= 16.0 {
            for k in 0..columns[i] {
                let middle = x + cell_width * (k as f64 + 0.5);
                scene.text(middle, 30.0, k.to_string(), SMALL, Ink::Muted, Align::Middle);
            }
        }
        for (r, competition) in ordered.iter().enumerate() {
            let y = top + row * r as f64 + if names_above { 20.0 } else { 0.0 };
            let attempts = data
                .attempts_of(&agent.agent)
                .filter(|attempt| attempt.key.competition == competition.facts.id);
            for (k, attempt) in attempts.enumerate() {
                draw_cell(
                    &mut scene,
                    attempt,
                    x + cell_width * k as f64,
                    y,
                    cell_width - 2.0,
                    cell_height,
                );
            }
        }
        x += width + 14.0;
    }
    for (r, competition) in ordered.iter().enumerate() {
        let y = top + row * r as f64;
        if r == 0 || complexity(ordered[r - 1]) != complexity(competition) {
            // A rule and a word where another complexity begins.
            scene.line((0.0, y - 2.0), (form.width(), y - 2.0), Ink::Grid, 1);
            if !names_above {
                let name = capitalised(&competition.facts.complexity);
                scene.bold(0.0, y + cell_height / 2.0, name, SMALL, Ink::Muted, Align::Left);
            }
        }
        if names_above {
            scene.text(
                0.0,
                y + 9.0,
                fit(&competition.facts.id, SMALL, form.width()),
                SMALL,
                Ink::Text,
                Align::Left,
            );
        } else {
            let name = fit(&competition.facts.id, SMALL, label_width - 12.0);
            scene.text(
                label_width - 12.0,
                y + cell_height / 2.0,
                name,
                SMALL,
                Ink::Text,
                Align::Right,
            );
        }
    }
    scene
}

fn draw_cell(scene: &mut Scene, attempt: &AttemptReport, x: f64, y: f64, w: f64, h: f64) {
    let (ink, letter, opacity, on) = match attempt.standing() {
        Standing::Medal(medal) => {
            let (ink, letter) = medal_ink(medal);
            (ink, letter, 1.0, Ink::OnMedal)
        }
        Standing::Infrastructure => (Ink::Infrastructure, "X", 1.0, Ink::OnMedal),
        Standing::Unfinished => (Ink::Unfinished, "?", 1.0, Ink::OnMedal),
        Standing::Valid => (Ink::Valid, "\u{2022}", 0.22, Ink::Text),
        Standing::Invalid => (Ink::Invalid, "\u{2013}", 0.18, Ink::Muted),
    };
    scene.tint(x, y, w, h, ink, opacity);
    if w >= 12.0 {
        scene.bold(x + w / 2.0, y + h / 2.0, letter, SMALL, on, Align::Middle);
    }
}
