//! Namespaces (namespaces(7)) and the loopback of a new network.

#![allow(unsafe_code, reason = "unshare of one's own namespaces and interface flags have no safe wrapper")]

use rustix::io::{Errno, Result};
use rustix::thread::UnshareFlags;

/// Moves the calling thread into new namespaces. `NEWPID` counts for its next child only.
pub fn unshare(flags: UnshareFlags) -> Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "descriptor tables stay shared");
    // SAFETY: only unsharing the descriptor table could take descriptors from other threads.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Sets the loopback interface of the thread's network namespace up (netdevice(7), SIOCSIFFLAGS).
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsRawFd as _;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zeroes is a valid ifreq: plain integers and bytes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(|_| Errno::INVAL)?;
    // SAFETY: SIOCSIFFLAGS reads the ifreq it is given, which outlives the call.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if code == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}
