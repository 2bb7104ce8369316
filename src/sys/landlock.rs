//! Landlock (landlock(7)): what a process may reach, beside what its user may.

#![allow(unsafe_code, reason = "landlock has no safe wrapper")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

/// The first version of the interface that knows scopes (Linux 6.12).
const SCOPES_SINCE: libc::c_long = 6;
/// Asks for the version instead of a set of rules.
const CREATE_RULESET_VERSION: libc::c_ulong = 1;
/// Abstract sockets that a process outside the domain made cannot be connected or sent to.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// Keeps the calling thread and all it will start from abstract Unix sockets that others made. Needs CAP_SYS_ADMIN in
/// the thread's user namespace unless no_new_privs is set; does not set it. False where the kernel cannot.
///
/// # Errors
/// `EPERM` without the capability, `E2BIG` in the 16th domain within another.
pub fn leave_abstract_sockets() -> Result<bool> {
    // SAFETY: with this flag the call takes no attributes and touches no memory.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    // Also where it is missing or switched off, which is a negative answer.
    if version < SCOPES_SINCE {
        return Ok(false);
    }
    let rules = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    // SAFETY: the struct has the size given and outlives the call, which reads it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const rules,
            size_of::<Ruleset>(),
            0 as libc::c_ulong,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(last_error)?;
    // SAFETY: the kernel made this descriptor for us just now.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: takes a descriptor and no memory.
    let code = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd.as_raw_fd(), 0 as libc::c_ulong) };
    if code == 0 { Ok(true) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
