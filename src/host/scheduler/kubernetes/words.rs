//! What `kubectl` prints.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::Node;
use super::pod::{HARNESS, INDEX, ORDER};
use crate::host::scheduler::{Away, Over, Seen, State, SubmitError};

/// How long after a deleted pod's last moment its node may take to say that it is gone.
const UNCONFIRMED: Duration = Duration::seconds(60);
/// How long a pod may wait for its image, or for whatever else its container lacks.
const STUCK: Duration = Duration::minutes(10);
/// Why a container waits for what does not come by itself.
const STUCK_WORDS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RegistryUnavailable",
];
/// How much of a message is kept.
const MESSAGE: usize = 300;

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    deletion_timestamp: Option<DateTime<Utc>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    reason: String,
    message: String,
    start_time: Option<DateTime<Utc>>,
    conditions: Vec<Condition>,
    container_statuses: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    state: ContainerState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Why>,
    terminated: Option<Why>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Why {
    reason: String,
    message: String,
}

/// The pods of `kubectl get pods -o json` that are ours.
pub(super) fn pods(text: &str, now: DateTime<Utc>) -> Result<Vec<Seen>, serde_json::Error> {
    let list: List = serde_json::from_str(text)?;
    let ours = list.items.into_iter().filter_map(|item| {
        let name = item.metadata.labels.get(ORDER)?.clone();
        let index = item.metadata.labels.get(INDEX)?.parse().ok()?;
        let (state, reason) = item.state(now);
        let node = item.spec.node_name;
        Some(Seen { id: name.clone(), name, index: Some(index), state, reason, node })
    });
    Ok(ours.collect())
}

impl Item {
    fn state(&self, now: DateTime<Utc>) -> (State, String) {
        let Status { phase, .. } = &self.status;
        let gone = self.metadata.deletion_timestamp.is_some_and(|at| now > at + UNCONFIRMED);
        match phase.as_str() {
            "Succeeded" | "Failed" => self.over(),
            // Its node's kubelet confirms every end but its own.
            _ if gone => {
                let word = "NodeLost: its pod was deleted, and its node does not answer";
                (State::Over(Over::NodeLost(word.to_owned())), String::new())
            }
            "Pending" => self.waiting(now),
            "Running" => (State::Running, String::new()),
            other => (State::Unknown(other.to_owned()), self.status.reason.clone()),
        }
    }

    fn container(&self) -> Option<&Container> {
        let all = &self.status.container_statuses;
        all.iter().find(|one| one.name == HARNESS).or(all.first())
    }

    fn over(&self) -> (State, String) {
        let Status { phase, reason, message, conditions, .. } = &self.status;
        let container = self.container().and_then(|one| one.state.terminated.as_ref());
        let disrupted =
            conditions.iter().find(|one| one.kind == "DisruptionTarget" && one.status == "True");
        let over = match (phase.as_str(), reason.as_str()) {
            ("Succeeded", _) => Over::Ended,
            (_, "DeadlineExceeded") => Over::TimedOut,
            _ if disrupted.is_some() => {
                let one = disrupted.map(|one| in_one(&one.reason, &one.message));
                Over::NodeLost(one.unwrap_or_default())
            }
            (_, "") => match container.map(|one| one.reason.as_str()) {
                Some("OOMKilled") => Over::OutOfMemory,
                // Its node was booted anew.
                Some("ContainerStatusUnknown") => {
                    Over::NodeLost("ContainerStatusUnknown".to_owned())
                }
                _ => Over::Ended,
            },
            // Evicted, Preempting, Shutdown, NodeAffinity, OutOfcpu, UnexpectedAdmissionError ...
            _ => Over::NodeLost(in_one(reason, message)),
        };
        // `Error` and `Completed` say nothing.
        let told = container
            .filter(|one| over == Over::Ended && !one.message.is_empty())
            .map(|one| in_one(&one.reason, &one.message));
        (State::Over(over), told.unwrap_or_default())
    }

    fn waiting(&self, now: DateTime<Utc>) -> (State, String) {
        let waits = self.container().and_then(|one| one.state.waiting.as_ref());
        let unscheduled = self
            .status
            .conditions
            .iter()
            .find(|one| one.kind == "PodScheduled" && one.status == "False");
        let reason = match (waits, unscheduled) {
            (Some(why), _) => in_one(&why.reason, &why.message),
            (None, Some(why)) => in_one(&why.reason, &why.message),
            (None, None) => String::new(),
        };
        let is_stuck = waits.is_some_and(|why| STUCK_WORDS.contains(&why.reason.as_str()))
            && self.status.start_time.is_some_and(|at| now > at + STUCK);
        match is_stuck {
            true => (State::Over(Over::Stuck(reason)), String::new()),
            false => (State::Waiting, reason),
        }
    }
}

/// A word and what is said beside it, in one line of bounded length.
fn in_one(reason: &str, message: &str) -> String {
    let line: Vec<&str> = message.split_whitespace().collect();
    let mut line = line.join(" ");
    if line.len() > MESSAGE {
        let end = (0..=MESSAGE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str("...");
    }
    if line.is_empty() { reason.to_owned() } else { format!("{reason}: {line}") }
}

/// What a refusal to make a pod means; one that is there already was made before.
pub(super) fn refusal(complaint: &str) -> Result<(), SubmitError> {
    let text = complaint.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["(alreadyexists)"]) {
        return Ok(());
    }
    if has(&["exceeded quota", "(toomanyrequests)"]) {
        return Err(SubmitError::Full(complaint.to_owned()));
    }
    if has(&[
        "unable to connect to the server",
        "connection refused",
        "(serviceunavailable)",
        "(internalerror)",
        "(timeout)",
        "(servertimeout)",
        "timed out",
        "timeout",
        "etcdserver",
        "unexpected eof",
        "connection reset",
        "no route to host",
    ]) {
        return Err(SubmitError::Away(Away(format!("`kubectl`: {complaint}"))));
    }
    Err(SubmitError::Refused(complaint.to_owned()))
}

/// A node of `kubectl get nodes -o json`.
pub(super) fn node(item: &Value) -> Node {
    let conditions = item["status"]["conditions"].as_array();
    let answers = conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "Ready" && one["status"] == "True");
    let has = item["status"]["allocatable"].as_object();
    let has = has.into_iter().flatten().filter_map(|(name, amount)| {
        let amount = amount.as_str()?;
        (amount != "0").then(|| (name.clone(), amount.to_owned()))
    });
    Node {
        name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        is_ready: answers && item["spec"]["unschedulable"] != true,
        allocatable: has.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn seen(status: &Value, deleted: Option<&str>) -> Seen {
        let labels = json!({ORDER: "medalist-1-1", INDEX: "0"});
        let list = json!({"items": [
            {"metadata": {"labels": labels, "deletionTimestamp": deleted}, "spec": {"nodeName": "n1"}, "status": status},
            {"metadata": {"labels": {"app": "other"}}},
        ]});
        let mut all = pods(&list.to_string(), at("2026-01-01T12:00:00Z")).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn container(state: &Value) -> Value {
        json!([{"name": "sidecar"}, {"name": HARNESS, "state": state}])
    }

    #[test]
    fn ends_are_told_apart() {
        let lost = |word: &str| Over::NodeLost(word.to_owned());
        let killed = |reason: &str| {
            let state = container(&json!({"terminated": {"reason": reason, "exitCode": 137}}));
            json!({"phase": "Failed", "containerStatuses": state})
        };
        let disrupted = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
        for (status, over) in [
            (json!({"phase": "Succeeded"}), Over::Ended),
            (json!({"phase": "Failed"}), Over::Ended),
            (killed("Error"), Over::Ended),
            (killed("OOMKilled"), Over::OutOfMemory),
            (killed("ContainerStatusUnknown"), lost("ContainerStatusUnknown")),
            (json!({"phase": "Failed", "reason": "DeadlineExceeded"}), Over::TimedOut),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "low on\n memory"}),
                lost("Evicted: low on memory"),
            ),
            (json!({"phase": "Failed", "conditions": disrupted}), lost("EvictionByEvictionAPI")),
        ] {
            assert_eq!(seen(&status, None).state, State::Over(over), "{status}");
        }
        let message = json!({"terminated": {"reason": "StartError", "message": "no such file"}});
        let status = json!({"phase": "Failed", "containerStatuses": container(&message)});
        assert_eq!(seen(&status, None).reason, "StartError: no such file");
    }

    #[test]
    fn a_deleted_pod_whose_node_says_nothing_is_lost_with_it() {
        let running = json!({"phase": "Running"});
        assert_eq!(seen(&running, None).state, State::Running);
        assert_eq!(seen(&running, Some("2026-01-01T11:59:30Z")).state, State::Running);
        let late = seen(&running, Some("2026-01-01T11:58:00Z")).state;
        assert!(matches!(late, State::Over(Over::NodeLost(_))), "{late:?}");
        let unknown = json!({"phase": "Unknown", "reason": "NodeLost"});
        assert_eq!(seen(&unknown, None).state, State::Unknown("Unknown".into()));
    }

    #[test]
    fn why_a_pod_waits_is_told_and_for_an_image_it_does_not_wait_for_ever() {
        let conditions = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available"}]);
        let status = json!({"phase": "Pending", "conditions": conditions});
        let one = seen(&status, None);
        assert_eq!(one.state, State::Waiting);
        assert_eq!(one.reason, "Unschedulable: 0/3 nodes are available");
        let pulls = |started: &str| {
            let state =
                container(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no"}}));
            json!({"phase": "Pending", "startTime": started, "containerStatuses": state})
        };
        assert_eq!(seen(&pulls("2026-01-01T11:55:00Z"), None).state, State::Waiting);
        let stuck = State::Over(Over::Stuck("ImagePullBackOff: no".into()));
        assert_eq!(seen(&pulls("2026-01-01T11:45:00Z"), None).state, stuck);
    }

    #[test]
    fn refusals_are_told_apart() {
        let server = "Error from server";
        assert!(refusal(&format!("{server} (AlreadyExists): pods \"a\" already exists")).is_ok());
        for (text, is) in [
            ("(Forbidden): pods \"a\" is forbidden: exceeded quota: q, requested: pods=1", "full"),
            ("(Forbidden): pods is forbidden: User \"u\" cannot create resource", "refused"),
            ("(NotFound): namespaces \"x\" not found", "refused"),
            (": etcdserver: request timed out", "away"),
            ("; Unable to connect to the server: dial tcp 10.0.0.1: i/o timeout", "away"),
        ] {
            let found = match refusal(&format!("{server} {text}")).unwrap_err() {
                SubmitError::Full(_) => "full",
                SubmitError::Refused(_) => "refused",
                SubmitError::Away(_) => "away",
            };
            assert_eq!(found, is, "{text}");
        }
    }

    #[test]
    fn nodes_are_read() {
        let item = json!({"metadata": {"name": "n1"}, "status": {
            "allocatable": {"cpu": "8", "nvidia.com/gpu": "2", "hugepages-2Mi": "0"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let one = node(&item);
        assert!(one.is_ready && one.allocatable.len() == 2, "{one:?}");
        let mut cordoned = item;
        cordoned["spec"]["unschedulable"] = true.into();
        assert!(!node(&cordoned).is_ready);
        assert!(!node(&json!({})).is_ready);
    }
}
