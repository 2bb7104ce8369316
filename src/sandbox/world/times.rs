//! Times of files that a program reads back (spec/world.md, "Files").
//!
//! The kernel stamps what is written with the real time, and nobody can tell it another. So before it answers what a file's
//! time is, a stamp of this run is replaced, on the file itself, by the one that the clock of the world has for it.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, StatxFlags, Timespec, Timestamps, statx, utimensat};

use crate::sys::seccomp::Notification;

use super::super::supervisor::{Calls, Refusal, low};
use super::clock::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// stat(path), lstat(path)
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such calls there"))]
    Path { follow: bool },
    /// fstat(descriptor)
    Descriptor,
    /// fstatat(directory, path, …), flags in the argument of this number.
    At { flags: usize },
}

/// Makes the time of the file that a call asks for one of the world's. What cannot be reached stays as it is: the kernel
/// will say so.
pub(super) fn make_true(calls: &Calls, call: Notification, ask: Ask, clock: &Clock) {
    if let Ok(file) = file(calls, call, ask) {
        // Read-only file systems have no stamps of this run.
        let _ = stamp(&file, clock);
    }
}

fn file(calls: &Calls, call: Notification, ask: Ask) -> Result<OwnedFd, Refusal> {
    let [a, b, ..] = call.arguments;
    match ask {
        #[cfg(target_arch = "x86_64")]
        Ask::Path { follow } => calls.named(call, a, follow),
        #[cfg(not(target_arch = "x86_64"))]
        Ask::Path { .. } => Err(Refusal::NotOurs),
        // Whose it is matters little: the stamp of a file is made true for everybody.
        Ask::Descriptor => Ok(calls.some_descriptor(call, a)?),
        Ask::At { flags } => {
            calls.named_at(call, a, b, AtFlags::from_bits_retain(low(call.arguments[flags])))
        }
    }
}

fn stamp(file: &OwnedFd, clock: &Clock) -> rustix::io::Result<()> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MTIME | StatxFlags::ATIME)?;
    let told = |time: rustix::fs::StatxTimestamp| clock.of_file(time.tv_sec, i64::from(time.tv_nsec));
    let (written, read) = (told(found.stx_mtime), told(found.stx_atime));
    if written.is_none() && read.is_none() {
        return Ok(());
    }
    let time = |told: Option<(i64, i64)>| match told {
        Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec },
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
    };
    let times = Timestamps { last_access: time(read), last_modification: time(written) };
    utimensat(file.as_fd(), c"", &times, AtFlags::EMPTY_PATH)
}
