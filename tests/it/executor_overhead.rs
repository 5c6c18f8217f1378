//! What an attempt costs beyond a bare container. Measures and prints; run it by name with
//! `--ignored --nocapture`.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::executor_bench::{Bench, IMAGE, Kind, engine};
use crate::support::TestContext;

fn bare() -> Duration {
    let began = Instant::now();
    let output = Command::new("docker")
        .args([
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "/home/agent/probe",
            IMAGE,
            "print",
            "x",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() / 2].as_millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement that wants a quiet machine and the docker command"]
async fn of_an_attempt_over_a_bare_container() {
    let Some(bench) = Bench::new(Kind::Docker).await else { return };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        theirs.push(tokio::task::spawn_blocking(bare).await.unwrap());
        let began = Instant::now();
        bench.run(&["print", "x"]).await;
        ours.push(began.elapsed());
    }
    println!("one at a time: bare {} ms, attempt {} ms", median(theirs), median(ours));
    let began = Instant::now();
    let bares: Vec<_> = (0..32).map(|_| tokio::task::spawn_blocking(bare)).collect();
    for bare in bares {
        bare.await.unwrap();
    }
    let theirs = began.elapsed();
    let began = Instant::now();
    futures_util::future::join_all((0..32).map(|_| bench.run(&["print", "x"]))).await;
    println!(
        "32 at once: bare {} ms, attempts {} ms",
        theirs.as_millis(),
        began.elapsed().as_millis()
    );
}

/// Attempts at once in a group.
const AT_ONCE: usize = 4;

/// Runs a group of `seeds` attempts of an agent, or the beginning of it; its time and the most
/// memory that the harness held, in MiB.
fn group(context: &TestContext, agent: &str, seeds: usize, at_most: Duration) -> (Duration, u64) {
    let mut command = context.command();
    let agent = format!("agents/{agent}");
    command.args([
        "-q",
        "run",
        "--agent",
        &agent,
        "-c",
        "demo-bikes",
        "--seeds",
        &seeds.to_string(),
    ]);
    command.args([
        "--parallel",
        &AT_ONCE.to_string(),
        "--cpus",
        "0.5",
        "--memory",
        "128MiB",
        "--disk",
        "1GiB",
    ]);
    let began = Instant::now();
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() && began.elapsed() < at_most {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        most = line.trim().strip_suffix(" kB").and_then(|kib| kib.parse().ok()).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = began.elapsed();
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    );
    child.wait().unwrap();
    (took, most / 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement that wants a quiet machine and the docker command"]
async fn of_a_group_over_a_bare_loop() {
    const ATTEMPTS: usize = 225;
    if engine().await.is_none() {
        return;
    }
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes"]);
    for (agent, steps) in [("trivial", "\"print\", \"x\""), ("submits", "\"submit-sample\"")] {
        let dir = context.join("agents").join(agent);
        std::fs::create_dir_all(&dir).unwrap();
        let image = format!("build = \"image\"\nimage = \"{IMAGE}\"\n");
        let toml = format!("id = \"{agent}\"\n{image}command = [\"/home/agent/probe\", {steps}]\n");
        std::fs::write(dir.join("agent.toml"), toml).unwrap();
    }
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < ATTEMPTS {
                    bare();
                }
            });
        }
    });
    let theirs = began.elapsed();
    println!("bare loop of {ATTEMPTS}, {AT_ONCE} at once: {:.1} s", theirs.as_secs_f64());
    for agent in ["trivial", "submits"] {
        let (ours, memory) = group(&context, agent, ATTEMPTS, Duration::MAX);
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!(
            "group of {ATTEMPTS} `{agent}`: {:.1} s ({ratio:.2} x), harness {memory} MiB",
            ours.as_secs_f64()
        );
    }
    let (_, memory) = group(&context, "trivial", 1000, Duration::from_secs(20));
    println!("1000 attempts queued: harness {memory} MiB");
}
