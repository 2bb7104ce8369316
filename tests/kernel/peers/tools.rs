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
    let mut command = Command::new(program);
    command.args(args).current_dir(lab.path("")).env("BUILDAH_RUNTIME", "runc").stdin(Stdio::null());
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{program} {args:?}\n{}\n{}", ran.out, ran.err);
    ran.out.trim_end().to_owned()
}

/// Runs buildah on a store of the lab.
#[track_caller]
pub fn buildah(lab: &Lab, args: &[&str]) -> String {
    let mut all = vec!["--root", "buildah/root", "--runroot", "buildah/run", "--storage-driver", "overlay"];
    all.extend(args);
    ok(lab, "buildah", &all)
}

/// `buildah bud` of a context; what the classic builder allows a RUN to do is allowed.
#[track_caller]
pub fn buildah_build(lab: &Lab, name: &str, context: &str) {
    let mut args = vec!["bud", "--format", "docker", "--isolation", "chroot", "--network", "host"];
    args.extend(["--cap-add", "CAP_MKNOD", "--pull-never", "-t", name]);
    args.extend(ULIMITS);
    args.push(context);
    buildah(lab, &args);
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

    /// Runs Debian's client: a newer one may be first in the path.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let socket = format!("unix://{}", self.lab.path("docker.sock").display());
        let script = r#"export DOCKER_BUILDKIT=0; exec /usr/bin/docker -H "$0" "$@""#;
        let mut all = vec!["-c", script, &socket];
        all.extend(args);
        ok(self.lab, "sh", &all)
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
