//! Loads a seccomp filter (seccomp(2)).
//!
//! Owns: the system call. What the filter says is the sandbox' business.

#![allow(unsafe_code, reason = "seccomp has no safe wrapper that leaves no_new_privs alone")]

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
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the header points to `length` instructions of the kernel's layout that live over the call; the
    // kernel copies them and does not write.
    let code =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) };
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
