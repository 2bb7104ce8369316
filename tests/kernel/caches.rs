//! Cache mounts: they outlive builds, are shared as asked for, and are in no key.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Built, Lab, kernel_lab};

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "base");
    Some(lab)
}

/// Builds one step.
#[track_caller]
fn step(lab: &Lab, run: &str, more: &[&str]) -> Built {
    lab.write("ctx/Dockerfile", format!("FROM base\nRUN {run}\n"));
    lab.build("store", "ctx", more)
}

fn printed(built: &Built) -> String {
    let output = built.events.iter().filter(|e| e["event"] == "output");
    output.map(|e| e["data"].as_str().unwrap()).collect()
}

/// Where an instance of a cache without namespace is.
fn instance(lab: &Lab, id: &str, number: usize) -> PathBuf {
    let key = blake3::hash(id.as_bytes()).to_hex();
    lab.path("store/caches").join(key.as_str()).join(number.to_string()).join("data")
}

/// A build that goes on by itself.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(lab: &Lab, context: &str, run: &str) -> Self {
        lab.write(&format!("{context}/Dockerfile"), format!("FROM base\nRUN {run}\n"));
        let path = lab.path(context);
        let args = ["build", "--progress=json", path.to_str().unwrap()];
        let mut child = lab.command("store", &args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads events until one says this.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let found = self.lines.by_ref().map(Result::unwrap).any(|line| line.contains(text));
        assert!(found, "the build ended without {text:?}");
    }

    #[track_caller]
    fn finish(mut self) {
        self.lines.by_ref().for_each(drop);
        assert!(self.child.wait().unwrap().success());
    }
}

/// A step that says in the cache that it began, and ends when told.
const HOLD: &str = "touch /c/begun; until test -e /c/go; do usleep 10000; done; echo held >> /c/log";

#[track_caller]
fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_cache_outlives_builds_and_is_in_no_key() {
    let Some(lab) = lab() else { return };
    let add = |text: &str| {
        format!(
            "--mount=type=cache,target=/root/.cache echo {text} >> /root/.cache/log && cat /root/.cache/log"
        )
    };
    assert_eq!(printed(&step(&lab, &add("1"), &[])), "1\n");
    assert_eq!(printed(&step(&lab, &add("2"), &[])), "1\n2\n");
    let again = step(&lab, &add("1"), &[]);
    assert_eq!(again.with_status("hit").len(), 1, "though the cache has changed since");
    // Another target with the same id is the same cache; another id or namespace is not.
    let look = "cat /x/log";
    let other = |id: &str| format!("--mount=type=cache,target=/x,id={id} {look} || true");
    assert_eq!(printed(&step(&lab, &other("/root/.cache"), &[])), "1\n2\n");
    assert!(printed(&step(&lab, &other("../../root/.cache"), &[])).contains("No such file"));
    let namespace = ["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=team", "--no-cache"];
    assert!(printed(&step(&lab, &other("/root/.cache"), &namespace)).contains("No such file"));
    let caches = lab.path("store/caches");
    for entry in lith::sys::dir::list_path(&caches).unwrap() {
        let name = String::from_utf8(entry.name).unwrap();
        assert_eq!(name.len(), 64, "an id is a name and no path: {name}");
        let mode = fs::metadata(caches.join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_locked_cache_is_used_by_one_build_at_a_time() {
    let Some(lab) = lab() else { return };
    let mount = "--mount=type=cache,target=/c,id=l,sharing=locked";
    let first = Running::start(&lab, "one", &format!("{mount} {HOLD}"));
    wait_for(&instance(&lab, "l", 0).join("begun"));
    let mut second = Running::start(&lab, "two", &format!("{mount} echo second >> /c/log"));
    second.until("waiting for cache l");
    assert!(!instance(&lab, "l", 0).join("log").exists(), "the second one waits");
    let busy = lab.run("store", &["cache", "rm", "l"]);
    assert!(busy.code == 1 && busy.err.contains("in use"), "{}", busy.err);
    fs::write(instance(&lab, "l", 0).join("go"), "").unwrap();
    first.finish();
    second.finish();
    assert_eq!(fs::read_to_string(instance(&lab, "l", 0).join("log")).unwrap(), "held\nsecond\n");
}

#[test]
fn a_private_cache_in_use_is_not_the_next_ones() {
    let Some(lab) = lab() else { return };
    let mount = "--mount=type=cache,target=/c,id=p,sharing=private";
    let first = Running::start(&lab, "one", &format!("{mount} {HOLD}"));
    wait_for(&instance(&lab, "p", 0).join("begun"));
    Running::start(&lab, "two", &format!("{mount} ! test -e /c/begun && touch /c/second")).finish();
    assert!(instance(&lab, "p", 1).join("second").exists());
    fs::write(instance(&lab, "p", 0).join("go"), "").unwrap();
    first.finish();
    // Now the first instance is free again.
    Running::start(&lab, "two", &format!("{mount} test -e /c/log && touch /c/third")).finish();
    assert!(instance(&lab, "p", 0).join("third").exists() && !instance(&lab, "p", 2).exists());
}

#[test]
fn a_shared_cache_is_used_by_all_at_once() {
    let Some(lab) = lab() else { return };
    let mount = "--mount=type=cache,target=/c,id=s";
    let first = Running::start(&lab, "one", &format!("{mount} {HOLD}"));
    wait_for(&instance(&lab, "s", 0).join("begun"));
    Running::start(&lab, "two", &format!("{mount} test -e /c/begun && touch /c/go")).finish();
    first.finish();
    // Several mounts of one cache in one step are one use of it.
    let twice = "--mount=type=cache,target=/c,id=s,sharing=locked --mount=type=cache,target=/d,id=s,sharing=locked,ro";
    Running::start(&lab, "one", &format!("{twice} touch /c/x && test -e /d/x && ! touch /d/y")).finish();
}

#[test]
fn a_killed_build_leaves_its_caches_to_others() {
    let Some(lab) = lab() else { return };
    let mount = "--mount=type=cache,target=/c,id=k,sharing=locked";
    let mut first = Running::start(&lab, "one", &format!("{mount} {HOLD}"));
    wait_for(&instance(&lab, "k", 0).join("begun"));
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let after = step(&lab, &format!("{mount} ls /c"), &[]);
    assert_eq!(printed(&after), "begun\n", "what was there is there");
    lab.ok("store", &["gc"]);
    assert_eq!(lith::sys::dir::list_path(&lab.path("store/tmp")).unwrap().len(), 0);
    assert!(instance(&lab, "k", 0).join("begun").exists(), "gc keeps caches");
}

#[test]
fn a_new_cache_begins_as_asked_for() {
    let Some(lab) = lab() else { return };
    let show = "stat -c '%a %u:%g' /c && ls /c && touch /c/own";
    let text = |mounts: &str| {
        format!(
            "FROM base AS seed\nRUN mkdir -m 750 /s && echo s > /s/f && chown 1:2 /s/f\nFROM base\nRUN {mounts} {show}\n"
        )
    };
    let build = |mounts: &str| {
        lab.write("ctx/Dockerfile", text(mounts));
        printed(&lab.build("store", "ctx", &[]))
    };
    assert_eq!(build("--mount=type=cache,target=/c,id=plain"), "755 0:0\n");
    assert_eq!(build("--mount=type=cache,target=/c,id=own,mode=1770,uid=7,gid=8"), "1770 7:8\n");
    assert_eq!(build("--mount=type=cache,target=/c,id=seeded,from=seed,source=/s"), "750 0:0\nf\n");
    assert_eq!(build("--mount=type=cache,target=/c,id=both,from=seed,source=/s,uid=9"), "750 9:0\nf\n");
    // Only the first time.
    assert_eq!(
        build("--mount=type=cache,target=/c,id=plain,from=seed,source=/s,mode=0700"),
        "755 0:0\nown\n"
    );
    lab.write("ctx/Dockerfile", text("--mount=type=cache,target=/c,id=file,from=seed,source=/s/f"));
    let ran = lab.run("store", &["build", lab.path("ctx").to_str().unwrap()]);
    assert!(ran.err.contains("cannot begin with what is no directory"), "{}", ran.err);
}

#[test]
fn caches_are_an_effect_and_empty_in_hermetic_builds() {
    let Some(lab) = lab() else { return };
    let text = "--mount=type=cache,target=/c touch /c/x && ls /c";
    let built = step(&lab, text, &[]);
    let run = format!("RUN {text}");
    assert_eq!(
        built.ended(&run)["effects"],
        serde_json::json!(["network", "clock", "entropy", "machine", "cache"])
    );
    let context = lab.path("ctx");
    let plan = |more: &[&str]| {
        let args = [&["plan", "--format=json"], more, &[context.to_str().unwrap()]].concat();
        let plan: serde_json::Value = serde_json::from_str(&lab.ok("store", &args).out).unwrap();
        plan[0]["steps"][0]["effects"].clone()
    };
    assert_eq!(plan(&[]), serde_json::json!(["network", "clock", "entropy", "machine", "cache"]));
    assert_eq!(plan(&["--hermetic"]), serde_json::json!([]));
    for file in ["y", "z"] {
        let built =
            step(&lab, &format!("--mount=type=cache,target=/c touch /c/{file} && ls /c"), &["--hermetic"]);
        assert_eq!(printed(&built), format!("{file}\n"));
    }
    let found = lith::sys::dir::list_path(&instance(&lab, "/c", 0)).unwrap();
    assert_eq!(found.len(), 1, "x alone");
}

#[test]
fn caches_are_listed_moved_and_removed() {
    let Some(lab) = lab() else { return };
    let fill =
        "mkdir -m 700 /c/d && echo data > /c/d/f && chown 3:4 /c/d/f && ln -s f /c/d/l && ln /c/d/f /c/d/g";
    step(
        &lab,
        &format!("--mount=type=cache,target=/c,id=one {fill}"),
        &["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ns"],
    );
    let list = || -> Vec<serde_json::Value> {
        let out = lab.ok("store", &["cache", "ls", "--format=json"]).out;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = list();
    assert_eq!(listed[0]["name"], "ns/one");
    assert_eq!((&listed[0]["instances"], &listed[0]["size"]), (&1.into(), &10.into()), "{listed:?}");
    assert!(lab.ok("store", &["cache", "ls"]).out.contains("ns/one"));
    lab.ok("store", &["cache", "export", "ns/one", "one.tar"]);
    lab.ok("store", &["cache", "import", "two", "one.tar"]);
    let look =
        "--mount=type=cache,target=/c,id=two stat -c '%n %a %u:%g' /c/d /c/d/f && cat /c/d/l && touch /c/new";
    assert_eq!(printed(&step(&lab, look, &[])), "/c/d 700 0:0\n/c/d/f 644 3:4\ndata\n");
    // A tar that is none changes nothing; a sound one takes the place of what is there.
    lab.write("bad.tar", "no tar at all");
    assert_ne!(lab.run("store", &["cache", "import", "two", "bad.tar"]).code, 0);
    assert!(instance(&lab, "two", 0).join("new").exists());
    lab.ok("store", &["cache", "import", "two", "one.tar"]);
    assert!(instance(&lab, "two", 0).join("d").exists() && !instance(&lab, "two", 0).join("new").exists());
    let missing = lab.run("store", &["cache", "rm", "three"]);
    assert!(missing.code == 2 && missing.err.contains("there is no cache three"), "{}", missing.err);
    lab.ok("store", &["cache", "rm", "ns/one"]);
    assert_eq!(list().len(), 1);
    lab.ok("store", &["gc", "--all"]);
    assert_eq!(list().len(), 1, "gc keeps caches");
    lab.ok("store", &["gc", "--caches"]);
    assert_eq!(list().len(), 0);
    assert_eq!(lith::sys::dir::list_path(&lab.path("store/caches")).unwrap().len(), 0);
}

#[test]
fn a_store_from_before_caches_has_them_now() {
    let Some(lab) = lab() else { return };
    fs::remove_dir_all(lab.path("store/caches")).unwrap();
    assert_eq!(lab.ok("store", &["cache", "ls"]).out.lines().count(), 1);
    lab.ok("store", &["gc"]);
    step(&lab, "--mount=type=cache,target=/c touch /c/x", &[]);
    let mode = fs::metadata(lab.path("store/caches")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
