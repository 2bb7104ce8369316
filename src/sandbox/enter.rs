//! One more process in a running sandbox: the child's side.
//!
//! The *outer* process joins the namespaces by a descriptor of the sandbox' first process, starts the program's process,
//! which is the first of ours that anybody in there can see, and waits for it. Neither can be traced or looked into
//! from inside, and neither brings a descriptor of the host with it (CVE-2016-9962, CVE-2024-21626).

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getppid, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::sys::exec::{Fork, exit, fork};
use crate::sys::signal::Set;

use super::channel::{self, Entry, Reply};
use super::failure::{Doing as _, SetupError};
use super::init::{die_with_parent, ended, introduce, is_open, report, socket_pair, watch};
use super::program::Program;
use super::spec::Ended;

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
    die_with_parent(|| getppid().is_some_and(|parent| parent.as_raw_pid() == entry.parent))?;
    // Before anything in there could see this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("close", "the entering process")?;
    let signals = Set::of_init();
    signals.block().doing("block", "signals")?;
    join(&init)?;
    drop(init);
    let program = Program::prepare(&entry.process, stdin)?.terminal_to(socket)?;
    let (alive, outer_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make", "a pipe")?;
    let (failed, report_end) = socket_pair()?;
    match fork().doing("start", "the program's process")? {
        Fork::Child => {
            drop((outer_end, failed));
            let failure = die_with_parent(|| is_open(&alive))
                .map_or_else(|failure| failure, |()| program.follow(alive).become_it(&report_end));
            report(&report_end, Reply::Failed(failure));
            exit(1)
        }
        Fork::Parent(main) => {
            drop((alive, report_end));
            introduce(socket, main)?;
            let listener = match program.is_supervised() {
                true => channel::receive_descriptor(&failed).ok().flatten(),
                false => None,
            };
            drop(program);
            let status = watch(socket, failed, listener, main, &signals)?;
            drop(outer_end);
            Ok(Ended { status: ended(status), stubs: vec![], reached: vec![] })
        }
    }
}

/// All namespaces of a process at once.
fn join(init: &OwnedFd) -> Result<(), SetupError> {
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::NETWORK;
    let joined = match move_into_thread_name_spaces(init.as_fd(), all | ThreadNameSpaceType::USER) {
        // Nobody can join the user namespace that they are in.
        Err(Errno::INVAL) => move_into_thread_name_spaces(init.as_fd(), all),
        other => other,
    };
    joined.doing("enter", "the sandbox")
}
