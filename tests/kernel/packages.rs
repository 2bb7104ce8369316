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
use crate::support::{Built, Lab, kernel_lab, skip};

/// Options for this machine, if its sources have bookworm. The clock stands where every release is valid.
pub fn bookworm() -> Option<Options> {
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
    assert!(again.0.targets[0].images[0].layers >= 2);
}

/// A system whose scripts make users, links, caches and compiled files.
pub const CONFIGURED: &str = "image \"rootfs\" {\n    \
    base debian=\"bookworm\" { packages \"apt\" \"python3\" \"openssh-client\" \"nginx\"; configure }\n}\n";

/// Gives a store that is there what another has downloaded.
pub fn take_downloads(from: &Path, to: &Path) {
    let script = "cp -r \"$0/blobs\" \"$0/downloads\" \"$1\"";
    let copied = Command::new("sh").args(["-c", script]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn scripts_run_and_leave_the_same_bytes() {
    let (Some(lab), Some(_)) = (kernel_lab(), bookworm()) else { return };
    lab.write("debian/image.kdl", CONFIGURED);
    let options = ["-t", "rootfs", "--epoch", "1700000000"];
    let built = lab.build("store", "debian", &options);
    assert_eq!(built.status("PACKAGES bookworm (configure)"), "built");
    // Another file system lists directories in another order, and this is another moment.
    let shm = tempfile::TempDir::new_in("/dev/shm").unwrap();
    let other = shm.path().join("store");
    lab.ok(other.to_str().unwrap(), &["store", "verify"]);
    take_downloads(&lab.path("store"), &other);
    let again = lab.build(other.to_str().unwrap(), "debian", &options);
    assert_eq!(again.status("PACKAGES bookworm (configure)"), "built");
    assert_eq!(again.manifest(), built.manifest());

    let listed = run(&lab, "store", &["dpkg", "-l"]);
    let rows: Vec<&str> = listed.lines().skip_while(|line| !line.starts_with("+++")).skip(1).collect();
    assert!(rows.len() > 100 && rows.iter().all(|row| row.starts_with("ii ")), "{listed}");
    assert_eq!(run(&lab, "store", &["dpkg", "--audit"]), "");
    assert_eq!(run(&lab, "store", &["dpkg", "--verify"]), "");
    let script =
        "apt-get check && apt-get -s install nginx && nginx -t && ssh -V && python3 -c 'import ssl, sqlite3'";
    let ran = run(&lab, "store", &["/bin/sh", "-c", script]);
    assert!(ran.contains("nginx is already the newest version"), "{ran}");
    assert!(ran.contains("test is successful") && ran.contains("OpenSSH_"), "{ran}");
    assert_eq!(
        run(&lab, "store", &["grep", "-h", "www-data", "/etc/passwd", "/etc/shadow"]),
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nwww-data:*:19675:0:99999:7:::\n",
        "the date is the epoch's"
    );
    let left = "ls -d /var/log/*.log /var/cache/debconf/*-old /var/lib/dpkg/*-old /etc/*- \
        /var/cache/ldconfig/aux-cache /run/* /tmp/* /usr/sbin/policy-rc.d /etc/nginx/*.dpkg-* 2>/dev/null; \
        head -c 4 /usr/sbin/start-stop-daemon | tail -c 3";
    assert_eq!(run(&lab, "store", &["/bin/sh", "-c", left]), "/run/lock\nELF", "of the step nothing is left");
}

/// A package for dpkg's database, unpacked: name, further fields, files of its own beside the paragraph.
type Scripted<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Adds packages to `rootfs`, which is not configured, and configures it with lith's own script.
fn configure(lab: &Lab, packages: &[Scripted<'_>]) -> Built {
    let mut status = String::new();
    let _ = std::fs::remove_dir_all(lab.path("scripted"));
    for (name, fields, files) in packages {
        status.push_str(&format!(
            "Package: {name}\nStatus: install ok unpacked\nArchitecture: all\nVersion: 1\n"
        ));
        status.push_str(&format!("Maintainer: nobody\nDescription: made by a test\n{fields}\n"));
        let list = lab.write(&format!("scripted/info/{name}.list"), format!("/.\n/usr/share/{name}/own\n"));
        assert!(list.exists());
        lab.write(&format!("scripted/usr/share/{name}/own"), *name);
        for (kind, text) in *files {
            lab.write(&format!("scripted/info/{name}.{kind}"), text);
        }
    }
    lab.write("scripted/etc/watcher", "watched");
    lab.write("scripted/status", status);
    lab.write("scripted/pipes/configure.pl", include_str!("../../src/engine/configure.pl"));
    let dockerfile = "FROM rootfs\nCOPY --chmod=755 info /var/lib/dpkg/info\nCOPY usr /usr\nCOPY etc /etc\n\
        RUN --mount=target=/context cat /context/status >> /var/lib/dpkg/status && echo '/usr/share watcher' >> /var/lib/dpkg/triggers/File\n\
        RUN --network=none --mount=source=pipes,target=/dev/pipes DEBIAN_FRONTEND=noninteractive perl /dev/pipes/configure.pl\n\
        RUN cat /made/* /etc/watcher\n";
    lab.write("scripted/Dockerfile", dockerfile);
    let context = lab.path("scripted");
    Built::of(&lab.run("store", &["build", "--progress=json", context.to_str().unwrap()]).out)
}

#[test]
fn scripts_run_in_the_order_that_packages_ask_for() {
    let (Some(lab), Some(options)) = (kernel_lab(), bookworm()) else { return };
    lab.packages("store", &PackageSet { essential: true, ..set("bookworm", &[]) }, &options).unwrap();
    let output = |built: &Built| -> String {
        let outputs = built.events.iter().filter(|event| event["event"] == "output");
        outputs.map(|event| event["data"].as_str().unwrap_or_default()).collect()
    };
    let tool = "#!/bin/sh\nmkdir -p /made; echo \"$1 $2\" > /made/tool\n";
    let early = "#!/bin/sh\nset -e\ncat /made/tool\ntest ! -e /etc/watcher -a -e /etc/watcher.dpkg-new\necho \"$1 $# $DPKG_MAINTSCRIPT_PACKAGE $(id -un 33)\" > /made/early\n\
        grep Package /var/lib/dpkg/tmp.ci/control >> /made/early\ncat /usr/share/early/own >> /made/early\n";
    let watcher = "#!/bin/sh\n[ $1 = configure ] || echo \"$1 $2\" > /made/watcher\n";
    let conffile = "Conffiles:\n /etc/watcher e49e5c5c14850e1f20726b09cd155018\n";
    let built = configure(
        &lab,
        &[
            (
                "aa-early",
                "Pre-Depends: zz-tool-of-all\n",
                &[("preinst", &early.replace("early/", "aa-early/"))],
            ),
            ("zz-tool", "Provides: zz-tool-of-all\n", &[("postinst", tool)]),
            ("watcher", conffile, &[("postinst", watcher), ("triggers", "interest-noawait /usr/share\n")]),
        ],
    );
    let said = output(&built);
    assert!(
        said.ends_with(
            "install 1 aa-early www-data\nPackage: aa-early\naa-earlyconfigure \ntriggered /usr/share\nwatched"
        ),
        "{said}"
    );
    for (kind, script, why) in [
        (
            "postinst",
            "exit 3",
            "installed bad package post-installation script subprocess returned error exit status 3",
        ),
        ("preinst", "echo no >&2; exit 4", "configure: package bad: preinst ended with exit code 4"),
        ("preinst", "rm /usr/share/bad/own", "its preinst takes files of its own away: /usr/share/bad/own"),
    ] {
        let built = configure(&lab, &[("bad", "", &[(kind, &format!("#!/bin/sh\n{script}\n"))])]);
        assert!(output(&built).contains(why), "{}", output(&built));
        assert_eq!(built.with_status("failed").len(), 1);
    }
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
    // A fixed sequence of the release's own packages, of which there are most: updates and fixes come every day, and would
    // make other sets of the same numbers.
    let release = Universe::new(texts.iter().max_by_key(|text| text.len()), "amd64").unwrap();
    let all: Vec<&str> = release.ids().map(|id| release.package(id).name).collect();
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
