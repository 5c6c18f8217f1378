//! Images of several kinds whose clients reach providers by their own names, through the gateway's
//! certificate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::executor_bench::engine;
use crate::llm::{attempts, groups, prepared, run, text};
use crate::support::llm_provider::Provider;
use crate::support::{TestContext, json, skip};

/// The name of the image of a layout.
fn tag(layout: &str) -> String {
    format!("medalist-test/curl-{layout}:latest")
}

/// An image with this machine's `curl`, `openssl` and what they need, and its bundle of authorities
/// as `layout`, lines of a shell in the image's root, has it; they find the bundle in `$bundle`.
fn image(name: &str, layout: &str) -> Option<String> {
    let shell = r#"
        set -e
        cd "$1"
        mkdir -p home/agent usr/bin etc tmp
        for name in curl openssl bash cat rm env; do
            program=$(command -v "$name") || { echo "there is no \`$name\`"; exit 1; }
            cp -L "$program" usr/bin/
            ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
                mkdir -p "./$(dirname "$library")"
                cp -L "$library" "./$library"
            done
        done
        bundle=/etc/ssl/certs/ca-certificates.crt
        eval "$3"
        tar -c . | docker import - "$2" > /dev/null
    "#;
    let root = tempfile::tempdir().unwrap();
    let tag = tag(name);
    let output = Command::new("bash")
        .args(["-c", shell, "bash", root.path().to_str().unwrap(), &tag, layout])
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        skip("curl", String::from_utf8_lossy(&said).trim());
        return None;
    }
    Some(tag)
}

/// An agent that runs a script in an image.
fn agent(context: &TestContext, image: &str, script: &str) {
    let toml = format!(
        "id = \"probe\"\nbuild = \"image\"\nimage = \"{image}\"\ncommand = [\"bash\", \"-c\", {script:?}]\n"
    );
    std::fs::write(context.join("agents/probe/agent.toml"), toml).unwrap();
}

/// Runs the agent, which must end well; gives the attempt's folder and its output.
fn ran(context: &TestContext, more: &[&str]) -> (PathBuf, String) {
    let ran = run(context, &["demo-bikes"], &[&["--llm", "llm.toml"], more].concat());
    assert_eq!(ran.code, 0, "{ran:#?}");
    let group = groups(context).pop().unwrap();
    let dir = attempts(&group).remove(0);
    let log = text(&dir.join("run.log"));
    (dir, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_reaches_providers_by_their_own_names() {
    if engine().await.is_none() {
        return;
    }
    let layout = r#"mkdir -p etc/ssl/certs; cp -L "$bundle" etc/ssl/certs/; cp -L "$bundle" etc/ssl/other.pem"#;
    let Some(image) = image("two-bundles", layout) else { return };
    let provider = Provider::start(Duration::ZERO);
    let context = prepared(
        &provider,
        &format!(
            "[upstreams.anthropic]\nbase_url = \"http://127.0.0.1:{}\"\nkey = {{ env = \"TEST_LLM_KEY\" }}\nprice = \"free\"\n",
            provider.port
        ),
        &[],
    );
    let script = r#"
        ask() { curl -sS -m 20 -o /tmp/out -w '%{http_code} ' "$@"; status=$?; cat /tmp/out 2> /dev/null; echo " curl $status"; rm -f /tmp/out; }
        ask https://api.openai.com/v1/chat/completions -d '{"model":"gpt-test","messages":[]}'
        ask https://api.anthropic.com/v1/messages -H 'x-api-key: dummy' -H 'anthropic-version: 2023-06-01' -d '{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
        env -u SSL_CERT_FILE -u CURL_CA_BUNDLE curl --cacert /etc/ssl/certs/ca-certificates.crt -sS -m 20 -o /dev/null -w '%{http_code}\n' https://api.openai.com/v1/models
        ask https://example.org/
        ask --cacert /etc/ssl/other.pem https://api.openai.com/v1/models
        while read -r line; do echo "$line"; done < /etc/hosts
        echo id,x > /home/submission/submission.csv
    "#;
    agent(&context, &image, script);
    let ran = run(&context, &["demo-bikes"], &["--llm", "llm.toml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let dir = attempts(&groups(&context)[0]).remove(0);
    let log = text(&dir.join("run.log"));
    assert!(log.contains("200 {\"id\":\"c\""), "{log}");
    assert!(log.contains("200 {\"id\":\"msg_1\""), "{log}");
    assert!(log.contains("\n200\n"), "the system's bundle has the authority: {log}");
    assert!(log.contains("127.0.0.1\tapi.openai.com"), "{log}");
    assert!(
        log.contains("000  curl 6") || log.contains("000 cat"),
        "other names lead nowhere: {log}"
    );
    assert!(
        ran.stderr.contains("does not take the gateway's certificate for `api.openai.com`"),
        "{ran:#?}"
    );
    let handshakes = text(&dir.join("llm/handshakes.jsonl"));
    assert!(handshakes.contains("api.anthropic.com"), "{handshakes}");
    assert_eq!(json(&dir.join("attempt.json"))["llm"]["totals"]["calls"], 2);
}

/// A system's way of keeping its bundle.
struct Layout {
    name: &'static str,
    /// Makes it.
    shell: &'static str,
    /// Paths at which clients of that system look, and find the authority.
    found: &'static [&'static str],
    /// Paths of the image that must stay as they are, each a copy of the machine's bundle.
    kept: &'static [&'static str],
    /// Whether the image has a bundle that can be read at all.
    trusts: bool,
}

/// The links are those of the distributions' own packages.
const LAYOUTS: [Layout; 9] = [
    Layout {
        name: "alpine",
        shell: r#"mkdir -p etc/ssl/certs etc/ssl1.1; cp -L "$bundle" etc/ssl/certs/ca-certificates.crt
            ln -s certs/ca-certificates.crt etc/ssl/cert.pem; ln -s /etc/ssl/cert.pem etc/ssl1.1/cert.pem; ln -s /etc/ssl/certs etc/ssl1.1/certs"#,
        found: &["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/ssl1.1/cert.pem"],
        kept: &[],
        trusts: true,
    },
    Layout {
        name: "red-hat",
        shell: r#"mkdir -p etc/pki/ca-trust/extracted/pem etc/pki/tls/certs etc/ssl
            cp -L "$bundle" etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem; chmod 444 etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
            ln -s /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem etc/pki/tls/certs/ca-bundle.crt
            ln -s certs/ca-bundle.crt etc/pki/tls/cert.pem; ln -s ../pki/tls/certs etc/ssl/certs"#,
        found: &[
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/pki/tls/cert.pem",
            "/etc/ssl/certs/ca-bundle.crt",
        ],
        kept: &[],
        trusts: true,
    },
    Layout {
        name: "suse",
        shell: r#"mkdir -p var/lib/ca-certificates/pem etc/ssl; cp -L "$bundle" var/lib/ca-certificates/ca-bundle.pem
            ln -s ../../var/lib/ca-certificates/ca-bundle.pem etc/ssl/ca-bundle.pem; ln -s ../../var/lib/ca-certificates/pem etc/ssl/certs"#,
        found: &["/var/lib/ca-certificates/ca-bundle.pem", "/etc/ssl/ca-bundle.pem"],
        kept: &[],
        trusts: true,
    },
    Layout {
        name: "arch",
        shell: r#"mkdir -p etc/ca-certificates/extracted etc/ssl/certs; cp -L "$bundle" etc/ca-certificates/extracted/tls-ca-bundle.pem
            ln -s ../../ca-certificates/extracted/tls-ca-bundle.pem etc/ssl/certs/ca-certificates.crt
            ln -s ../ca-certificates/extracted/tls-ca-bundle.pem etc/ssl/cert.pem"#,
        found: &["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"],
        kept: &[],
        trusts: true,
    },
    // As on NixOS: a link to a place that nobody knows. It may be shared with what is no bundle.
    Layout {
        name: "elsewhere",
        shell: r#"mkdir -p etc/ssl/certs nix/store/x; cp -L "$bundle" nix/store/x/ca-bundle.crt
            ln -s /nix/store/x/ca-bundle.crt etc/ssl/certs/ca-certificates.crt"#,
        found: &[],
        kept: &["/nix/store/x/ca-bundle.crt"],
        trusts: true,
    },
    Layout { name: "none", shell: "", found: &[], kept: &[], trusts: false },
    Layout {
        name: "directory",
        shell: "mkdir -p etc/ssl/certs/ca-certificates.crt etc/pki/tls/certs/ca-bundle.crt/x",
        found: &[],
        kept: &[],
        trusts: false,
    },
    Layout {
        name: "odd",
        shell: r#"mkdir -p etc/ssl/certs etc/pki/tls/certs; mkfifo etc/ssl/certs/ca-certificates.crt
            ln -s cert.pem etc/ssl/cert.pem; ln -s /dev/zero etc/pki/tls/cert.pem; ln -s /proc/1/mem etc/ssl/ca-bundle.pem
            echo text > etc/pki/tls/certs/ca-bundle.crt"#,
        found: &[],
        kept: &[],
        trusts: false,
    },
    // The bundle is on a file system that cannot be written: `run` mounts it.
    Layout {
        name: "read-only",
        shell: "mkdir -p etc/ssl/certs",
        found: &[],
        kept: &["/etc/ssl/certs/ca-certificates.crt"],
        trusts: true,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_trust_the_gateway_wherever_an_image_keeps_its_bundle() {
    if engine().await.is_none() {
        return;
    }
    let provider = Provider::start(Duration::ZERO);
    let context = prepared(&provider, "", &[]);
    let machines = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let Ok(before) = std::fs::read(machines) else {
        return skip("ca-certificates", "this machine has no bundle at Debian's path");
    };
    let mounted = context.join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::write(mounted.join("ca-certificates.crt"), &before).unwrap();
    for layout in &LAYOUTS {
        let Some(image) = image(layout.name, layout.shell) else { return };
        agent(&context, &image, &questions(layout));
        let mount = format!("{}:/etc/ssl/certs", mounted.display());
        let more = ["--mount", &mount];
        let (dir, log) = ran(&context, if layout.name == "read-only" { &more } else { &[] });
        let name = layout.name;
        let says = |words: &str| assert!(log.contains(words), "{name}: no `{words}` in {log}");
        says("variables curl 200\n");
        says("variables openssl 0\n");
        for path in layout.found {
            says(&format!("{path} curl 200\n"));
            says(&format!("{path} openssl 0\n"));
        }
        for path in layout.kept {
            says(&format!("{path} kept\n"));
        }
        let authorities = before.windows(10).filter(|part| *part == b"-----BEGIN").count();
        let expected = 1 + if layout.trusts { authorities } else { 0 };
        says(&format!("bundle of {expected}\n"));
        let calls = json(&dir.join("attempt.json"))["llm"]["totals"]["calls"].as_u64();
        assert_eq!(calls, Some(1 + layout.found.len() as u64), "{name}");
    }
    assert_eq!(std::fs::read(mounted.join("ca-certificates.crt")).unwrap(), before);
}

/// The questions to an image: of clients that go by variables, of clients that go by the system's
/// paths, and what became of its files.
fn questions(layout: &Layout) -> String {
    let mut script = String::from(
        r#"
        ask() {
            name=$1; shift
            curl -sS -m 20 -o /dev/null -w "$name curl %{http_code}\n" "$@" https://api.openai.com/v1/chat/completions -d '{"model":"gpt-test","messages":[]}'
        }
        verify() {
            name=$1; shift
            openssl s_client -connect api.openai.com:443 -servername api.openai.com -verify_return_error -verify_hostname api.openai.com "$@" < /dev/null > /tmp/said 2>&1
            status=$?; echo "$name openssl $status"; [ $status = 0 ] || cat /tmp/said
        }
        ask variables
        verify variables
        count=0; while read -r line; do case $line in -----BEGIN*) count=$((count + 1));; esac; done < /medalist/bundle.pem
        echo "bundle of $count"
        unset SSL_CERT_FILE CURL_CA_BUNDLE
        echo id,x > /home/submission/submission.csv
        "#,
    );
    for path in layout.found {
        script += &format!("ask {path} --cacert {path}; verify {path} -CAfile {path}\n");
    }
    for path in layout.kept {
        // The gateway's authority is not in it, and nothing else has changed.
        script += &format!(
            "curl -sS -m 20 -o /dev/null --cacert {path} https://api.openai.com/v1/models; [ $? = 60 ] && echo {path} kept\n"
        );
    }
    script
}
