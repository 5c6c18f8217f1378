//! GPUs on a machine without one: a driver that is a script, and device nodes of no
//! consequence.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use medalist::attempt::limits::{GpuAccess, GpuHandle};
use medalist::attempt::outcome::Outcome;

use crate::executor_bench::{Bench, Kind};
use crate::support::{Called, TestContext, has_docker, skip};

const DRIVER: &str = r#"#!/bin/sh
case "$*" in
*index,uuid*)
    echo "0, GPU-aaaa, NVIDIA Test 80GB, 81559, 999.1, 00000000:00:05.0, Disabled"
    echo "1, GPU-bbbb, NVIDIA Test 80GB, 81559, 999.1, 00000000:00:06.0, Disabled" ;;
-q) printf 'GPU 00000000:00:05.0\n Minor Number : 0\nGPU 00000000:00:06.0\n Minor Number : 1\n' ;;
*memory.used*) echo "GPU-aaaa, 4, 25, 0"; echo "GPU-bbbb, 4, 25, 0" ;;
*) exit 9 ;;
esac
"#;

/// A scratch folder whose machine has two GPUs, with the digits prepared.
fn machine(driver: &str) -> (TestContext, PathBuf) {
    let context = TestContext::new();
    let smi = context.join("nvidia-smi");
    std::fs::write(&smi, driver).unwrap();
    std::fs::set_permissions(&smi, std::fs::Permissions::from_mode(0o755)).unwrap();
    context.ok(&["prepare", "-c", "demo-digits"]);
    (context, smi)
}

fn call(context: &TestContext, smi: &Path, args: &[&str]) -> Called {
    let output = context.command().env("MEDALIST_NVIDIA_SMI", smi).args(args).output().unwrap();
    crate::support::called(&output)
}

const RUN: [&str; 11] = [
    "run",
    "--agent",
    "sample",
    "-c",
    "demo-digits",
    "--timeout",
    "60s",
    "--memory",
    "1GiB",
    "--cpus",
    "0.5",
];

fn run(context: &TestContext, smi: &Path, more: &[&str]) -> Called {
    call(context, smi, &[&RUN, more].concat())
}

#[test]
fn a_dry_run_shows_cards_and_refuses_what_is_not_there() {
    let (context, smi) = machine(DRIVER);
    let shown =
        run(&context, &smi, &["--gpus", "1", "--gpu-share", "2", "--seeds", "5", "--dry-run"]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert!(
        shown.stdout.contains("1 for each attempt, 2 attempts per GPU; of 2 x NVIDIA Test 80GB"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.contains("GPU-bbbb") && shown.stdout.contains("attempts   5 ("),
        "{}",
        shown.stdout
    );
    let cases = [
        (
            vec!["--gpus", "3"],
            4,
            "1 attempts ask for more GPUs than this run has (2 x NVIDIA Test 80GB)",
        ),
        (
            vec!["--gpus", "GPU-cccc"],
            4,
            "this machine has no GPU `GPU-cccc`, only `GPU-aaaa`, `GPU-bbbb`",
        ),
        (vec!["--gpus", "2", "--gpu-pool", "GPU-aaaa"], 4, "1 attempts ask for more"),
        (vec!["--gpus", "1", "--gpus-for", "hihg=2"], 3, "`--gpus-for hihg` fits no competition"),
        (vec!["--gpus", "0,1"], 2, "`0` is not a number of GPUs"),
        (vec!["--mount", "/"], 2, "the harness's or the kernel's"),
        (vec!["--mount", "/run:/x"], 3, "holds answers, runs or sockets"),
    ];
    for (more, code, text) in cases {
        let refused = run(&context, &smi, &[more.as_slice(), &["--dry-run"]].concat());
        assert_eq!(refused.code, code, "{more:?}: {refused:#?}");
        assert!(refused.stderr.contains(text), "{more:?}: {}", refused.stderr);
    }
    let none = context
        .command()
        .env("PATH", "")
        .args([&RUN[..], &["--gpus", "1", "--dry-run"]].concat())
        .output()
        .unwrap();
    let none = crate::support::called(&none);
    assert!(none.code == 4 && none.stderr.contains("no `nvidia-smi`"), "{none:#?}");
}

#[test]
fn a_dry_run_asks_the_driver_once() {
    let (context, smi) = machine(&DRIVER.replacen("case", "echo \"$*\" >> \"$0.asked\"\ncase", 1));
    let shown = run(&context, &smi, &["--gpus", "1", "--executor", "process", "--dry-run"]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert!(shown.stdout.contains("of 2 x NVIDIA Test 80GB"), "{}", shown.stdout);
    let asked = std::fs::read_to_string(context.join("nvidia-smi.asked")).unwrap();
    assert_eq!(asked.lines().filter(|line| line.contains("index,uuid")).count(), 1, "{asked}");
}

#[test]
fn records_name_the_gpu_its_use_and_the_driver() {
    let (context, smi) = machine(DRIVER);
    let ran = run(&context, &smi, &["--executor", "process", "--gpus", "1", "--seeds", "2"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let group = std::fs::read_dir(context.join("runs")).unwrap().next().unwrap().unwrap().path();
    let mut devices = Vec::new();
    for attempt in std::fs::read_dir(group).unwrap().flatten().filter(|entry| entry.path().is_dir())
    {
        let text = std::fs::read_to_string(attempt.path().join("attempt.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["conditions"]["limits"]["gpus"], 1);
        assert_eq!(record["conditions"]["hardware"]["gpu_driver"], "999.1");
        assert_eq!(record["tries"][0]["gpus"][0]["model"], "NVIDIA Test 80GB");
        devices.push(record["tries"][0]["gpus"][0]["uuid"].as_str().unwrap().to_owned());
    }
    devices.sort();
    assert_eq!(devices, ["GPU-aaaa", "GPU-bbbb"], "two attempts at once have a GPU each");
}

#[test]
fn cards_in_use_by_others_are_left_out_and_said_so() {
    let busy = DRIVER.replace("GPU-aaaa, 4, 25, 0", "GPU-aaaa, 30000, 99, 0");
    let (context, smi) = machine(&busy);
    let ran = run(&context, &smi, &["--executor", "process", "--gpus", "1"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.stderr.contains("GPU GPU-aaaa: 29.3 GiB of its memory are in use by somebody else"),
        "{}",
        ran.stderr
    );
    let none =
        run(&context, &smi, &["--executor", "process", "--gpus", "1", "--gpu-pool", "GPU-aaaa"]);
    assert!(
        none.code == 4 && none.stderr.contains("none of the GPUs of this run can be used"),
        "{none:#?}"
    );
}

#[test]
fn no_way_into_a_container_is_an_error_that_names_every_way() {
    if !has_docker() {
        return;
    }
    let (context, smi) = machine(DRIVER);
    let refused = run(&context, &smi, &["--executor", "docker", "--gpus", "1"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    for way in ["device-request: ", "nvidia-runtime: ", "cdi: ", "device-nodes: "] {
        assert!(refused.stderr.contains(way), "{way}: {}", refused.stderr);
    }
    let group = std::fs::read_dir(context.join("runs")).unwrap().next().unwrap().unwrap().path();
    let left: Vec<_> =
        std::fs::read_dir(group).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
    let doctor = call(&context, &smi, &["doctor"]);
    assert!(doctor.stdout.contains("2 x NVIDIA Test 80GB, driver 999.1"), "{}", doctor.stdout);
    assert!(
        doctor.stdout.contains("no GPU gets into a container: device-request: "),
        "{}",
        doctor.stdout
    );
}

/// A character device that gives nothing, as /dev/null does.
fn stand_in(path: &Path) -> bool {
    let made = Command::new("mknod").arg("-m").arg("666").arg(path).args(["c", "1", "3"]).status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        skip("mknod", "this user may not make device nodes");
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_gets_exactly_its_cards_nodes() {
    let Some(bench) = Bench::new(Kind::Docker).await else { return };
    // Below /dev, for a container's other file systems may hold no devices that work.
    let Ok(nodes) = tempfile::Builder::new().prefix("medalist-test-").tempdir_in("/dev") else {
        skip("mknod", "this user may not make device nodes");
        return;
    };
    let node = |name: &str| nodes.path().join(name);
    let temp = tempfile::tempdir().unwrap();
    let driver = temp.path().join("driver");
    std::fs::create_dir(&driver).unwrap();
    std::fs::write(driver.join("libcuda.so.1"), "the driver").unwrap();
    if !["nvidia7", "nvidia8", "nvidiactl"].iter().all(|name| stand_in(&node(name))) {
        return;
    }
    let shown = |path: &Path| path.display().to_string();
    let (own, other, library) =
        (shown(&node("nvidia7")), shown(&node("nvidia8")), shown(&driver.join("libcuda.so.1")));
    let change = |spec: &mut medalist::attempt::launch::LaunchSpec| {
        spec.gpus =
            vec![GpuHandle { uuid: "GPU-7".into(), index: 7, device_nodes: vec![node("nvidia7")] }];
        spec.gpu_access = GpuAccess::DeviceNodes {
            control_nodes: vec![node("nvidiactl")],
            driver_dirs: vec![driver.clone()],
            driver_files: Vec::new(),
            library_path: shown(&driver),
        };
        // An agent that asks for all GPUs in its settings is not heard.
        spec.env.push(("NVIDIA_VISIBLE_DEVICES".into(), "all".into()));
        spec.env.push(("CUDA_VISIBLE_DEVICES".into(), "0,1,2,3,4,5,6,7".into()));
    };
    let steps = ["show", own.as_str(), "+", "show", &library, "+", "environment"];
    let ran = bench.run_with(&steps, change).await;
    assert_eq!(ran.end.outcome, Outcome::Finished { exit: 0 }, "{}", ran.log());
    let log = ran.log();
    assert!(log.contains("the driver"), "{log}");
    for line in ["NVIDIA_VISIBLE_DEVICES=void", "CUDA_VISIBLE_DEVICES=GPU-7", "MEDALIST_GPUS=1"] {
        assert!(log.lines().any(|known| known == line), "{line}: {log}");
    }
    let ran = bench.run_with(&["show", &other], change).await;
    assert!(
        !matches!(ran.end.outcome, Outcome::Finished { exit: 0 }),
        "a GPU of somebody else can be opened: {}",
        ran.log()
    );

    // What the engine says of it: these nodes and no others, not to be made anew, and no capability
    // to make others.
    let mut spec = bench.spec(&["hang"]);
    change(&mut spec);
    let name = format!("medalist-{}", spec.name);
    let running = bench.executor.start(Arc::new(spec)).await.unwrap();
    let inspected = Command::new("docker")
        .args(["inspect", "--format", "{{json .HostConfig}}", &name])
        .output()
        .unwrap();
    running
        .stop(medalist::sandbox::Stop::Kill, &medalist::sandbox::StopReason::Abandoned)
        .await
        .unwrap();
    running.wait().await.unwrap();
    running.remove().await.unwrap();
    let host: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let devices = host["Devices"].as_array().unwrap();
    let nodes: Vec<&str> =
        devices.iter().map(|device| device["PathOnHost"].as_str().unwrap()).collect();
    assert_eq!(nodes, [own.as_str(), &shown(&node("nvidiactl"))]);
    assert!(devices.iter().all(|device| device["CgroupPermissions"] == "rw"), "{devices:?}");
    assert!(!host["CapAdd"].to_string().contains("MKNOD"), "{host:#}");
}
