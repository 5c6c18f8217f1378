//! What `run --dry-run` says before anything starts.

use serde_json::{Value, json};

use crate::support::TestContext;

fn plan(context: &TestContext, args: &[&str]) -> Value {
    let called = context.ok(&[
        &["run", "--agent", "sample", "-c", "demo-bikes", "--dry-run", "--json"],
        args,
    ]
    .concat());
    serde_json::from_str(&called.stdout).unwrap()
}

#[test]
fn mle_benchs_container_config_is_taken_and_flags_win() {
    let context = TestContext::new();
    let config = r#"{"mem_limit": "3g", "shm_size": "1G", "nano_cpus": 1.5e9, "runtime": "sysbox-runc", "cpuset_cpus": "0-1",
                     "network_mode": "bridge", "pids_limit": 512}"#;
    std::fs::write(context.join("config.json"), config).unwrap();
    let made = plan(
        &context,
        &["--container-config", "config.json", "--shm", "2GiB", "--network", "sealed"],
    );
    let limits = &made["limits"];
    assert_eq!((&limits["memory_bytes"], &limits["cpus"]), (&json!(3_u64 << 30), &json!(1.5)));
    assert_eq!((&limits["shm_bytes"], &limits["pids"]), (&json!(2_u64 << 30), &json!(512)));
    assert_eq!((&made["runtime"], &made["cpuset"]), (&json!("sysbox-runc"), &json!("0-1")));
    assert_eq!(made["network"], "sealed", "a flag wins");
    assert_eq!(plan(&context, &["--container-config", "config.json"])["network"], "open");
    let plain = plan(&context, &[]);
    assert_eq!((&plain["network"], &plain["limits"]["pids"]), (&json!("sealed"), &json!(4096)));

    std::fs::write(context.join("bad.json"), r#"{"cap_add": ["SYS_ADMIN"]}"#).unwrap();
    let refused = context.run(&[
        "run",
        "--agent",
        "sample",
        "-c",
        "demo-bikes",
        "--dry-run",
        "--container-config",
        "bad.json",
    ]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(
        refused.stderr.contains("`bad.json`") && refused.stderr.contains("`cap_add`"),
        "{refused:#?}"
    );
}
