//! Containers from their making to their removal, whatever happens on the way.

mod copies;
mod crowd;
mod errors;
mod files;
mod hardships;
mod health;
mod images;
mod kills;
mod tamper;
mod terminal;
mod volumes;
mod watching;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::rootless::{Ids, User};
use crate::support::{Lab, Ran, children, kernel_lab};

/// Root, or a plain user, with a store of its own that has the image `base`.
pub enum World {
    Root(Lab),
    User(User),
}

/// A test that fails leaves nothing that runs.
impl Drop for World {
    fn drop(&mut self) {
        let all = self.run(&["ps", "-aq"]).out;
        for id in all.lines() {
            self.run(&["rm", "-f", id]);
        }
    }
}

impl World {
    pub fn root() -> Option<Self> {
        let lab = kernel_lab()?;
        lab.base("store", "base");
        Some(Self::Root(lab))
    }

    pub fn user(tag: &str, ids: Ids) -> Option<Self> {
        let user = User::new(tag, ids)?;
        user.base("base");
        Some(Self::User(user))
    }

    pub fn lab(&self) -> &Lab {
        match self {
            Self::Root(lab) => lab,
            Self::User(user) => &user.lab,
        }
    }

    pub fn is_root(&self) -> bool {
        matches!(self, Self::Root(_))
    }

    /// Makes a file the caller's.
    pub fn give(&self, path: &Path) {
        if let Self::User(user) = self {
            user.give(path);
        }
    }

    pub fn store(&self) -> PathBuf {
        match self {
            Self::Root(lab) => lab.path("store"),
            Self::User(user) => user.store(),
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        match self {
            Self::Root(lab) => lab.command("store", args),
            Self::User(user) => user.command(args),
        }
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs what must go well; gives what it printed, without the last newline.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "lith {args:?}\n{}\n{}", ran.out, ran.err);
        ran.out.trim_end_matches('\n').to_owned()
    }

    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let shown: Value = serde_json::from_str(&self.ok(&["inspect", name])).unwrap();
        shown[0].clone()
    }

    /// Every path below some directories of the store, without what comes and goes by itself. What a supervisor takes away
    /// after all others know of its end is waited for.
    pub fn traces(&self) -> Vec<PathBuf> {
        let began = std::time::Instant::now();
        while !children(&self.store().join("tmp")).is_empty() && began.elapsed().as_secs() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut found = Vec::new();
        for dir in ["containers", "container-names", "layerdb/mounts", "overlay", "l", "volumes", "tmp"] {
            names(&self.store().join(dir), 2, &mut found);
        }
        found
    }
}

fn names(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    if depth == 0 || !dir.is_dir() || dir.is_symlink() {
        return;
    }
    for path in children(dir) {
        names(&path, depth - 1, found);
        found.push(path);
    }
}

/// Mounts that everybody sees and that lie in a store.
pub fn mounts_of(store: &Path) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(store.to_str().unwrap())).map(str::to_owned).collect()
}

/// Processes with a text in one of their arguments.
pub fn processes_about(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in children(Path::new("/proc")) {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text)
            && path.file_name().unwrap().to_str().unwrap() != std::process::id().to_string()
        {
            found.push(format!("{}: {line}", path.display()));
        }
    }
    found
}

/// Waits until something holds, at most some seconds; then it must.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed().as_secs() < 20, "{what} does not come about");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
