//! The corpus of steps that are not deterministic by themselves (`tests/data/corpus`).
//!
//! `#: NAME | what varies` begins a snippet, `#! REASON` below it says why it varies even in a deterministic step.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Lab, Ran};

/// What a step runs.
#[derive(Debug, Clone)]
pub struct Snippet {
    pub name: String,
    pub varies: String,
    /// Why a deterministic step does not help.
    pub reason: Option<String>,
    pub script: String,
}

/// How steps are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Hermetic,
    Deterministic,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Hermetic, Self::Deterministic];

    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Hermetic => &["--hermetic"],
            Self::Deterministic => &["--deterministic"],
        }
    }
}

/// The snippets of a file of the corpus.
#[track_caller]
pub fn snippets(file: &str) -> Vec<Snippet> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut found: Vec<Snippet> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("#: ") {
            let (name, varies) = head.split_once(" | ").expect(line);
            let (name, varies) = (name.to_owned(), varies.to_owned());
            found.push(Snippet { name, varies, reason: None, script: String::new() });
            continue;
        }
        let Some(last) = found.last_mut() else { continue };
        match line.strip_prefix("#! ") {
            Some(reason) => last.reason = Some(reason.to_owned()),
            None => last.script.extend([line, "\n"]),
        }
    }
    found.iter_mut().for_each(|snippet| snippet.script.truncate(snippet.script.trim_end().len()));
    found
}

/// Files of the corpus that need Debian with all that `base.kdl` names.
pub const DEBIAN: [&str; 5] = ["clock.sh", "random.sh", "machine.sh", "order.sh", "archives.sh"];

/// One of two machines, as far as one machine can be two.
pub struct Machine<'a> {
    pub lab: &'a Lab,
    pub store: &'a str,
    /// Has another host name and one processor.
    pub other: bool,
}

impl Machine<'_> {
    /// The program on this machine.
    pub fn command(&self, args: &[&str]) -> Command {
        let own = self.lab.command(self.store, args);
        if !self.other {
            return own;
        }
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", "hostname elsewhere; exec taskset -c 0 \"$@\"", "sh"]);
        command.arg(own.get_program()).args(own.get_args()).current_dir(self.lab.path(""));
        command.env_remove("SOURCE_DATE_EPOCH").env_remove("LITH_ROOT");
        command
    }

    /// Runs a script as the only step on a base; gives the diff id of its layer, or what went wrong.
    pub fn layer(&self, base: &str, name: &str, script: &str, mode: Mode) -> Result<String, String> {
        let context = format!("steps/{name}");
        self.lab.write(
            &format!("{context}/Dockerfile"),
            format!("FROM {base}\nRUN <<'SNIPPET'\nset -e\n{script}\nSNIPPET\n"),
        );
        self.built(&context, mode)
    }

    /// Builds a context, all of it again; gives the diff id of its last layer, or what went wrong.
    pub fn built(&self, context: &str, mode: Mode) -> Result<String, String> {
        let context = self.lab.path(context);
        // Few steps ask for all powers; the others get no more for it.
        let options = ["build", "--no-cache", "--progress=json", "--allow=security.insecure"];
        let args = [&options, mode.options(), &[context.to_str().unwrap()]].concat();
        let ran = Ran::of(self.command(&args).output().unwrap());
        if ran.code != 0 {
            return Err(said(&ran));
        }
        let image = super::Built::of(&ran.out).image();
        let config = self.lab.path(self.store).join("blobs/sha256").join(image.trim_start_matches("sha256:"));
        let config: serde_json::Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
        let layers = config["rootfs"]["diff_ids"].as_array().unwrap();
        Ok(layers.last().unwrap().as_str().unwrap().to_owned())
    }

    /// The tar of a layer.
    pub fn tar(&self, layer: &str) -> std::path::PathBuf {
        self.lab.path(self.store).join("blobs/sha256").join(layer.trim_start_matches("sha256:"))
    }
}

/// What a step that failed printed, and what the program said of it.
fn said(ran: &Ran) -> String {
    let lines = ran.out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let output: String =
        lines.filter_map(|event| event["data"].as_str().map(str::to_owned)).collect::<Vec<_>>().join("");
    format!("{output}{}", ran.err)
}
