//! A laboratory for tests: stores, contexts and the program itself, in directories that vanish.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod archive;
pub mod corpus;
pub mod dockerignore;
pub mod git;
pub mod packages;
pub mod peer;
pub mod registry;
pub mod server;
pub mod watch;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lith::digest::ContentDigest;
use lith::layer::{LayerWriter, Meta, Node};
use lith::path::ImagePath;
use tempfile::TempDir;

/// A place for stores and contexts.
pub struct Lab {
    dir: TempDir,
}

/// One run of the program.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A test that the machine does not allow: says why, or fails where CI asked for everything.
pub fn skip<T>(why: &str) -> Option<T> {
    #[allow(clippy::disallowed_methods, reason = "the switch by which CI makes a skip a failure")]
    let required = std::env::var_os("LITH_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    eprintln!("SKIP: {why}");
    None
}

/// A lab, if processes can be sandboxed here as root and busybox is installed.
pub fn kernel_lab() -> Option<Lab> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    busybox_path()?;
    Some(Lab::new())
}

/// Where Debian's static busybox is.
pub fn busybox_path() -> Option<&'static Path> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|p| p.exists());
    found.or_else(|| skip("needs busybox (package busybox-static)"))
}

/// What a directory of the project holds, sorted.
pub fn data(dir: &str) -> Vec<PathBuf> {
    children(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir))
}

/// What a directory holds, sorted.
#[expect(clippy::disallowed_methods, reason = "a test may list a directory; it sorts")]
pub fn children(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Whether expectations are to be written anew.
pub fn bless() -> bool {
    #[expect(clippy::disallowed_methods, reason = "asks the person at the keyboard, not the build")]
    std::env::var_os("LITH_BLESS").is_some()
}

/// Compares what came out with the file that says so; `other` must not be there. Notes in `wrong` what differs.
pub fn golden(path: &Path, other: &Path, actual: &str, wrong: &mut String) {
    use std::fmt::Write as _;
    if bless() {
        fs::write(path, actual).unwrap();
        let _ = fs::remove_file(other);
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != actual || other.exists() {
        let _ = writeln!(wrong, "== {}\n{actual}\n-- expected\n{expected}", path.display());
    }
}

/// Runs a script in a directory.
#[track_caller]
pub fn shell(script: &Path, dir: &Path) {
    let script = script.to_str().unwrap();
    let made = Command::new("sh").args(["-euc", "umask 022; . \"$0\"", script]).current_dir(dir).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{script}: {}", String::from_utf8_lossy(&made.stderr));
}

/// Makes `base.tar` in a directory: a root file system with owners, links, devices and a capability, and what a script
/// adds to `base`.
pub fn base_tar(dir: &Path, more: Option<&Path>) {
    shell(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/base.sh"), dir);
    more.iter().for_each(|script| shell(script, dir));
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax", "--sort=name"]);
    tar.args(["--mtime=@1000000000", "-C", "base", "-cf", "base.tar", "."]).current_dir(dir);
    assert!(tar.status().unwrap().success());
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}

impl Lab {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // Plain users of some tests pass through it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Writes a file, its directories made, mode 0644.
    pub fn write(&self, below: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// The program with a store of this lab.
    pub fn command(&self, store: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lith"));
        command.arg("--root").arg(self.path(store)).args(args).current_dir(self.dir.path());
        command.env_remove("SOURCE_DATE_EPOCH").env_remove("LITH_ROOT");
        command
    }

    pub fn run(&self, store: &str, args: &[&str]) -> Ran {
        Ran::of(self.command(store, args).output().unwrap())
    }

    /// Runs the program with something on its standard input.
    pub fn fed(&self, store: &str, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(store, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The program may refuse before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Runs what must go well.
    #[track_caller]
    pub fn ok(&self, store: &str, args: &[&str]) -> Ran {
        let ran = self.run(store, args);
        assert_eq!(ran.code, 0, "lith {args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// Puts the busybox base into a store under a name.
    #[track_caller]
    pub fn base(&self, store: &str, name: &str) {
        let tar = self.path("base.tar");
        if !tar.exists() {
            fs::write(&tar, busybox_tar()).unwrap();
        }
        self.ok(store, &["import", tar.to_str().unwrap(), name]);
    }

    /// Builds a context with a Dockerfile of this text; gives the events.
    #[track_caller]
    pub fn build(&self, store: &str, context: &str, more: &[&str]) -> Built {
        let context = self.path(context);
        let mut args = vec!["build", "--progress=json"];
        args.extend(more);
        args.push(context.to_str().unwrap());
        Built::of(&self.ok(store, &args).out)
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What `--progress=json` said of a build.
#[derive(Debug)]
pub struct Built {
    pub events: Vec<serde_json::Value>,
}

impl Built {
    pub fn of(out: &str) -> Self {
        Self { events: out.lines().map(|line| serde_json::from_str(line).expect(line)).collect() }
    }

    fn last(&self) -> &serde_json::Value {
        self.events.iter().rfind(|e| e["event"] == "built").expect("a build that went well")
    }

    pub fn manifest(&self) -> String {
        self.last()["manifest"].as_str().unwrap().to_owned()
    }

    pub fn image(&self) -> String {
        self.last()["image"].as_str().unwrap().to_owned()
    }

    /// `hit` or `built` by the step's text.
    #[track_caller]
    pub fn status(&self, text: &str) -> &str {
        self.ended(text)["status"].as_str().unwrap()
    }

    #[track_caller]
    pub fn why(&self, text: &str) -> &str {
        self.ended(text)["why"].as_str().unwrap()
    }

    #[track_caller]
    pub fn ended(&self, text: &str) -> &serde_json::Value {
        let found = self.events.iter().find(|e| e["event"] == "ended" && e["text"] == text);
        found.unwrap_or_else(|| panic!("no step {text:?} in {:#?}", self.events))
    }

    /// Seconds from the start of the program to the first event of a kind for a step.
    #[track_caller]
    pub fn time(&self, event: &str, text: &str) -> f64 {
        let found = self.events.iter().find(|e| e["event"] == event && e["text"] == text);
        found.unwrap_or_else(|| panic!("no {event} of {text:?}"))["time"].as_f64().unwrap()
    }

    /// Names of all steps with this status.
    pub fn with_status(&self, status: &str) -> Vec<String> {
        let ended = self.events.iter().filter(|e| e["event"] == "ended" && e["status"] == status);
        ended.map(|e| e["text"].as_str().unwrap().to_owned()).collect()
    }
}

/// A root file system with busybox, a symlink for every applet, and the files that name users.
pub fn busybox_tar() -> Vec<u8> {
    let busybox = fs::read(busybox_path().expect("checked by the lab")).unwrap();
    let list = Command::new(busybox_path().unwrap()).arg("--list").output().unwrap();
    let applets = String::from_utf8(list.stdout).unwrap();
    let mut entries: Vec<(String, Meta, Body)> = Vec::new();
    let meta = |mode| Meta { mode, ..Meta::default() };
    for dir in ["bin", "dev", "etc", "proc", "root", "sys"] {
        entries.push((dir.into(), meta(0o755), Body::Dir));
    }
    entries.push(("tmp".into(), meta(0o1777), Body::Dir));
    entries.push(("bin/busybox".into(), meta(0o755), Body::File(busybox)));
    for applet in applets.lines().filter(|a| *a != "busybox" && !a.is_empty()) {
        entries.push((format!("bin/{applet}"), meta(0o777), Body::Link("busybox")));
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    entries.push(("etc/passwd".into(), meta(0o644), Body::File(passwd.into())));
    entries.push(("etc/group".into(), meta(0o644), Body::File("root:x:0:\nnogroup:x:65534:\n".into())));
    let path = |text: &str| ImagePath::parse(text.as_bytes()).unwrap();
    entries.sort_by_key(|(name, _, _)| path(name));
    let mut writer = LayerWriter::new(Vec::new());
    for (name, meta, body) in &entries {
        match body {
            Body::Dir => writer.node(&path(name), meta, &Node::Dir).unwrap(),
            Body::Link(to) => writer.node(&path(name), meta, &Node::Symlink(to.as_bytes().into())).unwrap(),
            Body::File(bytes) => writer.bytes(&path(name), meta, bytes, ContentDigest::of(bytes)).unwrap(),
        }
    }
    writer.finish().unwrap().0
}

enum Body {
    Dir,
    Link(&'static str),
    File(Vec<u8>),
}
