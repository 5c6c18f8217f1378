//! What an attempt costs beyond a bare container. Measures and prints; run it by name with `--ignored --nocapture`.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::executor_bench::{Bench, IMAGE, Kind};

fn bare() -> Duration {
    let began = Instant::now();
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--entrypoint", "/home/agent/probe", IMAGE, "print", "x"])
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
    println!("32 at once: bare {} ms, attempts {} ms", theirs.as_millis(), began.elapsed().as_millis());
}
