//! Runs a command in a directory as its root file system, read-only or with a place for writes, as root or not; or one
//! more command beside a process that runs like this, whose number on the host is given:
//!
//! ```text
//! cargo run --example sandbox -- [--terminal | --process] LAYER [--writable UPPER WORK] COMMAND [ARGUMENT]...
//! cargo run --example sandbox -- --enter PID COMMAND [ARGUMENT]...
//! ```
//!
//! With `--process` the command is process 1 itself, not behind an init.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use lith::capabilities::Capabilities;
use lith::mount::{Overlay, OverlayMarks, Writable};
use lith::sandbox::spec::{
    Access, Ended, First, Ids, Layout, Listing, Net, Process, SHM_SIZE, Spec, Status, Stdio, Work, World,
};
use lith::sandbox::userns::{self, Entry};
use lith::sandbox::{Event, Launcher, Output, Running, SandboxError, Stream};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

struct Through;

impl Output for Through {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        let done = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
        // Whoever closed the other end does not want the rest.
        done.unwrap_or_default();
    }
}

fn main() -> ExitCode {
    if let Some(code) = lith::sandbox::child_entry() {
        return code;
    }
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--enter") && arguments.len() > 2 {
        return enter(&arguments[1], arguments[2..].to_vec());
    }
    let options = ["--terminal", "--process"].map(|option| {
        let given = arguments.first().is_some_and(|first| first == option);
        arguments.drain(..usize::from(given));
        given
    });
    let [interactive, first] = options;
    if arguments.len() < 2 {
        say("usage: sandbox [--terminal | --process] LAYER [--writable UPPER WORK] COMMAND [ARGUMENT]...");
        say("       sandbox --enter PID COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    }
    let lowers = vec![PathBuf::from(arguments.remove(0))];
    let writable = (arguments[0] == "--writable" && arguments.len() > 3).then(|| {
        let mut taken = arguments.drain(..3).skip(1).map(PathBuf::from);
        Writable { upper: taken.next().unwrap_or_default(), work: taken.next().unwrap_or_default() }
    });
    let entry = userns::enter();
    say(&format!("{entry:?}"));
    let marks = match entry {
        Entry::Root => OverlayMarks::Trusted,
        Entry::Mapped { .. } | Entry::SingleId => OverlayMarks::User,
        Entry::Unavailable(_) => return ExitCode::from(3),
    };
    let spec = Spec {
        root: Overlay { lowers, writable, marks },
        root_access: Access::ReadWrite,
        mount_points: None,
        process: process(arguments, if interactive { Stdio::Caller } else { Stdio::Captured }),
        first: if first { First::Process } else { First::Init },
        hostname: "sandbox".into(),
        network: Net::None,
        files: Vec::new(),
        mounts: Vec::new(),
        shm_size: SHM_SIZE,
    };
    result(Launcher::default().run(&spec, &mut Through))
}

/// Runs one more command in the sandbox of a process. Before this one is in a user namespace: only the user that
/// made the sandbox' may enter it, from outside.
fn enter(pid: &str, argv: Vec<String>) -> ExitCode {
    let beside = pid.parse().ok().and_then(Pid::from_raw);
    let Some(Ok(beside)) = beside.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        say("no such process");
        return ExitCode::from(2);
    };
    result(Launcher::default().enter(beside.as_fd(), &process(argv, Stdio::Caller)).and_then(end))
}

/// Waits for the end.
fn end(mut running: Running) -> Result<Ended, SandboxError> {
    loop {
        let more = running.hear();
        while let Some(event) = running.next_event()? {
            if let Event::Ended(ended) = event {
                return Ok(ended);
            }
        }
        if !more {
            return Err(SandboxError::Died(running.wait().map_err(SandboxError::Channel)?));
        }
    }
}

fn process(argv: Vec<String>, stdio: Stdio) -> Process {
    Process {
        argv,
        env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".into()],
        cwd: "/".into(),
        user: Ids::default(),
        capabilities: Capabilities::default(),
        ulimits: Vec::new(),
        insecure: false,
        world: Some(World {
            clock: 1_700_000_000,
            uptime: 100,
            ticks: false,
            seed: None,
            processors: 4,
            listing: Listing::Sorted,
            layout: Layout::Fixed,
            umask: 0o022,
            last_process: 0,
        }),
        stdio,
        work: Work::Execute,
    }
}

fn result(ended: Result<Ended, SandboxError>) -> ExitCode {
    match ended.map(|ended| ended.status) {
        Ok(Status::Exited(code)) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Ok(Status::Signaled(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(255)),
        Err(error) => {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
            say(&format!("error: {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")));
            ExitCode::from(3)
        }
    }
}

fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
}
