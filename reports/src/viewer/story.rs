//! What an attempt's agent and its models said to each other, step by step.

use std::path::Path;

use serde::Serialize;

use super::folder::shown;
use super::part;
use crate::text;

/// Bytes of one text of a transcript that a page holds.
const SAID: usize = 64 << 10;

/// Who can tell what happened in an attempt: the program that recorded it.
pub trait Stories: Sync {
    /// The story of the attempt in a folder; none if nothing is recorded.
    fn of(&self, dir: &Path) -> Option<Story>;
}

/// Knows no story.
impl Stories for () {
    fn of(&self, _: &Path) -> Option<Story> {
        None
    }
}

/// What happened in an attempt, in the order of time.
#[derive(Debug, Default)]
pub struct Story {
    /// The steps.
    pub steps: Vec<Step>,
    /// What the agent asked the validation service, in order.
    pub validations: Vec<Validation>,
    /// What is missing, for people.
    pub notes: Vec<String>,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Seconds since the attempt began.
    pub elapsed_s: f64,
    /// One line.
    pub head: String,
    /// Whether it is a call of a model.
    pub is_call: bool,
    /// What was said.
    pub said: Vec<Said>,
}

/// One text of a step.
#[derive(Debug, Serialize)]
pub struct Said {
    /// Whose it is: `user`, `model`, `tool`, …
    pub who: String,
    /// The text.
    pub text: String,
}

/// An answer of the validation service.
#[derive(Debug, Clone, Serialize)]
pub struct Validation {
    /// Seconds since the last try began.
    pub after_s: f64,
    /// Whether the file was well formed.
    pub valid: bool,
    /// What the agent was told.
    pub message: String,
}

/// The steps of a story as a page holds them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// How many there are, with those that are left out.
    pub(super) count: usize,
    /// Their data file; none if there are no steps.
    pub(super) script: Option<String>,
    /// What is left out, for people.
    pub(super) note: Option<String>,
}

/// A data file's content.
#[derive(Serialize)]
struct Steps<'a> {
    /// Steps from the first on.
    begin: Vec<Shown<'a>>,
    /// Steps that are left out.
    gap: usize,
    /// Steps up to the last.
    end: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    at: String,
    #[serde(flatten)]
    step: &'a Step,
}

impl<'a> Shown<'a> {
    fn all(steps: &'a [Step]) -> Vec<Self> {
        steps.iter().map(|step| Self { at: text::clock(step.elapsed_s), step }).collect()
    }
}

impl Story {
    /// The steps, made fit to be shown and of so many bytes; the story has none any more.
    pub(super) fn tell(&mut self, limit: u64) -> Told {
        let mut all = std::mem::take(&mut self.steps);
        if all.is_empty() {
            return Told::default();
        }
        let mut texts_cut = 0;
        let mut sizes = Vec::with_capacity(all.len());
        for step in &mut all {
            step.head = shown(step.head.as_bytes());
            for said in &mut step.said {
                texts_cut += usize::from(said.text.len() > SAID);
                said.text = shorten(&said.text);
                said.who = shown(said.who.as_bytes());
            }
            let said: usize = step.said.iter().map(|said| said.text.len() + said.who.len()).sum();
            sizes.push((step.head.len() + said) as u64);
        }
        // The beginning tells what the agent was asked, and the end how it ended.
        let fitting = |sizes: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            sizes
                .take_while(|size| {
                    sum += **size;
                    sum <= limit / 2
                })
                .count()
        };
        let (mut begin, mut end) = (all.len(), 0);
        if sizes.iter().sum::<u64>() > limit {
            begin = fitting(&mut sizes.iter());
            end = fitting(&mut sizes[begin..].iter().rev());
        }
        let gap = all.len() - begin - end;
        let (first, last) = (&all[..begin], &all[begin + gap..]);
        let steps = Steps { begin: Shown::all(first), gap, end: Shown::all(last) };
        let script = part("steps", &steps);
        let mut left_out = Vec::new();
        if gap > 0 {
            left_out.push(format!("{gap} of {} steps are left out in the middle", all.len()));
        }
        if texts_cut > 0 {
            left_out.push(format!(
                "the middle of {texts_cut} long text{} is left out",
                if texts_cut == 1 { "" } else { "s" }
            ));
        }
        let note = (!left_out.is_empty()).then(|| {
            format!("{}; `medalist transcript --full` shows all", left_out.join(", and "))
        });
        Told { count: all.len(), script: Some(script), note }
    }
}

/// A text made fit to be shown; of a long one the beginning and the end.
fn shorten(text: &str) -> String {
    if text.len() <= SAID {
        return shown(text.as_bytes());
    }
    let (head, tail) =
        (text.floor_char_boundary(SAID / 2), text.ceil_char_boundary(text.len() - SAID / 2));
    let left_out = text::bytes((tail - head) as u64);
    let (head, tail) = (shown(&text.as_bytes()[..head]), shown(&text.as_bytes()[tail..]));
    format!("{head}\n\u{2026} {left_out} are left out \u{2026}\n{tail}")
}
