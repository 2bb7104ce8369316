//! Processes that call, kept open while they go on calling: most calls come from those who called before.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::sys::seccomp::Notification;

use super::super::supervisor::{Calls, low, number};

/// As many as call at once on most machines.
const KEPT: usize = 16;
/// A descriptor of one thread (Linux 6.9, `PIDFD_THREAD`).
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());

#[derive(Default)]
pub(in crate::sandbox) struct Callers {
    kept: Vec<(u32, OwnedFd)>,
    /// Which is replaced next.
    oldest: usize,
}

impl Callers {
    /// The caller's own descriptor: the same file at the same position.
    ///
    /// # Errors
    /// `EBADF` if the caller has none of that number.
    pub(super) fn descriptor(&mut self, calls: &Calls, call: Notification, fd: u64) -> Result<OwnedFd> {
        let fd = i32::try_from(low(fd)).map_err(|_| Errno::BADF)?;
        let get = |process: &OwnedFd| pidfd_getfd(process, fd, PidfdGetfdFlags::empty());
        if let Some(at) = self.kept.iter().position(|(pid, _)| *pid == call.pid) {
            match get(&self.kept[at].1) {
                // It has ended, and its number is another's.
                Err(Errno::SRCH) => drop(self.kept.swap_remove(at)),
                answer => return answer,
            }
        }
        let process = open(calls, call)?;
        let answer = get(&process);
        self.keep(call.pid, process);
        answer
    }

    fn keep(&mut self, pid: u32, process: OwnedFd) {
        if self.kept.len() < KEPT {
            return self.kept.push((pid, process));
        }
        self.kept[self.oldest] = (pid, process);
        self.oldest = (self.oldest + 1) % KEPT;
    }
}

fn open(calls: &Calls, call: Notification) -> Result<OwnedFd> {
    let thread = number(call)?;
    // Older kernels open the first thread of a process alone.
    let opened = pidfd_open(thread, THREAD).or_else(|_| pidfd_open(thread, PidfdFlags::empty()));
    opened.or_else(|_| pidfd_open(process_of(calls, call)?, PidfdFlags::empty()))
}

fn process_of(calls: &Calls, call: Notification) -> Result<Pid> {
    let status = calls.processes.read(&format!("{}/status", call.pid))?;
    let text = String::from_utf8_lossy(&status);
    let number = text.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    number.and_then(Pid::from_raw).ok_or(Errno::SRCH)
}
