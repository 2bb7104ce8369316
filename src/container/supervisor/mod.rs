//! The process that watches a container: starts its program, keeps its log and its state, serves those who attach.
//!
//! One thread, which waits on descriptors only. It never waits for a client with the container's lock held.

mod clients;
mod execs;
mod health;
mod program;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::state::{Health, ProcessId, State, Status, now};
use super::wire::{Attach, Event};
use super::{life, log};
use crate::limits::GroupLimits;
use crate::oci::Healthcheck;
use crate::sandbox::spec::{Ended, Spec};
use crate::sandbox::{Launcher, SandboxError, SetupError, Writes};
use crate::store::{ContainerId, Containers, Going};
use crate::sys::file::Lock;
use clients::{Clients, Programs};
use execs::Execs;
use health::Checks;
use program::Watched;

/// `argv[0]` of a supervisor.
pub(super) const NAME: &str = "lith-supervisor";

/// What a supervisor is told: plain data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub id: ContainerId,
    /// The store's directory.
    pub store: PathBuf,
    pub spec: Spec,
    pub limits: GroupLimits,
    pub writes: Writes,
    pub health: Option<Healthcheck>,
    pub auto_remove: bool,
    /// What the client that started it has of the program.
    pub attach: Attach,
}

/// First thing in `main`: if this process is this program re-executed to watch a container, does that.
pub fn child_entry() -> Option<ExitCode> {
    (std::env::args_os().next()? == NAME).then(main)
}

fn main() -> ExitCode {
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) else { return ExitCode::FAILURE };
    let socket = UnixStream::from(socket);
    match socket.try_clone().and_then(begin) {
        Ok(supervisor) => {
            drop(socket);
            supervisor.serve();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let event = Event::Failed { code: 125, reason: crate::diag::chain(&error) };
            // One that is gone need not know.
            let _ = crate::sys::socket::send_now(&socket, &super::wire::message(&event));
            ExitCode::FAILURE
        }
    }
}

/// Takes the job, and leaves what the caller has: its session, its directory, its standard input.
fn begin(socket: UnixStream) -> io::Result<Supervisor> {
    let lock = crate::sandbox::receive_descriptor(&socket)?;
    let lock = lock.ok_or_else(|| io::Error::other("a job without the lock of its container"))?;
    let job: Job = crate::sandbox::receive_job(&socket)?;
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    crate::sys::exec::set_stdio(null.as_fd(), 0)?;
    Supervisor::new(job, socket, Lock::inherited(lock))
}

/// What watches one run of a container.
struct Supervisor {
    job: Job,
    containers: Containers,
    lock: Option<Lock>,
    state: State,
    clients: Clients,
    execs: Execs,
    log: log::Writer,
}

/// How a run ended.
enum Outcome {
    Ended(Ended),
    Failed { code: u8, reason: String },
}

impl Supervisor {
    fn new(job: Job, first: UnixStream, lock: Lock) -> io::Result<Self> {
        let containers = Containers::of(&job.store);
        let clients = Clients::new(&containers.dir(&job.id), first, job.attach)?;
        let log = log::Writer::open(&log::path(&containers, &job.id))?;
        let boot = life::this_boot()?;
        let state = State { boot, supervisor: ProcessId::of(own_pid()), ..State::created() };
        Ok(Self { job, containers, lock: Some(lock), state, clients, execs: Execs::default(), log })
    }

    /// The run from its start to its end.
    fn serve(mut self) {
        let outcome = self.run();
        let going = self.finish(&outcome);
        // Nothing of the container waits for this any more.
        self.clients.flush_and_close(self.execs.end());
        // Nor anybody for this; what stays is garbage.
        let _ = going.map(Going::delete);
    }

    fn run(&mut self) -> Outcome {
        let launcher = Launcher::default().forked().writes(self.job.writes).limits(self.job.limits.clone());
        let mut watched = match launcher.spawn(&self.job.spec) {
            Ok(running) => Watched::new(running),
            Err(error) => return failed(&error),
        };
        let mut checks = Checks::new(self.job.health.as_ref(), &self.job.spec.process);
        while !watched.has_ended() {
            if let Err(error) = self.turn(&mut watched, &mut checks) {
                // Without its eyes a supervisor is of no use; the container ends with it.
                watched.kill();
                // The lock is held until nothing of it is left.
                let _ = watched.drain(|_, _| ());
                return Outcome::Failed {
                    code: 125,
                    reason: format!("its supervisor cannot go on: {error}"),
                };
            }
        }
        match watched.drain(|stream, bytes| self.pass_on(stream, bytes)) {
            Ok(()) => outcome(watched.into_end(), self.state.status == Status::Running),
            Err(error) => failed(&SandboxError::Channel(error)),
        }
    }

    /// Waits for something to happen, and deals with it.
    fn turn(&mut self, watched: &mut Watched, checks: &mut Checks) -> io::Result<()> {
        let mut wanted = Interest::default();
        // A client that does not read holds the program back, as a full pipe would.
        watched.register(&mut wanted, !self.clients.are_full());
        self.clients.register(&mut wanted, !watched.input_is_full());
        self.execs.register(&mut wanted);
        checks.register(&mut wanted);
        let ready = wanted.wait(checks.due())?;
        watched.handle(&ready, |stream, bytes| self.pass_on(stream, bytes))?;
        if watched.news()? {
            self.running(watched, checks.begin())?;
        }
        self.execs.handle(&ready, watched)?;
        let others = self.execs.programs().collect();
        let asking = self.clients.handle(&ready, &mut Programs { own: watched, others, is_main: true });
        for client in asking {
            self.execs.start(client, watched.init());
        }
        if let Some(init) = watched.init()
            && let Some(health) = checks.handle(&ready, init)
        {
            self.state.health = Some(health);
            // A disk that is full must not end the program; the next check is written again.
            let _ = self.state.write(&self.containers, &self.job.id);
        }
        Ok(())
    }

    fn pass_on(&mut self, stream: crate::sandbox::Stream, bytes: &[u8]) {
        self.clients.output(stream, bytes);
        // A disk that is full must not end the program; what cannot be kept is lost.
        let _ = self.log.chunk(stream, bytes, now);
    }

    /// The program has been executed.
    fn running(&mut self, watched: &Watched, health: Option<Health>) -> io::Result<()> {
        let running = State {
            status: Status::Running,
            process: watched.init_pid().and_then(ProcessId::of),
            started: Some(now()),
            cgroups: watched.cgroups(),
            health,
            ..self.state.clone()
        };
        running.write(&self.containers, &self.job.id)?;
        if let Some(pid) = watched.init_pid() {
            let merged = self.containers.layers(&self.job.id).merged();
            life::remove_link(&merged);
            std::os::unix::fs::symlink(format!("/proc/{pid}/root"), merged)?;
        }
        // Only now: what goes wrong before is told as a start that failed.
        self.state = running;
        self.clients.event(&Event::Started { pid: watched.init_pid().unwrap_or_default() });
        Ok(())
    }

    /// Makes the end known: state first, then the lock, then clients. Gives what is to be deleted of a container that goes
    /// with its end.
    fn finish(&mut self, outcome: &Outcome) -> Option<Going> {
        // A disk that is full loses it.
        let _ = self.log.flush(now);
        self.clients.stop_listening();
        life::remove_link(&self.containers.layers(&self.job.id).merged());
        let event = self.conclude(outcome);
        if self.job.auto_remove {
            self.state.status = Status::Dead;
        }
        // Whoever finds "running" without the lock makes it true.
        let _ = self.state.write(&self.containers, &self.job.id);
        let remove = || life::remove_locked(&self.containers, &self.job.id, life::Volumes::Anonymous);
        // What stays is shown as dead, and goes with the next that finds it.
        let going = self.job.auto_remove.then(remove).and_then(Result::ok);
        self.lock = None;
        self.clients.event(&event);
        going
    }

    fn conclude(&mut self, outcome: &Outcome) -> Event {
        self.state.process = None;
        self.state.supervisor = None;
        self.state.cgroups = vec![];
        let was_running = self.state.status == Status::Running;
        self.state.status = if was_running { Status::Exited } else { Status::Created };
        self.state.finished = was_running.then(now);
        match outcome {
            Outcome::Ended(ended) => {
                self.state.status = Status::Exited;
                self.state.exit_code = life::exit_code(ended.status);
                self.state.out_of_memory = ended.reached.contains(&crate::limits::Reached::Memory);
                Event::Exited { code: self.state.exit_code }
            }
            Outcome::Failed { code, reason } => {
                self.state.exit_code = *code;
                self.state.error = reason.clone();
                match was_running {
                    true => Event::Exited { code: *code },
                    false => Event::Failed { code: *code, reason: reason.clone() },
                }
            }
        }
    }
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// What a program came to that ran or was to run.
fn outcome(end: Result<Ended, SandboxError>, was_running: bool) -> Outcome {
    match end {
        Ok(ended) => Outcome::Ended(ended),
        Err(SandboxError::Died(status)) if was_running => {
            Outcome::Failed { code: 137, reason: format!("it was killed from outside ({status})") }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &SandboxError) -> Outcome {
    let code = match error {
        SandboxError::Setup(SetupError::Program { found, .. }) => {
            if *found {
                126
            } else {
                127
            }
        }
        _ => 125,
    };
    Outcome::Failed { code, reason: crate::diag::chain(error) }
}

/// Descriptors that are waited for, and what came of it.
#[derive(Default)]
struct Interest<'a> {
    list: Vec<PollFd<'a>>,
}

/// Which descriptors have something.
struct Ready(Vec<(i32, PollFlags)>);

impl<'a> Interest<'a> {
    fn add(&mut self, fd: &'a impl AsFd, flags: PollFlags) {
        self.list.push(PollFd::new(fd, flags));
    }

    fn add_fd(&mut self, fd: std::os::fd::BorrowedFd<'a>, flags: PollFlags) {
        self.list.push(PollFd::from_borrowed_fd(fd, flags));
    }

    fn wait(mut self, limit: Option<Timespec>) -> io::Result<Ready> {
        retry_on_intr(|| poll(&mut self.list, limit.as_ref()))?;
        use std::os::fd::AsRawFd as _;
        let ready = self.list.iter().filter(|fd| !fd.revents().is_empty());
        Ok(Ready(ready.map(|fd| (fd.as_fd().as_raw_fd(), fd.revents())).collect()))
    }
}

impl Ready {
    fn of(&self, fd: &impl AsFd) -> PollFlags {
        use std::os::fd::AsRawFd as _;
        let number = fd.as_fd().as_raw_fd();
        self.0.iter().filter(|(fd, _)| *fd == number).fold(PollFlags::empty(), |all, (_, flags)| all | *flags)
    }

    /// Whether it can be read or has ended.
    fn readable(&self, fd: &impl AsFd) -> bool {
        self.of(fd).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
    }
}

/// A descriptor of one's own that does not block.
fn unblock(fd: &OwnedFd) {
    // A pipe, a socket or a terminal can always be told so.
    let _ = rustix::io::ioctl_fionbio(fd, true);
}

/// Where a supervisor listens: bound and reached through a descriptor of the directory, since a path may be longer
/// than the 108 bytes that a socket's may have.
pub(super) fn control_path(dir: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join("control")
}
