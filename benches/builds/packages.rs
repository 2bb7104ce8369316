//! Debian with programs on it, its scripts run: choice, unpacking and configuring, from lists and `.deb`s that are at hand.
//!
//! mmdebstrap gets apt's lists and archives as read where they lie (no `apt-get update`, nothing downloaded or copied) and
//! makes one directory, or one tar. lith gets a store with the same files and nothing else, and asks the mirror whether its
//! three signed lists still are the newest; it checks signatures, and makes a layer for each request, each both as a tar and
//! unpacked, with records. Both choose without recommended packages.

use std::collections::BTreeSet;
use std::fs;

use super::support::{Built, children, has};
use super::{Bench, Work, measure, shell};

const FILE: &str = "image \"x\" {\n    base debian=\"bookworm\" { packages \"apt\" \"python3\" \"git\" \"curl\" \"nginx\"; configure }\n}\n";
const INCLUDE: &str = "python3,git,curl,nginx";
const RUNS: usize = 3;

/// What mmdebstrap is called with; `$1` is the target.
const MMDEBSTRAP: &str = "mmdebstrap --quiet --mode=root --variant=minbase";
const MOUNT: &str = "mkdir -p \"$1/var/cache/apt/archives\" \"$1/var/lib/apt/lists\"; \
    mount --bind archives \"$1/var/cache/apt/archives\"; mount --bind lists \"$1/var/lib/apt/lists\"";
const UNMOUNT: &str = "umount \"$1/var/cache/apt/archives\" \"$1/var/lib/apt/lists\"";

impl Bench {
    pub(super) fn packages(&self) {
        let mut work = Work::new("W6 Debian with python3, git, curl and nginx, scripts run");
        if has("mmdebstrap") && rustix::process::geteuid().is_root() {
            self.mmdebstrap(&mut work);
        } else {
            println!("  mmdebstrap                                   (not installed, or no root)");
        }
        self.lab.write("debian/image.kdl", FILE);
        let context = self.lab.path("debian");
        let context = context.to_str().unwrap();
        let built = self.lab.ok("warm", &["build", "--progress=json", "-t", "debian", context]).out;
        let lith = || self.lab.command("cold", &["build", "-q", context]);
        let cold = measure(RUNS, &mut || self.downloads_alone(), &mut || lith());
        work.row("lith, cold: all layers", &cold);
        let spent = Spent::of(&Built::of(&built));
        println!(
            "    of the first run: unpacked after {:.1} s, configured after {:.1} s",
            spent.unpacked, spent.configured
        );
        let noop = measure(5, &mut || {}, &mut || lith());
        work.row("lith, no-op", &noop);
        self.lab.write("count/Dockerfile", "FROM debian\nRUN dpkg-query -W | wc -l\n");
        let counted = self.lab.build("warm", "count", &[]);
        let output = counted.events.iter().find(|event| event["event"] == "output").unwrap();
        println!("    lith: {} packages", output["data"].as_str().unwrap().trim());
    }

    /// Makes the store `cold`: what `warm` downloaded, and nothing else. Nor is there a lock that says what was chosen.
    fn downloads_alone(&self) {
        let _ = fs::remove_file(self.lab.path("debian/lith.lock"));
        let (warm, cold) = (self.lab.path("warm"), self.lab.path("cold"));
        let _ = fs::remove_dir_all(&cold);
        self.lab.ok("cold", &["store", "verify"]);
        let mut blobs = BTreeSet::new();
        for record in children(&warm.join("downloads")) {
            let text = fs::read_to_string(&record).unwrap();
            let body: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
            blobs.insert(body["blob"].as_str().unwrap().trim_start_matches("sha256:").to_owned());
            fs::copy(&record, cold.join("downloads").join(record.file_name().unwrap())).unwrap();
        }
        for blob in blobs {
            let below = format!("blobs/sha256/{blob}");
            fs::hard_link(warm.join(&below), cold.join(&below)).unwrap();
        }
    }

    fn mmdebstrap(&self, work: &mut Work) {
        let dir = self.lab.path("mmdebstrap");
        fs::create_dir_all(dir.join("archives")).unwrap();
        fs::create_dir_all(dir.join("lists")).unwrap();
        let run = |skip: &str, more: &str, target: &str| {
            shell(
                &dir,
                &format!(
                    "exec unshare -m {MMDEBSTRAP} --include={INCLUDE} --skip={skip}essential/unlink,download/empty,cleanup/apt \
                     --setup-hook='{MOUNT}' {more} --customize-hook='{UNMOUNT}' bookworm {target}"
                ),
            )
        };
        let warm = run("", "", "warm").output().unwrap();
        assert!(warm.status.success(), "{}", String::from_utf8_lossy(&warm.stderr));
        let status = fs::read_to_string(dir.join("warm/var/lib/dpkg/status")).unwrap();
        let count = status.lines().filter(|line| line.starts_with("Package: ")).count();
        for (what, target) in [("mmdebstrap, to a directory", "root"), ("mmdebstrap, to a tar", "root.tar")] {
            let mut clear = || drop(shell(&dir, "rm -rf warm root root.tar").status());
            let timed = measure(RUNS, &mut clear, &mut || run("update,", "", target));
            work.floor(what, &timed);
        }
        println!("    mmdebstrap: {count} packages");
    }
}

/// Seconds from the start of a build.
struct Spent {
    unpacked: f64,
    configured: f64,
}

impl Spent {
    fn of(built: &Built) -> Self {
        let ended = |text: &str| built.time("ended", &format!("PACKAGES bookworm ({text})"));
        Self { unpacked: ended("database"), configured: ended("configure") }
    }
}
