//! The child's side: two processes between the caller and the program.
//!
//! The *outer* one makes the namespaces and waits; the *inner* one is pid 1 in them, builds the root file system,
//! starts the program, reaps, and ends with it, upon which the kernel kills whatever is left in the pid namespace.
//! Both die with their parent, so that killing the caller leaves nothing. Single-threaded throughout.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getppid, kill_process, pidfd_open,
    set_dumpable_behavior, set_parent_process_death_signal, wait,
};
use rustix::thread::UnshareFlags;

use crate::sys;
use crate::sys::exec::{Fork, exit, fork};
use crate::sys::signal::Set;

use super::channel::{self, Job, Reply};
use super::failure::{Doing as _, SetupError};
use super::launch::Writes;
use super::program::Program;
use super::spec::{Ended, First, Net, Status, Stdio, Stub};
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
    sys::exec::survive_shortage();
    let signals = Set::of_init();
    signals.block().doing("block", "signals")?;
    sys::ns::unshare(namespaces(job.spec.network)).doing("make", "namespaces")?;
    if job.spec.network == Net::None {
        sys::ns::loopback_up().doing("set up", "the loopback interface")?;
    }
    let (alive, outer_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make", "a pipe")?;
    let host = seal::root()?;
    let told = match job.spec.first {
        First::Init => None,
        First::Process => Some(socket_pair()?),
    };
    match fork().doing("start", "the init process")? {
        Fork::Parent(init) => {
            drop(alive);
            introduce(socket, init)?;
            match told {
                None => {
                    wait_for(init, &signals, None).doing("wait for", "the init process")?;
                }
                Some((failed, report_end)) => {
                    drop(report_end);
                    let end = watch(socket, failed, None, init, &signals)?;
                    report(socket, Reply::Ended(of(end, vec![])));
                }
            }
            drop(outer_end);
            let makes_a_result = job.writes == Writes::Volatile && job.spec.root.writable.is_some();
            if makes_a_result { seal::close(host) } else { Ok(()) }
        }
        Fork::Child => {
            drop(outer_end);
            // Its parent has no number in here; the pipe tells whether it is still there.
            let followed = die_with_parent(|| is_open(&alive));
            match told {
                None => {
                    let reply = followed
                        .and_then(|()| inner(socket, &job, stdin, &signals))
                        .map_or_else(Reply::Failed, Reply::Ended);
                    report(socket, reply);
                }
                Some((failed, report_end)) => {
                    drop(failed);
                    let failure = followed.and_then(|()| prepare(socket, &job, stdin)).map_or_else(
                        |failure| failure,
                        |(program, _)| program.follow(alive).become_it(&report_end),
                    );
                    report(&report_end, Reply::Failed(failure));
                }
            }
            exit(0)
        }
    }
}

/// Tells the caller who the first process is, or the one that entered.
pub(super) fn introduce(socket: &UnixStream, init: Pid) -> Result<(), SetupError> {
    let descriptor = pidfd_open(init, PidfdFlags::empty()).doing("open", "the init process")?;
    // A caller that is gone kills this process anyway.
    let _ = channel::send_with(socket, &Reply::Init { pid: init.as_raw_pid() }, descriptor.as_fd());
    Ok(())
}

pub(super) fn socket_pair() -> Result<(UnixStream, UnixStream), SetupError> {
    UnixStream::pair().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)).doing("make", "a socket")
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

/// What process 1 does first: names, the root file system, everything that the program needs.
fn prepare(
    socket: &UnixStream,
    job: &Job<'_>,
    stdin: Option<OwnedFd>,
) -> Result<(Program, Vec<Stub>), SetupError> {
    let spec = &job.spec;
    rustix::process::umask(rustix::fs::Mode::empty());
    // Executed by descriptor, it would show as that one's number.
    rustix::thread::set_name(c"lith-init").doing("name", "the init process")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).doing("set the host name", &spec.hostname)?;
    // What the kernel calls a domain that nobody set; else it would be the host's.
    rustix::system::setdomainname(b"(none)").doing("set", "the domain name")?;
    let program = Program::prepare(&spec.process, stdin)?.terminal_to(socket)?.first_in(spec.network);
    let stubs = root::enter(job)?;
    Ok((program, stubs))
}

/// Pid 1 as an init: builds the root, starts the program and waits for it.
fn inner(
    socket: &UnixStream,
    job: &Job<'_>,
    stdin: Option<OwnedFd>,
    signals: &Set,
) -> Result<Ended, SetupError> {
    if job.spec.process.stdio != Stdio::Caller {
        // Away from the terminal's process group. The only error means that it is away already.
        let _ = rustix::process::setsid();
    }
    let (program, stubs) = prepare(socket, job, stdin)?;
    // Nobody in here may look into this process or through its /proc/1/root and the like.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("close", "the init process")?;
    let (failed, report_end) = socket_pair()?;
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
            // A terminal's other end that is held here would never be closed.
            drop(program);
            watch(socket, failed, listener, main, signals).map(|end| of(end, stubs))
        }
    }
}

/// Waits until the program runs, tells the caller, and waits for its end. What comes on `failed` is why it never came
/// to run; exec closes it.
pub(super) fn watch(
    socket: &UnixStream,
    failed: UnixStream,
    mut listener: Option<OwnedFd>,
    main: Pid,
    signals: &Set,
) -> Result<WaitStatus, SetupError> {
    // On the way to the program its owners change, too.
    serve_until(&failed, &mut listener).doing("wait for", "the program")?;
    match channel::receive::<Reply>(&failed) {
        Ok(Reply::Failed(failure)) => {
            let _ = rustix::process::waitpid(Some(main), WaitOptions::empty());
            return Err(failure);
        }
        Ok(_) | Err(_) => report(socket, Reply::Running),
    }
    wait_for(main, signals, listener).doing("wait for", "the program")
}

fn of(status: WaitStatus, stubs: Vec<Stub>) -> Ended {
    Ended { status: ended(status), stubs, reached: vec![] }
}

pub(super) fn ended(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, Some(signal)) => Status::Signaled(signal),
        (None, None) => Status::Exited(255),
    }
}

/// Whether somebody holds the other end of a pipe.
pub(super) fn is_open(alive: &OwnedFd) -> bool {
    let mut list = [PollFd::new(alive, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut list, Some(&now)), Ok(0))
}

/// Asks for SIGKILL when the parent dies, and ends if it did so already.
pub(super) fn die_with_parent(parent_lives: impl Fn() -> bool) -> Result<(), SetupError> {
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

/// Answers calls until a descriptor can be read: a signal is pending, the program runs.
fn serve_until(pending: impl AsFd, listener: &mut Option<OwnedFd>) -> rustix::io::Result<()> {
    while let Some(calls) = listener {
        let mut list = [PollFd::new(&pending, PollFlags::IN), PollFd::new(calls, PollFlags::IN)];
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
pub(super) fn report(socket: &UnixStream, reply: Reply) {
    let _ = channel::send(socket, &reply);
}
