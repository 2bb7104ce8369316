//! The child's side: two processes between the caller and the program.
//!
//! The *outer* one makes the namespaces and waits; the *inner* one is pid 1 in them, builds the root file system,
//! starts the program, reaps, and ends with it, upon which the kernel kills whatever is left in the pid namespace.
//! Both die with their parent, so that killing the caller leaves nothing. Single-threaded throughout.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, getppid, kill_process, set_dumpable_behavior,
    set_parent_process_death_signal, wait,
};
use rustix::thread::UnshareFlags;

use crate::sys;
use crate::sys::exec::{Fork, exit, fork};
use crate::sys::signal::Set;

use super::channel::{self, Job, Reply};
use super::failure::{Doing as _, SetupError};
use super::launch::Writes;
use super::program::Program;
use super::spec::{Ended, Net, Status};
use super::{owners, root, seal};

/// The outer process. Its exit status means nothing; the answer is on the socket.
pub(super) fn main() -> ExitCode {
    // A duplicate, so that descriptor 0 is free for the program's standard input.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else {
        return ExitCode::FAILURE;
    };
    let socket = UnixStream::from(socket);
    match outer(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&socket, Reply::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

fn outer(socket: &UnixStream) -> Result<(), SetupError> {
    let lost = |error: std::io::Error| SetupError::Job { reason: error.to_string() };
    let stdin = channel::receive_descriptor(socket).map_err(lost)?;
    let job: Job<'_> = channel::receive(socket).map_err(lost)?;
    die_with_parent(|| getppid().is_some_and(|parent| parent.as_raw_pid() == job.parent))?;
    let signals = Set::of_init();
    signals.block().doing("block", "signals")?;
    sys::ns::unshare(namespaces(job.spec.network)).doing("make", "namespaces")?;
    if job.spec.network == Net::None {
        sys::ns::loopback_up().doing("set up", "the loopback interface")?;
    }
    let (alive, outer_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make", "a pipe")?;
    let host = seal::root()?;
    match fork().doing("start", "the init process")? {
        Fork::Parent(init) => {
            drop(alive);
            wait_for(init, &signals, None).doing("wait for", "the init process")?;
            let makes_a_result = job.writes == Writes::Volatile && job.spec.root.writable.is_some();
            if makes_a_result { seal::close(host) } else { Ok(()) }
        }
        Fork::Child => {
            drop(outer_end);
            // Its parent has no number in here; the pipe tells whether it is still there.
            let parent_lives = || {
                let mut list = [PollFd::new(&alive, PollFlags::IN)];
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                matches!(poll(&mut list, Some(&now)), Ok(0))
            };
            let reply = die_with_parent(parent_lives)
                .and_then(|()| inner(&job, stdin, &signals))
                .map_or_else(Reply::Failed, Reply::Ended);
            report(socket, reply);
            exit(0)
        }
    }
}

fn namespaces(network: Net) -> UnshareFlags {
    let own = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    match network {
        Net::None => own | UnshareFlags::NEWNET,
        Net::Host => own,
    }
}

/// Pid 1: builds the root, starts the program and waits for it.
fn inner(job: &Job<'_>, stdin: Option<OwnedFd>, signals: &Set) -> Result<Ended, SetupError> {
    let spec = &job.spec;
    rustix::process::umask(rustix::fs::Mode::empty());
    // Executed by descriptor, it would show as that one's number.
    rustix::thread::set_name(c"lith-init").doing("name", "the init process")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).doing("set the host name", &spec.hostname)?;
    // What the kernel calls a domain that nobody set; else it would be the host's.
    rustix::system::setdomainname(b"(none)").doing("set", "the domain name")?;
    if !spec.interactive {
        // Away from the terminal's process group. The only error means that it is away already.
        let _ = rustix::process::setsid();
    }
    let program = Program::prepare(spec, stdin)?;
    let stubs = root::enter(job)?;
    // Nobody in here may look into this process or through its /proc/1/root and the like.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("close", "the init process")?;
    let (failed, report_end) = UnixStream::pair()
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
        .doing("make", "a socket")?;
    match fork().doing("start", "the program's process")? {
        Fork::Child => {
            let failure = program.become_it(&report_end);
            report(&report_end, Reply::Failed(failure));
            exit(1)
        }
        Fork::Parent(main) => {
            drop(report_end);
            // None if the program's process failed that early; it says so below.
            let listener = match program.is_supervised() {
                true => channel::receive_descriptor(&failed).ok().flatten(),
                false => None,
            };
            let status = wait_for(main, signals, listener).doing("wait for", "the program")?;
            // Closed by exec, so empty unless the program never came to run.
            match channel::receive::<Reply>(&failed) {
                Ok(Reply::Failed(failure)) => Err(failure),
                Ok(Reply::Ended(_)) | Err(_) => Ok(Ended { status: ended(status), stubs, reached: vec![] }),
            }
        }
    }
}

fn ended(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, Some(signal)) => Status::Signaled(signal),
        (None, None) => Status::Exited(255),
    }
}

/// Asks for SIGKILL when the parent dies, and ends if it did so already.
fn die_with_parent(parent_lives: impl Fn() -> bool) -> Result<(), SetupError> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("follow", "the parent's death")?;
    if !parent_lives() {
        exit(1);
    }
    Ok(())
}

/// Reaps whatever ends until `main` does; passes signals on to it and answers calls handed over meanwhile.
fn wait_for(main: Pid, signals: &Set, mut listener: Option<OwnedFd>) -> rustix::io::Result<WaitStatus> {
    let pending = signals.descriptor()?;
    loop {
        while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
            if pid == main {
                return Ok(status);
            }
        }
        serve_until(&pending, &mut listener)?;
        match signals.wait() {
            Ok(signal) if !sys::signal::is_child(signal) => {
                // It may just have ended; then there is nobody to tell.
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = kill_process(main, signal);
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Answers calls until a signal is pending.
fn serve_until(pending: &OwnedFd, listener: &mut Option<OwnedFd>) -> rustix::io::Result<()> {
    while let Some(calls) = listener {
        let mut list = [PollFd::new(pending, PollFlags::IN), PollFd::new(calls, PollFlags::IN)];
        retry_on_intr(|| poll(&mut list, None))?;
        let (signal, call) = (list[0].revents(), list[1].revents());
        if call.contains(PollFlags::IN) {
            owners::serve(calls);
        } else if !call.is_empty() {
            // Nobody is left who could call.
            *listener = None;
        }
        if !signal.is_empty() {
            break;
        }
    }
    Ok(())
}

/// The parent may be gone; nobody is left to care then.
fn report(socket: &UnixStream, reply: Reply) {
    let _ = channel::send(socket, &reply);
}
