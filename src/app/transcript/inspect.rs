//! A timeline as a log of Inspect (version 2 of its JSON format), which `inspect view` opens: one
//! sample, whose events are the calls and what happened beside them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use medalist_llm::record::{CallRecord, Entry};
use medalist_llm::usage::Buckets;
use serde_json::{Value, json};

use super::{Exchange, Moment, Timeline, What};

/// The log.
pub(super) fn log(timeline: &Timeline) -> Value {
    let began = timeline.record.started_at.unwrap_or_default();
    let ended = timeline.record.ended_at.unwrap_or(began);
    let mut models = timeline.calls().map(|call| call.turn.model.as_str());
    let model = models.next().unwrap_or("none/none");
    let usage = usage_by(timeline, |bill| &bill.request_model);
    let score = score(timeline);
    json!({
        "version": 2,
        "status": status(timeline),
        "eval": {
            "created": time(began),
            "task": timeline.key.competition,
            "task_id": timeline.key.to_string(),
            "run_id": timeline.group,
            "dataset": {"name": timeline.key.competition, "samples": 1,
                "sample_ids": [timeline.key.competition]},
            "model": model,
            "solver": timeline.key.agent,
            "config": {},
            "packages": {"medalist": timeline.record.conditions.harness_version},
            "metadata": {"group": timeline.group, "seed": timeline.key.seed,
                "conditions": timeline.record.conditions, "notes": timeline.notes},
        },
        "plan": {"name": timeline.key.agent, "steps": [], "config": {}},
        "results": {
            "total_samples": 1,
            "completed_samples": u8::from(timeline.grade.is_some()),
            "scores": [{
                "name": "any_medal", "scorer": "medalist", "params": {},
                "metrics": {"mean": {"name": "mean", "value": score["value"]["any_medal"]}},
            }],
        },
        "stats": {"started_at": time(began), "completed_at": time(ended), "model_usage": usage},
        "samples": [{
            "id": timeline.key.competition,
            "epoch": timeline.key.seed.saturating_add(1),
            "input": input(timeline),
            "target": "",
            "messages": timeline.calls().flat_map(messages).collect::<Vec<Value>>(),
            "output": timeline.calls().last().map_or_else(|| json!({"model": model, "choices": []}), output),
            "scores": {"medalist": score},
            "metadata": {"key": timeline.key, "outcome": timeline.record.outcome},
            "events": timeline.moments.iter().map(event).collect::<Vec<Value>>(),
            "model_usage": usage,
            "role_usage": usage_by(timeline, |bill| &bill.role),
            "started_at": time(began),
            "completed_at": time(ended),
            "total_time": timeline.record.took_s,
            "uuid": timeline.key.to_string(),
        }],
    })
}

/// Inspect's words for how a run ended; that an attempt won nothing is no error.
fn status(timeline: &Timeline) -> &'static str {
    match &timeline.record.outcome {
        None => "started",
        Some(outcome) if outcome.kind.as_str() == "cancelled" => "cancelled",
        Some(outcome) if outcome.infrastructure => "error",
        Some(_) => "success",
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The first thing that the agent's program told a model.
fn input(timeline: &Timeline) -> String {
    let first = timeline.calls().flat_map(|call| &call.turn.said).find_map(|entry| match entry {
        Entry::User { text } => Some(text.clone()),
        _ => None,
    });
    first.unwrap_or_else(|| timeline.key.competition.clone())
}

fn score(timeline: &Timeline) -> Value {
    let Some(grade) = &timeline.grade else {
        return json!({"value": {"any_medal": 0.0}, "explanation": "not graded"});
    };
    let mut value = json!({
        "any_medal": f64::from(u8::from(grade.any_medal)),
        "above_median": f64::from(u8::from(grade.above_median)),
        "valid": f64::from(u8::from(grade.valid_submission)),
    });
    if let Some(score) = grade.score {
        value["score"] = score.into();
    }
    let medal = grade.medal.map_or_else(|| "no medal".to_owned(), |medal| medal.to_string());
    let problem = grade.invalid.as_ref().map(|invalid| invalid.message.as_str().to_owned());
    json!({"value": value, "answer": medal, "explanation": problem, "metadata": {"grade": grade}})
}

fn usage(tokens: &Buckets, usd: Option<f64>) -> Value {
    json!({
        "input_tokens": tokens.input.saturating_add(tokens.audio_input),
        "output_tokens": tokens.all_output(),
        "total_tokens": tokens.total(),
        "input_tokens_cache_read": tokens.cache_read,
        "input_tokens_cache_write": tokens.cache_write_5m.saturating_add(tokens.cache_write_1h),
        "reasoning_tokens": tokens.reasoning,
        "total_cost": usd,
    })
}

/// Sums of the bill by a name; dollars only where the price of each call is known.
fn usage_by(timeline: &Timeline, name: impl Fn(&CallRecord) -> &String) -> Value {
    let mut sums: BTreeMap<&str, (Buckets, Option<f64>)> = BTreeMap::new();
    for bill in timeline.calls().filter_map(|call| call.bill.as_ref()) {
        let (tokens, usd) = sums.entry(name(bill)).or_insert((Buckets::default(), Some(0.0)));
        tokens.add(&bill.tokens);
        *usd = usd.zip(bill.usd).map(|(sum, more)| sum + more);
    }
    sums.into_iter()
        .map(|(name, (tokens, usd))| (name.to_owned(), usage(&tokens, usd)))
        .collect::<serde_json::Map<String, Value>>()
        .into()
}

/// What was new in the request and the answer.
fn messages(exchange: &Exchange) -> Vec<Value> {
    let mut all = asked(exchange);
    all.push(answer(exchange));
    all
}

fn asked(exchange: &Exchange) -> Vec<Value> {
    let said = exchange.turn.said.iter();
    said.filter_map(|entry| match entry {
        Entry::System { text } => Some(json!({"role": "system", "content": text})),
        Entry::User { text } => Some(json!({"role": "user", "content": text, "source": "input"})),
        Entry::Result { id, text, is_error } => {
            let mut message = json!({"role": "tool", "content": text, "tool_call_id": id});
            if *is_error {
                message["error"] = json!({"type": "unknown", "message": text});
            }
            Some(message)
        }
        Entry::Assistant { text } => Some(json!({"role": "assistant", "content": text})),
        Entry::Reasoning { .. } | Entry::Call { .. } => None,
    })
    .collect()
}

fn answer(exchange: &Exchange) -> Value {
    let (mut content, mut calls) = (Vec::new(), Vec::new());
    for entry in &exchange.turn.answer {
        match entry {
            Entry::Reasoning { text } => {
                content.push(json!({"type": "reasoning", "reasoning": text}));
            }
            Entry::Call { id, name, arguments } => {
                let arguments = match arguments {
                    Value::Object(_) => arguments.clone(),
                    Value::Null => json!({}),
                    other => json!({ "input": other }),
                };
                let id = if id.is_empty() { name } else { id };
                calls.push(json!({
                    "id": id, "function": name, "arguments": arguments, "type": "function",
                }));
            }
            Entry::Assistant { text }
            | Entry::User { text }
            | Entry::System { text }
            | Entry::Result { text, .. } => content.push(json!({"type": "text", "text": text})),
        }
    }
    let mut message = json!({
        "role": "assistant", "content": content, "source": "generate",
        "model": exchange.turn.model,
    });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    message
}

fn output(exchange: &Exchange) -> Value {
    let reasons = exchange.bill.as_ref().map(|bill| bill.finish_reasons.as_slice());
    let reason = match reasons.and_then(<[String]>::first).map(String::as_str) {
        Some("length" | "max_tokens" | "MAX_TOKENS") => "max_tokens",
        Some("tool_calls" | "tool_use" | "function_call") => "tool_calls",
        Some("content_filter" | "refusal" | "SAFETY") => "content_filter",
        Some("stop" | "end_turn" | "stop_sequence" | "STOP" | "completed") => "stop",
        _ => "unknown",
    };
    let bill = exchange.bill.as_ref();
    json!({
        "model": exchange.turn.model,
        "choices": [{"message": answer(exchange), "stop_reason": reason}],
        "usage": bill.map(|bill| usage(&bill.tokens, bill.usd)),
        "time": bill.map(|bill| bill.duration_ms / 1e3),
    })
}

fn event(moment: &Moment) -> Value {
    let mut event = match &moment.what {
        What::Call(exchange) => json!({
            "event": "model",
            "model": exchange.turn.model,
            "role": exchange.turn.role,
            "input": asked(exchange),
            "tools": [],
            "tool_choice": "auto",
            "config": {},
            "output": output(exchange),
            "error": (exchange.turn.status >= 400).then(|| format!("status {}", exchange.turn.status)),
            "retries": exchange.bill.as_ref().map(|bill| bill.tries.saturating_sub(1)),
            "completed": time(exchange.answered_at()),
            "metadata": {"call": exchange.turn.call, "conversation": exchange.conversation,
                "writes": exchange.writes},
        }),
        What::Snapshot { score, valid, medal } => {
            let value = json!({"score": score, "valid": valid, "medal": medal});
            json!({"event": "info", "source": "snapshot", "data": value})
        }
        What::Validation { valid, message } => json!({
            "event": "info", "source": "validation", "data": {"valid": valid, "message": message},
        }),
        What::Phase { name } => json!({"event": "info", "source": "phase", "data": name}),
    };
    event["timestamp"] = time(moment.at).into();
    event["working_start"] = moment.elapsed_s.max(0.0).into();
    event
}
