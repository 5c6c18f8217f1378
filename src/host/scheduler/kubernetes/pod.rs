//! The pods that attempts run in: the user's manifest, and in it what medalist says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::host::scheduler::Request;

/// Labels of every pod of ours.
pub(super) const GROUP: &str = "medalist/group";
pub(super) const ORDER: &str = "medalist/order";
pub(super) const INDEX: &str = "medalist/index";
/// The container that the harness runs in, where a manifest has several.
pub(super) const HARNESS: &str = "medalist";
/// What a GPU is called.
const GPU: &str = "nvidia.com/gpu";

/// A manifest of a pod (`kind: Pod`), as the user wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    manifest: Map<String, Value>,
    /// Which of its containers is the harness's.
    harness: usize,
}

/// The name of an array's pod.
pub(super) fn name(order: &str, index: u32) -> String {
    format!("{order}-{index}")
}

/// What an array's name begins with, which is the same for all of a group.
fn group(order: &str) -> &str {
    order.rsplit_once('-').map_or(order, |(group, _)| group)
}

/// Selects all pods of the groups of these arrays, and some more; `None` of none.
pub(super) fn selector(names: &[String]) -> Option<String> {
    let groups: BTreeSet<&str> = names.iter().map(|name| group(name)).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    (!groups.is_empty()).then(|| format!("{GROUP} in ({})", groups.join(",")))
}

impl Pod {
    /// Reads a manifest: YAML, or JSON, which is YAML too.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Map<String, Value> = serde_saphyr::from_str(text)
            .map_err(|error| format!("it is no YAML of a pod: {error}"))?;
        if let Some(kind) = manifest.get("kind").filter(|kind| *kind != "Pod") {
            return Err(format!("its `kind` is {kind}, expected `Pod`"));
        }
        let spec = manifest.get("spec");
        let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
        let containers = containers.map(Vec::as_slice).unwrap_or_default();
        let harness = match containers {
            [] => {
                return Err("it has no `spec.containers`, expected one with an `image`".to_owned());
            }
            [_] => 0,
            several => several.iter().position(|one| one["name"] == HARNESS).ok_or_else(|| {
                format!("it has several containers; name the harness's `{HARNESS}`")
            })?,
        };
        if let Some(odd) = containers.iter().find(|one| !one["image"].is_string()) {
            return Err(format!("its container {} has no `image`", odd["name"]));
        }
        let policy = spec.and_then(|spec| spec.get("restartPolicy"));
        if let Some(policy) = policy.filter(|policy| *policy != "Never") {
            return Err(format!(
                "its `restartPolicy` is {policy}; attempts are started again by medalist alone: leave it out"
            ));
        }
        let pod = Self { manifest, harness };
        pod.check_shape()?;
        Ok(pod)
    }

    /// What medalist writes into must be maps.
    fn check_shape(&self) -> Result<(), String> {
        let all = Value::Object(self.manifest.clone());
        let affinity = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let container = format!("/spec/containers/{}", self.harness);
        let [resources, limits, requests] =
            ["", "/limits", "/requests"].map(|below| format!("{container}/resources{below}"));
        let maps = [
            "/metadata",
            "/metadata/labels",
            "/spec/affinity",
            "/spec/affinity/nodeAffinity",
            affinity,
            &resources,
            &limits,
            &requests,
        ];
        let is_map = |value: &Value| value.is_object() || value.is_null();
        if let Some(odd) = maps.iter().find(|at| all.pointer(at).is_some_and(|it| !is_map(it))) {
            return Err(format!("its `{}` is no map", odd[1..].replace('/', ".")));
        }
        let terms = all.pointer(&format!("{affinity}/nodeSelectorTerms"));
        let terms = terms.and_then(Value::as_array).into_iter().flatten();
        match terms.into_iter().all(Value::is_object) {
            true => Ok(()),
            false => Err("its `nodeSelectorTerms` are no maps".to_owned()),
        }
    }

    /// The namespace that it names.
    pub fn namespace(&self) -> Option<&str> {
        self.manifest.get("metadata")?.get("namespace")?.as_str()
    }

    /// The time between SIGTERM and SIGKILL that it names, in seconds.
    pub(super) fn kill_wait(&self) -> Option<u64> {
        self.manifest.get("spec")?.get("terminationGracePeriodSeconds")?.as_u64()
    }

    fn container(&self) -> &Value {
        &self.manifest["spec"]["containers"][self.harness]
    }

    /// Whether its harness sees a path of this machine: below a volume that is mounted at the same path.
    pub fn sees(&self, path: &Path) -> bool {
        let mounts = self.container()["volumeMounts"].as_array();
        mounts.into_iter().flatten().any(|mount| {
            mount["mountPath"].as_str().is_some_and(|at| path.starts_with(at) && at != "/")
        })
    }

    /// Whether it says itself what program the harness is.
    pub fn has_command(&self) -> bool {
        self.container()["command"].as_array().is_some_and(|command| !command.is_empty())
    }

    /// The manifest of an element's pod.
    pub(super) fn manifest(&self, request: &Request, index: u32) -> Value {
        let mut pod = Value::Object(self.manifest.clone());
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        let metadata = &mut pod["metadata"];
        metadata["name"] = name(&request.name, index).into();
        metadata["labels"][GROUP] = group(&request.name).into();
        metadata["labels"][ORDER] = request.name.as_str().into();
        metadata["labels"][INDEX] = index.to_string().into();
        let spec = &mut pod["spec"];
        spec["restartPolicy"] = "Never".into();
        let times = [
            ("terminationGracePeriodSeconds", request.kill_wait.as_secs()),
            ("activeDeadlineSeconds", request.resources.time_s),
        ];
        for (name, seconds) in times {
            default(spec, name, seconds.into());
        }
        // What it does, it does in its folder.
        default(spec, "automountServiceAccountToken", false.into());
        leave_out(spec, &request.excluded);
        let container = &mut spec["containers"][self.harness];
        default(container, "name", HARNESS.into());
        let program = request.command.first().cloned().unwrap_or_default();
        if !self.has_command() {
            container["command"] = json!([program]);
        }
        container["args"] = json!(request.command.get(1..).unwrap_or_default());
        add_resources(container, request);
        add_environment(container, request, index);
        pod
    }
}

/// Sets what is not there.
fn default(map: &mut Value, name: &str, value: Value) {
    if map[name].is_null() {
        map[name] = value;
    }
}

fn add_resources(container: &mut Value, request: &Request) {
    let has = request.resources;
    let mut wanted = vec![("cpu", has.cpus.to_string())];
    if has.memory_bytes > 0 {
        wanted.push(("memory", has.memory_bytes.to_string()));
    }
    if has.gpus > 0 {
        wanted.push((GPU, has.gpus.to_string()));
    }
    for kind in ["requests", "limits"] {
        for (name, amount) in &wanted {
            let asked = &mut container["resources"][kind];
            // GPUs of another name, slices of one for example, stand in the manifest in place of ours.
            let is_said = *name == GPU && names_gpus(asked);
            if !is_said {
                default(asked, name, amount.as_str().into());
            }
        }
    }
}

/// Whether resources name GPUs.
fn names_gpus(resources: &Value) -> bool {
    let names = resources.as_object().into_iter().flat_map(Map::keys);
    names.into_iter().any(|name| name.starts_with("nvidia.com/"))
}

/// What the harness finds in its environment; nothing of it is secret.
fn add_environment(container: &mut Value, request: &Request, index: u32) {
    let output = request.folder.join(format!("{}_{index}.out", request.name));
    let own = [
        ("SCHEDULER", "kubernetes".to_owned()),
        ("NAME", request.name.clone()),
        ("ID", request.name.clone()),
        ("INDEX", index.to_string()),
        ("CPUS", request.resources.cpus.to_string()),
        ("MEMORY_BYTES", request.resources.memory_bytes.to_string()),
        ("GPUS", request.resources.gpus.to_string()),
        ("OUTPUT", output.display().to_string()),
    ];
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    let named = |name: &str| format!("MEDALIST_JOB_{name}");
    env.extend(own.map(|(name, value)| json!({"name": named(name), "value": value})));
    let node = json!({"fieldRef": {"fieldPath": "spec.nodeName"}});
    env.push(json!({"name": named("NODE"), "valueFrom": node}));
    container["env"] = env.into();
}

/// Keeps a pod off nodes, whatever else it says of them.
fn leave_out(spec: &mut Value, nodes: &BTreeSet<String>) {
    if nodes.is_empty() {
        return;
    }
    let required = &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    let mut terms = required.as_array().cloned().unwrap_or_default();
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in &mut terms {
        let mut fields = term["matchFields"].as_array().cloned().unwrap_or_default();
        // One node each: no more are taken.
        fields.extend(
            nodes
                .iter()
                .map(|node| json!({"key": "metadata.name", "operator": "NotIn", "values": [node]})),
        );
        term["matchFields"] = fields.into();
    }
    *required = terms.into();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::scheduler::Resources;

    const MANIFEST: &str = "
metadata:
  namespace: lab
  labels: {team: vision}
spec:
  nodeSelector: {disk: fast}
  volumes:
  - {name: shared, hostPath: {path: /shared}}
  containers:
  - image: example.org/medalist:1
    env: [{name: LEVEL, value: '1'}]
    resources: {limits: {ephemeral-storage: 20Gi}, requests: {cpu: 500m}}
    volumeMounts: [{name: shared, mountPath: /shared}]
";

    fn request() -> Request {
        let command = ["/shared/medalist", "attempt", "--job", "/shared/o.json"];
        Request {
            name: "medalist-1-7".into(),
            elements: 1,
            at_once: None,
            command: command.map(str::to_owned).to_vec(),
            folder: "/shared/jobs".into(),
            resources: Resources { cpus: 4, memory_bytes: 9, gpus: 2, time_s: 60, warning_s: 6 },
            kill_wait: Duration::from_secs(180),
            excluded: ["n1".to_owned(), "n2".to_owned()].into(),
            wishes: Default::default(),
        }
    }

    #[test]
    fn a_pod_is_the_users_with_what_an_attempt_needs() {
        let pod = Pod::parse(MANIFEST).unwrap().manifest(&request(), 0);
        assert_eq!(pod["metadata"]["name"], "medalist-1-7-0");
        assert_eq!(
            pod["metadata"]["labels"],
            json!({"team": "vision", "medalist/group": "medalist-1", "medalist/order": "medalist-1-7",
                "medalist/index": "0"})
        );
        let spec = &pod["spec"];
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["terminationGracePeriodSeconds"], 180);
        assert_eq!(spec["activeDeadlineSeconds"], 60);
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["nodeSelector"]["disk"], "fast");
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchFields"][1]["values"], json!(["n2"]));
        let container = &spec["containers"][0];
        assert_eq!(container["command"], json!(["/shared/medalist"]));
        assert_eq!(container["args"], json!(["attempt", "--job", "/shared/o.json"]));
        assert_eq!(
            container["resources"],
            json!({
                "limits": {"ephemeral-storage": "20Gi", "cpu": "4", "memory": "9", "nvidia.com/gpu": "2"},
                "requests": {"cpu": "500m", "memory": "9", "nvidia.com/gpu": "2"},
            })
        );
        let env = container["env"].as_array().unwrap();
        assert_eq!(env[0]["name"], "LEVEL");
        let output =
            json!({"name": "MEDALIST_JOB_OUTPUT", "value": "/shared/jobs/medalist-1-7_0.out"});
        assert!(env.contains(&output), "{env:?}");
    }

    #[test]
    fn what_the_manifest_says_of_program_times_and_gpus_stands() {
        let text = MANIFEST
            .replace("- image", "- command: [medalist]\n    image")
            .replace("cpu: 500m", "nvidia.com/mig-1g.5gb: 1")
            .replace("spec:\n", "spec:\n  terminationGracePeriodSeconds: 9\n");
        let pod = Pod::parse(&text).unwrap();
        assert_eq!(pod.kill_wait(), Some(9));
        let made = pod.manifest(&request(), 0);
        let container = &made["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["medalist"]));
        assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 9);
        assert!(container["resources"]["requests"].get("nvidia.com/gpu").is_none());
        assert!(pod.sees(Path::new("/shared/runs")) && !pod.sees(Path::new("/home/runs")));
    }

    #[test]
    fn what_is_no_pod_is_refused_with_what_it_lacks() {
        for (text, said) in [
            ("", "spec.containers"),
            ("- a", "no YAML"),
            ("kind: Job", "expected `Pod`"),
            ("spec: {}", "spec.containers"),
            ("spec: {containers: [{name: a}]}", "has no `image`"),
            ("spec: {containers: [{image: a}, {image: b}]}", "name the harness's"),
            ("metadata: 5\nspec: {containers: [{image: a}]}", "`metadata` is no map"),
            ("spec: {affinity: a, containers: [{image: a}]}", "`spec.affinity` is no map"),
            ("spec: {containers: [{image: a, resources: {limits: [1]}}]}", "resources.limits"),
            ("spec: {restartPolicy: Always, containers: [{image: a}]}", "restartPolicy"),
        ] {
            let error = Pod::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_groups_pods_are_selected_together() {
        let names = ["medalist-1-7".to_owned(), "medalist-1-8".to_owned()];
        assert_eq!(selector(&names).unwrap(), "medalist/group in (medalist-1)");
        assert_eq!(selector(&[]), None);
    }
}
