//! `medalist prepare` from nothing: look, download, prepare, against a server that speaks Kaggle's
//! API.

use std::path::Path;
use std::time::Duration;

use crate::support::kaggle_server::{Fault, KEY, KaggleServer, USERNAME, fake_zip};
use crate::support::{Called, TestContext, called};

/// `medalist prepare` with the server in the place of Kaggle.
async fn prepare(context: &TestContext, server: &KaggleServer, arguments: &[&str]) -> Called {
    let mut command = context.command();
    command.arg("prepare").args(arguments).env("KAGGLE_API_ENDPOINT", server.root());
    command.env("KAGGLE_USERNAME", USERNAME).env("KAGGLE_KEY", KEY);
    tokio::task::spawn_blocking(move || called(&command.output().unwrap())).await.unwrap()
}

fn golden_zip(id: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/prepare/{id}.zip")),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_downloads_and_prepares() {
    let id = "spooky-author-identification";
    let server = KaggleServer::start().await;
    server.add(id, golden_zip(id), &[]);
    server.fail_storage([
        Fault::Drip { piece: 500, pause: Duration::ZERO },
        Fault::Cut { after: 900 },
    ]);
    let context = TestContext::new();
    let called = prepare(&context, &server, &["-c", id, "--skip-verification"]).await;
    assert_eq!(called.code, 0, "{}", called.stderr);
    for file in
        ["public/train.csv", "public/test.csv", "public/sample_submission.csv", "private/test.csv"]
    {
        assert!(context.join("data").join(id).join("prepared").join(file).is_file(), "{file}");
    }
    let asked = server.seen().len();
    let called = prepare(&context, &server, &["-c", id, "--skip-verification"]).await;
    assert!(called.code == 0 && called.stdout.contains("present"), "{called:?}");
    assert_eq!(server.seen().len(), asked, "what is prepared needs no question");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_while_something_is_in_the_way() {
    let (open, closed) = ("spooky-author-identification", "spaceship-titanic");
    let server = KaggleServer::start().await;
    for id in [open, closed] {
        server.add(id, fake_zip(5_000), &[]);
    }
    server.close_rules(closed);
    let context = TestContext::new();
    let called = prepare(&context, &server, &["-c", open, closed]).await;
    assert_eq!(called.code, 4, "{}", called.stderr);
    assert!(
        called.stderr.contains("https://www.kaggle.com/competitions/spaceship-titanic/rules"),
        "{}",
        called.stderr
    );
    assert!(called.stderr.contains("ready to download"), "{}", called.stderr);
    assert!(!context.join("data").join(open).join(format!("{open}.zip")).exists());
    assert!(server.storage_seen().iter().all(|seen| seen.range.as_deref() == Some("bytes=0-0")));

    let called = prepare(&context, &server, &["-c", open, closed, "--check", "--json"]).await;
    assert_eq!(called.code, 4, "{}", called.stderr);
    let found: serde_json::Value = serde_json::from_str(&called.stdout).unwrap();
    let competitions = found["competitions"].as_array().unwrap();
    let of = |id: &str| competitions.iter().find(|row| row["id"] == id).unwrap();
    assert_eq!(
        (&of(open)["state"], &of(closed)["state"]),
        (&"ready".into(), &"rules-not-accepted".into())
    );
    assert_eq!(of(open)["download_bytes"], 5_000);
    assert!(
        found["disk_free_bytes"].as_u64() > Some(0)
            && found["disk_needed_bytes"].as_u64() >= Some(10_000)
    );
}

#[test]
fn without_credentials_the_way_to_them_is_shown() {
    let context = TestContext::new();
    let mut command = context.command();
    for variable in [
        "KAGGLE_API_TOKEN",
        "KAGGLE_USERNAME",
        "KAGGLE_KEY",
        "KAGGLE_CONFIG_DIR",
        "XDG_CONFIG_HOME",
    ] {
        command.env_remove(variable);
    }
    let called = called(&command.args(["prepare", "-c", "spaceship-titanic"]).output().unwrap());
    assert_eq!(called.code, 4, "{}", called.stderr);
    assert!(called.stderr.contains("no Kaggle credentials found"), "{}", called.stderr);
    assert!(called.stderr.contains("https://www.kaggle.com/settings"), "{}", called.stderr);
}
