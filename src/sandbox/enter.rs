//! One more process in a running sandbox: the child's side.
//!
//! ```text
//! caller ── outer ── maker
//!             └───── program
//! ```
//!
//! The *outer* process joins the namespaces by a descriptor of the sandbox' first process, all but that of process
//! numbers, so that nobody in there can see it. It waits for the program and answers its calls. The *maker* makes of itself
//! what the program is to be, identity, powers and filter, and then starts a sibling that only has to execute it: what can
//! be seen, traced and looked into from inside has never had more than the program has, nor a descriptor of the host
//! (CVE-2016-9962, CVE-2024-21626).
//!
//! What executes no program of the sandbox but copies has no need to be seen: it is the maker itself, which stays out of the
//! sandbox' process numbers.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::fs::{readlink, readlinkat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::sys::exec::{Alone, Fork, exit, fork, fork_sibling};
use crate::sys::signal::Set;

use super::channel::{self, Entry, Reply};
use super::failure::{Doing as _, SetupError};
use super::init::{give_word, introduce, report, socket_pair, supervise, wait_for_word};
use super::owners;
use super::program::Program;
use super::spec::{Ended, Net, Seen, Work};
use super::supervisor::Processes;
use super::wait::{Caller, Watch, die_with_parent, ended, is_open, leave_streams};

/// The outer process. Its exit status means nothing; the answer is on the socket.
pub(super) fn main() -> ExitCode {
    // A duplicate, so that descriptor 0 is free for the program's standard input.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else {
        return ExitCode::FAILURE;
    };
    let socket = UnixStream::from(socket);
    report(&socket, outer(&socket).map_or_else(Reply::Failed, Reply::Ended));
    ExitCode::SUCCESS
}

fn outer(socket: &UnixStream) -> Result<Ended, SetupError> {
    let lost = |error: std::io::Error| SetupError::Job { reason: error.to_string() };
    let init = channel::receive_descriptor(socket).map_err(lost)?;
    let init = init.ok_or_else(|| SetupError::Job { reason: "no process to follow".into() })?;
    let stdin = channel::receive_descriptor(socket).map_err(lost)?;
    let entry: Entry<'_> = channel::receive(socket).map_err(lost)?;
    let caller = Some(Caller::of(entry.parent, socket)?);
    not_dumpable()?;
    let signals = Set::of_init();
    signals.block().doing("block", "signals")?;
    let processes = Processes::open()?;
    let (network, supervised) = join(&init)?;
    let program =
        Program::prepare(&entry.process, stdin, supervised, false)?.terminal_to(socket)?.in_network(network);
    let (alive, outer_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make", "a pipe")?;
    let (failed, report_end) = socket_pair()?;
    let (made, maker_end) = socket_pair()?;
    match fork().doing("start", "the program's process")? {
        Fork::Child => {
            drop((outer_end, failed, made, caller, processes));
            let failure = match entry.process.work {
                Work::Execute => make(&init, program, alive, &report_end, maker_end),
                Work::Send(_) | Work::Receive(_) => match stay_unseen(&program, &alive, &report_end) {
                    Ok(()) => {
                        // It begins now.
                        drop(report_end);
                        let failure = program.follow(alive).begin();
                        let _ = std::io::stderr().write_all(failure.to_string().as_bytes());
                        exit(1)
                    }
                    Err(failure) => failure,
                },
            };
            report(&report_end, Reply::Failed(failure));
            exit(1)
        }
        Fork::Parent(maker) => {
            drop((alive, report_end, maker_end, init));
            let supervisor = supervise(&failed, supervised, None, || Ok(processes))?;
            drop(program);
            leave_streams(entry.process.stdio)?;
            let mut watch = Watch { signals: &signals, caller, supervisor, abandoned: false };
            let main = match entry.process.work {
                Work::Execute => {
                    watch.word_of(maker, &made)?;
                    number(made, &failed)?
                }
                Work::Send(_) | Work::Receive(_) => maker,
            };
            introduce(socket, main)?;
            give_word(&failed);
            let end = watch.program(socket, failed, main);
            drop(outer_end);
            Ok(Ended { status: ended(end?), stubs: vec![], reached: vec![], seen: Seen::default() })
        }
    }
}

/// What the maker does. Returns only if it failed, or its sibling did.
fn make(
    init: &OwnedFd,
    program: Program,
    alive: OwnedFd,
    outer: &UnixStream,
    mut number: UnixStream,
) -> SetupError {
    let ready = || {
        die_with_parent(|| is_open(&alive))?;
        let alone = Alone::look().doing("start", "the program's process")?;
        join_process_numbers(init)?;
        program.get_ready(outer)?;
        // The change of identity may have taken it back.
        not_dumpable()?;
        fork_sibling(&alone).doing("start", "the program's process")
    };
    let ready = ready();
    match ready {
        Ok(Fork::Child) => {
            drop(number);
            // Not before the outer process knows whom it has to end.
            wait_for_word(outer);
            program.follow(alive).begin()
        }
        Ok(Fork::Parent(main)) => {
            // An outer process that is gone ends the program anyway.
            let _ = number.write_all(&main.as_raw_pid().to_le_bytes());
            exit(0)
        }
        Err(failure) => failure,
    }
}

/// What one does that copies, until it begins.
fn stay_unseen(program: &Program, alive: &OwnedFd, outer: &UnixStream) -> Result<(), SetupError> {
    die_with_parent(|| is_open(alive))?;
    program.get_ready(outer)?;
    // The change of identity may have taken it back.
    not_dumpable()
}

/// The number of the program's process, which the maker says unless it failed.
fn number(mut made: UnixStream, failed: &UnixStream) -> Result<Pid, SetupError> {
    let mut number = [0; 4];
    let told = made.read_exact(&mut number).ok().and_then(|()| Pid::from_raw(i32::from_le_bytes(number)));
    told.ok_or_else(|| match channel::receive::<Reply>(failed) {
        Ok(Reply::Failed(failure)) => failure,
        Ok(_) | Err(_) => SetupError::Job { reason: "the process that makes the program's ended".into() },
    })
}

fn not_dumpable() -> Result<(), SetupError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("close", "the entering process")
}

/// Joins all namespaces of a process but that of process numbers. Whose network it is, and whether its user namespace has
/// a single id.
fn join(init: &OwnedFd) -> Result<(Net, bool), SetupError> {
    let mut all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::NETWORK;
    // The `/proc` that comes into sight does not know this process.
    let us = owners::our_process()?;
    let network = || readlinkat(&us, c"ns/net", Vec::new()).doing("look at", "the network");
    let hosts = network()?;
    let theirs = super::launch::number_of(init.as_fd()).ok().map(|number| format!("/proc/{number}/ns/net"));
    if theirs.is_some_and(|path| readlink(path, Vec::new()).is_ok_and(|theirs| theirs == hosts)) {
        // It is the first user namespace's, where a plain user may join nothing.
        all -= ThreadNameSpaceType::NETWORK;
    }
    let joined = match move_into_thread_name_spaces(init.as_fd(), all | ThreadNameSpaceType::USER) {
        // Nobody can join the user namespace that they are in.
        Err(Errno::INVAL) => move_into_thread_name_spaces(init.as_fd(), all),
        other => other,
    };
    joined.doing("enter", "the sandbox")?;
    let network = if network()? == hosts { Net::Host } else { Net::None };
    Ok((network, owners::are_recorded(&us)))
}

fn join_process_numbers(init: &OwnedFd) -> Result<(), SetupError> {
    move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::PROCESS_ID).doing("enter", "the sandbox")
}
