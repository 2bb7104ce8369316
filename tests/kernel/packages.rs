//! Root file systems from the packages of the machine's own archive, run.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lith::debian::Machine;
use lith::debian::solve::{Request, solve};
use lith::debian::universe::Universe;
use lith::engine::Options;
use lith::recipe::PackageSet;

use crate::support::packages::{options, set};
use crate::support::{Lab, kernel_lab, skip};

/// Options for this machine, if its sources have bookworm. The clock stands where every release is valid.
fn bookworm() -> Option<Options> {
    let options = options(Machine::new(0));
    let sources = options.machine.sources(&set("bookworm", &[]), "amd64");
    let found = sources.is_ok() && Path::new("/usr/bin/gpgv").exists();
    if found { Some(options) } else { skip("needs apt sources of bookworm, and gpgv") }
}

/// Runs a command in the image `rootfs` of a store; gives what it printed.
#[track_caller]
fn run(lab: &Lab, store: &str, command: &[&str]) -> String {
    let command = serde_json::to_string(command).unwrap();
    lab.write("context/Dockerfile", format!("FROM rootfs\nRUN {command}\n"));
    let built = lab.build(store, "context", &["--no-cache"]);
    let outputs = built.events.iter().filter(|event| event["event"] == "output");
    outputs.map(|event| event["data"].as_str().unwrap_or_default()).collect()
}

#[test]
fn a_root_of_one_package_runs() {
    let (Some(lab), Some(options)) = (kernel_lab(), bookworm()) else { return };
    let wanted = set("bookworm", &["busybox-static"]);
    lab.packages("store", &wanted, &options).unwrap();
    let listed = run(&lab, "store", &["/bin/busybox", "ls", "-l", "/"]);
    assert!(listed.contains("bin -> usr/bin"), "{listed}");
}

#[test]
fn dpkg_and_apt_know_what_is_there() {
    let (Some(lab), Some(options)) = (kernel_lab(), bookworm()) else { return };
    let wanted = PackageSet { essential: true, ..set("bookworm", &["apt", "debian-archive-keyring"]) };
    lab.packages("store", &wanted, &options).unwrap();
    let listed = run(&lab, "store", &["dpkg", "-l"]);
    let state = |name: &str| {
        let line = listed.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {listed}")).split(' ').next().unwrap().to_owned()
    };
    assert_eq!(state("bsdutils"), "ii", "it has no scripts");
    assert_eq!(state("base-files"), "iU", "its scripts were not run");
    assert_eq!(run(&lab, "store", &["dpkg", "--verify", "coreutils", "dpkg", "tar"]), "");
    assert_eq!(run(&lab, "store", &["dpkg", "-S", "/bin/ls"]), "coreutils: /bin/ls\n");
    let simulated = run(&lab, "store", &["apt-get", "-s", "install", "coreutils"]);
    assert!(simulated.contains("coreutils is already the newest version"), "{simulated}");
    // base-files gives directories to groups that base-passwd makes.
    let configure = "dpkg --force-depends --configure base-passwd && dpkg --configure -a";
    let script = format!("({configure}) >/dev/null 2>&1; dpkg -l | grep -c ^iU; id -un; ls -ld /bin /lib64");
    let configured = run(&lab, "store", &["/bin/sh", "-c", &script]);
    let lines: Vec<&str> = configured.lines().collect();
    assert_eq!(lines[..2], ["0", "root"], "scripts run where a step runs them: {configured}");
    assert!(
        lines[2].ends_with("/bin -> usr/bin") && lines[3].ends_with("/lib64 -> usr/lib64"),
        "{configured}"
    );
    let again = lab.packages("other", &wanted, &options).unwrap();
    assert_eq!(lab.diff_ids("store"), lab.diff_ids("other"));
    assert!(again.0.images[0].layers >= 2);
}

/// What apt would install where nothing is installed. `cache` is a directory that no other apt uses.
fn apt_would_install(cache: &Path, names: &[&str]) -> Option<BTreeSet<String>> {
    let mut apt = Command::new("apt-get");
    apt.args(["-s", "-q", "--no-install-recommends", "-o", "Dir::State::status=/dev/null"]);
    // What it remembers between runs, it remembers here.
    for kind in ["pkgcache", "srcpkgcache"] {
        apt.arg("-o").arg(format!("Dir::Cache::{kind}={}", cache.join(kind).display()));
    }
    apt.args(["-o", "Dir::Etc::preferencesparts=/nonexistent", "install"]).args(names).env("LC_ALL", "C");
    let ran = apt.output().unwrap();
    if !ran.status.success() {
        return None;
    }
    let text = String::from_utf8(ran.stdout).unwrap();
    let installed = text.lines().filter_map(|line| line.strip_prefix("Inst "));
    Some(installed.map(|line| line.split(' ').next().unwrap().to_owned()).collect())
}

/// The indices that apt has of a suite, in the order of the sources.
fn apt_lists() -> Option<Vec<String>> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(RELEASE) $(FILENAME)", "Identifier: Packages"]);
    let listed = String::from_utf8(targets.output().ok()?.stdout).ok()?;
    let mut texts = Vec::new();
    for line in listed.lines() {
        let file = line.split_once(' ')?.1;
        let cat = Command::new("/usr/lib/apt/apt-helper").args(["cat-file", file]).output().ok()?;
        texts.push(String::from_utf8(cat.stdout).ok()?);
    }
    (!texts.is_empty()).then_some(texts)
}

/// How many sets of packages are held against apt's.
const SETS: usize = 100;
/// How many apts run at once.
const APTS: usize = 2;

#[test]
fn choices_are_those_of_apt() {
    let Some(texts) = apt_lists() else {
        skip::<()>("needs apt's lists: run apt-get update");
        return;
    };
    let lab = Lab::new();
    let universe = Universe::new(&texts, "amd64").unwrap();
    let all: Vec<&str> = universe.ids().map(|id| universe.package(id).name).collect();
    // A fixed sequence, the same on every machine with the same lists.
    let mut seed = 20261124_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    let mut sets = || (0..1 + next() % 4).map(|_| all[next() % all.len()]).collect::<Vec<&str>>();
    let sets: Vec<Vec<&str>> = (0..SETS).map(|_| sets()).collect();
    let (begun, differ) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for number in 0..APTS {
            let cache = lab.path(&format!("cache{number}"));
            std::fs::create_dir(&cache).unwrap();
            let (sets, begun, differ, universe) = (&sets, &begun, &differ, &universe);
            scope.spawn(move || {
                while let Some(names) = sets.get(begun.fetch_add(1, Ordering::Relaxed)) {
                    differ.lock().unwrap().extend(difference(
                        universe,
                        names,
                        apt_would_install(&cache, names),
                    ));
                }
            });
        }
    });
    let differ = differ.into_inner().unwrap();
    assert!(differ.is_empty(), "{} of {SETS} differ:\n{}", differ.len(), differ.join("\n"));
}

/// In what the own choice differs from apt's, if it does.
fn difference(universe: &Universe<'_>, names: &[&str], apt: Option<BTreeSet<String>>) -> Option<String> {
    let requests: Vec<Request> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let own = solve(universe, &requests).map(|solution| {
        let names = solution.packages.iter().map(|id| universe.package(*id).name.to_owned());
        names.collect::<BTreeSet<String>>()
    });
    match (own, apt) {
        (Ok(own), Some(apt)) if own == apt => None,
        (Err(_), None) => None,
        (Ok(own), Some(apt)) => {
            let more: Vec<_> = own.difference(&apt).collect();
            let fewer: Vec<_> = apt.difference(&own).collect();
            Some(format!("{names:?}: {more:?} instead of {fewer:?}"))
        }
        (Ok(own), None) => Some(format!("{names:?}: apt finds none, lith {} packages", own.len())),
        (Err(error), Some(_)) => Some(format!("{names:?}: {error}")),
    }
}
