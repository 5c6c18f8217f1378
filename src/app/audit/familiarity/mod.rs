//! How much a language model knows a competition, set beside what agents with that model win on it.
//!
//! Each test has a control that says what comes out without any knowledge. That a model knows nothing is
//! never shown: it may not tell.

mod probes;
mod table;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::{StreamExt as _, stream};
use medalist_competitions::{Catalogue, CompetitionSpec, Identity};
use medalist_llm::ask::{Question, Unanswered};
use medalist_reports::attempt::{Attempt, Measure};
use medalist_reports::record::FormatVersion;
use medalist_reports::stats::{Interval, RankCorrelation, mean, spearman, t_interval, wilson};
use serde::Serialize;

pub use self::probes::Probe;
use self::probes::{Subject, Trial, Truth, figure_in, is_near, likeness, name_in, rest_in};
use super::ask::{AT_ONCE, Access, AskRequest, Asker, Estimate, Spent, folder_name, left_of};
use crate::app::boards::Board;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::groups::{find_error, read_plan};
use crate::app::report::{Experiment, Source, read_groups};
use crate::attempt::plan::Plan;
use crate::host::files::{write_atomic, write_json};
use crate::host::store::{GroupDir, find};

/// The version of `familiarity.json`.
pub const FAMILIARITY_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };
/// How sure intervals are.
const CONFIDENCE: f64 = 0.95;
/// Tokens of a text that count as one observation: neighbours are no independent ones.
const STRETCH: usize = 50;
/// Characters of a description that are completed.
const TEXT: usize = 12_000;

/// What is asked for.
#[derive(Debug)]
pub struct FamiliarityRequest<'a> {
    /// Folders of run groups, or their names below the runs folder.
    pub groups: &'a [PathBuf],
    /// The models; the other settings hold for each, and the budget for all together.
    pub models: &'a [String],
    pub ask: AskRequest,
}

/// What models know.
#[derive(Debug, Serialize)]
pub struct Familiarity {
    pub format: FormatVersion,
    pub groups: Vec<GroupFamiliarity>,
}

/// What one model knows of a group's competitions.
#[derive(Debug, Serialize)]
pub struct GroupFamiliarity {
    /// The group's name.
    pub id: String,
    pub agent: String,
    pub model: String,
    pub estimate: Estimate,
    /// None if nothing was asked.
    pub spent: Option<Spent>,
    pub competitions: Vec<CompetitionFamiliarity>,
    /// Of each test's score with the medal rate, over competitions.
    pub correlations: BTreeMap<Probe, Correlation>,
}

/// What a model knows of one competition.
#[derive(Debug, Serialize)]
pub struct CompetitionFamiliarity {
    pub competition: String,
    /// Who wrote the brief.
    pub brief_source: Option<&'static str>,
    pub tests: BTreeMap<Probe, Measured>,
    pub medals: Medals,
}

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Measured {
    /// A share of right answers, or a mean probability.
    Score(Score),
    /// Nothing can be said.
    NotMeasurable {
        /// Why, in words.
        why: String,
    },
}

/// A test's result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// From 0 to 1.
    pub score: f64,
    pub interval: Option<Interval>,
    /// What the score is of: answers, figures, rows, or tokens.
    pub count: usize,
    /// The score of the same answers held against what they were not asked for; none where there is no
    /// such thing.
    pub chance: Option<f64>,
    /// Questions without an answer, which do not count.
    pub unanswered: usize,
    /// For rows: how alike answers and truth are on the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likeness: Option<f64>,
    /// And answers and the rest of other rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likeness_by_chance: Option<f64>,
}

/// What the group's attempts with the model won.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Medals {
    /// A share of attempts.
    Rate { rate: f64, interval: Option<Interval>, attempts: usize },
    /// Nothing can be said.
    NotMeasurable {
        /// Why, in words.
        why: String,
    },
}

/// A rank correlation over competitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Correlation {
    /// Spearman's.
    Spearman(RankCorrelation),
    /// Nothing can be said.
    NotMeasurable {
        /// Why, in words.
        why: String,
    },
}

/// Measures what models know of the competitions of run groups. What is found is also written to
/// `audit/familiarity/<model>/` in the group's folder, where the model's bill and recording are.
///
/// # Errors
/// A group is missing or damaged, or a model cannot be asked at all. That it does not answer is none.
pub async fn familiarity(
    request: &FamiliarityRequest<'_>,
    context: &Context,
) -> Result<Familiarity, CliError> {
    let source = Source::new(context.catalogue()?, &context.data_dir);
    let mut groups = Vec::new();
    let mut left = request.ask.budget;
    for text in request.groups {
        let dir = find::group(&context.runs_dir, text).map_err(find_error)?;
        for model in request.models {
            let ask = AskRequest { model: model.clone(), budget: left, ..request.ask.clone() };
            let one = of_group(&dir, &ask, &source, context).await?;
            left = left_of(left, one.spent);
            groups.push(one);
        }
    }
    Ok(Familiarity { format: FAMILIARITY_FORMAT, groups })
}

async fn of_group(
    group: &GroupDir,
    ask: &AskRequest,
    source: &Source,
    context: &Context,
) -> Result<GroupFamiliarity, CliError> {
    let plan = read_plan(group)?;
    let folder = group.root().join("audit").join("familiarity").join(folder_name(&ask.model));
    let asker = Asker::open(ask, &folder, context).await?;
    let specs = competitions(&plan, source.catalogue())?;
    let subjects: Vec<Subject<'_>> =
        specs.into_iter().map(|spec| subject(spec, &plan)).collect::<Result<_, CliError>>()?;
    let planned: Vec<Planned<'_>> = subjects.iter().map(Planned::of).collect();
    let estimate = asker.estimate(planned.iter().flat_map(Planned::questions));
    asker.announce(&estimate, &plan.group, context);
    let mut found = GroupFamiliarity {
        id: plan.group.clone(),
        agent: plan.agent.id.clone(),
        model: ask.model.clone(),
        estimate,
        spent: None,
        competitions: Vec::new(),
        correlations: BTreeMap::new(),
    };
    if ask.access == Access::Nobody {
        asker.close()?;
        return Ok(found);
    }
    let mut answered = Vec::new();
    for one in &planned {
        answered.push(Answered::of(one, &asker).await);
    }
    let paths = [group.root().to_owned()];
    let reading = read_groups(&paths, &Experiment::default(), context, source)?;
    for (at, one) in answered.iter().enumerate() {
        let spec = one.planned.subject.spec;
        let attempts: Vec<&Attempt> = reading
            .attempts()
            .filter(|attempt| attempt.key.competition == spec.id.as_str())
            .collect();
        found.competitions.push(CompetitionFamiliarity {
            competition: spec.id.to_string(),
            brief_source: one.planned.subject.brief.as_ref().map(|(source, _)| *source),
            tests: Probe::ALL.map(|probe| (probe, score(probe, at, &answered))).into(),
            medals: medals(&attempts, &plan, &ask.model),
        });
    }
    found.correlations = Probe::ALL.map(|probe| (probe, correlation(probe, &found))).into();
    found.spent = Some(asker.close()?);
    write_json(&folder.join("familiarity.json"), &found)?;
    write_atomic(&folder.join("familiarity.md"), text::markdown_of(&found).as_bytes())?;
    Ok(found)
}

/// The competitions of a plan, each once.
fn competitions<'a>(
    plan: &Plan,
    catalogue: &'a Catalogue,
) -> Result<Vec<&'a CompetitionSpec>, CliError> {
    let mut specs: Vec<&CompetitionSpec> = Vec::new();
    for attempt in &plan.attempts {
        let id = &attempt.key.competition;
        if specs.iter().any(|spec| spec.id.as_str() == id) {
            continue;
        }
        specs.push(catalogue.get(id).map_err(|error| {
            CliError::new(Exit::BadInput, error)
                .hint("`--catalog` adds folders of your own competitions")
        })?);
    }
    Ok(specs)
}

fn subject<'a>(spec: &'a CompetitionSpec, plan: &Plan) -> Result<Subject<'a>, CliError> {
    let data = medalist_competitions::DataDir::new(&plan.data_dir);
    let brief = spec.brief_in(data.root())?;
    Ok(Subject {
        spec,
        identity: Identity::of(spec, data.root()),
        brief: brief.map(|brief| (brief.source.as_str(), brief.text.into_owned())),
        board: Board::in_force(spec, data.root()).ok(),
        public: data.public(&spec.id),
    })
}

/// What is asked of one competition.
struct Planned<'a> {
    subject: &'a Subject<'a>,
    trials: BTreeMap<Probe, Result<Vec<Trial>, String>>,
}

impl<'a> Planned<'a> {
    fn of(subject: &'a Subject<'a>) -> Self {
        Self { subject, trials: Probe::ALL.map(|probe| (probe, subject.trials(probe))).into() }
    }

    fn text(&self) -> Result<String, String> {
        Ok(self.subject.public_text()?.chars().take(TEXT).collect())
    }

    fn questions(&self) -> Vec<Question> {
        let asked = self.trials.values().flatten().flatten().map(|trial| trial.question.clone());
        let completed = self.text().ok().map(|text| Question {
            system: String::new(),
            user: text,
            answer_tokens: 1,
        });
        asked.chain(completed).collect()
    }
}

/// What was answered on one competition.
struct Answered<'a> {
    planned: &'a Planned<'a>,
    answers: BTreeMap<Probe, Vec<Result<String, Unanswered>>>,
    probabilities: Result<Vec<f64>, String>,
}

impl<'a> Answered<'a> {
    async fn of(planned: &'a Planned<'a>, asker: &Asker) -> Self {
        let mut answers = BTreeMap::new();
        for (probe, trials) in &planned.trials {
            let Ok(trials) = trials else { continue };
            let all: Vec<_> = stream::iter(trials)
                .map(|trial| asker.ask(&trial.question))
                .buffered(AT_ONCE)
                .collect()
                .await;
            answers.insert(*probe, all);
        }
        let probabilities = match planned.text() {
            Err(why) => Err(why),
            Ok(text) => asker.probabilities(&text).await.map_err(|error| {
                format!("the server tells no probabilities of a text's tokens ({error})")
            }),
        };
        Self { planned, answers, probabilities }
    }

    /// Trials with their answers.
    fn pairs(&self, probe: Probe) -> Vec<(&Trial, &str)> {
        let trials = self.planned.trials.get(&probe).and_then(|trials| trials.as_ref().ok());
        let answers = self.answers.get(&probe);
        let both = trials.into_iter().flatten().zip(answers.into_iter().flatten());
        both.filter_map(|(trial, answer)| Some((trial, answer.as_ref().ok()?.as_str()))).collect()
    }
}

/// What a test says of one competition; the others are its control where its own trials are none.
fn score(probe: Probe, at: usize, all: &[Answered<'_>]) -> Measured {
    let one = &all[at];
    let not_measurable = |why: String| Measured::NotMeasurable { why };
    if probe == Probe::Text {
        return match &one.probabilities {
            Err(why) => not_measurable(why.clone()),
            Ok(known) => Measured::Score(of_text(known)),
        };
    }
    if let Some(Err(why)) = one.planned.trials.get(&probe) {
        return not_measurable(why.clone());
    }
    let pairs = one.pairs(probe);
    let asked = one.answers.get(&probe).map_or(0, Vec::len);
    let unanswered = asked - pairs.len();
    if pairs.is_empty() {
        let first = one.answers.get(&probe).into_iter().flatten().find_map(|a| a.as_ref().err());
        let why = first.map_or_else(|| "nothing was asked".to_owned(), ToString::to_string);
        return not_measurable(format!("no question was answered: {why}"));
    }
    let mut score = match probe {
        Probe::Name => of_names(at, &pairs, all),
        Probe::Rows => of_rows(&pairs),
        _ => of_figures(probe, at, &pairs, all),
    };
    score.unanswered = unanswered;
    Measured::Score(score)
}

fn share(right: usize, of: usize, chance: Option<f64>) -> Score {
    Score {
        score: right as f64 / of.max(1) as f64,
        interval: wilson(right, of, CONFIDENCE),
        count: of,
        chance,
        unanswered: 0,
        likeness: None,
        likeness_by_chance: None,
    }
}

fn mean_of(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| mean(values))
}

/// By chance: how often answers on other competitions name this one.
fn of_names(at: usize, pairs: &[(&Trial, &str)], all: &[Answered<'_>]) -> Score {
    let subject = all[at].planned.subject;
    let names = |answer: &str| name_in(answer).is_some_and(|name| subject.is_named_by(&name));
    let others = all.iter().enumerate().filter(|(other, _)| *other != at);
    let control: Vec<f64> = others
        .flat_map(|(_, other)| other.pairs(Probe::Name))
        .map(|(_, answer)| f64::from(u8::from(names(answer))))
        .collect();
    let right = pairs.iter().filter(|(_, answer)| names(answer)).count();
    share(right, pairs.len(), mean_of(&control))
}

/// By chance: how often a figure is right for another column, or another competition.
fn of_figures(probe: Probe, at: usize, pairs: &[(&Trial, &str)], all: &[Answered<'_>]) -> Score {
    let figures = |trial: &Trial| match &trial.truth {
        Truth::Figures(figures) => figures.clone(),
        Truth::Name | Truth::Rest(_) => Vec::new(),
    };
    // Columns have each other; a leaderboard has those of other competitions.
    let others: Vec<(&'static str, f64)> = match probe {
        Probe::Columns => pairs.iter().flat_map(|(trial, _)| figures(trial)).collect(),
        _ => all
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .flat_map(|(_, other)| other.pairs(probe))
            .flat_map(|(trial, _)| figures(trial))
            .collect(),
    };
    let (mut right, mut count, mut control) = (0, 0, Vec::new());
    for (trial, answer) in pairs {
        for (key, truth) in figures(trial) {
            let said = figure_in(answer, key);
            let hits = |truth: f64| said.is_some_and(|said| is_near(said, truth));
            count += 1;
            right += usize::from(hits(truth));
            // A figure that happens to be the same is no control.
            let wrong =
                others.iter().filter(|(other, value)| *other == key && !is_near(*value, truth));
            control.extend(wrong.map(|(_, value)| f64::from(u8::from(hits(*value)))));
        }
    }
    share(right, count, mean_of(&control))
}

/// By chance: how often, and how nearly, the rest of a row is that of another row.
fn of_rows(pairs: &[(&Trial, &str)]) -> Score {
    let rows: Vec<(String, &str)> = pairs
        .iter()
        .filter_map(|(trial, answer)| match &trial.truth {
            Truth::Rest(rest) => {
                let shown = trial.question.user.lines().last().unwrap_or_default();
                Some((rest_in(answer, shown).to_owned(), rest.as_str()))
            }
            Truth::Name | Truth::Figures(_) => None,
        })
        .collect();
    let (mut right, mut near) = (0, Vec::new());
    let (mut by_chance, mut near_by_chance) = (Vec::new(), Vec::new());
    for (at, (said, truth)) in rows.iter().enumerate() {
        right += usize::from(said == truth);
        near.push(likeness(said, truth));
        for (_, (_, other)) in rows.iter().enumerate().filter(|(other, _)| *other != at) {
            by_chance.push(f64::from(u8::from(said == other)));
            near_by_chance.push(likeness(said, other));
        }
    }
    Score {
        likeness: mean_of(&near),
        likeness_by_chance: mean_of(&near_by_chance),
        ..share(right, rows.len(), mean_of(&by_chance))
    }
}

/// The mean probability of a token; stretches of tokens are its observations.
fn of_text(known: &[f64]) -> Score {
    let stretches: Vec<f64> = known.chunks(STRETCH).map(mean).collect();
    Score {
        score: mean(known),
        interval: t_interval(&stretches, CONFIDENCE).map(|interval| interval.clipped(0.0, 1.0)),
        count: known.len(),
        chance: None,
        unanswered: 0,
        likeness: None,
        likeness_by_chance: None,
    }
}

/// What attempts that used the model won.
fn medals(attempts: &[&Attempt], plan: &Plan, model: &str) -> Medals {
    let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let stated = plan.agent.backbone.split(|c: char| c.is_whitespace() || ",+/".contains(c));
    let is_stated = stated.into_iter().any(|word| word == name) || plan.agent.backbone == model;
    let uses = |attempt: &&&Attempt| {
        let llm = attempt.record.as_ref().and_then(|record| record.llm.as_ref());
        is_stated
            || llm
                .is_some_and(|llm| llm.models.contains_key(name) || llm.models.contains_key(model))
    };
    let used: Vec<&&Attempt> = attempts.iter().filter(uses).collect();
    if used.is_empty() {
        let why = match plan.agent.backbone.as_str() {
            "" => "no attempt is known to have used this model".to_owned(),
            other => format!("the attempts used `{other}`"),
        };
        return Medals::NotMeasurable { why };
    }
    let won: Vec<f64> = used
        .iter()
        .filter(|attempt| !attempt.is_lost())
        .filter_map(|attempt| Measure::AnyMedal.value(&attempt.grade))
        .collect();
    if won.is_empty() {
        return Medals::NotMeasurable {
            why: "no attempt has come to an end and a grade".to_owned(),
        };
    }
    let right = won.iter().filter(|value| **value > 0.0).count();
    Medals::Rate {
        rate: right as f64 / won.len() as f64,
        interval: wilson(right, won.len(), CONFIDENCE),
        attempts: won.len(),
    }
}

/// Of a test's scores with medal rates.
fn correlation(probe: Probe, found: &GroupFamiliarity) -> Correlation {
    let pairs: Vec<(f64, f64)> = found
        .competitions
        .iter()
        .filter_map(|one| match (one.tests.get(&probe), &one.medals) {
            (Some(Measured::Score(score)), Medals::Rate { rate, .. }) => Some((score.score, *rate)),
            _ => None,
        })
        .collect();
    match spearman(&pairs, CONFIDENCE) {
        Some(found) => Correlation::Spearman(found),
        None if pairs.len() < 4 => Correlation::NotMeasurable {
            why: format!(
                "{} competitions have both a score and a medal rate; four are needed",
                pairs.len()
            ),
        },
        None => Correlation::NotMeasurable {
            why: "all scores or all medal rates are the same".to_owned(),
        },
    }
}
