//! How long a container takes from the command to its end, beside bare runtimes and other engines in the same run.
//!
//! `cargo bench --bench containers`, as root. Each row is the median of many runs of `/bin/true` in the same image: once the
//! rows taken in turn, engines after the others, and once each by itself, since each pays for what the kernel still has
//! to do after the one before. Ratios are to crun on the bundle that `lith bundle` made. Nothing is asserted. Needs
//! `busybox-static`; `crun`, `runc`, `podman` and `docker.io` add rows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails where it cannot measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Lab, has};

/// How often each is run.
const ROUNDS: usize = 40;

/// One row: what it is called, the command, and what it took.
struct Row {
    name: &'static str,
    command: Box<dyn Fn(usize) -> Command>,
    seconds: Vec<f64>,
}

impl Row {
    fn new(name: &'static str, command: impl Fn(usize) -> Command + 'static) -> Self {
        Self { name, command: Box::new(command), seconds: vec![] }
    }

    fn run(&mut self, round: usize) {
        let mut command = (self.command)(round);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let began = Instant::now();
        let output = command.output().unwrap();
        self.seconds.push(began.elapsed().as_secs_f64());
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }

    fn median(&mut self) -> f64 {
        self.seconds.sort_by(f64::total_cmp);
        self.seconds[self.seconds.len() / 2]
    }
}

fn sh(script: String) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

/// A docker daemon of the lab, ended with it.
struct Daemon {
    process: Child,
    socket: String,
}

impl Daemon {
    fn start(lab: &Lab) -> Option<Self> {
        let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
        let socket = path("docker.sock");
        let mut command = Command::new("dockerd");
        command.args([
            "--iptables=false",
            "--bridge=none",
            "--ip-forward=false",
            "--data-root",
            &path("docker"),
        ]);
        command.args(["--exec-root", &path("exec"), "--pidfile", &path("docker.pid"), "-H"]);
        command
            .arg(format!("unix://{socket}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut daemon = Self { process: command.spawn().ok()?, socket };
        let began = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            let ended = daemon.process.try_wait().unwrap().is_some();
            if ended || began.elapsed() > Duration::from_secs(30) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// Goes on in a mount namespace of its own without the unified hierarchy of cgroups where there are others: crun takes
/// none of both versions at once.
fn take_one_hierarchy() {
    use std::os::unix::process::CommandExt as _;
    const INNER: &str = "--one-hierarchy";
    if std::env::args().any(|arg| arg == INNER) {
        return;
    }
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(program).arg(INNER);
    panic!("unshare: {}", command.exec());
}

fn main() {
    take_one_hierarchy();
    let lab = Lab::new();
    lab.base("store", "localhost/base");
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    lab.ok("store", &["bundle", "localhost/base", &path("bundle"), "/bin/true"]);
    lab.write("ctx/Dockerfile", "FROM localhost/base\n");
    lab.ok(
        "store",
        &[
            "build",
            "-q",
            "-o",
            &format!("type=docker,dest={},name=localhost/base", path("base.docker")),
            &path("ctx"),
        ],
    );
    let mut rows = Vec::new();
    let bundle = path("bundle");
    for runtime in ["crun", "runc"].into_iter().filter(|runtime| has(runtime)) {
        let (bundle, state) = (bundle.clone(), path(runtime));
        rows.push(Row::new(runtime, move |round| {
            let mut command = Command::new(runtime);
            command.args(["--root", &state, "run", "-b", &bundle, &format!("lith-bench-{runtime}-{round}")]);
            command
        }));
    }
    let (program, store) = (env!("CARGO_BIN_EXE_lith"), path("store"));
    let lith = move |flags: &'static [&'static str]| {
        let store = store.clone();
        move |_| {
            let mut command = Command::new(program);
            command.args(["--root", &store, "run", "--rm"]).args(flags).args(["localhost/base", "/bin/true"]);
            command
        }
    };
    rows.push(Row::new("lith run --rm", lith(&[])));
    rows.push(Row::new("lith run --rm --network none", lith(&["--network", "none"])));
    if has("podman") {
        let global =
            format!("podman --root {0}/r --runroot {0}/rr --cgroup-manager cgroupfs", path("podman"));
        assert!(
            sh(format!("{global} load -q -i {}", path("base.docker"))).output().unwrap().status.success()
        );
        rows.push(Row::new("podman run --rm", move |_| {
            sh(format!("exec {global} run --rm --network host --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 localhost/base /bin/true"))
        }));
    }
    let daemon = if has("dockerd") { Daemon::start(&lab) } else { None };
    if let Some(daemon) = &daemon {
        let client = format!("/usr/bin/docker -H unix://{}", daemon.socket);
        assert!(
            sh(format!("{client} load -q -i {}", path("base.docker"))).output().unwrap().status.success()
        );
        rows.push(Row::new("docker run --rm", move |_| {
            sh(format!("exec {client} run --rm --network host localhost/base /bin/true"))
        }));
    } else {
        println!("docker: not installed, or its daemon does not start here");
    }
    rows.retain_mut(|row| {
        // One that does not work here says so, and the others go on.
        let output = (row.command)(ROUNDS).stdin(Stdio::null()).output().unwrap();
        if !output.status.success() {
            println!("{}: does not run here: {}", row.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        output.status.success()
    });
    // An engine goes on clearing up after its command has ended, which whoever comes next would pay for.
    let (mut engines, mut others): (Vec<&mut Row>, Vec<&mut Row>) =
        rows.iter_mut().partition(|row| row.name.starts_with("docker") || row.name.starts_with("podman"));
    for group in [&mut others, &mut engines] {
        for round in 0..ROUNDS {
            group.iter_mut().for_each(|row| row.run(round));
        }
    }
    print("taken in turn", &mut rows);
    rows.iter_mut().for_each(|row| {
        row.seconds.clear();
        (0..ROUNDS).for_each(|round| row.run(ROUNDS + 1 + round));
    });
    print("one after the other, each row by itself", &mut rows);
}

fn print(how: &str, rows: &mut [Row]) {
    println!("/bin/true in a container, from the command to its end, {how}; median of {ROUNDS} runs");
    let floor = rows.iter_mut().find(|row| row.name == "crun").map(Row::median);
    for row in rows {
        let median = row.median();
        let ratio = floor.map_or_else(String::new, |floor| format!("{:>7.2} × crun", median / floor));
        println!("  {:<32} {:>8.1} ms {ratio}", row.name, median * 1000.0);
    }
}
