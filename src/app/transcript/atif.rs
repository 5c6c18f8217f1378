//! A timeline in the Agent Trajectory Interchange Format (ATIF), version 1.7.
//!
//! The root trajectory is the role that called first; every other role is an embedded trajectory of
//! its own, since roles may work at the same time. What tools gave is the observation of the step
//! that called them.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use medalist_llm::record::{CallRecord, Entry};
use serde_json::{Map, Value, json};

use super::{Exchange, Timeline, What};

const SCHEMA: &str = "ATIF-v1.7";

/// The trajectory; none if no call was recorded, since one needs a step.
pub(super) fn trajectory(timeline: &Timeline) -> Option<Value> {
    let mut roles: Vec<(&str, Steps)> = Vec::new();
    for exchange in timeline.calls() {
        let role = exchange.turn.role.as_str();
        let index = roles.iter().position(|(name, _)| *name == role).unwrap_or_else(|| {
            roles.push((role, Steps::default()));
            roles.len() - 1
        });
        roles[index].1.take(exchange);
    }
    let mut documents = roles.into_iter().map(|(role, steps)| steps.document(timeline, role));
    let mut root = documents.next()?;
    root["session_id"] = format!("{}/{}", timeline.group, timeline.key).into();
    root["final_metrics"] = metrics_of(timeline.calls().filter_map(|call| call.bill.as_ref()));
    root["final_metrics"]["total_steps"] = root["steps"].as_array().map_or(0, Vec::len).into();
    root["extra"] = json!({
        "group": timeline.group, "key": timeline.key, "outcome": timeline.record.outcome,
        "grade": timeline.grade, "timeline": happenings(timeline),
    });
    if !timeline.notes.is_empty() {
        root["notes"] = timeline.notes.join("; ").into();
    }
    let others: Vec<Value> = documents.collect();
    if !others.is_empty() {
        root["subagent_trajectories"] = others.into();
    }
    Some(root)
}

/// What happened beside the calls.
fn happenings(timeline: &Timeline) -> Vec<Value> {
    let others = timeline.moments.iter().filter(|moment| !matches!(moment.what, What::Call(_)));
    others.map(|moment| json!(moment)).collect()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The steps of one role.
#[derive(Default)]
struct Steps {
    steps: Vec<Value>,
    /// The step that each call of a tool is part of.
    calls: HashMap<String, usize>,
    bills: Vec<CallRecord>,
}

impl Steps {
    fn take(&mut self, exchange: &Exchange) {
        let turn = &exchange.turn;
        for entry in &turn.said {
            match entry {
                Entry::System { text } => self.message("system", turn.at, text),
                // Words of a model that a new conversation begins with are context, not steps.
                Entry::User { text } | Entry::Assistant { text } | Entry::Reasoning { text } => {
                    self.message("user", turn.at, text);
                }
                Entry::Result { id, text, is_error } => self.observe(turn.at, id, text, *is_error),
                Entry::Call { .. } => {}
            }
        }
        self.answer(exchange);
        self.bills.extend(exchange.bill.clone());
    }

    fn push(&mut self, source: &str, at: DateTime<Utc>, message: &str) -> usize {
        let id = self.steps.len() + 1;
        let step =
            json!({"step_id": id, "timestamp": time(at), "source": source, "message": message});
        self.steps.push(step);
        id - 1
    }

    fn message(&mut self, source: &str, at: DateTime<Utc>, text: &str) {
        self.push(source, at, text);
    }

    fn observe(&mut self, at: DateTime<Utc>, id: &str, text: &str, is_error: bool) {
        let mut result = json!({ "content": text });
        let step = match self.calls.get(id) {
            Some(step) => {
                result["source_call_id"] = id.into();
                *step
            }
            // The call is not in the transcript.
            None => self.push("system", at, ""),
        };
        if is_error {
            result["extra"] = json!({"is_error": true});
        }
        let step = &mut self.steps[step];
        match step.pointer_mut("/observation/results").and_then(Value::as_array_mut) {
            Some(results) => results.push(result),
            None => step["observation"] = json!({ "results": [result] }),
        }
    }

    fn answer(&mut self, exchange: &Exchange) {
        let turn = &exchange.turn;
        let (mut texts, mut reasoning, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        let index = self.steps.len();
        for entry in &turn.answer {
            match entry {
                Entry::Reasoning { text } => reasoning.push(text.as_str()),
                Entry::Call { id, name, arguments } => {
                    // Dialects without ids give results under the tool's name.
                    let known = if id.is_empty() { name } else { id };
                    self.calls.insert(known.clone(), index);
                    let arguments = match arguments {
                        Value::Object(_) => arguments.clone(),
                        Value::Null => json!({}),
                        other => json!({ "input": other }),
                    };
                    calls.push(json!({
                        "tool_call_id": known, "function_name": name, "arguments": arguments,
                    }));
                }
                Entry::Assistant { text } | Entry::User { text } | Entry::System { text } => {
                    texts.push(text.as_str());
                }
                Entry::Result { text, .. } => texts.push(text.as_str()),
            }
        }
        self.push("agent", exchange.answered_at(), &texts.join("\n"));
        let step = &mut self.steps[index];
        step["model_name"] = turn.model.as_str().into();
        if !reasoning.is_empty() {
            step["reasoning_content"] = reasoning.join("\n").into();
        }
        if !calls.is_empty() {
            step["tool_calls"] = calls.into();
        }
        step["llm_call_count"] = 1.into();
        if let Some(bill) = &exchange.bill {
            step["metrics"] = json!({
                "prompt_tokens": bill.tokens.all_input(),
                "completion_tokens": bill.tokens.all_output(),
                "cached_tokens": bill.tokens.cache_read,
                "extra": {"usage": bill.usage, "duration_ms": bill.duration_ms},
            });
            // A price that is not known is left out, not zero.
            if let Some(usd) = bill.usd {
                step["metrics"]["cost_usd"] = usd.into();
            }
        }
        let mut extra = Map::new();
        extra.insert("call".to_owned(), turn.call.into());
        extra.insert("conversation".to_owned(), exchange.conversation.into());
        if !exchange.writes.is_empty() {
            extra.insert("writes".to_owned(), json!(exchange.writes));
        }
        if turn.status >= 400 || !turn.whole {
            extra.insert("status".to_owned(), turn.status.into());
            extra.insert("whole".to_owned(), turn.whole.into());
        }
        step["extra"] = Value::Object(extra);
    }

    fn document(self, timeline: &Timeline, role: &str) -> Value {
        let version = timeline.agent_version.as_deref().unwrap_or("unknown");
        let model = self.steps.iter().find_map(|step| step.get("model_name")).cloned();
        json!({
            "schema_version": SCHEMA,
            "trajectory_id": role,
            "agent": {"name": timeline.key.agent, "version": version,
                "model_name": model, "extra": {"role": role}},
            "final_metrics": metrics_of(self.bills.iter()),
            "steps": self.steps,
        })
    }
}

/// Sums; dollars only if the price of each call is known.
fn metrics_of<'a>(bills: impl Iterator<Item = &'a CallRecord>) -> Value {
    let (mut prompt, mut completion, mut cached, mut usd) = (0, 0, 0, Some(0.0));
    for bill in bills {
        prompt += bill.tokens.all_input();
        completion += bill.tokens.all_output();
        cached += bill.tokens.cache_read;
        usd = usd.zip(bill.usd).map(|(sum, more)| sum + more);
    }
    let mut metrics = json!({
        "total_prompt_tokens": prompt,
        "total_completion_tokens": completion,
        "total_cached_tokens": cached,
    });
    if let Some(usd) = usd {
        metrics["total_cost_usd"] = usd.into();
    }
    metrics
}
