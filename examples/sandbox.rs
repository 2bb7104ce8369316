//! Runs a command in a directory as its root file system, read-only or with a place for writes, as root or not:
//!
//! ```text
//! cargo run --example sandbox -- [--terminal] LAYER [--writable UPPER WORK] COMMAND [ARGUMENT]...
//! ```

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use lith::capabilities::Capabilities;
use lith::mount::{Overlay, OverlayMarks, Writable};
use lith::sandbox::spec::{Access, First, Ids, Net, Process, SHM_SIZE, Spec, Status, Stdio};
use lith::sandbox::userns::{self, Entry};
use lith::sandbox::{Launcher, Output, Stream};

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
    let interactive = arguments.first().is_some_and(|first| first == "--terminal");
    arguments.drain(..usize::from(interactive));
    if arguments.len() < 2 {
        say("usage: sandbox [--terminal] LAYER [--writable UPPER WORK] COMMAND [ARGUMENT]...");
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
        process: Process {
            argv: arguments,
            env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".into()],
            cwd: "/".into(),
            user: Ids::default(),
            capabilities: Capabilities::default(),
            ulimits: Vec::new(),
            insecure: false,
            hermetic: true,
            stdio: if interactive { Stdio::Caller } else { Stdio::Captured },
        },
        first: First::Init,
        hostname: "sandbox".into(),
        network: Net::None,
        files: Vec::new(),
        mounts: Vec::new(),
        shm_size: SHM_SIZE,
    };
    match Launcher::default().run(&spec, &mut Through).map(|ended| ended.status) {
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
