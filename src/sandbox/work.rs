//! What a process of ours does in a sandbox in a program's place: it copies. It has the identity, powers and filter that a
//! program would have, and executes nothing, so nothing of the root file system has a say in what it does
//! (CVE-2019-14271).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::AsFd as _;

use super::spec::Work;
use crate::transfer::{self, Incoming, Outgoing, Place, TransferError};

/// Copies between files and standard streams. The exit code: 0, and what was left out on standard error, one line each; or
/// 1, and why on standard error. `None` if a program is to be executed.
pub(super) fn perform(work: &Work) -> Option<i32> {
    let mut errors = io::stderr();
    // A reader that is gone asks for nothing more.
    let mut warn = |line: String| drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
    let done = match work {
        Work::Execute => return None,
        Work::Send(what) => send(what, &mut warn),
        Work::Receive(what) => receive(what, &mut warn),
    };
    match done {
        Ok(()) => Some(0),
        Err(error) => {
            let _ = errors.write_all(crate::diag::chain(&error).as_bytes());
            Some(1)
        }
    }
}

/// As many bytes go through a pipe at once.
const BUFFER: usize = 64 << 10;

fn send(what: &Outgoing, warn: &mut dyn FnMut(String)) -> Result<(), TransferError> {
    let to = io::stdout().as_fd().try_clone_to_owned().map_err(TransferError::Stream)?;
    transfer::send(Place::Container, what, BufWriter::with_capacity(BUFFER, File::from(to)), warn)
}

fn receive(what: &Incoming, warn: &mut dyn FnMut(String)) -> Result<(), TransferError> {
    let from = io::stdin().as_fd().try_clone_to_owned().map_err(TransferError::Stream)?;
    transfer::receive(Place::Container, what, BufReader::with_capacity(BUFFER, File::from(from)), warn)
}
