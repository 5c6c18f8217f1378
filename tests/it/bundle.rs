//! Bundles of run groups, and what strangers make of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use medalist::host::chain::Chain;
use serde_json::{Value, json as value};

use crate::executor_bench::probe;
use crate::llm::{CHAT, KEY, attempts, groups, prepared, run};
use crate::support::llm_provider::Provider;
use crate::support::{Called, TestContext, json, skip, which};

/// A group of two competitions with two seeds each, whose agent calls a model twice and submits.
pub(crate) struct Made {
    pub(crate) context: TestContext,
    pub(crate) group: PathBuf,
}

pub(crate) fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let provider = Provider::start(Duration::ZERO);
        let context = prepared(&provider, "[budget.attempt]\ndollars = \"5.00\"\n", &[]);
        let agent = context.join("agents/probe");
        std::fs::copy(probe(), agent.join("probe")).unwrap();
        let ask = r#"{"model":"gpt-test","max_tokens":400,"messages":[{"role":"user","content":"hello"}]}"#;
        let command = ["probe", "llm", CHAT, ask, "+", "llm", CHAT, ask, "+", "submit-sample"];
        let toml = format!("id = \"probe\"\nbuild = \"dockerfile\"\ncommand = {command:?}\n");
        std::fs::write(agent.join("agent.toml"), toml).unwrap();
        std::fs::write(agent.join("Dockerfile"), "FROM scratch\n").unwrap();
        let words = "--executor process --llm llm.toml --seeds 2 --timeout 120s --parallel 1";
        let more: Vec<&str> = words.split(' ').collect();
        let ran = run(&context, &["demo-bikes", "demo-flights"], &more);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let group = groups(&context).pop().unwrap();
        Made { context, group }
    })
}

/// A copy of that group that can be changed, in a scratch folder of its own.
pub(crate) struct Copy {
    temp: tempfile::TempDir,
    pub(crate) group: PathBuf,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let name = made().group.file_name().unwrap();
        let group = temp.path().join("runs").join(name);
        std::fs::create_dir_all(group.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&made().group).arg(&group).status().unwrap();
        assert!(copied.success());
        Self { temp, group }
    }

    pub(crate) fn attempt(&self, number: usize) -> PathBuf {
        attempts(&self.group).remove(number)
    }

    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        edit(&self.group.join(name), change);
    }

    /// Changes a file of the first attempt.
    pub(crate) fn edit_first(&self, name: &str, change: impl FnOnce(&mut Value)) {
        edit(&self.attempt(0).join(name), change);
    }

    /// Changes the events and makes the whole chain anew, as who has all files can.
    pub(crate) fn events(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let path = self.group.join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        change(&mut events);
        let mut chain = Chain::of_plan(&self.group.join("plan.json")).unwrap();
        let mut out = Vec::new();
        for mut event in events {
            event.as_object_mut().unwrap().shift_remove("chain");
            let mut line = serde_json::to_vec(&event).unwrap();
            chain.seal(&mut line);
            out.extend(line);
            out.push(b'\n');
        }
        std::fs::write(path, out).unwrap();
    }

    pub(crate) fn bundle(&self, more: &[&str]) -> PathBuf {
        let out = self.temp.path().join("entry.medalist");
        let called = bundle(&self.group, &out, more);
        assert_eq!(called.code, 0, "{called:#?}");
        out
    }

    /// What a stranger with the data makes of the changed group: claims by name, each with its verdict and
    /// its lines.
    pub(crate) fn verified(&self) -> BTreeMap<String, (String, String)> {
        claims(&self.bundle(&[]), &[])
    }
}

pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = json(path);
    change(&mut content);
    std::fs::write(path, serde_json::to_vec_pretty(&content).unwrap()).unwrap();
}

fn bundle(group: &Path, out: &Path, more: &[&str]) -> Called {
    let paths = [group.to_str().unwrap(), "-o", out.to_str().unwrap()];
    let mut command = made().context.command();
    command.arg("bundle").args(paths).args(more).env("TEST_LLM_KEY", KEY);
    crate::support::called(&command.output().unwrap())
}

fn verify(file: &Path, more: &[&str]) -> Called {
    made().context.run(&[&["verify", file.to_str().unwrap()], more].concat())
}

pub(crate) fn claims(file: &Path, more: &[&str]) -> BTreeMap<String, (String, String)> {
    let called = verify(file, &[&["--json"], more].concat());
    let page: Value =
        serde_json::from_str(&called.stdout).unwrap_or_else(|error| panic!("{error}: {called:#?}"));
    assert_eq!(called.code, if page["verdict"] == "contradicted" { 9 } else { 0 }, "{called:#?}");
    let groups = page["groups"].as_array().unwrap();
    let of_groups = groups.iter().flat_map(|group| group["claims"].as_array().unwrap());
    let all = page["claims"].as_array().unwrap().iter().chain(of_groups);
    all.map(|claim| {
        let lines = format!("{}\n{}", claim["reason"], claim["evidence"]);
        let verdict = claim["verdict"].as_str().unwrap().to_owned();
        (claim["id"].as_str().unwrap().to_owned(), (verdict, lines))
    })
    .collect()
}

/// The link of the last event.
pub(crate) fn last_link(copy: &Copy) -> String {
    let text = std::fs::read_to_string(copy.group.join("events.jsonl")).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    last["chain"].as_str().unwrap().to_owned()
}

#[test]
fn a_group_that_nobody_touched_is_verified_as_far_as_it_can_be() {
    let copy = Copy::new();
    let file = copy.bundle(&[]);
    let found = claims(&file, &[]);
    for (claim, verdict) in [
        ("structure", "verified"),
        ("hashes", "verified"),
        ("signature", "not_checkable"),
        ("attempts", "consistent"),
        ("log", "consistent"),
        ("scores", "verified"),
        ("results", "verified"),
        ("records", "consistent"),
        ("tries", "consistent"),
        ("times", "consistent"),
        ("conditions", "consistent"),
        ("bill", "consistent"),
        ("program", "not_checkable"),
    ] {
        assert_eq!(found[claim].0, verdict, "{claim}: {}", found[claim].1);
    }
    assert!(found["bill"].1.contains("8 calls"), "{}", found["bill"].1);
    assert!(found["program"].1.contains("this very program"), "{}", found["program"].1);
    // Who has seen the plan or a link knows that the log was not made anew.
    let plan = medalist::host::files::file_sha256(&copy.group.join("plan.json")).unwrap().0;
    let seen = claims(&file, &["--witness", &plan, "--witness", &last_link(&copy)]);
    for claim in ["attempts", "log", "witness"] {
        assert_eq!(seen[claim].0, "verified", "{claim}: {}", seen[claim].1);
    }
    assert_eq!(claims(&file, &["--witness", &"0".repeat(64)])["witness"].0, "contradicted");
    // Without the data the scores are the sender's word.
    let nowhere = copy.temp.path().join("nowhere");
    let poor = claims(&file, &["--data-dir", nowhere.to_str().unwrap()]);
    assert_eq!(
        (poor["scores"].0.as_str(), poor["results"].0.as_str()),
        ("not_checkable", "consistent")
    );
    // The same group makes the same bytes.
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes == std::fs::read(copy.bundle(&[])).unwrap(), "the bytes differ");
    let (text, page) = (verify(&file, &[]), verify(&file, &["--markdown"]));
    assert!(
        text.stdout.contains("nothing in the bundle contradicts its claims"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("modified program"), "{}", text.stdout);
    assert!(page.stdout.contains("| scores: each submission"), "{}", page.stdout);
}

#[test]
fn a_killed_and_resumed_harness_goes_on_with_the_chain() {
    let copy = Copy::new();
    // As a kill in the middle of a write leaves it.
    let path = copy.group.join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let keep: Vec<&str> = text.lines().collect();
    let cut = keep.iter().rposition(|line| line.contains("\"group_finished\"")).unwrap();
    let torn = &keep[cut][..keep[cut].len() / 2];
    std::fs::write(&path, format!("{}\n{torn}", keep[..cut].join("\n"))).unwrap();
    let mut command = made().context.command();
    command.args(["run", "--resume", copy.group.to_str().unwrap()]).env("TEST_LLM_KEY", KEY);
    let resumed = crate::support::called(&command.output().unwrap());
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    let found = copy.verified();
    assert_eq!(found["log"].0, "consistent", "{found:#?}");
    assert!(found["log"].1.contains("1 lines were cut short"), "{}", found["log"].1);
    assert!(found["log"].1.contains("2 starts of a harness"), "{}", found["log"].1);
    assert!(!found.values().any(|(verdict, _)| verdict == "contradicted"), "{found:#?}");
}

#[test]
fn attempts_of_processes_of_their_own_have_a_chain_each() {
    let context = TestContext::new();
    context.ok(&["prepare", "-c", "demo-bikes", "demo-flights"]);
    let plan =
        ["run", "--agent", "sample", "-c", "demo-bikes", "demo-flights", "--executor", "process"];
    let group = context.ok(&[&plan[..], &["--plan-only"]].concat()).stdout.trim().to_owned();
    for competition in ["demo-bikes", "demo-flights"] {
        context.ok(&["attempt", &group, &format!("{competition}/sample/0")]);
    }
    context.ok(&["bundle", &group, "-o", "entry.medalist"]);
    let called = context.ok(&["verify", "entry.medalist", "--json"]);
    let page: Value = serde_json::from_str(&called.stdout).unwrap();
    assert_eq!(page["groups"][0]["results"]["valid"], 2, "{page:#}");
    let claims = page["groups"][0]["claims"].as_array().unwrap();
    let verdict =
        |id: &str| claims.iter().find(|claim| claim["id"] == id).unwrap()["verdict"].clone();
    let found = ["scores", "log", "tries"].map(verdict);
    assert_eq!(found, ["verified", "consistent", "consistent"], "{page:#}");
}

#[test]
fn signatures_are_those_of_ssh_keygen() {
    let copy = Copy::new();
    let context = TestContext::new();
    context.ok(&["key", "new", "mine", "--comment", "me@example.org"]);
    assert_eq!(context.run(&["key", "new", "mine"]).code, 3, "no key is written over");
    let key = context.join("mine").display().to_string();
    let file = copy.bundle(&["--key", &key]);
    assert_eq!(claims(&file, &[])["signature"].0, "consistent");
    let public = format!("{key}.pub");
    assert_eq!(claims(&file, &["--signers", &public])["signature"].0, "verified");
    context.ok(&["key", "new", "other"]);
    let other = context.join("other.pub").display().to_string();
    assert_eq!(claims(&file, &["--signers", &other])["signature"].0, "contradicted");
    assert_eq!(claims(&copy.bundle(&[]), &["--signers", &public])["signature"].0, "contradicted");
    if which("ssh-keygen").is_none() {
        skip("ssh-keygen", "it is not on PATH");
        return;
    }
    let file = copy.bundle(&["--key", &key]);
    let parts = unpack(&file);
    let line = std::fs::read_to_string(&public).unwrap();
    std::fs::write(context.join("signers"), format!("me@example.org {line}")).unwrap();
    std::fs::write(context.join("manifest.json"), &parts[0].1).unwrap();
    std::fs::write(context.join("manifest.json.sig"), &parts[1].1).unwrap();
    let check = "ssh-keygen -Y verify -f signers -I me@example.org -n medalist -s manifest.json.sig < manifest.json";
    let checked = context.shell().args(["-c", check]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    // A key of OpenSSH's own, and one with a passphrase.
    let make = "ssh-keygen -q -t ed25519 -N '' -f theirs && ssh-keygen -q -t ed25519 -N secret -f locked && ssh-keygen -q -t ecdsa -N '' -f ecdsa";
    assert!(context.shell().args(["-c", make]).status().unwrap().success());
    let theirs = context.join("theirs").display().to_string();
    let file = copy.bundle(&["--key", &theirs]);
    assert_eq!(claims(&file, &["--signers", &format!("{theirs}.pub")])["signature"].0, "verified");
    for (name, why) in [("locked", "passphrase"), ("ecdsa", "ecdsa")] {
        let key = context.join(name).display().to_string();
        let refused = bundle(&copy.group, &copy.temp.path().join("x"), &["--key", &key]);
        assert!(refused.code == 3 && refused.stderr.contains(why), "{refused:#?}");
    }
}

/// The entries of a bundle.
fn unpack(file: &Path) -> Vec<(String, Vec<u8>)> {
    let plain = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    let mut archive = tar::Archive::new(&plain[..]);
    let mut parts = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        parts.push((name, bytes));
    }
    parts
}

fn header(kind: tar::EntryType, name: &str, bytes: &[u8]) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // Written as it is: the library refuses names that lead elsewhere.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn pack(file: &Path, parts: &[(tar::EntryType, &str, &[u8])]) {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, bytes) in parts {
        if name.len() < 100 {
            tar.append(&header(*kind, name, bytes), *bytes).unwrap();
        } else {
            let mut header = header(*kind, "x", bytes);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
    }
    let packed = zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap();
    std::fs::write(file, packed).unwrap();
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn what_is_changed_in_the_file_itself_is_found() {
    let copy = Copy::new();
    let context = TestContext::new();
    context.ok(&["key", "new", "mine"]);
    let key = context.join("mine").display().to_string();
    let file = copy.bundle(&["--key", &key]);
    let parts = unpack(&file);
    let other = copy.temp.path().join("other.medalist");
    let pack_with = |change: &dyn Fn(&mut Vec<(String, Vec<u8>)>)| {
        let mut parts = parts.clone();
        change(&mut parts);
        let parts: Vec<(tar::EntryType, &str, &[u8])> =
            parts.iter().map(|(name, bytes)| (FILE, name.as_str(), &bytes[..])).collect();
        pack(&other, &parts);
        claims(&other, &[])
    };
    assert_eq!(pack_with(&|_| ())["hashes"].0, "verified", "packed again and not changed");
    let last = parts.len() - 1;
    let found = pack_with(&|parts| parts[last].1.push(b' '));
    assert_eq!(found["hashes"].0, "contradicted", "{found:#?}");
    let found = pack_with(&|parts| drop(parts.pop()));
    assert_eq!(found["structure"].0, "contradicted", "{found:#?}");
    let found = pack_with(&|parts| parts.push(("g/more".to_owned(), b"x".to_vec())));
    assert_eq!(found["structure"].0, "contradicted", "{found:#?}");
    // The manifest is made anew, and the signature cannot be.
    let found = pack_with(&|parts| {
        let text = String::from_utf8(parts[0].1.clone()).unwrap();
        parts[0].1 = text.replacen("\"medalist-bundle\"", "\"medalist-bundle\" ", 1).into_bytes();
    });
    assert_eq!(found["signature"].0, "contradicted", "{found:#?}");
    let found = pack_with(&|parts| {
        let mut manifest: Value = serde_json::from_slice(&parts[0].1).unwrap();
        manifest["groups"][0]["results"]["gold"] = value!(4);
        parts[0].1 = serde_json::to_vec_pretty(&manifest).unwrap();
    });
    assert_eq!(
        (found["signature"].0.as_str(), found["results"].0.as_str()),
        ("contradicted", "contradicted")
    );
}

#[test]
fn what_is_no_bundle_is_refused_and_writes_nothing_elsewhere() {
    let copy = Copy::new();
    let file = copy.bundle(&[]);
    let whole = std::fs::read(&file).unwrap();
    let manifest = unpack(&file).remove(0).1;
    let dir = copy.temp.path().join("bad");
    std::fs::create_dir(&dir).unwrap();
    let bad = dir.join("bad.medalist");
    let refused = |what: &str, words: &str| {
        let scratch = copy.temp.path().join("scratch");
        let _ = std::fs::create_dir(&scratch);
        let mut command = made().context.command();
        command.args(["verify", bad.to_str().unwrap()]).env("TMPDIR", &scratch);
        let called = crate::support::called(&command.output().unwrap());
        assert_eq!(called.code, 3, "{what}: {called:#?}");
        assert!(called.stderr.contains(words), "{what}: {called:#?}");
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "{what}: something is left");
    };
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("a text", b"hello"),
        ("cut short", &whole[..whole.len() / 2]),
        ("a zip", b"PK\x03\x04 and more"),
    ] {
        std::fs::write(&bad, bytes).unwrap();
        refused(what, "no bundle that can be read");
    }
    let plain = |text: &str| text.replace('\'', "\"").into_bytes();
    let listing = |path: &str, bytes: u64| {
        plain(&format!(
            "{{'kind':'medalist-bundle','format':'1.0','made_by':{{'version':'','sha256':null}},'without':[],'groups':[],'files':[{{'path':'{path}','bytes':{bytes},'sha256':''}}]}}"
        ))
    };
    let newer = plain("{'kind':'medalist-bundle','format':'2.0'}");
    let foreign = plain("{'kind':'other','format':'1.0'}");
    let huge = listing("g/a", 200 << 40);
    let (up, absolute) = (listing("../x/y", 1), listing("/etc/passwd", 1));
    for (what, manifest, words) in [
        ("newer", &newer, "has format 2.0"),
        ("foreign", &foreign, "of the kind `other`"),
        ("200 TB", &huge, "--max-size"),
        ("a path that leads up", &up, "which is no path"),
        ("a path from the root", &absolute, "which is no path"),
        ("no JSON", &b"{".to_vec(), "damaged"),
    ] {
        pack(&bad, &[(FILE, "manifest.json", manifest)]);
        refused(what, words);
    }
    let ok = listing("g/a", 1);
    use tar::EntryType;
    for (what, entry) in [
        ("a link", (EntryType::Symlink, "g/a", &b""[..])),
        ("a hard link", (EntryType::Link, "g/a", b"")),
        ("a device", (EntryType::Char, "g/a", b"")),
        ("a pipe", (EntryType::Fifo, "g/a", b"")),
        ("a folder", (EntryType::Directory, "g/a", b"")),
        ("an extended header", (EntryType::XHeader, "g/a", b"30 path=../../evil\n")),
    ] {
        pack(&bad, &[(FILE, "manifest.json", &ok), entry]);
        refused(what, "bundles hold files alone");
    }
    pack(&bad, &[(FILE, "manifest.json", &ok), (FILE, "g/a", b"x"), (FILE, "g/a", b"y")]);
    refused("a file twice", "twice");
    let bomb = vec![0; 64 << 20];
    pack(&bad, &[(FILE, "manifest.json", &ok), (FILE, "g/a", &bomb)]);
    refused("a bomb", "more than its manifest lists");
    let mut padded = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    padded.window_log(27).unwrap();
    padded.write_all(&bomb).unwrap();
    std::fs::write(&bad, padded.finish().unwrap()).unwrap();
    refused("a window that takes memory", "no bundle that can be read");
    let long = format!("g/{}", "n".repeat(5000));
    pack(&bad, &[(FILE, "manifest.json", &ok), (FILE, &long, b"x")]);
    refused("a name that is too long", "larger than any");
    // A group whose plan leads elsewhere is looked at no further.
    let parts = unpack(&file);
    let name = copy.group.file_name().unwrap().to_str().unwrap();
    let mut changed: Value = serde_json::from_slice(&manifest).unwrap();
    let mut plan: Value = serde_json::from_slice(
        &parts.iter().find(|(path, _)| path.ends_with("plan.json")).unwrap().1,
    )
    .unwrap();
    plan["attempts"][0]["dir"] = value!("../../../etc");
    let plan = serde_json::to_vec(&plan).unwrap();
    changed["files"] =
        value!([{"path": format!("{name}/plan.json"), "bytes": plan.len(), "sha256": ""}]);
    let changed = serde_json::to_vec(&changed).unwrap();
    pack(&bad, &[(FILE, "manifest.json", &changed), (FILE, &format!("{name}/plan.json"), &plan)]);
    let found = claims(&bad, &[]);
    assert_eq!(found["attempts"].0, "contradicted", "{found:#?}");
}

#[test]
fn secrets_and_answers_do_not_get_out() {
    let refused = |copy: &Copy, more: &[&str], words: &[&str]| {
        let called = bundle(&copy.group, &copy.temp.path().join("x"), more);
        assert_eq!(called.code, 3, "{called:#?}");
        for word in words {
            assert!(called.stderr.contains(word), "{word}: {called:#?}");
        }
        assert!(!copy.temp.path().join("x").exists());
    };
    let copy = Copy::new();
    let code = copy.attempt(0).join("code");
    std::fs::create_dir_all(&code).unwrap();
    std::fs::write(code.join("main.py"), format!("key = '{KEY}'\n")).unwrap();
    refused(&copy, &[], &["code/main.py", "the key of `openai`", "--without code"]);
    let copied = copy.attempt(0).join("snapshots/code/0000060");
    std::fs::create_dir_all(&copied).unwrap();
    std::fs::rename(code.join("main.py"), copied.join("main.py")).unwrap();
    refused(
        &copy,
        &[],
        &["snapshots/code/0000060/main.py", "the key of `openai`", "--without code"],
    );
    let file = copy.bundle(&["--without", "code"]);
    assert!(!unpack(&file).iter().any(|(name, _)| name.ends_with("main.py")));
    std::fs::rename(copied.join("main.py"), code.join("main.py")).unwrap();
    // The harness of an attempt has no key where a service has it; the bundle's maker may.
    copy.edit("plan.json", |plan| plan["llm"]["settings"]["via"] = value!("service"));
    refused(&copy, &[], &["code/main.py", "the key of `openai`"]);

    let copy = Copy::new();
    let data = made().context.join("data");
    let competition = json(&copy.attempt(0).join("attempt.json"))["key"]["competition"].clone();
    let private = data.join(competition.as_str().unwrap()).join("prepared/private");
    let answers = std::fs::read_dir(private).unwrap().map(|entry| entry.unwrap().path());
    let answers = answers.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let text = std::fs::read_to_string(&answers).unwrap();
    std::fs::create_dir_all(copy.attempt(0).join("code")).unwrap();
    std::fs::write(copy.attempt(0).join("code/cheat.txt"), format!("# found\n{text}")).unwrap();
    refused(&copy, &[], &["code/cheat.txt", "the answers of `demo-", "--without code"]);
    std::fs::remove_dir_all(copy.attempt(0).join("code")).unwrap();
    std::fs::copy(&answers, copy.attempt(0).join("submission/submission.csv")).unwrap();
    refused(&copy, &[], &["submission/submission.csv", "the answers of `demo-"]);
}

#[test]
fn what_is_left_out_is_named_with_what_cannot_be_checked_then() {
    let copy = Copy::new();
    let file = copy.bundle(&["--without", "submissions,transcripts,code,logs"]);
    let found = claims(&file, &[]);
    assert_eq!(found["scores"].0, "not_checkable", "{found:#?}");
    assert!(found["structure"].1.contains("no submission can be graded again"), "{found:#?}");
    assert!(found["bill"].1.contains("transcripts were left out"), "{found:#?}");
    assert!(!found.values().any(|(verdict, _)| verdict == "contradicted"), "{found:#?}");
    let names: Vec<String> = unpack(&file).into_iter().map(|(name, _)| name).collect();
    for part in ["submission/", "run.log", "transcript", "recording/"] {
        assert!(!names.iter().any(|name| name.contains(part)), "{part}: {names:?}");
    }
    // The submissions can be shown later: their hashes are in the manifest.
    let manifest: Value = serde_json::from_slice(&unpack(&file).remove(0).1).unwrap();
    let left = manifest["left_out"].as_array().unwrap();
    let submissions =
        left.iter().filter(|one| one["path"].as_str().unwrap().ends_with("submission.csv"));
    assert_eq!(submissions.count(), 4, "{left:?}");
}

#[test]
fn a_group_that_is_missing_or_not_one_is_named() {
    let context = TestContext::new();
    let called = context.run(&["bundle", "nothing", "-o", "x"]);
    assert!(called.code == 3 && called.stderr.contains("`nothing` is no run group"), "{called:#?}");
    assert_eq!(context.run(&["bundle", "-o", "x"]).code, 2);
    let called = context.run(&["verify", "nothing"]);
    assert!(called.code == 3 && called.stderr.contains("cannot read `nothing`"), "{called:#?}");
}
