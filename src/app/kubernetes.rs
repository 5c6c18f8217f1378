//! What a Kubernetes cluster has and lets this user do, for those who are about to hand attempts over.

use std::path::Path;

use serde_json::Value;

use super::context::Context;
use super::doctor::{Finding, Level};
use super::error::{CliError, Exit};
use crate::attempt::plan::{Plan, Remote, SchedulerWishes};
use crate::host::scheduler::kubernetes::{KUBECTL, Kubernetes, Node};
use crate::host::scheduler::{Request, Resources, SubmitError};

/// What must be allowed of pods.
const VERBS: [&str; 3] = ["create", "list", "delete"];
/// How many nodes are shown.
const SHOWN: usize = 50;

/// The current context of the user's kubeconfig; `None` where there is none, as in a pod.
pub(super) fn current_context() -> Option<String> {
    let kubectl = Kubernetes::of(&SchedulerWishes::default()).ok()?;
    let name = kubectl.ask(&["config", "current-context"]).ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

/// Whether a plan's pods can be handed over at all.
///
/// # Errors
/// There is no cluster, the pod does not see what an attempt needs, or the cluster would not take it.
pub(super) fn check(
    plan: &Plan,
    remote: &Remote,
    resources: Resources,
    context: &Context,
) -> Result<(), CliError> {
    let cluster = open(&remote.wishes)?;
    if !cluster.is_there() {
        return Err(CliError::message(Exit::Environment, format!("there is no `{KUBECTL}` here"))
            .hint("https://kubernetes.io/docs/tasks/tools says how to get it"));
    }
    let Some(pod) = cluster.pod() else {
        return Err(CliError::message(
            Exit::Usage,
            "`--on kubernetes` needs a pod to make others like",
        )
        .hint("`--pod FILE` names its manifest; examples/kubernetes/pod.yaml is one"));
    };
    if plan.executor.has_engine() {
        return Err(CliError::message(
            Exit::Usage,
            format!("pods have no container engine for `--executor {}`", plan.executor),
        )
        .hint("`--executor namespaces` seals without one"));
    }
    let program = std::env::current_exe()?;
    let mut needed = vec![
        ("runs folder", std::path::absolute(&context.runs_dir)?),
        ("data folder", std::path::absolute(&plan.data_dir)?),
    ];
    if !pod.has_command() {
        needed.push(("program", program));
    }
    for (what, path) in needed {
        if !pod.sees(&path) {
            return Err(CliError::message(
                Exit::BadInput,
                format!("the pod has no volume with the {what}, `{}`", path.display()),
            )
            .hint("mount the shared volume in the pod at the path that it has here; a `command` in the manifest names a program of the image"));
        }
    }
    try_out(&cluster, remote, resources, &context.runs_dir)
}

fn open(wishes: &SchedulerWishes) -> Result<Kubernetes, CliError> {
    Kubernetes::of(wishes).map_err(|error| CliError::message(Exit::BadInput, error))
}

/// Asks the cluster whether it would take such a pod.
fn try_out(
    cluster: &Kubernetes,
    remote: &Remote,
    resources: Resources,
    runs_dir: &Path,
) -> Result<(), CliError> {
    let request = Request {
        name: format!("{}-check", remote.prefix),
        elements: 1,
        at_once: None,
        command: vec!["medalist".to_owned()],
        folder: runs_dir.to_owned(),
        resources,
        kill_wait: Default::default(),
        excluded: Default::default(),
        wishes: Default::default(),
    };
    match cluster.try_out(&request) {
        Ok(()) | Err(SubmitError::Full(_)) => Ok(()),
        Err(error @ SubmitError::Away(_)) => Err(CliError::new(Exit::Environment, error)),
        Err(error @ SubmitError::Refused(_)) => Err(CliError::new(Exit::BadInput, error)
            .hint("`medalist doctor --on kubernetes` shows the cluster and what you may do there")),
    }
}

/// What `doctor --on kubernetes` says: the cluster, what this user may do, its nodes, the pod.
///
/// # Errors
/// The pod's manifest is wrong.
pub fn examine(remote: &Remote, context: &Context) -> Result<Vec<Finding>, CliError> {
    let cluster = open(&remote.wishes)?;
    if !cluster.is_there() {
        let hint = "https://kubernetes.io/docs/tasks/tools says how to get it";
        return Ok(vec![Finding::other(KUBECTL, Level::Missing, "not here", hint)]);
    }
    let version = match cluster.ask(&["version", "-o", "json"]) {
        Ok(text) => text,
        Err(away) => {
            let hint =
                "`kubectl cluster-info` must work here; `--kube-context` names another cluster";
            let what = "cluster";
            return Ok(vec![Finding::other(what, Level::Missing, away.to_string(), hint)]);
        }
    };
    let version: Value = serde_json::from_str(&version).unwrap_or_default();
    let version = version["serverVersion"]["gitVersion"].as_str().unwrap_or("unknown");
    let named = remote.wishes.cluster.as_deref().unwrap_or("this pod's own");
    let mut found = vec![Finding::ok("cluster", format!("Kubernetes {version}, context {named}"))];
    let refused: Vec<&str> =
        VERBS.into_iter().filter(|verb| cluster.may(verb) == Some(false)).collect();
    found.push(match refused.is_empty() {
        true => Finding::ok("rights", "pods may be made, listed and deleted"),
        false => Finding::other(
            "rights",
            Level::Missing,
            format!("you may not {} pods", refused.join(", ")),
            "ask for a role with these verbs on pods in your namespace; the manifest's `metadata.namespace` names another",
        ),
    });
    match cluster.nodes() {
        Ok(nodes) => {
            found.extend(nodes.iter().take(SHOWN).map(node));
            if nodes.len() > SHOWN {
                found.push(Finding::ok("nodes", format!("{} more", nodes.len() - SHOWN)));
            }
        }
        Err(away) => {
            let hint = "your rights end at your namespace; pods that fit nowhere wait, and `status` says why";
            found.push(Finding::other("nodes", Level::Note, away.to_string(), hint));
        }
    }
    if cluster.pod().is_none() {
        let hint = "`--pod FILE` looks at the manifest that `run` will be given";
        found.push(Finding::other("pod", Level::Note, "not looked at", hint));
        return Ok(found);
    }
    let small = Resources { cpus: 1, memory_bytes: 512 << 20, gpus: 0, time_s: 300, warning_s: 30 };
    found.push(match try_out(&cluster, remote, small, &context.runs_dir) {
        Ok(()) => Finding::ok("pod", "the cluster takes it"),
        Err(error) => {
            let hint = "docs/cluster.md says what a pod needs";
            Finding::other("pod", Level::Missing, error.message_chain(), hint)
        }
    });
    Ok(found)
}

fn node(one: &Node) -> Finding {
    let has: Vec<String> = one
        .allocatable
        .iter()
        .filter(|(name, _)| name == "cpu" || name == "memory" || name.contains(".com/"))
        .map(|(name, amount)| format!("{amount} {name}"))
        .collect();
    let text = format!("{}: {}", one.name, has.join(", "));
    match one.is_ready {
        true => Finding::ok("node", text),
        false => Finding::other(
            "node",
            Level::Note,
            format!("{text}; takes no pods now"),
            "`kubectl describe node` says why",
        ),
    }
}
