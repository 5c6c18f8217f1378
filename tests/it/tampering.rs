//! A real group, each of whose fields is changed as somebody would who wants to look better than he is: each
//! change is found, or what it touches is not called verified.

use std::path::{Path, PathBuf};

use serde_json::{Value, json as value};

use crate::bundle::{Copy, claims, edit, last_link, made};
use crate::llm::attempts;
use crate::support::json;

/// The events of one kind.
fn of_kind<'a>(events: &'a mut [Value], kind: &'a str) -> impl Iterator<Item = &'a mut Value> {
    events.iter_mut().filter(move |event| event["event"]["kind"] == kind)
}

/// The number of an event of a kind.
fn at(events: &[Value], kind: &str) -> usize {
    events.iter().position(|event| event["event"]["kind"] == kind).unwrap()
}

/// Numbers the events anew.
fn renumber(events: &mut [Value]) {
    for (seq, event) in events.iter_mut().enumerate() {
        event["seq"] = value!(seq);
    }
}

/// One change of a group by somebody who makes the chain, the manifest and its counts anew.
type Change = (&'static str, &'static [&'static str], fn(&Copy));

/// Each change with the claims that it contradicts; the last of them is the one that must.
const CHANGES: [Change; 28] = [
    ("a better score in the grade", &["records", "scores"], |copy| {
        copy.edit_first("grade.json", |grade| grade["score"] = value!(0.001));
    }),
    ("a better score in the grade and the log", &["scores"], |copy| {
        copy.edit_first("grade.json", |grade| grade["score"] = value!(0.001));
        let key = json(&copy.attempt(0).join("attempt.json"))["key"].take();
        copy.events(|events| {
            let ends = of_kind(events, "finished");
            ends.filter(|event| event["event"]["key"] == key)
                .for_each(|event| event["event"]["grade"]["score"] = value!(0.001));
        });
    }),
    ("a medal", &["records", "scores"], |copy| {
        copy.edit_first("grade.json", |grade| {
            for (name, to) in [
                ("any_medal", value!(true)),
                ("gold_medal", value!(true)),
                ("medal", value!("gold")),
            ] {
                grade[name] = to;
            }
            for name in ["silver_medal", "bronze_medal"] {
                grade[name] = value!(false);
            }
        });
    }),
    ("easier thresholds", &["scores"], |copy| {
        copy.edit_first("grade.json", |grade| grade["median_threshold"] = value!(1e9));
    }),
    ("another submission", &["records"], |copy| {
        let path = copy.attempt(0).join("submission/submission.csv");
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rows) = text.split_once('\n').unwrap();
        let changed: Vec<String> = rows.lines().map(|row| format!("{row}1")).collect();
        std::fs::write(&path, format!("{head}\n{}\n", changed.join("\n"))).unwrap();
    }),
    ("another submission, recorded", &["scores"], |copy| {
        let path = copy.attempt(0).join("submission/submission.csv");
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, rows) = text.split_once('\n').unwrap();
        let changed: Vec<String> = rows.lines().map(|row| format!("{row}1")).collect();
        std::fs::write(&path, format!("{head}\n{}\n", changed.join("\n"))).unwrap();
        let (sha256, bytes) = medalist::host::files::file_sha256(&path).unwrap();
        copy.edit_first("attempt.json", |record| {
            record["submission"]["sha256"] = value!(sha256);
            record["submission"]["bytes"] = value!(bytes);
        });
    }),
    ("no submission", &["records"], |copy| {
        std::fs::remove_dir_all(copy.attempt(0).join("submission")).unwrap();
    }),
    ("a seed whose folder is gone", &["attempts"], |copy| {
        std::fs::remove_dir_all(copy.attempt(0)).unwrap();
    }),
    ("a seed that is gone from records and plan", &["attempts"], |copy| {
        let dir = copy.attempt(0);
        std::fs::remove_dir_all(&dir).unwrap();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        for file in ["plan.json", "group.json"] {
            copy.edit(file, |content| {
                content["attempts"].as_array_mut().unwrap().retain(|one| one["dir"] != name);
            });
        }
        copy.events(|_| ());
    }),
    ("a seed that is gone everywhere", &["attempts"], |copy| {
        let dir = copy.attempt(0);
        let key = json(&dir.join("attempt.json"))["key"].clone();
        std::fs::remove_dir_all(&dir).unwrap();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        for file in ["plan.json", "group.json"] {
            copy.edit(file, |content| {
                content["attempts"].as_array_mut().unwrap().retain(|one| one["dir"] != name);
            });
        }
        copy.edit("metadata.json", |content| {
            content["runs"].as_object_mut().unwrap().remove(&name);
        });
        copy.events(|events| {
            events.retain(|event| event["event"]["key"] != key);
            renumber(events);
        });
    }),
    ("an attempt that was not planned", &["attempts"], |copy| {
        copy.edit("plan.json", |plan| {
            let first = plan["attempts"][0].clone();
            plan["attempts"].as_array_mut().unwrap().push(first);
            let last = plan["attempts"].as_array_mut().unwrap().last_mut().unwrap();
            last["dir"] = value!("demo-bikes_other");
        });
        copy.events(|_| ());
    }),
    ("an event that is gone", &["log"], |copy| {
        copy.events(|events| drop(events.remove(at(events, "phase"))));
    }),
    ("an end that is gone", &["records"], |copy| {
        copy.events(|events| {
            events.remove(at(events, "finished"));
            renumber(events);
        });
    }),
    ("a start that is gone", &["tries"], |copy| {
        copy.events(|events| {
            events.remove(at(events, "started"));
            renumber(events);
        });
    }),
    ("events in another order", &["log"], |copy| {
        copy.events(|events| {
            let at = at(events, "finished");
            events.swap(at, at - 1);
        });
    }),
    ("events in another order, numbered anew", &["times"], |copy| {
        copy.events(|events| {
            let end = events.len() - 1;
            events[..end].reverse();
            let first = events.remove(end - 1);
            events.insert(0, first);
            renumber(events);
            // What lies between two ends is more than the step of a clock.
            for (seq, event) in events.iter_mut().enumerate().skip(2) {
                let time = chrono::DateTime::parse_from_rfc3339(event["at"].as_str().unwrap());
                let back = chrono::TimeDelta::seconds(2 * seq as i64);
                event["at"] = value!((time.unwrap() - back).to_rfc3339());
            }
        });
    }),
    ("a clock that was moved", &["times"], |copy| {
        copy.events(|events| {
            let at = at(events, "finished");
            events[at]["at"] = value!("2020-01-01T00:00:00Z");
        });
    }),
    ("a shorter time in the record", &["records"], |copy| {
        copy.edit_first("attempt.json", |record| record["took_s"] = value!(0.0));
    }),
    ("more time than there was", &["times"], |copy| {
        let key = json(&copy.attempt(0).join("attempt.json"))["key"].clone();
        copy.edit_first("attempt.json", |record| {
            record["took_s"] = value!(5000.0);
            record["tries"][0]["took_s"] = value!(5000.0);
        });
        copy.events(|events| {
            let ends = of_kind(events, "finished");
            ends.filter(|event| event["event"]["key"] == key)
                .for_each(|event| event["event"]["took_s"] = value!(5000.0));
        });
    }),
    ("a longer limit in the record", &["conditions"], |copy| {
        copy.edit_first("attempt.json", |record| {
            record["conditions"]["limits"]["time_s"] = value!(86400.0);
        });
    }),
    ("a longer limit in the plan", &["conditions", "times"], |copy| {
        copy.edit("plan.json", |plan| {
            let name =
                ["timeout", "timeout_s"].into_iter().find(|name| !plan["limits"][name].is_null());
            plan["limits"][name.unwrap()] = value!(86400.0);
        });
        copy.events(|_| ());
    }),
    ("a sealed network", &["conditions"], |copy| {
        copy.edit_first("attempt.json", |record| {
            record["conditions"]["network"] = value!("sealed");
            record["conditions"]["sealed"] = value!(true);
        });
    }),
    ("a smaller bill", &["bill"], |copy| {
        copy.edit_first("attempt.json", |record| {
            record["llm"]["totals"]["picodollars"] = value!(1);
        });
    }),
    ("a call that is gone", &["bill"], |copy| {
        let path = copy.attempt(0).join("llm/calls.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        std::fs::write(&path, format!("{first}\n")).unwrap();
    }),
    ("a call that is gone from the bill too", &["bill"], |copy| {
        let path = copy.attempt(0).join("llm/calls.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let call: Value = serde_json::from_str(first).unwrap();
        let mut before = Value::Null;
        copy.edit_first("attempt.json", |record| {
            let totals = &mut record["llm"]["totals"];
            before = totals.clone();
            totals["calls"] = value!(1);
            totals["tokens"] = call["tokens"].clone();
            totals["picodollars"] = call["picodollars"].clone();
        });
        copy.edit("group.json", |group| {
            let totals = &mut group["llm"]["totals"];
            totals["calls"] = value!(totals["calls"].as_u64().unwrap() - 1);
            let less =
                before["picodollars"].as_u64().unwrap() - call["picodollars"].as_u64().unwrap();
            totals["picodollars"] = value!(totals["picodollars"].as_u64().unwrap() - less);
            for kind in ["input", "output"] {
                let less = before["tokens"][kind].as_u64().unwrap()
                    - call["tokens"][kind].as_u64().unwrap();
                totals["tokens"][kind] = value!(totals["tokens"][kind].as_u64().unwrap() - less);
            }
        });
    }),
    ("a cheaper call, in every sum", &["bill"], |copy| {
        let path = copy.attempt(0).join("llm/calls.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut calls: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let price = calls[0]["picodollars"].as_u64().unwrap();
        calls[0]["picodollars"] = value!(price / 2);
        let lines: Vec<String> = calls.iter().map(|call| format!("{call}\n")).collect();
        std::fs::write(&path, lines.concat()).unwrap();
        let lower = |totals: &mut Value| {
            let sum = totals["picodollars"].as_u64().unwrap();
            totals["picodollars"] = value!(sum - price.div_ceil(2));
        };
        copy.edit_first("attempt.json", |record| lower(&mut record["llm"]["totals"]));
        copy.edit("group.json", |group| lower(&mut group["llm"]["totals"]));
    }),
    ("a connection to a host that is not on the list", &["conditions"], |copy| {
        let line = value!({"target": "elsewhere.example.org:443", "verdict": "connected"});
        std::fs::write(copy.attempt(0).join("network.jsonl"), format!("{line}\n")).unwrap();
    }),
    ("a larger budget", &["bill"], |copy| {
        copy.edit_first("attempt.json", |record| {
            record["llm"]["budget"]["dollars"] = value!(50.0);
        });
    }),
];

#[test]
fn each_change_that_somebody_could_make_is_found() {
    for (name, contradicted, change) in CHANGES {
        let copy = Copy::new();
        change(&copy);
        let found = copy.verified();
        for claim in contradicted {
            let (verdict, lines) = &found[*claim];
            assert_eq!(verdict, "contradicted", "{name}: {claim}: {lines}\n{found:#?}");
        }
    }
}

#[test]
fn one_gpu_cannot_be_used_by_two_attempts_at_once() {
    let with_starts = |starts: [&str; 2]| {
        let copy = Copy::new();
        for (number, start) in starts.into_iter().enumerate() {
            edit(&copy.attempt(number).join("attempt.json"), |record| {
                let one = &mut record["tries"][0];
                one["gpus"] = value!([{"uuid": "GPU-1"}]);
                (one["started_at"], one["took_s"]) = (value!(start), value!(100.0));
            });
        }
        copy.verified()["times"].1.contains("had the GPU GPU-1 at once")
    };
    assert!(with_starts(["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"]));
    assert!(!with_starts(["2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z"]));
}

/// Adds a failed try to the first attempt, in the record and in the log.
fn with_a_retry(copy: &Copy) -> Value {
    let outcome =
        value!({"kind": "engine_lost", "infrastructure": true, "exit_code": null, "detail": "x"});
    let key = json(&copy.attempt(0).join("attempt.json"))["key"].clone();
    copy.edit_first("attempt.json", |record| {
        let mut failed = record["tries"][0].clone();
        failed["outcome"] = outcome.clone();
        failed["took_s"] = value!(0.0);
        record["tries"][0]["number"] = value!(2);
        record["tries"].as_array_mut().unwrap().insert(0, failed);
    });
    copy.events(|events| {
        let is_it = |event: &Value| event["event"]["kind"] == "started" && event["event"]["key"] == key;
        let at = events.iter().position(is_it).unwrap();
        let (first, mut failed) = (events[at].clone(), events[at].clone());
        failed["event"] = value!({"kind": "try_failed", "key": key, "try_number": 1, "outcome": outcome, "retry_in_s": 0.0});
        events.insert(at, failed);
        events.insert(at, first);
        events[at + 2]["event"]["try_number"] = value!(2);
        renumber(events);
    });
    key
}

#[test]
fn a_retry_cannot_be_hidden_in_one_place_alone() {
    let copy = Copy::new();
    with_a_retry(&copy);
    let found = copy.verified();
    assert_eq!(found["tries"].0, "consistent", "{found:#?}");
    assert!(found["tries"].1.contains("engine_lost"), "{}", found["tries"].1);

    let copy = Copy::new();
    with_a_retry(&copy);
    copy.edit_first("attempt.json", |record| {
        record["tries"].as_array_mut().unwrap().remove(0);
    });
    assert_eq!(copy.verified()["tries"].0, "contradicted", "hidden in the record");

    let copy = Copy::new();
    let key = with_a_retry(&copy);
    copy.events(|events| {
        let of_first = |event: &Value| {
            let event = &event["event"];
            event["key"] == key
                && (event["kind"] == "try_failed" || event["kind"] == "started")
                && event["try_number"] == 1
        };
        events.retain(|event| !of_first(event));
        renumber(events);
    });
    assert_eq!(copy.verified()["tries"].0, "contradicted", "hidden in the log");
}

/// Removes the second seed of every competition, wherever it is told of.
fn without_the_second_seed(copy: &Copy) {
    let is_second = |dir: &Path| json(&dir.join("attempt.json"))["key"]["seed"] == 1;
    let gone: Vec<PathBuf> =
        attempts(&copy.group).into_iter().filter(|dir| is_second(dir)).collect();
    assert_eq!(gone.len(), 2);
    for dir in &gone {
        std::fs::remove_dir_all(dir).unwrap();
    }
    let name = |dir: &Path| dir.file_name().unwrap().to_str().unwrap().to_owned();
    let names: Vec<String> = gone.iter().map(|dir| name(dir)).collect();
    for file in ["plan.json", "group.json"] {
        copy.edit(file, |content| {
            let attempts = content["attempts"].as_array_mut().unwrap();
            attempts.retain(|one| !names.contains(&one["dir"].as_str().unwrap().to_owned()));
        });
    }
    copy.edit("metadata.json", |content| {
        content["runs"].as_object_mut().unwrap().retain(|dir, _| !names.contains(dir));
    });
    copy.edit("group.json", |group| {
        for name in ["calls", "picodollars"] {
            let half = group["llm"]["totals"][name].as_u64().unwrap() / 2;
            group["llm"]["totals"][name] = value!(half);
        }
        for name in ["input", "output"] {
            let half = group["llm"]["totals"]["tokens"][name].as_u64().unwrap() / 2;
            group["llm"]["totals"]["tokens"][name] = value!(half);
        }
    });
    copy.events(|events| {
        events.retain(|event| event["event"]["key"]["seed"] != 1);
        let mut finished = 0;
        for event in events.iter_mut() {
            finished += usize::from(event["event"]["kind"] == "finished");
            if let Some(stats) = event["event"].get_mut("stats") {
                for (name, count) in [("planned", 2), ("finished", finished), ("valid", finished)] {
                    stats[name] = value!(count);
                }
            }
        }
        renumber(events);
    });
}

#[test]
fn what_is_changed_everywhere_alike_is_said_to_be_the_senders_word() {
    let plan = medalist::host::files::file_sha256(&made().group.join("plan.json")).unwrap().0;
    // The phase of an attempt is in no other file: whoever makes the chain anew can drop it. A retry that
    // is taken out of all files, and seeds that are taken out of all, leave nothing that speaks of them.
    let changes: [(&str, &str, fn(&Copy) -> String); 3] = [
        ("an event", "log", |copy| {
            let link = last_link(copy);
            copy.events(|events| {
                let at = at(events, "phase");
                events.remove(at);
                renumber(events);
            });
            link
        }),
        ("a retry", "log", |copy| {
            with_a_retry(copy);
            let link = last_link(copy);
            let key = json(&copy.attempt(0).join("attempt.json"))["key"].clone();
            copy.edit_first("attempt.json", |record| {
                record["tries"].as_array_mut().unwrap().remove(0);
                record["tries"][0]["number"] = value!(1);
            });
            copy.events(|events| {
                events.retain(|event| {
                    let event = &event["event"];
                    event["key"] != key || event["try_number"] != 1
                });
                let starts =
                    of_kind(events, "started").filter(|event| event["event"]["key"] == key);
                starts.for_each(|event| event["event"]["try_number"] = value!(1));
                renumber(events);
            });
            link
        }),
        ("a seed", "attempts", |copy| {
            let link = last_link(copy);
            without_the_second_seed(copy);
            link
        }),
    ];
    for (what, claim, change) in changes {
        let copy = Copy::new();
        let link = change(&copy);
        let file = copy.bundle(&[]);
        let found = claims(&file, &[]);
        for (name, (verdict, lines)) in &found {
            assert_ne!(verdict, "contradicted", "{what}: {name}: {lines}");
        }
        // Nothing shows it, and nothing says that it was ruled out.
        assert_eq!(found[claim].0, "consistent", "{what}: {found:#?}");
        assert!(found["attempts"].1.contains("nobody outside has seen the plan"), "{what}");
        assert!(found["log"].1.contains("can make another"), "{what}: {found:#?}");
        assert!(found["times"].1.contains("nobody but the machine"), "{what}: {found:#?}");
        assert_eq!(found["program"].0, "not_checkable", "{what}");
        // Who has seen a link finds it.
        let seen = claims(&file, &["--witness", &link]);
        assert_eq!(seen["witness"].0, "contradicted", "{what}: {seen:#?}");
        let seen = claims(&file, &["--witness", &plan]);
        let expected = if what == "a seed" { "contradicted" } else { "verified" };
        assert_eq!(seen["witness"].0, expected, "{what}: {seen:#?}");
    }
}

/// An event that is gone without a new chain.
#[test]
fn a_chain_that_was_not_made_anew_shows_each_change() {
    let changes: [fn(&mut Vec<String>); 3] = [
        |lines| drop(lines.remove(3)),
        |lines| lines.swap(2, 3),
        |lines| lines[3] = lines[3].replacen("\"at\":\"20", "\"at\":\"19", 1),
    ];
    for change in changes {
        let copy = Copy::new();
        let path = copy.group.join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let found = copy.verified();
        assert_eq!(found["log"].0, "contradicted", "{found:#?}");
    }
    // The plan is the head of the chain.
    let copy = Copy::new();
    copy.edit("plan.json", |plan| plan["notes"] = value!("other"));
    assert_eq!(copy.verified()["log"].0, "contradicted");
    // A group of an earlier version has no chain, and nothing is said of it.
    let copy = Copy::new();
    let path = copy.group.join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let bare = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event.as_object_mut().unwrap().shift_remove("chain");
        format!("{event}\n")
    };
    std::fs::write(&path, text.lines().map(bare).collect::<String>()).unwrap();
    let found = copy.verified();
    assert_eq!(found["log"].0, "not_checkable", "{found:#?}");
}
