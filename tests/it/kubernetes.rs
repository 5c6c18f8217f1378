//! Run groups as pods, on a stand-in for `kubectl` whose pods are processes of this machine.
//! `scripts/kubernetes-check` does the same, and more, on a whole Kubernetes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::site::{Site, end, log, outcome, until};
use crate::support::{TestContext, called, json};

/// A site that answers as a Kubernetes does, with these faults.
fn fake(faults: &Value) -> Site {
    let mut site = Site::new(&["--on", "kubernetes", "--pod", "pod.yaml"]);
    site.stand_in("kubernetes/kubectl", &["kubectl"], faults);
    manifest(&site, site.context.path().to_str().unwrap());
    site
}

fn manifest(site: &Site, mounted_at: &str) {
    let program = env!("CARGO_BIN_EXE_medalist");
    let text = format!(
        "metadata: {{namespace: lab}}\nspec:\n  volumes: [{{name: shared, hostPath: {{path: /}}}}]\n  containers:\n  - image: none\n    \
         command: ['{program}']\n    volumeMounts: [{{name: shared, mountPath: {mounted_at}}}]\n"
    );
    fs::write(site.context.join("pod.yaml"), text).unwrap();
}

fn pods(site: &Site) -> Vec<PathBuf> {
    let pods = fs::read_dir(site.context.join("cluster/pods")).unwrap();
    pods.map(|entry| entry.unwrap().path()).collect()
}

fn kubectl(site: &Site, args: &[&str]) {
    let mut command = Command::new(site.context.join("bin/kubectl"));
    command.envs(site.variables.iter().map(|(name, value)| (name, value)));
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{:#?}", called(&output));
}

/// The pod of an attempt's try.
fn pod(attempt: &std::path::Path, number: u32) -> String {
    let claim = json(&attempt.join(format!("tries/{number}/claim.json")));
    assert_eq!(claim["job"]["scheduler"], "kubernetes", "{claim:#}");
    format!("{}-{}", claim["job"]["id"].as_str().unwrap(), claim["job"]["index"])
}

#[test]
fn quotas_lost_answers_and_dead_starts_lose_nothing() {
    let mut site = fake(&json!({"quota": 3, "mute": 1, "never_begins": 1}));
    site.variables.push(("DOCKER_HOST".to_owned(), "unix:///of-this-user-alone".to_owned()));
    let handed = site.hand_over(&["--suite", "demo", "--seeds", "2"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let kept = fs::read_to_string(site.group().join("jobs/environment.json")).unwrap();
    assert!(kept.contains("of-this-user-alone"), "{kept}");
    for pod in pods(&site) {
        let manifest = fs::read_to_string(pod).unwrap();
        assert!(!manifest.contains("of-this-user-alone"), "{manifest}");
    }
    site.go();
    let group = site.group();
    assert_eq!(json(&group.join("plan.json"))["on"]["wishes"]["cluster"], "fake");
    let followed = end(site.follow());
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([8, 8, 8, 0]), "{followed:#?}");
    assert_eq!(pods(&site), Vec::<PathBuf>::new(), "those that are over are removed");
    let again = site.attempts().into_iter().filter(|attempt| attempt.join("tries/2").exists());
    assert_eq!(again.count(), 1, "{followed:#?}");
    for attempt in site.attempts() {
        let record = json(&attempt.join("attempt.json"));
        let node = record["tries"].as_array().unwrap().last().unwrap()["node"].clone();
        assert!(node.as_str().unwrap().contains("kubernetes job medalist-"), "{record:#}");
    }
    let printed = fs::read_dir(group.join("jobs")).unwrap().flatten();
    assert!(printed.into_iter().any(|it| it.file_name().to_string_lossy().ends_with("_0.out")));
}

#[test]
fn a_lost_node_and_a_deleted_pod_lose_no_attempt() {
    let site = fake(&json!({}));
    let competitions = ["demo-bikes", "demo-digits", "demo-flights"];
    let handed = site.hand_over(&[&["-c"][..], &competitions].concat());
    assert!(handed.code == 0 && handed.stderr.contains("handed over 1 attempt as"), "{handed:#?}");
    let attempts = site.attempts();
    until("all agents", || attempts.iter().all(|attempt| log(attempt).contains("working")));
    let group = site.group().display().to_string();
    let refused = site.call(&["run", "--resume", &group, "--on", "slurm"]);
    assert!(refused.code == 2 && refused.stderr.contains("another scheduler"), "{refused:#?}");
    let stopped = site.ok(&["stop", "demo-flights"]);
    assert!(stopped.stdout.contains("cancelled"), "{stopped:#?}");

    let follower = site.follow();
    let working: Vec<&PathBuf> =
        attempts.iter().filter(|attempt| !attempt.join("attempt.json").exists()).collect();
    let [drained, lost] = working.as_slice() else { panic!("{working:?}") };
    // A drained node: the agent saves its work, and the attempt is made again by itself.
    kubectl(&site, &["delete", "pods", &pod(drained, 1)]);
    // A node that does not answer any more: its pod cannot be removed, and runs on.
    let zombie = json(&lost.join("tries/1/claim.json"))["pid"].clone();
    site.faults(&json!({"lost": [pod(lost, 1)]}));
    for attempt in [drained, lost] {
        until("another try", || attempt.join("tries/2/run.log").is_file());
    }
    assert!(drained.join("tries/1/submission/submission.csv").is_file());
    assert_eq!(json(&drained.join("tries/1/attempt.json"))["outcome"]["kind"], "node_lost");
    assert!(PathBuf::from(format!("/proc/{zombie}")).exists(), "its process lives on");
    site.go();
    let followed = end(follower);
    assert!(followed.code == 0 || followed.stderr.contains("cancelled"), "{followed:#?}");
    assert_eq!(json(&lost.join("tries/1/end.json"))["by"], "lost");
    assert_eq!(outcome(lost), "finished");
    assert_eq!(outcome(drained), "finished");
    site.faults(&json!({}));
    let followed = end(site.follow());
    assert_eq!(followed.code, 0, "{followed:#?}");
    assert_eq!(site.counts(), json!([3, 3, 3, 0]), "{followed:#?}");
}

#[test]
fn what_pods_wait_for_is_told_and_an_image_not_for_ever() {
    let site = fake(&json!({"unschedulable": true}));
    let handed = site.hand_over(&["-c", "demo-bikes", "--retries", "0"]);
    assert_eq!(handed.code, 0, "{handed:#?}");
    let group = site.group().display().to_string();
    let status = site.ok(&["status", &group]).stdout;
    assert!(status.contains("0/1 nodes are available"), "{status}");
    let stopped = site.ok(&["stop", "--all", "--group", &group]);
    assert!(pods(&site).is_empty() && stopped.code == 0, "{stopped:#?}");

    site.faults(&json!({"no_image": true}));
    let followed = end(site.follow());
    let attempt = &site.attempts()[0];
    let record = json(&attempt.join("attempt.json"));
    let detail = record["outcome"]["detail"].as_str().unwrap();
    assert!(detail.contains("ImagePullBackOff: no such image"), "{followed:#?} {record:#}");
    assert_eq!(outcome(attempt), "setup_failed");
    assert!(pods(&site).is_empty(), "a pod that waits for an image is removed");
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_handed_over() {
    let mut site = fake(&json!({"rights": ["delete"]}));
    let doctor = site.call(&["doctor", "--on", "kubernetes", "--pod", "pod.yaml"]);
    assert_eq!(doctor.code, 4, "{doctor:#?}");
    for said in ["Kubernetes v1.29.0, context fake", "you may not delete pods", "1 nvidia.com/gpu"]
    {
        assert!(doctor.stdout.contains(said), "{said}: {doctor:#?}");
    }
    let refused = |site: &Site, code: i32, said: &str, more: &[&str]| {
        let refused = site.hand_over(&[&["-c", "demo-bikes"], more].concat());
        assert!(refused.code == code && refused.stderr.contains(said), "{said}: {refused:#?}");
    };
    refused(&site, 2, "a scheduler chooses", &["--gpus", "all"]);
    refused(&site, 3, "context \"other\" does not exist", &["--kube-context", "other"]);
    manifest(&site, "/elsewhere");
    refused(&site, 3, "the pod has no volume with the runs folder", &[]);
    fs::write(site.context.join("pod.yaml"), "kind: Job").unwrap();
    refused(&site, 3, "`pod.yaml`: its `kind` is \"Job\", expected `Pod`", &[]);
    manifest(&site, site.context.path().to_str().unwrap());
    let words = ["run", "--agent", "sample", "-c", "demo-bikes", "--executor", "docker"];
    let docker = site.call(&[&words[..], &["--on", "kubernetes", "--pod", "pod.yaml"]].concat());
    assert!(docker.code == 2 && docker.stderr.contains("no container engine"), "{docker:#?}");
    site.on = ["--on", "kubernetes"].map(str::to_owned).to_vec();
    refused(&site, 2, "needs a pod", &[]);
    site.on = ["--on", "kubernetes", "--pod", "none.yaml"].map(str::to_owned).to_vec();
    refused(&site, 3, "none.yaml", &[]);
    assert!(pods(&site).is_empty(), "nothing was handed over");

    let without = TestContext::new();
    without.ok(&["-q", "prepare", "-c", "demo-bikes"]);
    let mut command = without.command();
    let words = ["run", "--on", "kubernetes", "--agent", "sample", "-c", "demo-bikes"];
    let called = called(&command.args(words).env("PATH", "/nowhere").output().unwrap());
    assert!(called.code == 4 && called.stderr.contains("there is no `kubectl`"), "{called:#?}");
}
