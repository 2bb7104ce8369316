//! The peers: other programs that build, read and write images, each with state of its own in the lab.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Lab, Ran, has, skip};

/// Limits that a root without CAP_SYS_RESOURCE can set.
const ULIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// A lab, if all these programs are installed.
pub fn lab_with(programs: &[&str]) -> Option<Lab> {
    let lab = crate::support::kernel_lab()?;
    match programs.iter().find(|program| !has(program)) {
        Some(missing) => skip(&format!("needs {missing}")),
        None => Some(lab),
    }
}

/// Runs a program that must go well, in the lab's directory; gives its standard output without the last newline.
#[track_caller]
pub fn ok(lab: &Lab, program: &str, args: &[&str]) -> String {
    let ran = run(lab, program, args);
    assert_eq!(ran.code, 0, "{program} {args:?}\n{}\n{}", ran.out, ran.err);
    ran.out.trim_end().to_owned()
}

/// Runs a program in the lab's directory.
fn run(lab: &Lab, program: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(args).current_dir(lab.path("")).env("BUILDAH_RUNTIME", "runc").stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

/// Where buildah's store of the lab is.
const BUILDAH: [&str; 6] =
    ["--root", "buildah/root", "--runroot", "buildah/run", "--storage-driver", "overlay"];
/// What the classic builder allows a RUN to do is allowed.
const BUD: [&str; 10] = [
    "bud",
    "--format",
    "docker",
    "--isolation",
    "chroot",
    "--network",
    "host",
    "--cap-add",
    "CAP_MKNOD",
    "--pull-never",
];

/// Runs buildah on a store of the lab.
#[track_caller]
pub fn buildah(lab: &Lab, args: &[&str]) -> String {
    ok(lab, "buildah", &[&BUILDAH[..], args].concat())
}

/// `buildah bud` of a context that must go well.
#[track_caller]
pub fn buildah_build(lab: &Lab, name: &str, context: &str) {
    buildah(lab, &[&BUD[..], &ULIMITS, &["-t", name, context]].concat());
}

/// `buildah bud`, however it ends.
pub fn buildah_try(lab: &Lab, args: &[&str]) -> Ran {
    run(lab, "buildah", &[&BUILDAH[..], &BUD, &ULIMITS, args].concat())
}

/// Runs podman on a store of the lab.
#[track_caller]
pub fn podman(lab: &Lab, args: &[&str]) -> String {
    let tmp = lab.path("podman/tmp");
    let mut all = vec!["--root", "podman/root", "--runroot", "podman/run", "--tmpdir", tmp.to_str().unwrap()];
    all.extend(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
    all.extend(["--events-backend", "file"]);
    all.extend(args);
    ok(lab, "podman", &all)
}

/// The id podman knows an image by.
#[track_caller]
pub fn podman_id(lab: &Lab, image: &str) -> String {
    format!("sha256:{}", podman(lab, &["image", "inspect", "--format", "{{.Id}}", image]))
}

/// Unpacks an image of a layout with umoci and gives the root file system.
#[track_caller]
pub fn unpack(lab: &Lab, image: &str, to: &str) -> PathBuf {
    ok(lab, "umoci", &["unpack", "--image", image, to]);
    lab.path(to).join("rootfs")
}

/// Runs Debian's client: a newer one may be first in the path. `$0` says whether BuildKit builds.
const CLIENT: &str = r#"export DOCKER_BUILDKIT="$0"; exec /usr/bin/docker -H "$@""#;

/// A docker daemon of the lab, ended with it.
pub struct Docker<'a> {
    lab: &'a Lab,
    daemon: Child,
}

impl<'a> Docker<'a> {
    /// Starts it and waits until it answers.
    pub fn start(lab: &'a Lab) -> Self {
        let log = File::create(lab.path("dockerd.log")).unwrap();
        let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--bridge=none", "--ip-forward=false"]);
        command.args(["--data-root", &path("docker"), "--exec-root", &path("docker-exec")]);
        command.args(["--pidfile", &path("docker.pid"), "-H", &format!("unix://{}", path("docker.sock"))]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut docker = Self { lab, daemon: command.spawn().unwrap() };
        let started = Instant::now();
        while UnixStream::connect(lab.path("docker.sock")).is_err() {
            let ended = docker.daemon.try_wait().unwrap();
            let log = || std::fs::read_to_string(lab.path("dockerd.log")).unwrap();
            assert!(ended.is_none() && started.elapsed() < Duration::from_secs(60), "{}", log());
            std::thread::yield_now();
        }
        docker
    }

    /// Runs the client with a command that must go well.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let socket = self.socket();
        ok(self.lab, "sh", &[&["-c", CLIENT, "0", &socket], args].concat())
    }

    /// Builds with the classic builder or with the BuildKit inside the daemon, however it ends.
    pub fn try_build(&self, buildkit: bool, args: &[&str]) -> Ran {
        let socket = self.socket();
        let switch = if buildkit { "1" } else { "0" };
        let head = ["-c", CLIENT, switch, &socket, "build", "--network", "host"];
        run(self.lab, "sh", &[&head[..], args].concat())
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.lab.path("docker.sock").display())
    }

    /// Builds with the classic builder.
    #[track_caller]
    pub fn build(&self, name: &str, context: &str) {
        self.ok(&["build", "--network", "host", "-t", name, context]);
    }

    #[track_caller]
    pub fn inspect(&self, image: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.ok(&["image", "inspect", image])).unwrap();
        all[0].clone()
    }
}

impl Drop for Docker<'_> {
    /// Asks it to end, because only then does it end its own containerd and unmount.
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.daemon.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.daemon.wait();
    }
}

/// Unmounts what buildah and podman leave mounted below their stores.
pub struct Unmount<'a>(pub &'a Lab);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let top = self.0.path("");
        let below = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        let mut below: Vec<&Path> = below.filter(|at| at.starts_with(&top)).collect();
        below.sort();
        for at in below.into_iter().rev() {
            let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
