//! Limits of steps and names of hosts, on the real kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::support::{Built, Lab, Ran, kernel_lab, skip};

fn lab(step: &str) -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", format!("FROM alpine\nRUN {step}\n"));
    Some(lab)
}

fn build(lab: &Lab, more: &[&str]) -> Ran {
    let mut command = lab.command("store", &["build", "--progress=json"]);
    Ran::of(command.args(more).arg(lab.path("ctx")).output().unwrap())
}

/// The files of a build's result.
#[track_caller]
fn made(lab: &Lab, more: &[&str]) -> PathBuf {
    let out = lab.path("out");
    let dest = format!("type=local,dest={}", out.display());
    let ran = build(lab, &[more, &["-o", &dest]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    out
}

/// A cgroup of the test's own, given as parent, in every hierarchy of the old kind or in the unified one.
struct Parent(String);

impl Parent {
    fn new(tag: &str) -> Option<Self> {
        let writable = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
            .into_iter()
            .any(|dir| Path::new(dir).join("cgroup.procs").exists() && !is_read_only(dir));
        if !writable {
            return skip("needs a cgroup hierarchy that can be written to");
        }
        Some(Self(format!("lith-test-{tag}-{}", std::process::id())))
    }

    /// Where it is, by controller or in one.
    fn dirs(&self) -> Vec<PathBuf> {
        ["", "memory", "pids", "cpu", "cpuset", "cpu,cpuacct"]
            .map(|controller| Path::new("/sys/fs/cgroup").join(controller).join(&self.0))
            .into_iter()
            .filter(|dir| dir.is_dir())
            .collect()
    }

    /// The cgroups that steps have or left.
    #[expect(clippy::disallowed_methods, reason = "a test counts; order does not matter")]
    fn children(&self) -> usize {
        let count = |dir: PathBuf| {
            fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
        };
        self.dirs().into_iter().map(count).sum()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.dirs().iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn is_read_only(dir: &str) -> bool {
    let path = Path::new(dir).join(format!("lith-try-{}", std::process::id()));
    let refused = fs::create_dir(&path).is_err();
    let _ = fs::remove_dir(&path);
    refused
}

#[test]
fn a_step_that_takes_too_much_memory_says_so() {
    let Some(lab) = lab("x=$(head -c 200m /dev/zero | tr '\\0' x); echo ${#x}") else { return };
    let Some(parent) = Parent::new("memory") else { return };
    let parent_option = format!("--cgroup-parent=/{}", parent.0);
    let ran = build(&lab, &["--memory=32m", "--memory-swap=32m", &parent_option]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("out of memory") && ran.err.contains("--memory"), "{}", ran.err);
    assert!(!parent.dirs().is_empty(), "the parent was used");
    assert_eq!(parent.children(), 0, "and nothing is left in it");
    // The limit is not part of the key, and a step that keeps within it is none the worse.
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN echo small > /small\n");
    assert_eq!(build(&lab, &["--memory=64m", &parent_option]).code, 0);
    let again = build(&lab, &["--memory=96m", &parent_option]);
    assert_eq!(Built::of(&again.out).status("RUN echo small > /small"), "hit");
}

#[test]
fn a_fork_bomb_ends_at_the_limit() {
    let Some(lab) =
        lab("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done; exit 1")
    else {
        return;
    };
    let Some(parent) = Parent::new("pids") else { return };
    let ran = build(&lab, &["--pids-limit=12", &format!("--cgroup-parent=/{}", parent.0)]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("--pids-limit was reached"), "{}", ran.err);
    assert_eq!(parent.children(), 0);
}

#[test]
fn processors_are_those_that_are_given() {
    let Some(lab) = lab("grep Cpus_allowed_list /proc/self/status | tr -d '\\t ' > /cpus") else { return };
    let Some(parent) = Parent::new("cpu") else { return };
    let parent_option = format!("--cgroup-parent=/{}", parent.0);
    let out = made(&lab, &["--cpuset-cpus=0", "--cpus=0.5", "--cpu-shares=512", &parent_option]);
    assert_eq!(fs::read_to_string(out.join("cpus")).unwrap(), "Cpus_allowed_list:0\n");
    assert_eq!(parent.children(), 0);
}

/// Starts a build that holds on, and waits until its step runs.
fn waiting(lab: &Lab, parent: &str) -> Child {
    use std::io::BufRead as _;
    let context = lab.path("ctx");
    let args = ["build", "--progress=plain", "--pids-limit=100", parent, context.to_str().unwrap()];
    let mut child = lab.command("store", &args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the step never ran");
    child
}

#[test]
fn what_a_kill_leaves_the_next_step_removes_and_what_runs_stays() {
    let Some(lab) = lab("echo ready; sleep 1000") else { return };
    let Some(parent) = Parent::new("kill") else { return };
    let parent_option = format!("--cgroup-parent=/{}", parent.0);
    let mut killed = waiting(&lab, &parent_option);
    assert_eq!(parent.children(), 1);
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN echo ready; sleep 2000\n");
    let mut running = waiting(&lab, &parent_option);
    assert_eq!(parent.children(), 2, "one that is used is let be");
    killed.kill().unwrap();
    killed.wait().unwrap();
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN echo third\n");
    // The processes of a killed build end soon, not at once: then the one after next finds it.
    while parent.children() > 1 {
        assert_eq!(build(&lab, &["--no-cache", "--pids-limit=100", &parent_option]).code, 0);
    }
    assert!(running.try_wait().unwrap().is_none(), "it still runs");
    running.kill().unwrap();
    running.wait().unwrap();
    while parent.children() > 0 {
        assert_eq!(build(&lab, &["--no-cache", "--pids-limit=100", &parent_option]).code, 0);
    }
}

#[test]
fn limits_of_each_process_shared_memory_and_hosts() {
    let step = "ulimit -n > /n; ulimit -Hn >> /n; ulimit -c >> /n; \
                df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2 > /shm; cat /etc/hosts > /hosts";
    let Some(lab) = lab(step) else { return };
    let options = [
        "--ulimit=nofile=100:200",
        "--shm-size=8m",
        "--add-host=mirror:10.1.2.3",
        "--add-host=six=[2001:db8::1]",
        "--add-host=here:host-gateway",
    ];
    let out = made(&lab, &options);
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("n"), "100\n200\n0\n");
    assert_eq!(read("shm"), "8192\n");
    let hosts = read("hosts");
    assert!(hosts.ends_with("10.1.2.3\tmirror\n2001:db8::1\tsix\n127.0.0.1\there\n"), "{hosts}");
    // In the key: what a process sees, and which hosts it can name. Not where these are.
    let step = format!("RUN {step}");
    let status = |options: &[&str]| Built::of(&build(&lab, options).out).status(&step).to_owned();
    assert_eq!(status(&options), "hit");
    let mut moved = options;
    moved[2] = "--add-host=mirror:10.9.9.9";
    assert_eq!(status(&moved), "hit");
    moved[2] = "--add-host=other:10.1.2.3";
    assert_eq!(status(&moved), "built");
    let mut more = options;
    more[0] = "--ulimit=nofile=101:200";
    assert_eq!(status(&more), "built");
    more = options;
    more[1] = "--shm-size=9m";
    assert_eq!(status(&more), "built");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_runs() {
    let Some(lab) = lab("true") else { return };
    for (options, wanted) in [
        (&["--memory=lots"][..], "--memory lots: expected a size"),
        (&["--shm-size=0"], "--shm-size 0: expected a size"),
        (&["--memory=64m", "--memory-swap=32m"], "cannot be less than --memory"),
        (&["--memory-swap=32m"], "--memory"),
        (&["--cpus=0"], "--cpus 0: expected a number"),
        (&["--cpus=1", "--cpu-quota=1000"], "cannot be used with"),
        (&["--cpuset-cpus=first"], "--cpuset-cpus first: expected a list"),
        (&["--cgroup-parent=/../up"], "--cgroup-parent /../up: expected a path"),
        (&["--ulimit=files=1"], "--ulimit files=1: files is no resource"),
        (&["--ulimit=core=0"], "leave no core files"),
        (&["--add-host=mirror"], "--add-host mirror: expected NAME:ADDRESS"),
        (&["--pids-limit=0"], "--pids-limit"),
    ] {
        let ran = build(&lab, options);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{options:?}: {} {}", ran.code, ran.err);
    }
}
