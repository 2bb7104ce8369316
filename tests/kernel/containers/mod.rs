//! Processes as containers need them: started and watched, with streams or a terminal of their own, as process 1 or behind
//! an init, and more of them later.

mod entering;
mod intruders;
mod mounts;
mod processes;
mod terminals;

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use lith::limits::GroupLimits;
use lith::sandbox::spec::{Ended, Process, Spec, Status, Stdio};
use lith::sandbox::{Event, Launcher, Running, SandboxError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that was started, what it said, and what became known of it. Killed at the end.
pub struct Live {
    running: Running,
    open: [Option<OwnedFd>; 2],
    terminal: Option<OwnedFd>,
    init: Option<(i32, OwnedFd)>,
    started: bool,
    end: Option<Result<Ended, SandboxError>>,
    /// Standard output, or what the terminal shows.
    out: String,
    err: String,
}

pub fn launcher() -> Launcher {
    Launcher::default().helper(env!("CARGO_BIN_EXE_lith"))
}

impl Live {
    #[track_caller]
    pub fn spawn(spec: &Spec) -> Self {
        Self::of(launcher().spawn(spec).unwrap())
    }

    #[track_caller]
    pub fn limited(spec: &Spec, limits: GroupLimits) -> Self {
        Self::of(launcher().limits(limits).spawn(spec).unwrap())
    }

    /// One more process in there.
    #[track_caller]
    pub fn enter(&mut self, process: &Process) -> Self {
        self.until(|live| live.init.is_some() && live.started);
        let (_, init) = self.init.as_ref().unwrap();
        Self::of(launcher().enter(init.as_fd(), process).unwrap())
    }

    pub fn of(mut running: Running) -> Self {
        let open = [running.stdout.take(), running.stderr.take()];
        let (out, err) = (String::new(), String::new());
        Self { running, open, terminal: None, init: None, started: false, end: None, out, err }
    }

    /// Its first process' number on the host.
    pub fn pid(&mut self) -> i32 {
        self.until(|live| live.init.is_some());
        self.init.as_ref().unwrap().0
    }

    /// Listens until something holds.
    #[track_caller]
    pub fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < PATIENCE, "out {:?} err {:?} end {:?}", self.out, self.err, self.end);
            assert!(self.end.is_none(), "out {:?} err {:?} end {:?}", self.out, self.err, self.end);
            self.listen();
        }
    }

    fn listen(&mut self) {
        let [out, err] = &self.open;
        let sources: [Option<BorrowedFd<'_>>; 4] = [
            Some(self.running.socket()),
            out.as_ref().map(OwnedFd::as_fd),
            err.as_ref().map(OwnedFd::as_fd),
            self.terminal.as_ref().map(OwnedFd::as_fd),
        ];
        let mut list: Vec<_> =
            sources.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        poll(&mut list, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).unwrap();
        let mut events = list.iter().map(|fd| !fd.revents().is_empty());
        let [socket, out, err, terminal] = sources.map(|source| source.is_some() && events.next().unwrap());
        let take_from = |ready: bool, fd: &mut Option<OwnedFd>, text: &mut String| {
            if ready && !take(fd.as_ref().unwrap(), text) {
                *fd = None;
            }
        };
        take_from(out, &mut self.open[0], &mut self.out);
        take_from(err, &mut self.open[1], &mut self.err);
        take_from(terminal, &mut self.terminal, &mut self.out);
        if socket {
            self.hear();
        }
    }

    fn hear(&mut self) {
        let more = self.running.hear();
        loop {
            match self.running.next_event() {
                Ok(Some(Event::Init { pid, descriptor })) => self.init = Some((pid, descriptor)),
                Ok(Some(Event::Terminal(ours))) => self.terminal = Some(ours),
                Ok(Some(Event::Started)) => self.started = true,
                Ok(Some(Event::Ended(ended))) => self.end = Some(Ok(ended)),
                Ok(None) => break,
                Err(error) => self.end = Some(Err(error)),
            }
        }
        if !more && self.end.is_none() {
            let status = self.running.wait().unwrap();
            self.end = Some(Err(SandboxError::Died(status)));
        }
    }

    /// Listens until it has said something.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        self.until(|live| live.out.contains(text));
    }

    /// Gives it input.
    pub fn keys(&mut self, bytes: &[u8]) {
        let to = self.terminal.as_ref().or(self.running.stdin.as_ref()).unwrap();
        assert_eq!(rustix::io::write(to, bytes).unwrap(), bytes.len());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn result(&mut self) -> Result<Ended, SandboxError> {
        let began = Instant::now();
        while self.end.is_none() {
            assert!(began.elapsed() < PATIENCE, "no end: out {:?} err {:?}", self.out, self.err);
            self.listen();
        }
        self.running.wait().unwrap();
        // What is still in the pipes, without waiting for those who hold them.
        for (fd, text) in self.open.iter().zip([&mut self.out, &mut self.err]) {
            while fd.as_ref().is_some_and(|fd| take_ready(fd, text)) {}
        }
        if let Some(terminal) = &self.terminal {
            while ready(terminal) && take(terminal, &mut self.out) {}
        }
        self.end.take().unwrap()
    }

    #[track_caller]
    pub fn status(&mut self) -> Status {
        match self.result() {
            Ok(ended) => ended.status,
            Err(error) => panic!("{error}: {error:?} out {:?} err {:?}", self.out, self.err),
        }
    }

    /// Waits for a good end; what it said.
    #[track_caller]
    pub fn output(&mut self) -> &str {
        let status = self.status();
        assert_eq!(status, Status::Exited(0), "out {:?} err {:?}", self.out, self.err);
        &self.out
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.running.kill();
        let _ = self.running.wait();
    }
}

fn ready(fd: &OwnedFd) -> bool {
    let mut list = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut list, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

/// Takes what is there; false at the end, also where a terminal's other end is closed.
fn take(fd: &OwnedFd, text: &mut String) -> bool {
    let mut buffer = [0; 4096];
    match rustix::io::read(fd, &mut buffer) {
        Ok(0) | Err(rustix::io::Errno::IO) => false,
        Ok(length) => {
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            true
        }
        Err(rustix::io::Errno::AGAIN) => true,
        Err(error) => panic!("{error}"),
    }
}

fn take_ready(fd: &OwnedFd, text: &mut String) -> bool {
    ready(fd) && take(fd, text)
}

/// A process like that of a spec, with other words and streams.
pub fn also(spec: &Spec, argv: &[&str], stdio: Stdio) -> Process {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Process { argv, stdio, ..spec.process.clone() }
}

/// Waits until nothing with this mark runs on the host any more.
#[track_caller]
pub fn gone(mark: &str) {
    let began = Instant::now();
    while !crate::sandbox::processes_with(mark).is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?} still run", crate::sandbox::processes_with(mark));
        std::thread::yield_now();
    }
}

/// The namespaces of a process of the host.
pub fn namespaces(pid: i32) -> Vec<String> {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    names.iter().map(|name| link(name).to_str().unwrap().to_owned()).collect()
}
