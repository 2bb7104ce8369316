//! Holding an unpacked layer of 50,000 files against its table: against standard tools that read the same files.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use lith::digest::DiffId;
use lith::store::{Store, Unpacking};

use super::{Bench, Timed, Work, measure, shell};

const RUNS: usize = 5;

impl Bench {
    pub(super) fn verify(&self) {
        let mut work = Work::new("W7 an unpacked layer of 50,000 files of 4 KB held against its table");
        self.write_many();
        self.lab.write("held/Dockerfile", "FROM localhost/base\nCOPY --from=many data /data\nRUN true\n");
        let many = format!("many={}", self.lab.path("many").display());
        let context = self.lab.path("held");
        let context = context.to_str().unwrap();
        self.lab.ok("store", &["build", "-q", "--build-context", &many, "-t", "held", context]);
        let shown = self.lab.ok("store", &["image", "inspect", "held"]).out;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let layers = shown[0]["RootFS"]["Layers"].as_array().unwrap();
        let layers: Vec<DiffId> =
            layers.iter().map(|layer| layer.as_str().unwrap().parse().unwrap()).collect();
        let store = Store::open(&self.lab.path("store"), Unpacking::Root).unwrap();
        let dir = store.diff_dir(&layers[..2]).unwrap();
        assert!(dir.join("data/d099/f499").exists(), "{}", dir.display());
        drop(store);
        let tools = || shell(&dir, "find . -type f -print0 | xargs -0 -P2 sha256sum");
        for cache in ["cold", "warm"] {
            let mut before = || {
                if cache == "cold" {
                    forget_pages(&dir);
                }
            };
            before();
            let floor = measure(RUNS, &mut before, &mut || tools());
            work.floor(&format!("find | xargs -P2 sha256sum, {cache}"), &floor);
            let call = timed(&mut before, &mut || {
                // Opened anew, so that the tables are read too.
                let store = Store::open(&self.lab.path("store"), Unpacking::Root).unwrap();
                assert!(store.verify_stack(&layers).unwrap().is_empty());
            });
            work.row(&format!("lith, one image's unpacked layers, {cache}"), &call);
            work.floor = None;
        }
        let floor = measure(RUNS, &mut || {}, &mut || tools());
        work.floor("find | xargs -P2 sha256sum, warm", &floor);
        let whole = || self.lab.command("store", &["store", "verify", "held"]);
        work.row(
            "lith store verify held: its blobs and tables too",
            &measure(RUNS, &mut || {}, &mut || whole()),
        );
    }
}

/// Median of several calls in this process.
fn timed(before: &mut dyn FnMut(), call: &mut dyn FnMut()) -> Timed {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            before();
            let began = Instant::now();
            call();
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    Timed { seconds: times[RUNS / 2], mebibytes: 0 }
}

/// Has the kernel drop what it has of the files below a directory; those that are not written yet are first.
fn forget_pages(dir: &Path) {
    rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in lith::sys::dir::list_path(&dir).unwrap() {
            let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() {
                rustix::fs::fadvise(File::open(&path).unwrap(), 0, None, rustix::fs::Advice::DontNeed)
                    .unwrap();
            }
        }
    }
}
