//! A real Chromium, driven through its debugging pipe, so that pages are tested as people see them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::skip;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    input: File,
    messages: Receiver<Value>,
    next_id: u64,
    session: Option<String>,
    events: Vec<Value>,
    scratch: PathBuf,
}

impl Browser {
    /// Starts Chromium, or says loudly that the test is skipped and gives `None`.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let found = names.into_iter().find(|name| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        });
        let Some(program) = found else {
            skip("chromium", "no chromium on this machine (Debian: apt-get install chromium)");
            return None;
        };
        let scratch =
            std::env::temp_dir().join(format!("medalist-browser-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&scratch).expect("a writable temporary folder");
        let (to, from) = (scratch.join("to"), scratch.join("from"));
        let made = Command::new("mkfifo")
            .args([&to, &from])
            .status()
            .expect("mkfifo is part of coreutils");
        assert!(made.success(), "mkfifo failed");
        // Chromium reads commands from descriptor 3 and writes answers to 4.
        let child = Command::new("sh")
            .args(["-c", r#"in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out""#, "sh"])
            .args([&to, &from])
            .args([
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .arg(format!("--user-data-dir={}", scratch.join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let input = File::options().write(true).open(&to).expect("the pipe to the browser");
        let output = File::open(&from).expect("the pipe from the browser");
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { child, input, messages, next_id: 0, session: None, events: Vec::new(), scratch };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let mut message = json!({ "id": self.next_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).expect("a value always prints");
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser reads");
        let id = self.next_id;
        loop {
            let message = self.receive();
            if message["id"] == json!(id) {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => {
                if message.get("method").is_some() {
                    self.events.push(message.clone());
                }
                message
            }
            Err(RecvTimeoutError::Timeout) => panic!("the browser said nothing for {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the browser went away"),
        }
    }

    /// Opens `url` and waits until it has loaded. Forgets earlier events.
    pub(crate) fn open(&mut self, url: &str) {
        self.events.clear();
        self.call("Page.navigate", json!({ "url": url }));
        let since = Instant::now();
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            assert!(since.elapsed() < PATIENCE, "`{url}` does not finish loading");
            self.receive();
        }
    }

    /// Opens a file.
    pub(crate) fn open_file(&mut self, path: &Path) {
        self.open(&format!("file://{}", path.display()));
    }

    /// Sets the width of the window and the colour scheme.
    pub(crate) fn look(&mut self, width: u32, scheme: &str) {
        let mobile = width < 600;
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// The value of a JavaScript expression; promises are awaited.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "`{expression}`: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Presses a key on whatever has the focus.
    pub(crate) fn press(&mut self, key: &str) {
        let code = if key == "Enter" { json!({ "text": "\r" }) } else { json!({}) };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({ "type": kind, "key": key, "code": key });
            if key == "Enter" && kind == "keyDown" {
                params["text"] = code["text"].clone();
                params["windowsVirtualKeyCode"] = json!(13);
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Addresses asked for since the page was opened, besides the page itself and data in it.
    pub(crate) fn requests(&self, page: &str) -> Vec<String> {
        self.events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned))
            .filter(|url| !url.starts_with("data:") && !url.ends_with(page))
            .collect()
    }

    /// Errors and warnings in the console since the page was opened.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let method = |event: &&Value, name: &str| event["method"] == name;
        let level = |event: &Value, at: &str| {
            ["error", "warning"]
                .iter()
                .any(|level| event["params"].pointer(at) == Some(&json!(level)))
        };
        self.events
            .iter()
            .filter(|event| {
                method(event, "Runtime.exceptionThrown")
                    || (method(event, "Log.entryAdded") && level(event, "/entry/level"))
                    || (method(event, "Runtime.consoleAPICalled") && level(event, "/type"))
            })
            .map(|event| event["params"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The pipe's end closes the browser; what it leaves behind is removed after it has gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}
