//! Kubernetes, through `kubectl`: it reads the user's kubeconfig with whatever way of logging in a cluster
//! has, and what is asked of it is alike in all versions.
//!
//! A pod stands for a job. Its name is the array's with the index behind it, so that one that was made
//! already cannot be made twice. Nothing ever runs in a pod from outside: the harness is its program.

mod pod;
mod words;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use pod::Pod;

use super::programs::{Output, Programs, in_one_line};
use super::{Away, Habits, Request, Scheduler, Seen, State, SubmitError, Submitted};
use crate::attempt::plan::SchedulerWishes;

/// The program.
pub const KUBECTL: &str = "kubectl";
/// How many names one call gets: `kubectl` deletes five a second.
const AT_ONCE: usize = 50;

/// A cluster, as this user reaches it.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    programs: Programs,
    /// The context of the kubeconfig; its current one otherwise.
    context: Option<String>,
    pod: Option<Pod>,
}

impl Kubernetes {
    /// With what a plan says.
    ///
    /// # Errors
    /// What is wrong with the pod's manifest.
    pub fn of(wishes: &SchedulerWishes) -> Result<Self, String> {
        let pod = wishes.template.as_ref().map(|template| {
            let named = |error| format!("`{}`: {error}", template.file.display());
            Pod::parse(&template.text).map_err(named)
        });
        let context = wishes.cluster.clone();
        Ok(Self { programs: Programs::default(), context, pod: pod.transpose()? })
    }

    /// The pod that all are made like; `None` where only the cluster is looked at.
    pub fn pod(&self) -> Option<&Pod> {
        self.pod.as_ref()
    }

    /// Whether `kubectl` is there.
    pub fn is_there(&self) -> bool {
        self.programs.has(KUBECTL)
    }

    fn call(&self, args: &[&str], input: &[u8]) -> Result<Output, Away> {
        let mut all: Vec<&str> = Vec::new();
        if let Some(context) = &self.context {
            all.extend(["--context", context]);
        }
        if let Some(namespace) = self.pod.as_ref().and_then(Pod::namespace) {
            all.extend(["--namespace", namespace]);
        }
        all.extend(args);
        self.programs.run(KUBECTL, all, input, |_| ())
    }

    /// What `kubectl` prints for these words.
    ///
    /// # Errors
    /// [`Away`], also where it complains.
    pub fn ask(&self, args: &[&str]) -> Result<String, Away> {
        let output = self.call(args, b"")?;
        match output.ok {
            true => Ok(output.stdout),
            false => Err(Away(format!("`{KUBECTL}`: {}", in_one_line(&output.stderr)))),
        }
    }

    /// Whether this user may do that to pods; `None` if nobody says.
    pub fn may(&self, verb: &str) -> Option<bool> {
        let output = self.call(&["auth", "can-i", verb, "pods"], b"").ok()?;
        match output.stdout.trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// Whether the cluster would take pods such as these.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn try_out(&self, request: &Request) -> Result<(), SubmitError> {
        self.create(request, 0, &["--dry-run=server"])
    }

    fn create(&self, request: &Request, index: u32, more: &[&str]) -> Result<(), SubmitError> {
        let Some(pod) = &self.pod else {
            return Err(SubmitError::Refused("there is no pod's manifest".to_owned()));
        };
        let manifest = pod.manifest(request, index).to_string();
        let args = [&["create", "-f", "-", "-o", "name"], more].concat();
        let output = self.call(&args, manifest.as_bytes())?;
        match output.ok {
            true => Ok(()),
            false => words::refusal(&in_one_line(&output.stderr)),
        }
    }

    /// All pods of these arrays that the cluster still has, over or not.
    fn pods(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        let Some(selector) = pod::selector(names) else { return Ok(Vec::new()) };
        let text = self.ask(&["get", "pods", "-l", &selector, "-o", "json"])?;
        let seen = words::pods(&text, Utc::now())
            .map_err(|error| Away(format!("`{KUBECTL} get pods` answered nonsense: {error}")))?;
        Ok(seen.into_iter().filter(|seen| names.contains(&seen.name)).collect())
    }

    /// The cluster's nodes, as `kubectl get nodes -o json` lists them.
    ///
    /// # Errors
    /// [`Away`], also where this user may not see them.
    pub fn nodes(&self) -> Result<Vec<Node>, Away> {
        let text = self.ask(&["get", "nodes", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)
            .map_err(|error| Away(format!("`{KUBECTL} get nodes` answered nonsense: {error}")))?;
        Ok(list["items"].as_array().into_iter().flatten().map(words::node).collect())
    }
}

/// A machine of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether pods can begin there.
    pub is_ready: bool,
    /// What it has for pods, in the cluster's words: `cpu`, `memory`, `nvidia.com/gpu` and so on.
    pub allocatable: Vec<(String, String)>,
}

impl Scheduler for Kubernetes {
    fn habits(&self) -> Result<Habits, Away> {
        // One pod a call: it is taken or it is not, and nobody has to find out how many of many were.
        let kill_wait = self.pod.as_ref().and_then(Pod::kill_wait).map(Duration::from_secs);
        Ok(Habits { largest_array: 1, kill_wait, throttles: false, is_asked_gently: false })
    }

    fn submit(&self, request: &Request) -> Result<Submitted, SubmitError> {
        for index in 0..request.elements {
            // Checked once by `try_out`; for every pod it would load the cluster's whole schema.
            self.create(request, index, &["--validate=false"])?;
        }
        Ok(Submitted { id: request.name.clone(), cluster: self.context.clone() })
    }

    fn queue(&self, names: &[String]) -> Result<Vec<Seen>, Away> {
        let mut seen = self.pods(names)?;
        seen.retain(|seen| !matches!(seen.state, State::Over(_)));
        Ok(seen)
    }

    fn recorded(&self, names: &[String], _: DateTime<Utc>) -> Result<Vec<Seen>, Away> {
        let mut seen = self.pods(names)?;
        seen.retain(|seen| matches!(seen.state, State::Over(_)));
        Ok(seen)
    }

    fn cancel(&self, elements: &[(String, u32)], _: bool) -> Result<(), Away> {
        // One that runs gets SIGTERM and its time, as it does from whoever else takes its node away.
        for some in elements.chunks(AT_ONCE) {
            let names: Vec<String> = some.iter().map(|(id, index)| pod::name(id, *index)).collect();
            let mut args = vec!["delete", "pods", "--ignore-not-found", "--wait=false"];
            args.extend(names.iter().map(String::as_str));
            self.ask(&args)?;
        }
        Ok(())
    }

    fn forget(&self, names: &[String]) -> Result<(), Away> {
        let left: Vec<(String, u32)> =
            self.pods(names)?.into_iter().filter_map(|seen| Some((seen.id, seen.index?))).collect();
        self.cancel(&left, false)
    }
}
