//! Attempts on machines without internet: calls of language models through a proxy of the site, through
//! a gateway service, and a budget that processes share.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::executor_bench::probe;
use crate::llm::{CHAT, KEY, attempts, holds, prepared, text};
use crate::support::llm_provider::Provider;
use crate::support::{Called, TestContext, called, json};

const QUESTION: &str =
    r#"{"model":"gpt-test","max_tokens":400,"messages":[{"role":"user","content":"hello"}]}"#;
/// A call of the question.
const ASK: &str = "agent/probe llm \"$CHAT\" \"$QUESTION\"";

/// A folder with an agent that is a shell script, and settings: what stands above all tables, and tables.
fn with_script(provider: &Provider, above: &str, tables: &str, script: &str) -> TestContext {
    let context = prepared(provider, tables, &[]);
    let settings = text(&context.join("llm.toml"));
    std::fs::write(context.join("llm.toml"), format!("{above}\n{settings}")).unwrap();
    let agent = context.join("agents/probe");
    std::fs::copy(probe(), agent.join("probe")).unwrap();
    let place = context.path().display();
    let script =
        format!("set -e\nCHAT='{CHAT}'\nQUESTION='{QUESTION}'\nPLACE='{place}'\n{script}\n");
    std::fs::write(agent.join("start.sh"), script).unwrap();
    let toml =
        "id = \"probe\"\nbuild = \"dockerfile\"\ncommand = [\"sh\", \"/home/agent/start.sh\"]\n";
    std::fs::write(agent.join("agent.toml"), toml).unwrap();
    std::fs::write(agent.join("Dockerfile"), "FROM scratch\n").unwrap();
    context
}

/// Plans a group that processes of their own make.
fn plan(context: &TestContext, competitions: &[&str]) -> PathBuf {
    let words = ["run", "--agent", "agents/probe", "--executor", "process", "--llm", "llm.toml"];
    let more = ["--plan-only", "--retries", "0", "-c"];
    let planned = context.ok(&[&words[..], &more[..], competitions].concat());
    context.path().join(planned.stdout.trim())
}

/// Makes one attempt of a group, in a process without a key whose words go to `<competition>.log`.
fn attempt(context: &TestContext, group: &Path, competition: &str) -> Child {
    let log = std::fs::File::create(context.join(&format!("{competition}.log"))).unwrap();
    let mut command = context.command();
    command.args(["attempt", group.to_str().unwrap(), competition]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(log).env_remove("TEST_LLM_KEY").spawn().unwrap()
}

fn with_key(mut command: Command) -> Command {
    command.env("TEST_LLM_KEY", KEY);
    command
}

/// A gateway service; killed at the end.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    fn start(context: &TestContext, group: &Path, number: u32) -> Self {
        let mut command = with_key(context.command());
        command.args(["gateway", "--group", group.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        let mut service = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let file = group.join(format!("gateway/service-{number}.json"));
        until("the service's file", || {
            assert!(service.0.try_wait().unwrap().is_none(), "it has ended");
            file.exists()
        });
        service
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = std::time::Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(std::time::Instant::now() < patience, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ends_well(context: &TestContext, competition: &str, mut process: Child) {
    let status = process.wait().unwrap();
    let said = text(&context.join(&format!("{competition}.log")));
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn a_service_that_is_killed_and_started_elsewhere_is_found_and_has_the_key_alone() {
    let provider = Provider::start(Duration::ZERO);
    let script = format!(
        "{ASK}\n: > \"$PLACE/asked\"\nwhile [ ! -e \"$PLACE/go\" ]; do sleep 0.05; done\n{ASK}\nagent/probe submit-sample"
    );
    let context = with_script(&provider, "via = \"service\"", "", &script);
    let group = plan(&context, &["demo-bikes"]);
    let service = Service::start(&context, &group, 1);
    let running = attempt(&context, &group, "demo-bikes");
    until("the first call", || context.join("asked").exists());
    drop(service);
    std::fs::write(context.join("go"), "").unwrap();
    let log = context.join("demo-bikes.log");
    until("word of the outage", || {
        text(&log).contains("no gateway service takes calls (nobody answers")
    });
    let mut service = Service::start(&context, &group, 2);
    ends_well(&context, "demo-bikes", running);
    assert!(text(&log).contains("takes calls\n"), "{}", text(&log));
    let dir = attempts(&group).remove(0);
    let said = text(&dir.join("run.log"));
    assert_eq!(said.lines().filter(|line| line.starts_with("200 ")).count(), 2, "{said}");
    assert_eq!((provider.answered(), provider.keys()), (2, vec![KEY.to_owned()]));
    assert_eq!(holds(context.path(), KEY), Vec::<PathBuf>::new());
    let llm = &json(&dir.join("attempt.json"))["llm"];
    assert_eq!(llm["totals"]["calls"], 2, "{llm:#}");
    assert!(llm["held_s"].as_f64() > Some(0.0), "{llm:#}");
    let token = json(&group.join("gateway/service-2.json"))["token"].as_str().unwrap().to_owned();
    assert_eq!(holds(context.path(), &token), [group.join("gateway/service-2.json")]);

    kill(Pid::from_raw(service.0.id() as i32), Signal::SIGTERM).unwrap();
    assert!(service.0.wait().unwrap().success());
    assert_eq!(
        std::fs::read_dir(group.join("gateway")).unwrap().count(),
        0,
        "its file stays behind"
    );
}

#[test]
fn without_a_service_calls_wait_and_the_failure_is_the_machines() {
    let provider = Provider::start(Duration::ZERO);
    let script = "agent/probe llm-patient \"$CHAT\" \"$QUESTION\"\nagent/probe submit-sample";
    let tables = "[timeouts]\nhold_s = 1\noutage_s = 1.5\n";
    let context = with_script(&provider, "via = \"service\"", tables, script);
    let group = plan(&context, &["demo-bikes"]);
    let ended = attempt(&context, &group, "demo-bikes").wait().unwrap();
    let said = text(&context.join("demo-bikes.log"));
    assert_eq!(ended.code(), Some(5), "{said}");
    assert!(said.contains("medalist gateway --group"), "{said}");
    let record = json(&attempts(&group)[0].join("attempt.json"));
    assert_eq!(record["outcome"]["kind"], "llm_outage", "{record:#}");
    assert_eq!(record["outcome"]["infrastructure"], true);

    let refused = |args: &[&str], code: i32, says: &str| {
        let ended = context.run(&[&["gateway"], args].concat());
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(ended.stderr.contains(says), "{ended:#?}");
    };
    refused(&[], 2, "--llm FILE");
    refused(&["--llm", "llm.toml"], 4, "TEST_LLM_KEY");
    refused(&["--group", "none"], 3, "no run group");
    refused(&["--listen", "nowhere"], 2, "--listen");
}

#[test]
fn processes_that_share_a_groups_budget_stop_at_it_whoever_is_killed() {
    let provider = Provider::start(Duration::from_millis(20));
    // A call costs $0.001, and both want all ten that the group has.
    let script = "case \"$PWD\" in *bikes*) agent/probe llm \"$CHAT\" \"$QUESTION\"; : > \"$PLACE/asked\"; while [ -e \"$PLACE/agents\" ]; do sleep 0.2; done;; esac\n\
        agent/probe llm-many 20 \"$CHAT\" \"$QUESTION\"\nagent/probe llm \"$CHAT\" \"$QUESTION\"\nagent/probe submit-sample";
    let context = with_script(&provider, "", "[budget.group]\ndollars = \"0.01\"\n", script);
    let competitions = ["demo-bikes", "demo-flights", "demo-digits"];
    context.ok(&["prepare", "-c", "demo-digits"]);
    let group = plan(&context, &competitions);
    let start = |competition: &str| {
        let log = std::fs::File::create(context.join(&format!("{competition}.log"))).unwrap();
        let mut command = with_key(context.command());
        command.args(["attempt", group.to_str().unwrap(), competition]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    };
    let mut killed = start("demo-bikes");
    until("the first call", || context.join("asked").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let others = [start("demo-flights"), start("demo-digits")];
    for (process, competition) in others.into_iter().zip(&competitions[1..]) {
        ends_well(&context, competition, process);
    }
    assert_eq!(provider.answered(), 10, "no more, and no less");
    let mut answered = 0;
    for dir in &attempts(&group)[1..] {
        let log = text(&dir.join("run.log"));
        let count = |status: &str| -> u64 {
            let at = log.find(&format!("\"{status}\": "));
            at.map_or(0, |at| log[at + 7..].split([',', '}']).next().unwrap().parse().unwrap())
        };
        assert_eq!(count("200") + count("402"), 20, "{log}");
        answered += count("200");
        assert!(
            log.contains("\n402 ") && log.contains("of the run group is used up ($0.01 of $0.01)"),
            "{log}"
        );
    }
    assert_eq!(answered, 9, "the killed one has had one");
    let status = context.ok(&["status", group.to_str().unwrap()]).stdout;
    assert!(status.contains("language models: $0.01 of $0.01\n"), "{status}");
}

/// A proxy that knows one host, behind which it speaks TLS for a provider: its port, the authority of
/// its certificate, and what it was asked for.
async fn proxy(provider: u16) -> (u16, String, Arc<Mutex<Vec<String>>>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["llm.example.org".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
    .unwrap();
    let (tls, asked) = (TlsAcceptor::from(Arc::new(tls)), Arc::<Mutex<Vec<String>>>::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, its_asked) = (listener.local_addr().unwrap().port(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (tls, asked) = (tls.clone(), Arc::clone(&its_asked));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                asked.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut plain = tls.accept(stream).await?;
                let mut upstream = TcpStream::connect(("127.0.0.1", provider)).await?;
                tokio::io::copy_bidirectional(&mut plain, &mut upstream).await
            });
        }
    });
    (port, certificate.pem(), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_reached_through_the_proxy_of_the_site() {
    let provider = Provider::start(Duration::ZERO);
    let (port, authority, asked) = proxy(provider.port).await;
    let context = TestContext::new();
    std::fs::write(context.join("ca.pem"), authority).unwrap();
    let check = |above: &str, variables: &[(&str, &str)]| -> Called {
        let settings = format!(
            "{above}\n[upstreams.openai]\nbase_url = \"https://llm.example.org/v1\"\nkey = {{ env = \"TEST_LLM_KEY\" }}\n\
             models = [\"gpt-test\"]\n"
        );
        std::fs::write(context.join("llm.toml"), settings).unwrap();
        let mut command = with_key(context.command());
        command.args(["llm", "check", "llm.toml"]).env("SSL_CERT_FILE", context.join("ca.pem"));
        for name in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(name);
        }
        called(&command.envs(variables.iter().copied()).output().unwrap())
    };
    let address = format!("http://127.0.0.1:{port}");
    let key = format!("proxy = \"{address}\"");
    let environment = ("HTTPS_PROXY", address.as_str());
    for (above, variables) in [(key.as_str(), &[][..]), ("", &[environment][..])] {
        let found = check(above, variables);
        assert_eq!(found.code, 0, "{above}: {found:#?}");
    }
    assert_eq!(*asked.lock().unwrap(), ["CONNECT llm.example.org:443 HTTP/1.1"; 2]);
    assert_eq!(provider.keys(), [KEY]);
    // Nothing of that name is anywhere but behind the proxy.
    let without = [("NO_PROXY", "example.org")];
    for (above, variables) in
        [("", &[][..]), ("proxy = \"none\"", &[environment]), (&key, &without)]
    {
        let missed = check(above, variables);
        assert_eq!(missed.code, 4, "{above}: {missed:#?}");
        assert!(missed.stdout.contains("cannot be reached"), "{missed:#?}");
    }
    for (wrong, says) in [
        ("proxy = \"proxy.example.org\"", "expected an address such as"),
        ("proxy = \"http://me:secret@proxy.example.org\"", "HTTPS_PROXY"),
    ] {
        let refused = check(wrong, &[]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(
            refused.stderr.contains(says) && !refused.stderr.contains("secret"),
            "{refused:#?}"
        );
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}
