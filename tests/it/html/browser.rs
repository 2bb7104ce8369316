//! A headless Chromium, driven over its DevTools pipe: messages of JSON, each with a zero behind it, on descriptors 3
//! and 4.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::support::skip;

pub struct Browser {
    child: Child,
    commands: File,
    answers: File,
    unread: Vec<u8>,
    serial: u64,
    session: Option<String>,
    /// What the page complained of.
    complaints: Vec<String>,
    loaded: bool,
}

impl Browser {
    /// Starts one, if it is installed.
    pub fn start(dir: &Path) -> Option<Self> {
        let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
        let program = places.iter().map(Path::new).find(|path| path.exists());
        let program = program.or_else(|| skip("needs a Chromium (package chromium)"))?;
        let pipe = |name: &str| -> PathBuf {
            let path = dir.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
            path
        };
        let (commands, answers) = (pipe("commands"), pipe("answers"));
        // Opened for both, a pipe waits for no other end.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (to, from) = (open(&commands), open(&answers));
        let script = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --no-first-run --user-data-dir=\"$3\" \
            --remote-debugging-pipe --window-size=1400,1000 about:blank 3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .args(["-c", script])
            .args([program, &commands, &answers, &dir.join("profile")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            child,
            commands: to,
            answers: from,
            unread: Vec::new(),
            serial: 0,
            session: None,
            complaints: Vec::new(),
            loaded: false,
        };
        let targets = browser.call("Target.getTargets", json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .unwrap()
            .iter()
            .find(|target| target["type"] == "page")
            .unwrap();
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        Some(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.serial += 1;
        let mut message = json!({"id": self.serial, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        loop {
            let answer = self.message();
            if answer["id"] == self.serial {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The next message; what a page throws or is refused is kept.
    fn message(&mut self) -> Value {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == 0) {
                let rest = self.unread.split_off(end + 1);
                let bytes = std::mem::replace(&mut self.unread, rest);
                let message: Value = serde_json::from_slice(&bytes[..end]).unwrap();
                match message["method"].as_str() {
                    Some("Page.loadEventFired") => self.loaded = true,
                    Some("Runtime.exceptionThrown" | "Log.entryAdded") => {
                        self.complaints.push(message.to_string())
                    }
                    Some(_) | None => {}
                }
                return message;
            }
            let mut piece = vec![0; 64 << 10];
            let got = self.answers.read(&mut piece).unwrap();
            self.unread.extend_from_slice(&piece[..got]);
        }
    }

    /// Goes to a page and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        self.loaded = false;
        self.call("Page.navigate", json!({"url": url}));
        while !self.loaded {
            self.message();
        }
    }

    /// What an expression comes to.
    pub fn value(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// The text of the first element of a selector.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.value(&format!("document.querySelector({})?.textContent", json!(selector)));
        found.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// Waits until an expression comes to a text.
    pub fn until(&mut self, expression: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let found = self.value(expression);
            if found == wanted {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{expression} is {found}, not {wanted}");
        }
    }

    /// Presses keys one after the other.
    pub fn keys(&mut self, keys: &[&str]) {
        for key in keys {
            let code = match *key {
                "Enter" => 13,
                "Escape" => 27,
                _ => 0,
            };
            let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
            if key.chars().count() == 1 {
                down["text"] = json!(key);
            }
            self.call("Input.dispatchKeyEvent", down);
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}),
            );
        }
    }

    /// Moves the pointer to a place of the window.
    pub fn hover(&mut self, x: u64, y: u64) {
        self.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
    }

    /// What the page threw, or what its policy refused.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
