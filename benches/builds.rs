//! Whole builds against floors and installed peers, as ratios measured in one run.
//!
//! `cargo bench --bench builds [-- FILTER]`. Every row is the median of a few runs of a whole process; a floor is what
//! the kernel and standard tools need for the same bytes. Nothing is asserted: machines differ, ratios are for reading.
//! TMPDIR says which file system is measured. Needs the packages `time` and `busybox-static`; `mmdebstrap`, `buildah`, `git`
//! and `zstd` add rows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "builds/packages.rs"]
mod packages;

#[path = "builds/shared.rs"]
mod shared;

#[path = "builds/verify.rs"]
mod verify;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{Lab, has};

/// One timed command.
struct Timed {
    seconds: f64,
    /// Peak memory of the largest process, in MiB.
    mebibytes: u64,
}

/// Median of several runs; `before` is not timed.
fn measure(runs: usize, before: &mut dyn FnMut(), command: &mut dyn FnMut() -> Command) -> Timed {
    let mut times: Vec<(f64, u64)> = (0..runs)
        .map(|_| {
            before();
            let mut wrapped = Command::new("/usr/bin/time");
            let inner = command();
            wrapped.args(["-q", "-f", "%M", "-o"]);
            let report = std::env::temp_dir().join(format!("lith-bench-{}", std::process::id()));
            wrapped.arg(&report).arg(inner.get_program()).args(inner.get_args());
            if let Some(dir) = inner.get_current_dir() {
                wrapped.current_dir(dir);
            }
            for (name, value) in inner.get_envs() {
                match value {
                    Some(value) => wrapped.env(name, value),
                    None => wrapped.env_remove(name),
                };
            }
            let began = Instant::now();
            let status = wrapped.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            let seconds = began.elapsed().as_secs_f64();
            assert!(status.success(), "{inner:?}");
            let kib: u64 = fs::read_to_string(report).unwrap().trim().parse().unwrap_or(0);
            (seconds, kib / 1024)
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, mebibytes) = times[times.len() / 2];
    Timed { seconds, mebibytes }
}

fn shell(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(dir);
    command
}

/// Collects rows of one piece of work and prints them with ratios to the first floor.
struct Work {
    floor: Option<f64>,
}

impl Work {
    fn new(name: &'static str) -> Self {
        println!("\n{name}");
        Self { floor: None }
    }

    fn floor(&mut self, what: &str, timed: &Timed) {
        println!("  {what:<44} {:>8.3} s  floor", timed.seconds);
        self.floor.get_or_insert(timed.seconds);
    }

    fn row(&self, what: &str, timed: &Timed) {
        let ratio =
            self.floor.map_or_else(String::new, |floor| format!("{:>7.2} × floor", timed.seconds / floor));
        println!("  {what:<44} {:>8.3} s {ratio}  {} MiB", timed.seconds, timed.mebibytes);
    }
}

struct Bench {
    lab: Lab,
    filter: String,
}

impl Bench {
    fn wants(&self, work: &str) -> bool {
        self.filter.is_empty() || work.contains(&self.filter)
    }

    fn lith(&self, context: &str, more: &[&str]) -> Command {
        let context = self.lab.path(context);
        let mut args = vec!["build", "-q"];
        args.extend(more);
        args.push(context.to_str().unwrap());
        self.lab.command("store", &args)
    }

    /// Forgets records and layers of builds; base images stay.
    fn forget(&self) {
        self.lab.ok("store", &["gc", "--all"]);
    }

    fn cold_and_noop(&self, work: &Work, context: &str, runs: usize) {
        let cold = measure(runs, &mut || self.forget(), &mut || self.lith(context, &[]));
        work.row("lith, cold", &cold);
        let noop = measure(runs.max(5), &mut || {}, &mut || self.lith(context, &[]));
        work.row("lith, no-op", &noop);
    }

    fn buildah(&self, work: &Work, context: &str, base: Option<&str>) {
        if !has("buildah") {
            return println!("  buildah                                      (not installed)");
        }
        let root = self.lab.path("buildah");
        let global = format!("buildah --root {0}/r --runroot {0}/rr", root.display());
        if let Some(base) = base {
            let import = format!(
                "c=$({global} from scratch) && {global} add $c {} / && {global} commit -q $c localhost/{base} && {global} rm $c",
                self.lab.path("base.tar").display()
            );
            assert!(shell(&self.lab.path(""), &import).stdout(Stdio::null()).status().unwrap().success());
        }
        let build = format!(
            "{global} bud --layers --isolation chroot --network host --ulimit nofile=1024:1024 -t bench-x {context}"
        );
        let timed = measure(1, &mut || {}, &mut || shell(&self.lab.path(""), &build));
        work.row("buildah, cold", &timed);
        let timed = measure(2, &mut || {}, &mut || shell(&self.lab.path(""), &build));
        work.row("buildah, no-op", &timed);
    }

    fn seed(&self) {
        let mut work = Work::new("W1 seed: FROM, RUN, COPY, ADD, CMD");
        self.lab.write("seed/Dockerfile", "FROM localhost/base\nRUN echo first\nCOPY ./second.txt .\nADD ./third.txt .\nCMD [\"echo\", \"fourth\"]\n");
        self.lab.write("seed/second.txt", "second\n");
        self.lab.write("seed/third.txt", "third\n");
        let root = self.lab.path("floor");
        let script = format!(
            "mkdir -p {0}/l {0}/u {0}/w {0}/m; tar -xf {1} -C {0}/l; exec unshare -mpf sh -c 'mount -t overlay o -o lowerdir={0}/l,upperdir={0}/u,workdir={0}/w {0}/m && chroot {0}/m /bin/busybox true'",
            root.display(),
            self.lab.path("base.tar").display()
        );
        let floor =
            measure(5, &mut || drop(fs::remove_dir_all(&root)), &mut || shell(&self.lab.path(""), &script));
        work.floor("untar + unshare + overlay mount + chroot", &floor);
        self.cold_and_noop(&work, "seed", 7);
        self.buildah(&work, "seed", Some("base"));
    }

    /// 50,000 files of 4 KB, no two the same.
    fn write_many(&self) {
        let mut bytes = vec![0u8; 4096];
        for at in 0..50_000u32 {
            let state = blake3::hash(&at.to_le_bytes());
            for (slot, value) in bytes.iter_mut().zip(state.as_bytes().iter().cycle()) {
                *slot = *value;
            }
            self.lab.write(&format!("many/data/d{:03}/f{:03}", at / 500, at % 500), &bytes);
        }
    }

    fn many_files(&self) {
        let mut work = Work::new("W2a COPY of 50,000 files of 4 KB");
        self.write_many();
        self.lab.write("many/Dockerfile", "FROM scratch\nCOPY data /data\n");
        let dir = self.lab.path("many");
        let floor = measure(3, &mut || {}, &mut || shell(&dir, "tar -cf - data | sha256sum"));
        work.floor("tar | sha256sum", &floor);
        self.cold_and_noop(&work, "many", 3);
        let mut round = 0;
        let changed = measure(
            3,
            &mut || {
                round += 1;
                self.lab.write("many/data/d050/f100", format!("{round}"));
            },
            &mut || self.lith("many", &[]),
        );
        work.row("lith, one file changed", &changed);
        self.buildah(&work, "many", None);
        let mut work = Work::new("W2a no-op against looking at every file");
        let floor = measure(5, &mut || {}, &mut || shell(&dir, "find data -printf '%s %T@ %p\\n'"));
        work.floor("find -printf", &floor);
        if has("git") {
            let git = "git init -q . 2>/dev/null; git add -A >/dev/null 2>&1; git status --porcelain";
            measure(1, &mut || {}, &mut || shell(&dir, git));
            let status = measure(5, &mut || {}, &mut || shell(&dir, "git status --porcelain"));
            work.row("git status", &status);
            drop(fs::remove_dir_all(dir.join(".git")));
        }
        let noop = measure(5, &mut || {}, &mut || self.lith("many", &[]));
        work.row("lith, no-op", &noop);
    }

    fn one_large_file(&self) {
        let mut work = Work::new("W2b COPY of one file of 1 GiB");
        let dir = self.lab.path("large");
        fs::create_dir_all(&dir).unwrap();
        shell(&dir, "head -c 1G /dev/urandom > big").status().unwrap();
        self.lab.write("large/Dockerfile", "FROM scratch\nCOPY big /big\n");
        let floor = measure(3, &mut || {}, &mut || shell(&dir, "sha256sum big"));
        work.floor("sha256sum", &floor);
        let copy = measure(3, &mut || {}, &mut || shell(&dir, "cp big ../big.copy; sync ../big.copy"));
        work.row("cp + sync", &copy);
        self.cold_and_noop(&work, "large", 3);
        let gzip = format!("type=oci,dest={},compression=zstd", self.lab.path("large.tar").display());
        let packed = measure(1, &mut || {}, &mut || self.lith("large", &["-o", &gzip]));
        work.row("lith, export packed with zstd", &packed);
        if has("zstd") {
            let zstd = measure(1, &mut || {}, &mut || shell(&dir, "zstd -3 -T0 -q -f big -o ../big.zst"));
            work.row("zstd -3 -T0", &zstd);
        }
    }

    fn stages(&self) {
        let mut work = Work::new("W3 eight independent stages, 2.5 CPU seconds or so each");
        let spin = "i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done";
        let mut text = String::new();
        for stage in 0..8 {
            text.push_str(&format!(
                "FROM localhost/base AS s{stage}\nRUN {spin}; echo {stage} > /r{stage}\n"
            ));
        }
        text.push_str("FROM localhost/base\n");
        for stage in 0..8 {
            text.push_str(&format!("COPY --from=s{stage} /r{stage} /\n"));
        }
        self.lab.write("stages/Dockerfile", text);
        let busybox = support::busybox_path().unwrap().display();
        let script = format!("seq 8 | xargs -P $(nproc) -I@ {busybox} sh -c '{spin}'");
        let floor = measure(2, &mut || {}, &mut || shell(&self.lab.path(""), &script));
        work.floor("the same loops, one for each processor", &floor);
        self.cold_and_noop(&work, "stages", 2);
    }

    fn hundred_runs(&self) {
        let mut work = Work::new("W4 a hundred RUN true on Debian");
        let base = if has("mmdebstrap") {
            let tar = self.lab.path("debian.tar");
            let made = Command::new("mmdebstrap")
                .args(["--variant=minbase", "--quiet", "bookworm"])
                .arg(&tar)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(made.success(), "mmdebstrap needs a package mirror");
            self.lab.ok("store", &["import", tar.to_str().unwrap(), "localhost/debian"]);
            "localhost/debian"
        } else {
            println!("  (mmdebstrap is not installed: busybox instead)");
            "localhost/base"
        };
        self.lab.write("hundred/Dockerfile", format!("FROM {base}\n{}", "RUN true\n".repeat(100)));
        let root = self.lab.path("floor");
        let script = format!(
            "for i in $(seq 100); do unshare -mpf sh -c 'mount -t overlay o -o lowerdir={0}/l,upperdir={0}/u,workdir={0}/w {0}/m && chroot {0}/m /bin/busybox true'; done",
            root.display()
        );
        let setup = format!(
            "rm -rf {0}; mkdir -p {0}/l {0}/u {0}/w {0}/m; tar -xf {1} -C {0}/l",
            root.display(),
            self.lab.path("base.tar").display()
        );
        let mut prepare = || drop(shell(&self.lab.path(""), &setup).status());
        let floor = measure(3, &mut prepare, &mut || shell(&self.lab.path(""), &script));
        work.floor("100 × (unshare + overlay mount + chroot)", &floor);
        self.cold_and_noop(&work, "hundred", 3);
    }

    fn write_and_remove(&self) {
        let mut work = Work::new("W5 RUN writes 20,000 files, RUN removes half");
        let write = "mkdir /d && cd /d && i=0 && while [ $i -lt 20000 ]; do echo $i > f$i; i=$((i+1)); done";
        self.lab
            .write("files/Dockerfile", format!("FROM localhost/base\nRUN {write}\nRUN rm /d/f*[02468]\n"));
        let dir = self.lab.path("plain");
        let busybox = support::busybox_path().unwrap().display();
        let script = format!(
            "{busybox} sh -c '{}' && rm {1}/d/f*[02468]",
            write.replace("/d", &format!("{}/d", dir.display())),
            dir.display()
        );
        let mut clear = || {
            drop(fs::remove_dir_all(&dir));
            fs::create_dir_all(&dir).unwrap();
        };
        let floor = measure(3, &mut clear, &mut || shell(&self.lab.path(""), &script));
        work.floor("the same loop and rm in a directory", &floor);
        self.cold_and_noop(&work, "files", 3);
        self.buildah(&work, "files", Some("base"));
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let bench = Bench { lab: Lab::new(), filter };
    bench.lab.base("store", "localhost/base");
    println!(
        "lith {} on {} processors; median of a few runs",
        env!("CARGO_PKG_VERSION"),
        std::thread::available_parallelism().unwrap()
    );
    type Piece = (&'static str, fn(&Bench));
    let works: [Piece; 9] = [
        ("seed", Bench::seed),
        ("many", Bench::many_files),
        ("large", Bench::one_large_file),
        ("stages", Bench::stages),
        ("hundred", Bench::hundred_runs),
        ("files", Bench::write_and_remove),
        ("packages", Bench::packages),
        ("shared", Bench::shared),
        ("verify", Bench::verify),
    ];
    for (name, work) in works {
        if bench.wants(name) {
            work(&bench);
        }
    }
}
