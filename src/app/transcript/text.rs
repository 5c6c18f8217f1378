//! A timeline for a terminal.

use medalist_llm::record::Entry;
use medalist_reports::text::{clock, dollars, duration, readable, score, visible};

use super::{Exchange, Moment, Timeline, What};

/// Lines of a text that are shown where not all are.
const LINES: usize = 12;
/// Characters of a line that are shown then.
const WIDTH: usize = 200;

/// How much of each text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Its first lines.
    Short,
    /// All of it.
    Full,
}

/// Who, how it ended, what it is worth and what it cost, in one line.
pub(super) fn headline(timeline: &Timeline) -> String {
    let record = &timeline.record;
    let mut parts = Vec::new();
    let outcome = record.outcome.as_ref().map_or("unfinished", |outcome| outcome.kind.as_str());
    parts.push(outcome.replace('_', " "));
    parts.push(match &timeline.grade {
        None => "not graded".to_owned(),
        Some(grade) if !grade.submission_exists => "no submission".to_owned(),
        Some(grade) if !grade.valid_submission => "invalid submission".to_owned(),
        Some(grade) => {
            let medal = grade.medal.map_or_else(|| "no medal".to_owned(), |m| m.to_string());
            format!("score {}, {medal}", score(grade.score))
        }
    });
    parts.push(duration(record.took_s));
    if let Some(llm) = &record.llm {
        let totals = &llm.totals;
        let price = match totals.dollars() {
            Some(usd) => dollars(usd),
            None => format!("at least {}", dollars(totals.known_dollars())),
        };
        let calls = totals.calls + totals.replayed_calls;
        parts.push(format!("{calls} call{}, {price}", if calls == 1 { "" } else { "s" }));
    }
    parts.join("; ")
}

/// The timeline, a block for each thing that was said or happened.
pub(super) fn text(timeline: &Timeline, length: Length) -> String {
    let mut out = format!("{}  {}\n", timeline.key, headline(timeline));
    for note in &timeline.notes {
        out.push_str(&format!("note: {}\n", tame(note)));
    }
    for moment in &timeline.moments {
        add(&mut out, moment, length);
    }
    out
}

fn add(out: &mut String, moment: &Moment, length: Length) {
    let at = clock(moment.elapsed_s);
    match &moment.what {
        What::Phase { name } => out.push_str(&format!("\n{at}  phase      {name}\n")),
        What::Validation { valid, message } => {
            let verdict = if *valid { "valid" } else { "invalid" };
            out.push_str(&format!("\n{at}  validation {verdict}: {}\n", tame(message)));
        }
        What::Snapshot { score, valid, medal } => {
            let worth = worth(*score, *valid, medal.as_deref());
            out.push_str(&format!("\n{at}  snapshot   {worth}\n"));
        }
        What::Call(exchange) => call(out, &at, moment.elapsed_s, exchange, length),
    }
}

/// What a snapshot is worth, in words.
pub(super) fn worth(worth: Option<f64>, valid: bool, medal: Option<&str>) -> String {
    match (valid, medal) {
        (false, _) => "invalid".to_owned(),
        (true, None) => format!("score {}, no medal", score(worth)),
        (true, Some(medal)) => format!("score {}, {medal}", score(worth)),
    }
}

fn call(out: &mut String, at: &str, began_s: f64, exchange: &Exchange, length: Length) {
    let turn = &exchange.turn;
    out.push_str(&format!("\n{at}  {}\n", call_head(exchange)));
    for entry in &turn.said {
        said(out, entry, length);
    }
    let took = (exchange.answered_at() - turn.at).as_seconds_f64();
    if turn.status >= 400 {
        out.push_str(&format!("  {}  error {}\n", clock(began_s + took), turn.status));
    } else if !turn.whole {
        out.push_str(&format!("  {}  the answer broke off\n", clock(began_s + took)));
    }
    for entry in &turn.answer {
        said(out, entry, length);
    }
    for file in &exchange.writes {
        out.push_str(&format!("  writes {file}\n"));
    }
}

/// `call 3 of some-model as coder, new conversation 2: 1234 tokens in, 56 out, $0.0012, 3.4 s`.
pub(super) fn call_head(exchange: &Exchange) -> String {
    let turn = &exchange.turn;
    let kind = match turn.continues {
        Some(_) => "",
        None => "new ",
    };
    format!(
        "call {} of {} as {}, {kind}conversation {}{}",
        turn.call,
        tame(&turn.model),
        tame(&turn.role),
        exchange.conversation,
        bill(exchange)
    )
}

/// `: 1234 tokens in (900 cached), 56 out, $0.0012, 3.4 s`.
fn bill(exchange: &Exchange) -> String {
    let Some(bill) = &exchange.bill else { return String::new() };
    let cached = match bill.tokens.cache_read {
        0 => String::new(),
        cached => format!(" ({cached} cached)"),
    };
    format!(
        ": {} tokens in{cached}, {} out, {}, {}",
        bill.tokens.all_input(),
        bill.tokens.all_output(),
        bill.usd.map_or_else(|| "unpriced".to_owned(), dollars),
        duration(Some(bill.duration_ms / 1e3))
    )
}

/// Who said it, in a word, and what.
pub(super) fn who_and_what(entry: &Entry) -> (&'static str, String) {
    match entry {
        Entry::System { text } => ("system", text.clone()),
        Entry::User { text } => ("user", text.clone()),
        Entry::Assistant { text } => ("model", text.clone()),
        Entry::Reasoning { text } => ("reasoning", text.clone()),
        Entry::Call { name, arguments, .. } => ("tool", format!("{name} {}", readable(arguments))),
        Entry::Result { text, is_error: true, .. } => ("failed", text.clone()),
        Entry::Result { text, .. } => ("result", text.clone()),
    }
}

fn said(out: &mut String, entry: &Entry, length: Length) {
    let (who, text) = who_and_what(entry);
    let total = text.lines().count();
    let most = if length == Length::Full { usize::MAX } else { LINES };
    for (index, line) in text.lines().take(most).enumerate() {
        let line = match length {
            Length::Full => tame(line),
            Length::Short => cut(&tame(line)),
        };
        let who = if index == 0 { who } else { "" };
        out.push_str(&format!("  {who:<9} | {line}\n"));
    }
    if total > most {
        out.push_str(&format!(
            "  {:<9} | … ({} more lines; --full shows them)\n",
            "",
            total - most
        ));
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// A line that a terminal only shows.
fn tame(line: &str) -> String {
    visible(&line.replace('\t', "    "))
}
