//! Holding a process at the moment it executes a program (ptrace(2)).
//!
//! Owns: the calls. A process is attached to without being stopped, stops once when its next program is loaded and has
//! not begun, and is let go there; nothing else of it is traced.

#![allow(unsafe_code, reason = "ptrace has no safe wrapper")]

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Attaches to a thread: it will stop when it has executed a program.
///
/// # Errors
/// `EPERM` if somebody traces it already, or it is none of ours to trace.
pub fn seize(thread: Pid) -> Result<()> {
    request(libc::PTRACE_SEIZE, thread, libc::PTRACE_O_TRACEEXEC as libc::c_ulong)
}

/// Lets a stopped thread go on untraced, with a signal that it is about to get, or 0.
pub fn release(thread: Pid, signal: i32) -> Result<()> {
    request(libc::PTRACE_DETACH, thread, libc::c_ulong::from(signal.unsigned_abs()))
}

/// What a status of waitpid(2) says of a stopped thread: the event, 0 for a signal, and the signal.
pub fn stop(status: i32) -> (i32, i32) {
    (status >> 16, (status >> 8) & 0xFF)
}

/// The event of [`stop`] after a program was executed.
pub const EXECUTED: i32 = libc::PTRACE_EVENT_EXEC;

/// The number that the thread had before it executed, which became that of its process.
pub fn former_number(thread: Pid) -> Result<Option<Pid>> {
    let mut number: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long there.
    let code = unsafe {
        libc::ptrace(libc::PTRACE_GETEVENTMSG, thread.as_raw_nonzero().get(), 0_usize, &raw mut number)
    };
    if code < 0 {
        return Err(last_error());
    }
    Ok(i32::try_from(number).ok().and_then(Pid::from_raw))
}

fn request(what: libc::c_uint, thread: Pid, data: libc::c_ulong) -> Result<()> {
    // SAFETY: these requests read and write no memory of this process.
    let code = unsafe { libc::ptrace(what, thread.as_raw_nonzero().get(), 0_usize, data) };
    if code < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
