//! A second pair of eyes: a language model reads what attempts left, in pieces, and must quote what it
//! says. What it says is kept apart from what rules found, and nothing is excluded for it.

mod pieces;
mod rubric;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use medalist_audit::Confidence;
use medalist_grading::untrusted::Shown;
use medalist_llm::ask::{Question, Unanswered};
use medalist_reports::record::{AttemptKey, FormatVersion};
use serde::Serialize;
use uuid::Uuid;

use self::pieces::{Material, Piece};
use self::rubric::{CRITERIA, Reply, Word};
use super::ask::{AT_ONCE, Access, AskRequest, Asker, Estimate, Spent, folder_name, left_of};
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::groups::{find_error, read_plan};
use crate::attempt::plan::{Plan, PlannedAttempt};
use crate::host::files::{write_atomic, write_exclusive, write_json};
use crate::host::store::{GroupDir, find};

/// The version of `judge.json`.
pub const JUDGE_FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };
/// Tokens that an answer on one piece may have.
const ANSWER: u32 = 4_096;
/// The smallest context that a piece and its answer can be put into, in tokens.
pub const LEAST_CONTEXT: u32 = 8_192;
/// What goes with every verdict.
pub const UNMEASURED: &str = "how often this model is right was not measured; its verdicts are kept apart from what rules find";

/// What is judged, and by whom.
#[derive(Debug)]
pub struct JudgeRequest<'a> {
    /// Folders of run groups, or their names below the runs folder.
    pub groups: &'a [PathBuf],
    /// The judge; its budget is that of all groups together.
    pub ask: AskRequest,
    /// Tokens that the judge's context holds.
    pub context_tokens: u32,
}

/// What a judge said.
#[derive(Debug, Serialize)]
pub struct Judged {
    pub format: FormatVersion,
    pub model: String,
    /// What the verdicts are worth, in words.
    pub note: &'static str,
    pub groups: Vec<GroupJudged>,
}

/// What a judge said on one run group.
#[derive(Debug, Serialize)]
pub struct GroupJudged {
    /// Its name.
    pub id: String,
    pub agent: String,
    pub estimate: Estimate,
    /// None if nothing was asked.
    pub spent: Option<Spent>,
    pub attempts: Vec<AttemptJudged>,
}

/// What a judge said on one attempt.
#[derive(Debug, Serialize)]
pub struct AttemptJudged {
    pub key: AttemptKey,
    /// Its folder in the group's; files of findings are named from here.
    pub dir: String,
    /// Pieces of its material.
    pub pieces: usize,
    /// A verdict for each criterion.
    pub verdicts: BTreeMap<&'static str, Verdict>,
    pub findings: Vec<JudgeFinding>,
    /// Quotes that do not stand where the judge says, and were thrown away.
    pub quotes_not_found: usize,
    /// Pieces without a valid answer.
    pub not_judged: Vec<NotJudged>,
    /// What no piece holds.
    pub not_read: Vec<String>,
    /// Whether every text is in a piece.
    pub is_whole: bool,
}

/// What a judge's answers on all pieces of an attempt come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No on every piece, every piece was judged, and every text is in one.
    No,
    /// No on what was judged, and something was not.
    NotJudged,
    /// Unclear on a piece, or yes with quotes that do not stand there.
    Unclear,
    /// Yes on a piece, with a quote that stands there.
    Yes,
}

/// A line that a judge points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgeFinding {
    pub criterion: &'static str,
    pub file: Shown,
    /// From 1.
    pub line: u64,
    pub confidence: Confidence,
    /// The line.
    pub evidence: Shown,
    /// The judge's reason, in its words.
    pub reason: Shown,
}

/// A piece without a valid answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// Its files and lines.
    pub piece: String,
    /// Why, in words.
    pub why: Shown,
}

/// Has a model judge run groups. What it says of each is also written to `audit/judge/<model>/` in the
/// group's folder, where its bill and recording are.
///
/// # Errors
/// A group is missing or damaged, or the model cannot be asked at all. That it does not answer some
/// pieces is no error.
pub async fn judge(request: &JudgeRequest<'_>, context: &Context) -> Result<Judged, CliError> {
    let mut groups = Vec::new();
    let mut left = request.ask.budget;
    for text in request.groups {
        let dir = find::group(&context.runs_dir, text).map_err(find_error)?;
        let ask = AskRequest { budget: left, ..request.ask.clone() };
        let judged = judge_group(&dir, &ask, request, context).await?;
        left = left_of(left, judged.spent);
        groups.push(judged);
    }
    let (model, note) = (request.ask.model.clone(), UNMEASURED);
    Ok(Judged { format: JUDGE_FORMAT, model, note, groups })
}

impl Judged {
    /// Whether a finding is at least so sure.
    pub fn has(&self, confidence: Confidence) -> bool {
        self.attempts().flat_map(|attempt| &attempt.findings).any(|f| f.confidence >= confidence)
    }

    /// Whether something was not judged.
    pub fn has_gaps(&self) -> bool {
        self.attempts().any(|attempt| !attempt.not_judged.is_empty())
    }

    fn attempts(&self) -> impl Iterator<Item = &AttemptJudged> {
        self.groups.iter().flat_map(|group| &group.attempts)
    }
}

async fn judge_group(
    group: &GroupDir,
    ask: &AskRequest,
    request: &JudgeRequest<'_>,
    context: &Context,
) -> Result<GroupJudged, CliError> {
    let plan = read_plan(group)?;
    let folder = group.root().join("audit").join("judge").join(folder_name(&ask.model));
    let asker = Asker::open(ask, &folder, context).await?;
    let key = secret(&folder.join("code.key"))?;
    // Read twice, so that the price is known before anything is asked and one attempt is held at a time.
    let mut estimate = Estimate::default();
    for attempt in &plan.attempts {
        let material = material(group, &plan, attempt);
        let pieces = material.pieces(request.context_tokens, ANSWER, &key);
        estimate.add(&asker.estimate(pieces.iter().map(|piece| piece.question(ANSWER))));
    }
    asker.announce(&estimate, &plan.group, context);
    let mut judged = GroupJudged {
        id: plan.group.clone(),
        agent: plan.agent.id.clone(),
        estimate,
        spent: None,
        attempts: Vec::new(),
    };
    if ask.access == Access::Nobody {
        asker.close()?;
        return Ok(judged);
    }
    for attempt in &plan.attempts {
        let material = material(group, &plan, attempt);
        let pieces = material.pieces(request.context_tokens, ANSWER, &key);
        let questions: Vec<Question> = pieces.iter().map(|piece| piece.question(ANSWER)).collect();
        let answers: Vec<Result<String, Unanswered>> = stream::iter(&questions)
            .map(|question| asker.ask(question))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut one = AttemptJudged {
            key: attempt.key.clone(),
            dir: attempt.dir.clone(),
            pieces: pieces.len(),
            verdicts: BTreeMap::new(),
            findings: Vec::new(),
            quotes_not_found: 0,
            not_judged: Vec::new(),
            not_read: material.not_read.clone(),
            is_whole: material.is_whole,
        };
        let mut words = BTreeMap::new();
        for (piece, answer) in pieces.iter().zip(answers) {
            one.add(piece, answer, &mut words);
        }
        one.conclude(&words);
        judged.attempts.push(one);
    }
    judged.spent = Some(asker.close()?);
    write(&folder, &ask.model, &judged)?;
    Ok(judged)
}

fn material(group: &GroupDir, plan: &Plan, attempt: &PlannedAttempt) -> Material {
    let secrets = if plan.pass_secrets { plan.secrets() } else { Vec::new() };
    let secrets = secrets.iter().filter_map(|(_, name)| std::env::var(name).ok());
    let dir = group.attempt(&attempt.dir);
    Material::read(plan.agent.version.clone(), &dir, secrets.collect())
}

/// Leaves what was said on a group beside the recording.
fn write(folder: &Path, model: &str, judged: &GroupJudged) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct OfGroup<'a> {
        format: FormatVersion,
        model: &'a str,
        note: &'a str,
        #[serde(flatten)]
        group: &'a GroupJudged,
    }
    let all = OfGroup { format: JUDGE_FORMAT, model, note: UNMEASURED, group: judged };
    write_json(&folder.join("judge.json"), &all)?;
    write_atomic(&folder.join("judge.md"), text::markdown_of(model, judged).as_bytes())?;
    Ok(())
}

/// What codes are made from: drawn at random when the first question is asked, after all material was
/// written.
fn secret(path: &Path) -> Result<Vec<u8>, CliError> {
    let drawn = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
    write_exclusive(path, &drawn)?;
    let secret = std::fs::read(path)?;
    if secret.len() < drawn.len() {
        let what = format!("`{}` is damaged: it is too short", path.display());
        return Err(CliError::message(Exit::BadInput, what)
            .hint("without it all pieces are asked, and paid, again"));
    }
    Ok(secret)
}

impl AttemptJudged {
    /// Takes what was answered on a piece; what is not valid counts as nothing but a gap.
    fn add(
        &mut self,
        piece: &Piece<'_>,
        answer: Result<String, Unanswered>,
        words: &mut BTreeMap<&'static str, Word>,
    ) {
        let reply = answer.map_err(|error| error.to_string()).and_then(|text| {
            Reply::read(&text, &piece.code).map_err(|why| format!("the answer is invalid: {why}"))
        });
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => {
                let why = Shown::message(&why);
                self.not_judged.push(NotJudged { piece: piece.place(), why });
                return;
            }
        };
        for criterion in &CRITERIA {
            let Some(answer) = reply.answers.get(criterion.id) else { continue };
            let mut word = answer.verdict;
            if word == Word::Yes {
                let before = self.findings.len();
                for quote in &answer.evidence {
                    match piece.find(quote) {
                        Some((file, line, text)) => {
                            let finding = JudgeFinding {
                                criterion: criterion.id,
                                file: file.clone(),
                                line,
                                confidence: answer.confidence,
                                evidence: text,
                                reason: Shown::message(&answer.reason),
                            };
                            self.keep(finding);
                        }
                        None => self.quotes_not_found += 1,
                    }
                }
                let points_at_one = |f: &JudgeFinding| f.criterion == criterion.id;
                if self.findings.len() == before && !self.findings.iter().any(points_at_one) {
                    word = Word::Unclear;
                }
            }
            let so_far = words.entry(criterion.id).or_insert(Word::No);
            *so_far = match (*so_far, word) {
                (Word::Yes, _) | (_, Word::Yes) => Word::Yes,
                (Word::Unclear, _) | (_, Word::Unclear) => Word::Unclear,
                (Word::No, Word::No) => Word::No,
            };
        }
    }

    /// Keeps a finding once: pieces overlap.
    fn keep(&mut self, finding: JudgeFinding) {
        let same = |known: &&mut JudgeFinding| {
            (known.criterion, &known.file, known.line)
                == (finding.criterion, &finding.file, finding.line)
        };
        match self.findings.iter_mut().find(same) {
            Some(known) => known.confidence = known.confidence.max(finding.confidence),
            None => self.findings.push(finding),
        }
    }

    fn conclude(&mut self, words: &BTreeMap<&'static str, Word>) {
        let whole = self.not_judged.is_empty() && self.is_whole && self.pieces > 0;
        for criterion in &CRITERIA {
            let verdict = match words.get(criterion.id) {
                Some(Word::Yes) => Verdict::Yes,
                Some(Word::Unclear) => Verdict::Unclear,
                Some(Word::No) if whole => Verdict::No,
                Some(Word::No) | None => Verdict::NotJudged,
            };
            self.verdicts.insert(criterion.id, verdict);
        }
        self.findings.sort_by(|a, b| {
            let by = |f: &JudgeFinding| std::cmp::Reverse(f.confidence);
            by(a).cmp(&by(b)).then_with(|| (&a.file, a.line).cmp(&(&b.file, b.line)))
        });
    }
}
