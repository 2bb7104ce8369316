//! What deterministic steps are worth, and what they cost.
//!
//! `cargo bench --bench corpus [-- table|overhead|packages [NAME…]]`. The table builds every snippet of `tests/data/corpus`
//! twice in each mode, on two machines as far as one can be two: another store on another file system, another host name,
//! one processor, later. Needs root, a mirror of Debian's packages, and the packages `util-linux` and `time`; TMPDIR says
//! where one store is, `/dev/shm` has the other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "corpus/overhead.rs"]
mod overhead;

#[path = "corpus/packages.rs"]
mod packages;

#[path = "corpus/table.rs"]
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use support::Lab;
use support::corpus::Machine;
use tempfile::TempDir;

/// Two machines with the same images.
struct Pair {
    lab: Lab,
    memory: TempDir,
}

impl Pair {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        Self { lab: Lab::new(), memory: TempDir::new_in("/dev/shm").unwrap() }
    }

    /// The store in memory.
    fn other_store(&self) -> PathBuf {
        self.memory.path().join("store")
    }

    /// Makes an image of a KDL file, and brings it to both.
    fn base(&self, file: &Path, name: &str) {
        println!("making {name} of {}", file.display());
        let archive = self.memory.path().join("base.tar");
        let archive = archive.to_str().unwrap();
        fs::create_dir_all(self.lab.path("none")).unwrap();
        let (file, context) = (file.to_str().unwrap(), self.lab.path("none"));
        self.lab.ok("store", &["build", "-q", "-t", name, "-f", file, context.to_str().unwrap()]);
        self.lab.ok("store", &["save", "-o", archive, name]);
        self.lab.ok(self.other_store().to_str().unwrap(), &["load", archive]);
        fs::remove_file(archive).unwrap();
    }

    fn with<T>(&self, work: impl FnOnce([&Machine<'_>; 2]) -> T) -> T {
        let store = self.other_store();
        let one = Machine { lab: &self.lab, store: "store", other: false };
        let other = Machine { lab: &self.lab, store: store.to_str().unwrap(), other: true };
        work([&one, &other])
    }
}

/// A file of the corpus.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus").join(name)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let (work, names) = words.split_first().map_or(("table", &[][..]), |(work, names)| (work, names));
    match work {
        "table" => table::print(&Pair::new(), names),
        "overhead" => overhead::print(&Pair::new()),
        "packages" => packages::print(&Pair::new()),
        other => panic!("{other}: table, overhead or packages"),
    }
}
