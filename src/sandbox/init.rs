//! The child's side: two processes between the caller and the program.
//!
//! The *outer* one makes the namespaces and waits; the *inner* one is pid 1 in them, builds the root file system,
//! starts the program, reaps, and ends with it, upon which the kernel kills whatever is left in the pid namespace.
//! The outer one ends the inner one when the caller is gone, and the inner one dies with the outer one, so that killing
//! the caller leaves nothing. Single-threaded throughout.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, WaitStatus, pidfd_open, set_dumpable_behavior};
use rustix::thread::UnshareFlags;

use crate::sys;
use crate::sys::exec::{Fork, exit, fork};
use crate::sys::signal::Set;

use super::channel::{self, Job, Reply};
use super::failure::{Doing as _, SetupError};
use super::launch::Writes;
use super::owners;
use super::program::Program;
use super::root::Entered;
use super::spec::{Ended, First, Net, Seen, Stdio, Stub};
use super::supervisor::{Processes, Supervisor};
use super::wait::{Caller, Watch, die_with_parent, ended, is_open, leave_streams};
use super::world::{Answers, Begun};
use super::{durations, root, seal};

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
    let caller = Some(Caller::of(job.parent, socket)?);
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
        First::Process => Some((socket_pair()?, Processes::open()?)),
    };
    let supervised = owners::are_recorded(owners::our_process()?);
    match fork().doing("start", "the init process")? {
        Fork::Parent(init) => {
            drop((alive, stdin));
            leave_streams(job.spec.process.stdio)?;
            introduce(socket, init)?;
            match told {
                None => {
                    let mut watch = Watch { signals: &signals, caller, supervisor: None, abandoned: false };
                    let end = watch.end_of(init).doing("wait for", "the init process")?;
                    // Init itself tells the end, unless it was killed for the caller.
                    if watch.abandoned && end.terminating_signal().is_some() {
                        report(socket, Reply::Ended(of(end, vec![], Seen::default())));
                    }
                }
                Some(((failed, report_end), processes)) => {
                    drop(report_end);
                    // The root of this process is about to be that of the sandbox, its `/proc` another's.
                    let supervisor = supervise(&failed, supervised, None, || Ok(processes))?;
                    let mut watch = Watch { signals: &signals, caller, supervisor, abandoned: false };
                    let end = watch.program(socket, failed, init)?;
                    report(socket, Reply::Ended(of(end, vec![], Seen::default())));
                }
            }
            drop(outer_end);
            let makes_a_result = job.writes == Writes::Volatile && job.spec.root.writable.is_some();
            if makes_a_result { seal::close(host) } else { Ok(()) }
        }
        Fork::Child => {
            drop((outer_end, caller));
            // Its parent has no number in here; the pipe tells whether it is still there.
            let followed = die_with_parent(|| is_open(&alive));
            match told {
                None => {
                    let reply = followed
                        .and_then(|()| inner(socket, &job, stdin, &signals))
                        .map_or_else(Reply::Failed, Reply::Ended);
                    report(socket, reply);
                }
                Some(((failed, report_end), processes)) => {
                    drop((failed, processes));
                    let failure = followed.and_then(|()| prepare(socket, &job, stdin)).map_or_else(
                        |failure| failure,
                        |(program, _entered)| program.follow(alive).become_it(&report_end),
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
) -> Result<(Program, Entered), SetupError> {
    let spec = &job.spec;
    rustix::process::umask(rustix::fs::Mode::empty());
    // Executed by descriptor, it would show as that one's number.
    rustix::thread::set_name(c"lith-init").doing("name", "the init process")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).doing("set the host name", &spec.hostname)?;
    // What the kernel calls a domain that nobody set; else it would be the host's.
    rustix::system::setdomainname(b"(none)").doing("set", "the domain name")?;
    let supervised = owners::are_recorded(owners::our_process()?);
    let program =
        Program::prepare(&spec.process, stdin, supervised, spec.first == First::Init)?.limited(job.limited);
    let program = program.terminal_to(socket)?;
    let program = program.in_network(spec.network).on_console();
    if let Some(last) = spec.process.world.as_ref().map(|world| world.last_process).filter(|last| *last > 0) {
        // A kernel without this numbers from the first on.
        let _ = std::fs::write("/proc/sys/kernel/ns_last_pid", last.to_string());
    }
    let entered = root::enter(job)?;
    Ok((program, entered))
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
    // What is made and mounted for the program is of its second too.
    let begun = Begun::now();
    // That of the caller's `/proc`: what is mounted over that of the sandbox is nothing to write to.
    let world = job.spec.process.world.as_ref();
    let us = world.map(|_| owners::our_process()).transpose()?;
    let (program, Entered { stubs, pool, own_devices }) = prepare(socket, job, stdin)?;
    if let Some((world, us)) = world.zip(us) {
        durations::begin_at(world.uptime, us);
    }
    // Nobody in here may look into this process or through its /proc/1/root and the like.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("close", "the init process")?;
    let (failed, report_end) = socket_pair()?;
    match fork().doing("start", "the program's process")? {
        Fork::Child => {
            let begin = |()| {
                wait_for_word(&report_end);
                program.begin()
            };
            let failure = program.get_ready(&report_end).map_or_else(|failure| failure, begin);
            report(&report_end, Reply::Failed(failure));
            exit(1)
        }
        Fork::Parent(main) => {
            drop(report_end);
            let world = job.spec.process.world.as_ref();
            let world = world.map(|world| Answers::new(world, begun, pool, own_devices));
            let supervisor = supervise(&failed, program.is_supervised(), world, Processes::open)?;
            // Whoever gets hold of this process in spite of all gets no more than the program has.
            program.have_no_more()?;
            give_word(&failed);
            // A terminal's other end that is held here would never be closed.
            drop(program);
            leave_streams(job.spec.process.stdio)?;
            let mut watch = Watch { signals, caller: None, supervisor, abandoned: false };
            let end = watch.program(socket, failed, main)?;
            // While their calls are answered still: the kernel kills them only when nobody is left who could.
            sys::signal::kill_namespace();
            Ok(of(end, stubs, watch.seen()))
        }
    }
}

/// Waits until somebody lets this process go on; ends it if nobody is left who could.
pub(super) fn wait_for_word(mut from: &UnixStream) {
    if from.read_exact(&mut [0]).is_err() {
        exit(1);
    }
}

/// Lets the process at the other end go on. It may have been ended already.
pub(super) fn give_word(mut to: &UnixStream) {
    let _ = to.write_all(&[0]);
}

/// Takes over the calls of the program's process, if it hands any over.
pub(super) fn supervise(
    from: &UnixStream,
    supervised: bool,
    world: Option<Answers>,
    processes: impl FnOnce() -> Result<Processes, SetupError>,
) -> Result<Option<Supervisor>, SetupError> {
    if !supervised {
        return Ok(None);
    }
    // None if the program's process failed that early; it says so later.
    let listener = channel::receive_descriptor(from).ok().flatten();
    listener.map(|listener| Ok(Supervisor::new(listener, processes()?, world))).transpose()
}

fn of(status: WaitStatus, stubs: Vec<Stub>, seen: Seen) -> Ended {
    Ended { status: ended(status), stubs, reached: vec![], seen }
}

/// The parent may be gone; nobody is left to care then.
pub(super) fn report(socket: &UnixStream, reply: Reply) {
    let _ = channel::send(socket, &reply);
}
