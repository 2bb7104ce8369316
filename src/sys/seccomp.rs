//! Loads seccomp filters (seccomp(2)), and answers the calls they hand over (seccomp_unotify(2)).
//!
//! Owns: the system call. What the filter says is the sandbox' business.

#![allow(unsafe_code, reason = "seccomp has no safe wrapper that leaves no_new_privs alone")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

/// One instruction of classic BPF, as `struct sock_filter` lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// Puts a filter over the calling thread and all it will start. Needs CAP_SYS_ADMIN in the thread's user
/// namespace unless no_new_privs is set; does not set it.
///
/// # Errors
/// `EINVAL` for a program the kernel does not accept, `EACCES` without the capability.
pub fn load(program: &[Instruction]) -> Result<()> {
    install(program, 0).map(|_| ())
}

/// As [`load`], for a filter that hands calls over; they wait at the descriptor for an answer.
pub fn load_with_listener(program: &[Instruction]) -> Result<OwnedFd> {
    let fd = install(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel made this descriptor for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn install(program: &[Instruction], flags: libc::c_ulong) -> Result<libc::c_long> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the header points to `length` instructions of the kernel's layout that live over the call; the
    // kernel copies them and does not write.
    let code =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const header) };
    if code >= 0 { Ok(code) } else { Err(last_error()) }
}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    id: u64,
    /// The thread that made it, as this process' pid namespace numbers it.
    pub pid: u32,
    /// Its number, of the native ABI.
    pub number: i32,
    pub arguments: [u64; 6],
}

/// What the caller of a handed-over call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Zero, as if it were done.
    Done,
    /// Another value.
    Value(i64),
    /// An error.
    Failed(Errno),
    /// What the kernel itself says.
    Kernel,
}

/// Takes the next call.
///
/// # Errors
/// `ENOENT` if its caller was killed meanwhile.
pub fn receive(listener: &OwnedFd) -> Result<Notification> {
    // SAFETY: all zeroes is a valid seccomp_notif, and what the kernel wants it to be.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut call).cast())?;
    let (number, arguments) = (call.data.nr, call.data.args);
    Ok(Notification { id: call.id, pid: call.pid, number, arguments })
}

/// Answers a call.
///
/// # Errors
/// `ENOENT` if its caller was killed meanwhile.
pub fn answer(listener: &OwnedFd, call: Notification, answer: Answer) -> Result<()> {
    let (val, error, flags) = match answer {
        Answer::Done => (0, 0, 0),
        Answer::Value(value) => (value, 0, 0),
        Answer::Failed(errno) => (0, -errno.raw_os_error(), 0),
        Answer::Kernel => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
    };
    let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    let mut reply = libc::seccomp_notif_resp { id: call.id, val, error, flags };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut reply).cast())
}

/// Whether the call still waits, so that its thread id has not come to mean another one.
pub fn waits(listener: &OwnedFd, call: Notification) -> bool {
    let mut id = call.id;
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw mut id).cast()).is_ok()
}

fn ioctl(listener: &OwnedFd, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<()> {
    loop {
        // SAFETY: each caller passes the struct that its request reads and writes, alive over the call.
        let code = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
        match if code == 0 { Ok(()) } else { Err(last_error()) } {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
