//! The pictures of a report. Each is drawn twice, for wide and for narrow pages, because
//! scaled-down text cannot be read.

mod agents;
mod attempt;
mod compare;
mod experiment;
mod heat;
mod history;
mod lines;
mod raster;
mod scene;
mod time;

/// The report cut to as many agents as there are colours.
fn best(data: &ReportData) -> ReportData {
    let agents = data.agents[..scene::SERIES].to_vec();
    let kept = |agent: &str| agents.iter().any(|a| a.agent == agent);
    ReportData {
        format: data.format,
        title: data.title.clone(),
        generated_at: data.generated_at,
        harness_version: data.harness_version.clone(),
        groups: Vec::new(),
        competitions: data
            .competitions
            .iter()
            .map(|c| CompetitionReport {
                facts: c.facts.clone(),
                thresholds: c.thresholds,
                lower_is_better: c.lower_is_better,
                results: c.results.iter().filter(|r| kept(&r.agent)).cloned().collect(),
            })
            .collect(),
        attempts: data.attempts.iter().filter(|a| kept(&a.key.agent)).cloned().collect(),
        agents,
        difference: None,
        warnings: Vec::new(),
    }
}

pub use self::attempt::attempt;
pub(crate) use self::attempt::competition;
pub use self::compare::difference;
pub use self::experiment::experiment;
pub use self::history::history;
pub use self::scene::PlotError;
pub use crate::palette::Theme;

use serde::Serialize;

use crate::data::{CompetitionReport, ReportData};
use crate::plots::scene::{Align, Ink, Marker, Scene, text_width};

/// A picture in the sizes of a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plot {
    /// Stable name, used as file name and anchor.
    pub id: String,
    /// Heading.
    pub title: String,
    /// What to see in it and how it was computed, in one or two sentences.
    pub caption: String,
    /// `<svg>` element for wide pages.
    pub wide: String,
    /// `<svg>` element for narrow pages.
    pub narrow: String,
    #[serde(skip)]
    scene: Scene,
}

impl Plot {
    /// The wide picture as an SVG file of its own, with heading and caption and the colours of both
    /// themes.
    ///
    /// # Errors
    /// [`PlotError`] if the plotting library fails.
    pub fn to_file(&self) -> Result<String, PlotError> {
        let svg = self.scene.framed(&self.title, &self.caption).to_svg(&self.title)?;
        let style = format!(
            "<style>{}svg{{background:var(--surface)}}text{{font-family:system-ui,sans-serif}}</style>",
            crate::palette::css()
        );
        Ok(match svg.find('>') {
            Some(end) => format!("{}{style}{}", &svg[..=end], &svg[end + 1..]),
            None => svg,
        })
    }

    /// The same as a PNG file in the colours of one theme, 2128 pixels wide.
    ///
    /// # Errors
    /// [`PlotError`] if the picture is too large to be held in memory.
    pub fn to_png(&self, theme: Theme) -> Result<Vec<u8>, PlotError> {
        self.scene.framed(&self.title, &self.caption).to_png(theme)
    }
}

/// Page widths, in CSS pixels, that pictures are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Wide,
    Narrow,
}

impl Form {
    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Wide => 1016.0,
            Self::Narrow => 354.0,
        }
    }

    pub(crate) fn is_narrow(self) -> bool {
        self == Self::Narrow
    }
}

/// Text size of everything but headings inside pictures.
pub(crate) const TEXT: f64 = 13.0;
/// Text size of axis numbers.
pub(crate) const SMALL: f64 = 12.0;

/// All pictures that the data allow. A picture without data is left out.
///
/// # Errors
/// [`PlotError`] if the plotting library fails.
pub fn all(data: &ReportData) -> Result<Vec<Plot>, PlotError> {
    if data.agents.len() > scene::SERIES {
        let mut plots = all(&best(data))?;
        for plot in &mut plots {
            plot.caption.push_str(&format!(
                " Drawn are the best {} of {} agents.",
                scene::SERIES,
                data.agents.len()
            ));
        }
        return Ok(plots);
    }
    let drawn = [
        agents::rates(data)?,
        agents::outcomes(data)?,
        heat::medals(data)?,
        agents::percentiles(data)?,
        time::phases(data)?,
        time::spent(data)?,
        time::scores(data)?,
        agents::cost(data)?,
    ];
    Ok(drawn.into_iter().flatten().collect())
}

pub(crate) fn build(
    id: &str,
    title: &str,
    caption: String,
    draw: impl Fn(Form) -> Scene,
) -> Result<Plot, PlotError> {
    let scene = draw(Form::Wide);
    Ok(Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        wide: scene.to_svg(title)?,
        narrow: draw(Form::Narrow).to_svg(title)?,
        caption,
        scene,
    })
}

/// A linear axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Axis {
    pub(crate) fn at(self, value: f64) -> f64 {
        let share =
            if self.high > self.low { (value - self.low) / (self.high - self.low) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers inside the axis, about `count` of them.
    pub(crate) fn ticks(self, count: usize) -> Vec<f64> {
        let span = self.high - self.low;
        if span <= 0.0 || !span.is_finite() || count == 0 {
            return vec![self.low];
        }
        let rough = span / count as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|s| *s >= rough)
            .unwrap_or(power * 10.0);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// Vertical grid lines with percent labels below.
pub(crate) fn percent_grid(scene: &mut Scene, axis: Axis, top: f64, bottom: f64, form: Form) {
    for tick in axis.ticks(if form.is_narrow() { 4 } else { 5 }) {
        let x = axis.at(tick);
        scene.line((x, top), (x, bottom), Ink::Grid, 1);
        scene.text(
            x,
            bottom + 12.0,
            format!("{}%", (tick * 100.0).round()),
            SMALL,
            Ink::Muted,
            Align::Middle,
        );
    }
}

/// Horizontal grid lines from end to end of `x`, at about `count` places of `y`, with percent labels
/// left of them.
pub(crate) fn percent_lines(scene: &mut Scene, x: Axis, y: Axis, count: usize) {
    for tick in y.ticks(count) {
        scene.line((x.from, y.at(tick)), (x.to, y.at(tick)), Ink::Grid, 1);
        scene.text(
            x.from - 8.0,
            y.at(tick),
            format!("{}%", (tick * 100.0).round()),
            SMALL,
            Ink::Muted,
            Align::Right,
        );
    }
}

/// An axis in percent below bars that take the whole width. Returns the height it took.
pub(crate) fn percent_axis(scene: &mut Scene, top: f64, form: Form) -> f64 {
    let axis = Axis { low: 0.0, high: 1.0, from: 0.0, to: form.width() };
    scene.line((axis.from, top), (axis.to, top), Ink::Grid, 1);
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let align = match tick {
            0.0 => Align::Left,
            1.0 => Align::Right,
            _ => Align::Middle,
        };
        let x = axis.at(tick);
        scene.line((x, top), (x, top + 4.0), Ink::Muted, 1);
        scene.text(x, top + 14.0, format!("{}%", tick * 100.0), SMALL, Ink::Muted, align);
    }
    26.0
}

/// Names of the agents with their markers, wrapped to the width. Returns the height it took.
pub(crate) fn legend(scene: &mut Scene, names: &[&str], top: f64, form: Form) -> f64 {
    let (mut x, mut y) = (0.0, top + 8.0);
    for (i, name) in names.iter().enumerate() {
        let name = scene::fit(name, TEXT, form.width() - 30.0);
        let width = 20.0 + text_width(&name, TEXT) + 18.0;
        if x > 0.0 && x + width > form.width() {
            x = 0.0;
            y += 20.0;
        }
        scene.marker(x + 7.0, y, 5.0, Ink::Series(i), Marker::of_series(i));
        scene.text(x + 18.0, y, name, TEXT, Ink::Text, Align::Left);
        x += width;
    }
    y + 14.0 - top
}
