//! Any scheduler that takes a script and lists its jobs, by the commands that a file names: Grid Engine,
//! PBS, LSF and their like (`examples/schedulers/`).
//!
//! What such a scheduler does not list any more is over; why, only the group's folder tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use regex_lite::Regex;
use serde::Deserialize;

use super::programs::{Programs, in_one_line};
use super::{Away, Habits, Over, Request, Scheduler, Seen, State, SubmitError, Submitted};
use crate::attempt::plan::SchedulerWishes;
use crate::attempt::text::shell_word;
use crate::host::files::write_atomic;

/// What a job's script tells the harness, by the names that [`crate::attempt::job`] reads.
const TOLD: [&str; 7] = ["id", "index", "restarts", "node", "gpus", "scratch", "ends_at"];

/// What commands may have in braces. Those of resources that nobody asked for are empty.
const PLACEHOLDERS: [&str; 20] = [
    "account",
    "at_once",
    "cpus",
    "elements",
    "excluded",
    "first",
    "folder",
    "gpus",
    "id",
    "index",
    "last",
    "memory_mib",
    "memory_mib_per_cpu",
    "name",
    "partition",
    "qos",
    "script",
    "time",
    "time_min",
    "user",
];

/// A scheduler's commands, as a file names them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Hands an array over.
    submit: Vec<Word>,
    /// The same for an array of one, where that is another command.
    #[serde(default)]
    submit_one: Vec<Word>,
    /// The id in what `submit` prints.
    submitted: String,
    /// Lists jobs.
    list: Vec<Word>,
    /// One job in what `list` prints.
    job: String,
    /// Ends an element.
    cancel: Vec<Word>,
    /// The same in an array of one.
    #[serde(default)]
    cancel_one: Vec<Word>,
    /// Words in a complaint of `submit` that say that there is no room now.
    #[serde(default)]
    full: Vec<String>,
    /// The index of an array's first element.
    #[serde(default)]
    first_index: u32,
    #[serde(default = "one")]
    largest_array: u32,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default)]
    kill_wait_s: u64,
    /// Whether `{at_once}` is kept to.
    #[serde(default)]
    throttles: bool,
    states: States,
    /// What tells a job's script what it is: words of the shell, by name.
    told: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// A word of a command; several are left out together where one of their placeholders is empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Word {
    One(String),
    Some(Vec<String>),
}

/// What a scheduler calls the states of jobs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct States {
    waiting: Vec<String>,
    running: Vec<String>,
    over: Vec<String>,
    /// It waits for nothing that comes by itself.
    stuck: Vec<String>,
}

/// A scheduler that is spoken to through its commands.
#[derive(Debug, Clone)]
pub struct Commands {
    programs: Programs,
    file: File,
    submitted: Regex,
    job: Regex,
    wishes: SchedulerWishes,
}

impl Commands {
    /// With what a plan says.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn of(wishes: &SchedulerWishes) -> Result<Self, String> {
        let Some(template) = &wishes.template else {
            return Err("no file names the scheduler's commands".to_owned());
        };
        let named = |error: String| format!("`{}`: {error}", template.file.display());
        let named = &named;
        let file: File =
            toml::from_str(&template.text).map_err(|error| named(error.to_string()))?;
        let pattern = |key: &str, text: &str, groups: &[&str]| {
            let regex = Regex::new(text).map_err(|error| named(format!("`{key}`: {error}")))?;
            match groups
                .iter()
                .find(|group| !regex.capture_names().flatten().any(|it| it == **group))
            {
                None => Ok(regex),
                Some(group) => Err(named(format!("`{key}` has no group `(?<{group}>...)`"))),
            }
        };
        let submitted = pattern("submitted", &file.submitted, &["id"])?;
        let job = pattern("job", &file.job, &["id", "name", "state"])?;
        for needed in ["id", "index"] {
            if !file.told.contains_key(needed) {
                return Err(named(format!("`[told]` has no `{needed}`")));
            }
        }
        if let Some(odd) = file.told.keys().find(|key| !TOLD.contains(&key.as_str())) {
            return Err(named(format!("`[told]` has `{odd}`, expected `{}`", TOLD.join("`, `"))));
        }
        for (key, command) in
            [("submit", &file.submit), ("list", &file.list), ("cancel", &file.cancel)]
        {
            if !matches!(command.first(), Some(Word::One(_))) {
                return Err(named(format!("`{key}` names no program")));
            }
        }
        let f = &file;
        for command in [&f.submit, &f.submit_one, &f.list, &f.cancel, &f.cancel_one] {
            let any = PLACEHOLDERS.map(|name| (name, String::new())).into();
            filled(command, &any).map_err(named)?;
        }
        let programs = Programs::default();
        Ok(Self { programs, file, submitted, job, wishes: wishes.clone() })
    }

    /// The programs that are not on this machine.
    pub fn missing(&self) -> Vec<String> {
        let commands = [&self.file.submit, &self.file.list, &self.file.cancel];
        let programs = commands.into_iter().filter_map(|command| match command.first() {
            Some(Word::One(program)) => Some(program.clone()),
            _ => None,
        });
        programs.filter(|program| !self.programs.has(program)).collect()
    }

    /// Runs a command with its placeholders filled in.
    fn run(
        &self,
        command: &[Word],
        values: &BTreeMap<&str, String>,
    ) -> Result<super::programs::Output, Away> {
        let words = filled(command, values).map_err(Away)?;
        let (program, args) = words.split_first().ok_or_else(|| Away("no command".to_owned()))?;
        self.programs.run(program, args, b"", |_| ())
    }

    /// All jobs that the scheduler lists, of any state.
    fn listed(&self) -> Result<Vec<Seen>, Away> {
        let output = self.run(&self.file.list, &self.common())?;
        // Some fail where there is nothing to list.
        if !output.ok && !output.stderr.trim().is_empty() {
            return Err(Away(in_one_line(&output.stderr)));
        }
        Ok(self.read(&output.stdout))
    }

    fn read(&self, text: &str) -> Vec<Seen> {
        let seen = self.job.captures_iter(text).map(|found| {
            let get = |name: &str| found.name(name).map_or("", |found| found.as_str());
            let index = get("index").parse::<u32>().ok();
            let word = get("state");
            let is = |words: &[String]| words.iter().any(|one| one == word);
            let states = &self.file.states;
            let state = if is(&states.waiting) {
                State::Waiting
            } else if is(&states.running) {
                State::Running
            } else if is(&states.over) {
                State::Over(Over::Ended)
            } else if is(&states.stuck) {
                State::Over(Over::Stuck(word.to_owned()))
            } else {
                State::Unknown(word.to_owned())
            };
            Seen {
                name: get("name").to_owned(),
                id: get("id").to_owned(),
                index: index.map(|index| index.saturating_sub(self.file.first_index)),
                reason: if state == State::Waiting { word.to_owned() } else { String::new() },
                state,
                node: get("node").to_owned(),
            }
        });
        seen.collect()
    }

    fn of_names(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen = self.listed()?;
        seen.retain(|seen| names.contains(&seen.name));
        Ok(seen)
    }

    /// Placeholders that every command may have.
    fn common(&self) -> BTreeMap<&'static str, String> {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
        let user = user.map_or_else(|| nix::unistd::getuid().to_string(), |user| user.name);
        let mut values = BTreeMap::from([("user", user)]);
        let wishes = &self.wishes;
        for (name, value) in
            [("partition", &wishes.partition), ("account", &wishes.account), ("qos", &wishes.qos)]
        {
            values.extend(value.clone().map(|value| (name, value)));
        }
        values
    }

    fn of_request(&self, request: &Request, script: String) -> BTreeMap<&'static str, String> {
        let has = request.resources;
        let mut values = self.common();
        let first = self.file.first_index;
        let last = first + request.elements.saturating_sub(1);
        let seconds = has.time_s;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        values.extend([
            ("name", request.name.clone()),
            ("first", first.to_string()),
            ("last", last.to_string()),
            ("elements", request.elements.to_string()),
            ("cpus", has.cpus.to_string()),
            ("time_min", seconds.div_ceil(60).to_string()),
            ("time", format!("{hours}:{minutes:02}:{:02}", seconds % 60)),
            ("folder", request.folder.display().to_string()),
            ("script", script),
        ]);
        if has.memory_bytes > 0 {
            let mib = has.memory_bytes.div_ceil(1 << 20);
            values.insert("memory_mib", mib.to_string());
            values
                .insert("memory_mib_per_cpu", mib.div_ceil(u64::from(has.cpus.max(1))).to_string());
        }
        if has.gpus > 0 {
            values.insert("gpus", has.gpus.to_string());
        }
        values.extend(request.at_once.map(|count| ("at_once", count.to_string())));
        let nodes: Vec<&str> = request.excluded.iter().map(String::as_str).collect();
        if !nodes.is_empty() {
            values.insert("excluded", nodes.join(","));
        }
        values
    }

    /// The script of an array's jobs, which differ by what the scheduler tells each.
    fn script(&self, request: &Request) -> String {
        let mut text = "#!/bin/sh\n".to_owned();
        let fixed = [
            ("SCHEDULER", "command".to_owned()),
            ("NAME", request.name.clone()),
            ("CPUS", request.resources.cpus.to_string()),
            ("MEMORY_BYTES", request.resources.memory_bytes.to_string()),
        ];
        for (name, value) in fixed {
            text.push_str(&format!("export MEDALIST_JOB_{name}={}\n", shell_word(&value)));
        }
        for (name, word) in &self.file.told {
            text.push_str(&format!("export MEDALIST_JOB_{}=\"{word}\"\n", name.to_uppercase()));
        }
        let folder = request.folder.display().to_string();
        let output = request.folder.join(&request.name).display().to_string();
        text.push_str(&format!("cd {} || exit 1\n", shell_word(&folder)));
        let output = shell_word(&output);
        text.push_str(&format!("exec >>{output}\"_$MEDALIST_JOB_INDEX.out\" 2>&1 </dev/null\n"));
        let command: Vec<String> = request.command.iter().map(|word| shell_word(word)).collect();
        text.push_str(&format!("exec {}\n", command.join(" ")));
        text
    }
}

/// A command with its placeholders filled in.
fn filled(command: &[Word], values: &BTreeMap<&str, String>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in command {
        match word {
            Word::One(word) => words.push(filled_word(word, values)?.ok_or_else(|| {
                format!("`{word}` has an empty placeholder; put it into a list of its own")
            })?),
            Word::Some(some) => {
                let some: Result<Option<Vec<String>>, String> =
                    some.iter().map(|word| filled_word(word, values)).collect();
                words.extend(some?.into_iter().flatten());
            }
        }
    }
    Ok(words)
}

/// `None` if one of its placeholders has no value here.
fn filled_word(word: &str, values: &BTreeMap<&str, String>) -> Result<Option<String>, String> {
    let (mut text, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("`{word}` has a `{{` without its `}}`"));
        };
        let Some(value) = values.get(name) else {
            return match PLACEHOLDERS.contains(&name) {
                true => Ok(None),
                false => Err(format!(
                    "`{word}` has `{{{name}}}`, expected one of `{}`",
                    PLACEHOLDERS.join("`, `")
                )),
            };
        };
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(Some(text))
}

impl Scheduler for Commands {
    fn habits(&self) -> Result<Habits, Away> {
        Ok(Habits {
            largest_array: self.file.largest_array.max(1),
            kill_wait: Some(Duration::from_secs(self.file.kill_wait_s)),
            throttles: self.file.throttles,
            // Without arrays each attempt is a question.
            is_asked_gently: self.file.largest_array > 1,
        })
    }

    fn submit(&self, request: &Request) -> Result<Submitted, SubmitError> {
        let script: PathBuf = request.folder.join(format!("{}.sh", request.name));
        write_atomic(&script, self.script(request).as_bytes())
            .map_err(|error| SubmitError::Refused(crate::attempt::text::chain(&error)))?;
        let command = match request.elements {
            1 if !self.file.submit_one.is_empty() => &self.file.submit_one,
            _ => &self.file.submit,
        };
        let values = self.of_request(request, script.display().to_string());
        let output = self.run(command, &values)?;
        if !output.ok {
            let complaint = in_one_line(&output.stderr);
            return Err(match self.file.full.iter().any(|word| complaint.contains(word)) {
                true => SubmitError::Full(complaint),
                false => SubmitError::Refused(complaint),
            });
        }
        let id = self.submitted.captures(&output.stdout).and_then(|found| found.name("id"));
        match id {
            Some(id) => Ok(Submitted { id: id.as_str().to_owned(), cluster: None }),
            // It may have taken them: who asks by name finds out.
            None => {
                let said = output.stdout.trim();
                Err(SubmitError::Away(Away(format!("it answered `{said}`, in which is no id"))))
            }
        }
    }

    fn queue(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        let mut seen = self.of_names(names)?;
        seen.retain(|seen| !matches!(seen.state, State::Over(_)));
        Ok(seen)
    }

    fn recorded(&self, names: &[String], _: DateTime<Utc>) -> Result<Vec<Seen>, Away> {
        let mut seen = self.of_names(names)?;
        seen.retain(|seen| matches!(seen.state, State::Over(_)));
        Ok(seen)
    }

    fn cancel(&self, elements: &[(String, u32)], gently: bool) -> Result<(), Away> {
        let listed = self.listed()?;
        for (id, index) in elements {
            let found = listed
                .iter()
                .find(|seen| seen.id == *id && seen.index.is_none_or(|own| own == *index));
            let Some(seen) = found else { continue };
            if matches!(seen.state, State::Over(Over::Ended))
                || (gently && seen.state == State::Running)
            {
                continue;
            }
            // An array of one that was handed over as such has no index.
            let alone = seen.index.is_none() && !self.file.cancel_one.is_empty();
            let command = if alone { &self.file.cancel_one } else { &self.file.cancel };
            let mut values = self.common();
            values.insert("id", id.clone());
            values.insert("index", (index + self.file.first_index).to_string());
            let output = self.run(command, &values)?;
            let is_left = !output.ok
                && self.listed()?.iter().any(|left| left.id == *id && left.index == seen.index);
            if is_left {
                return Err(Away(in_one_line(&output.stderr)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::plan::Template;
    use crate::host::scheduler::Resources;

    fn of(text: &str) -> Result<Commands, String> {
        let template = Some(Template { file: "s.toml".into(), text: text.to_owned() });
        let partition = Some("long".to_owned());
        Commands::of(&SchedulerWishes { template, partition, ..SchedulerWishes::default() })
    }

    fn shipped(name: &str) -> Commands {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/schedulers");
        of(&std::fs::read_to_string(dir.join(name)).unwrap()).unwrap()
    }

    fn request() -> Request {
        Request {
            name: "medalist-1-7".into(),
            elements: 3,
            at_once: None,
            command: ["/opt/medalist", "attempt", "--job", "/a b/o.json"].map(str::to_owned).into(),
            folder: "/a b/jobs".into(),
            resources: Resources {
                cpus: 4,
                memory_bytes: 8 << 30,
                gpus: 0,
                time_s: 3661,
                warning_s: 60,
            },
            kill_wait: Duration::ZERO,
            excluded: Default::default(),
            wishes: SchedulerWishes::default(),
        }
    }

    #[test]
    fn words_with_nothing_in_them_are_left_out() {
        let commands = shipped("gridengine.toml");
        let values = commands.of_request(&request(), "/a b/jobs/x.sh".to_owned());
        let words = filled(&commands.file.submit, &values).unwrap();
        let text = words.join(" ");
        assert!(text.starts_with("qsub -terse -N medalist-1-7 -t 1-3 "), "{text}");
        assert!(text.contains("-q long") && text.contains("h_rt=1:01:01"), "{text}");
        assert!(!text.contains("-tc") && !text.contains("gpu"), "{text}");
        assert_eq!(words.last().unwrap(), "/a b/jobs/x.sh");
    }

    #[test]
    fn a_script_tells_the_harness_what_it_is() {
        let script = shipped("gridengine.toml").script(&request());
        for line in [
            "export MEDALIST_JOB_NAME=medalist-1-7\n",
            "export MEDALIST_JOB_ID=\"$JOB_ID\"\n",
            "exec >>'/a b/jobs/medalist-1-7'\"_$MEDALIST_JOB_INDEX.out\" 2>&1",
            "exec /opt/medalist attempt --job '/a b/o.json'\n",
        ] {
            assert!(script.contains(line), "{line} in {script}");
        }
    }

    #[test]
    fn jobs_of_grid_engine_pbs_and_lsf_are_read() {
        let grid = "job-ID  prior   name       user         state submit/start at     queue                          slots ja-task-ID\n\
            ----------------------------------------------------------------------------------------------------------------\n      \
            7 0.55500 medalist-1 alice        r     01/02/2026 03:04:05 main.q@n1                          1 2\n       \
            Full jobname:     medalist-1-7\n       Master Queue:     main.q@n1\n      \
            7 0.55500 medalist-1 alice        qw    01/02/2026 03:04:05                                    1 3\n       \
            Full jobname:     medalist-1-7\n      \
            9 0.55500 medalist-1 alice        Eqw   01/02/2026 03:04:05                                    1 1\n       \
            Full jobname:     medalist-1-9\n";
        let seen = shipped("gridengine.toml").read(grid);
        let short = |seen: &[Seen]| -> Vec<(String, Option<u32>, State, String)> {
            let each = seen.iter().map(|it| {
                assert!(it.name.starts_with("medalist-1-"), "{it:?}");
                (it.id.clone(), it.index, it.state.clone(), it.node.clone())
            });
            each.collect()
        };
        let one =
            |id: &str, index, state, node: &str| (id.to_owned(), index, state, node.to_owned());
        let stuck = State::Over(Over::Stuck("Eqw".into()));
        assert_eq!(
            short(&seen),
            [
                one("7", Some(1), State::Running, "n1"),
                one("7", Some(2), State::Waiting, ""),
                one("9", Some(0), stuck, ""),
            ]
        );
        let pbs = "Job Id: 12[].west\n    Job_Name = medalist-1-3\n    job_state = B\n\n\
            Job Id: 12[4].west\n    Job_Name = medalist-1-3\n    Job_Owner = a@west\n    job_state = R\n    exec_host = n3/0*4\n\n\
            Job Id: 13.west\n    Job_Name = medalist-1-5\n    job_state = Q\n";
        assert_eq!(
            short(&shipped("pbs.toml").read(pbs))[1..],
            [one("12", Some(4), State::Running, ""), one("13", None, State::Waiting, "")]
        );
        let lsf = "12|3|medalist-1-3[3]|RUN|4*n7\n13|1|medalist-1-5[1]|PEND|-\n14|0|other|EXIT|-\n";
        let seen: Vec<Seen> = shipped("lsf.toml").read(lsf);
        assert_eq!(
            short(&seen[..2]),
            [one("12", Some(2), State::Running, "n7"), one("13", Some(0), State::Waiting, "")]
        );
        assert_eq!(seen[2].state, State::Over(Over::Ended));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/schedulers");
        let good = std::fs::read_to_string(dir.join("gridengine.toml")).unwrap();
        for (from, to, said) in [
            ("{script}", "{scrpt}", "`{scrpt}`, expected one of"),
            ("(?<id>", "(", "has no group `(?<id>...)`"),
            ("index = \"", "indx = \"", "`[told]` has no `index`"),
            ("list = ", "lists = ", "unknown field `lists`"),
            ("\"{name}\"", "\"{name\"", "without its `}`"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = of(&good.replace(from, to)).unwrap_err();
            assert!(error.contains(said) && error.contains("`s.toml`"), "{to}: {error}");
        }
    }
}
