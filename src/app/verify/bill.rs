//! What language models cost: the bill against its calls, and the calls against what was said.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use chrono::TimeDelta;
use flate2::read::MultiGzDecoder;
use medalist_llm::Config;
use medalist_llm::prices::{Price, PriceTable};
use medalist_llm::record::{CallRecord, Outcome};
use medalist_reports::record::{AttemptRecord, LlmRecord, LlmTotals};
use serde::Deserialize;

use super::claim::{Check, Claim, Verdict};
use super::group::{Attempt, Group};
use crate::app::bundle::manifest::Part;
use crate::attempt::dir::AttemptDir;
use crate::attempt::text::chain;
use crate::run::sinks::jsonl;
use crate::run::totals_of;

/// Calls of one try that are added up; more would take the memory that they are to be kept from.
const MOST_CALLS: usize = 200_000;
/// The operation that providers count tokens by, which is free.
const COUNT_TOKENS: &str = "count_tokens";
/// What a transcript may unpack to.
const UNPACKED: u64 = 4 << 30;
/// The longest line of a transcript; a request is 64 MiB at most.
const LONGEST_LINE: u64 = 96 << 20;

/// The bill is the sum of its calls, within the budget, and the transcript has the same calls.
pub(super) fn bill(group: &Group<'_>, without: &BTreeSet<Part>) -> Claim {
    let mut check = Check::new("bill", "the bill is the sum of the calls, within the budget");
    let Some(gateway) = &group.plan.llm else {
        check.holds(Verdict::NotCheckable, "no gateway stood between agents and language models");
        for attempt in &group.attempts {
            let has = attempt.record.as_ref().is_some_and(|record| record.llm.is_some());
            let key = &attempt.planned.key;
            check.expect(!has, || format!("{key} has a bill, and the plan has no gateway"));
        }
        return check.claim();
    };
    check.holds(
        Verdict::Consistent,
        "records, calls and transcripts add up; what providers charged, only their own bills tell",
    );
    if without.contains(&Part::Transcripts) {
        check.open("transcripts were left out");
    }
    let config = match gateway.config() {
        Ok(config) => Some(config),
        Err(error) => {
            check.open(format!("the plan's gateway cannot be read: {}", chain(&error)));
            None
        }
    };
    let table = config.as_ref().map(Config::price_table);
    let planned = config.as_ref().zip(table.as_ref());
    let mut sum = LlmTotals::default();
    for attempt in &group.attempts {
        let Some(record) = &attempt.record else { continue };
        let key = &attempt.planned.key;
        match &record.llm {
            Some(llm) => {
                sum.add(&llm.with_earlier_tries());
                attempt_bill(group, attempt, record, llm, planned, &mut check);
            }
            None => {
                let calls = calls(&attempt.work.llm());
                let none = calls.is_ok_and(|calls| calls.iter().all(|call| call.tries == 0));
                check.expect(none || record.outcome.is_none(), || {
                    format!("{key} has calls of language models and no bill")
                });
            }
        }
    }
    let recorded = group.record.as_ref().and_then(|record| record.llm.as_ref());
    let ended = group.record.as_ref().is_some_and(|record| record.ended_at.is_some());
    if let Some(recorded) = recorded.filter(|_| ended) {
        check.expect(recorded.totals == sum, || {
            format!(
                "`group.json` has {}, and the attempts come to {}",
                money(&recorded.totals),
                money(&sum)
            )
        });
    }
    check.note(format!("{} calls, {}", sum.calls, money(&sum)));
    check.claim()
}

fn money(totals: &LlmTotals) -> String {
    format!("${:.4} for {} calls", totals.known_dollars(), totals.calls)
}

fn attempt_bill(
    group: &Group<'_>,
    attempt: &Attempt,
    record: &AttemptRecord,
    llm: &LlmRecord,
    planned: Option<(&Config, &PriceTable)>,
    check: &mut Check,
) {
    let key = &attempt.planned.key;
    let own = match calls(&attempt.work.llm()) {
        Ok(calls) => calls,
        Err(error) => return check.open(format!("the calls of {key} cannot be read: {error}")),
    };
    let totals = totals_of(&own);
    check.expect(totals == llm.totals, || {
        format!(
            "{key} has a bill of {}, and its calls come to {}",
            money(&llm.totals),
            money(&totals)
        )
    });
    let mut earlier = LlmTotals::default();
    for one in record.tries.iter().rev().skip(1) {
        let folder: AttemptDir = attempt.dir.earlier_try(one.number);
        match calls(&folder.llm()) {
            Ok(calls) => earlier.add(&totals_of(&calls)),
            Err(error) => check.open(format!("calls of {key} cannot be read: {error}")),
        }
    }
    let recorded = llm.earlier_tries.unwrap_or_default();
    check.expect(earlier == recorded, || {
        let (recorded, earlier) = (money(&recorded), money(&earlier));
        format!(
            "earlier tries of {key} have a bill of {recorded}, and their calls come to {earlier}"
        )
    });
    seen(group, attempt, record, &own, check);
    transcript(attempt, &own, check);
    let Some((config, table)) = planned else { return };
    prices(config, table, attempt, &own, check);
    let planned = config.budget.attempt;
    let budget = llm.budget.clone().unwrap_or_default();
    let dollars = planned.dollars.map(medalist_llm::Picodollars::dollars);
    let same =
        (budget.dollars, budget.tokens, budget.calls) == (dollars, planned.tokens, planned.calls);
    check.expect(same, || format!("{key} had another budget than the plan"));
    if dollars.is_some_and(|most| llm.totals.known_dollars() > most) {
        // The last calls before a limit may go over it, unless the settings say never.
        let (spent, most) = (llm.totals.known_dollars(), dollars.unwrap_or_default());
        let what = format!("{key} spent ${spent:.4} of ${most:.4}");
        match config.budget.overshoot {
            medalist_llm::config::Overshoot::Never => check.wrong(what),
            medalist_llm::config::Overshoot::Bounded => check.note(what),
        }
    }
}

/// Calls cost what their tokens cost by the plan's table of prices.
fn prices(
    config: &Config,
    table: &PriceTable,
    attempt: &Attempt,
    own: &[CallRecord],
    check: &mut Check,
) {
    let here = format!("({})", table.id());
    let (mut wrong, mut elsewhere) = (0, 0);
    let counts = |call: &&CallRecord| {
        call.tries > 0
            && call.tokens.total() > 0
            && call.outcome != Outcome::HarnessLost
            && call.operation != COUNT_TOKENS
    };
    for call in own.iter().filter(counts) {
        // Rows of a table name it in brackets; rows of the plan's own, and what is free, name none.
        if call.price.as_ref().is_some_and(|row| row.contains('(') && !row.contains(&here)) {
            elsewhere += 1;
            continue;
        }
        // A call is booked at its end; some rows hold at some hours alone.
        let took = TimeDelta::try_milliseconds(call.duration_ms as i64).unwrap_or_default();
        let price = |at| {
            let tier = call.tier.as_deref();
            config.price(table, &call.provider, &call.request_model, tier, at)
        };
        let is = |price: Option<Price>| match price {
            Some(price) => {
                call.price.as_ref() == Some(&price.row)
                    && call.picodollars == Some(price.cost(&call.tokens).0)
            }
            None => call.price.is_none() && call.picodollars.is_none(),
        };
        let booked = call.at.checked_add_signed(took).unwrap_or(call.at);
        wrong += usize::from(!is(price(call.at)) && !is(price(booked)));
    }
    let key = &attempt.planned.key;
    check.expect(wrong == 0, || {
        format!("{wrong} calls of {key} cost something else by the plan's prices")
    });
    if elsewhere > 0 {
        check.open(format!("{elsewhere} calls of {key} have prices of another table than {here}"));
    }
}

/// The log has not seen more calls than the bill has, and calls lie within the attempt.
fn seen(
    group: &Group<'_>,
    attempt: &Attempt,
    record: &AttemptRecord,
    own: &[CallRecord],
    check: &mut Check,
) {
    let key = &attempt.planned.key;
    let Some(last) = record.tries.last() else { return };
    let told = group.told.attempts.get(key).and_then(|told| told.calls.get(&last.number));
    let made = own.iter().filter(|call| call.tries > 0).count() as u64;
    check.expect(told.is_none_or(|told| *told <= made), || {
        let told = told.copied().unwrap_or_default();
        format!("the log has seen {told} calls of {key}, and its bill has {made}")
    });
    if let Some((began, ended)) = last.started_at.zip(record.ended_at) {
        let slack = TimeDelta::seconds(60);
        let outside = own.iter().find(|call| call.at + slack < began || call.at > ended + slack);
        check.expect(outside.is_none(), || {
            let at = outside.map(|call| call.at.to_rfc3339()).unwrap_or_default();
            format!("{key} has a call at {at}, when it did not run")
        });
    }
    // Numbers are given out one after the other, from 1.
    let ids: BTreeSet<u64> = own.iter().map(|call| call.id).collect();
    let refused = own.iter().any(|call| call.stands_for.is_some());
    let missing = ids.last().map_or(0, |last| last.saturating_sub(ids.len() as u64));
    if missing > 0 && !refused {
        let what = format!("{missing} calls of {key} are not in its bill");
        // A call that was not sent yet when a harness was killed leaves no line.
        match group.told.logs.iter().any(|log| log.sessions.len() > 1) {
            true => check.open(what),
            false => check.wrong(what),
        }
    }
}

/// The transcript has the calls of the bill and no others.
fn transcript(attempt: &Attempt, own: &[CallRecord], check: &mut Check) {
    let key = &attempt.planned.key;
    let path = attempt.work.llm().join("transcript.jsonl.gz");
    if !path.is_file() {
        return;
    }
    let said = match said(&path) {
        Ok(said) => said,
        Err(error) => return check.open(format!("the transcript of {key} ends early: {error}")),
    };
    let billed: BTreeSet<u64> = own.iter().map(|call| call.id).collect();
    let extra = said.difference(&billed).count();
    check.expect(extra == 0, || {
        format!("the transcript of {key} has {extra} calls that are not in its bill")
    });
    let answered = own.iter().filter(|call| call.outcome == Outcome::Ok && call.tries > 0);
    let missing = answered.filter(|call| !said.contains(&call.id)).count();
    check.expect(missing == 0, || {
        format!("{missing} answered calls of {key} are not in its transcript")
    });
}

/// The calls of one try, the latest line of each.
fn calls(folder: &Path) -> io::Result<Vec<CallRecord>> {
    let path = folder.join("calls.jsonl");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut lines = 0;
    jsonl::lines(&path, |_| lines += 1)?;
    if lines > MOST_CALLS {
        return Err(io::Error::other(format!("there are more than {MOST_CALLS}")));
    }
    medalist_llm::record::read_calls(folder)
}

/// The calls that a transcript has.
fn said(path: &Path) -> io::Result<BTreeSet<u64>> {
    #[derive(Deserialize)]
    struct Line {
        id: u64,
    }
    let mut said = BTreeSet::new();
    let mut reader = BufReader::new(MultiGzDecoder::new(File::open(path)?).take(UNPACKED));
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(said);
        }
        if said.len() > MOST_CALLS {
            return Err(io::Error::other(format!("there are more than {MOST_CALLS} calls")));
        }
        if let Ok(Line { id }) = serde_json::from_slice(&line) {
            said.insert(id);
        }
    }
}
