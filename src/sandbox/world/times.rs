//! Times of files that a program reads back (spec/world.md, "Files").
//!
//! The kernel stamps what is written with the real time, and nobody can tell it another. So before it answers what a file's
//! time is, a stamp of this run is replaced, on the file itself, by the one that the clock of the world has for it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp, Timespec, Timestamps, statx, utimensat};
use rustix::io::Errno;

use crate::sys::seccomp::Notification;

use super::super::supervisor::{Calls, Refusal, low};
use super::callers::Callers;
use super::clock::Clock;
use super::space;

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

pub(super) struct Times {
    clock: Clock,
    /// Whether every process has the root that this one has, and the mounts below it.
    one_root: bool,
}

impl Times {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, one_root: true }
    }

    /// From now on, some process may have another root.
    pub(super) fn roots_differ(&mut self) {
        self.one_root = false;
    }

    /// Makes the time of the file that a call asks for one of the world's. What cannot be reached stays as it is: the
    /// kernel will say so. Whose it is matters little: the stamp of a file is made true for everybody.
    pub(super) fn make_true(&self, calls: &Calls, callers: &mut Callers, call: Notification, ask: Ask) {
        let [a, b, ..] = call.arguments;
        // Read-only file systems have no stamps of this run.
        let _ = match ask {
            Ask::Path { follow } => {
                let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                self.by_path(calls, callers, call, (HERE, a, flags))
            }
            Ask::Descriptor => self.by_descriptor(calls, callers, call, a),
            Ask::At { flags } => {
                let flags = AtFlags::from_bits_retain(low(call.arguments[flags]));
                self.by_path(calls, callers, call, (a, b, flags))
            }
        };
    }

    fn by_descriptor(
        &self,
        calls: &Calls,
        callers: &mut Callers,
        call: Notification,
        fd: u64,
    ) -> Result<(), Refusal> {
        Ok(self.stamp(&callers.descriptor(calls, call, fd)?)?)
    }

    fn by_path(
        &self,
        calls: &Calls,
        callers: &mut Callers,
        call: Notification,
        (dir, path, flags): (u64, u64, AtFlags),
    ) -> Result<(), Refusal> {
        let name = calls.path(call, path, flags.contains(AtFlags::EMPTY_PATH))?;
        if name.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
            return self.by_descriptor(calls, callers, call, dir);
        }
        // Most files were there before. A look is one call, and as harmless as wrong where a link leads elsewhere for
        // this process than for the caller.
        if self.one_root {
            let follow = flags & AtFlags::SYMLINK_NOFOLLOW;
            match self.told(&calls.processes, place(call, dir, &name)?.as_c_str(), follow) {
                Ok(None) => return Ok(()),
                Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(errno.into()),
                Ok(Some(_)) | Err(_) => {}
            }
        }
        Ok(self.stamp(&calls.named_at(call, dir, path, flags)?)?)
    }

    fn stamp(&self, file: &OwnedFd) -> rustix::io::Result<()> {
        match self.told(file, c"", AtFlags::EMPTY_PATH)? {
            // Whoever else looks at it, outside too, sees that time.
            Some(_) if space::is_shared(file) => Ok(()),
            Some(times) => utimensat(file, c"", &times, AtFlags::EMPTY_PATH),
            None => Ok(()),
        }
    }

    /// What the times of a file are to be, if they are of this run.
    fn told(&self, dir: impl AsFd, path: &CStr, flags: AtFlags) -> rustix::io::Result<Option<Timestamps>> {
        let found = statx(dir, path, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::MTIME | StatxFlags::ATIME)?;
        let told = |time: StatxTimestamp| self.clock.of_file(time.tv_sec, i64::from(time.tv_nsec));
        let (written, read) = (told(found.stx_mtime), told(found.stx_atime));
        let time = |told: Option<(i64, i64)>| match told {
            Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec },
            None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        };
        let is_of_this_run = written.is_some() || read.is_some();
        Ok(is_of_this_run.then(|| Timestamps { last_access: time(read), last_modification: time(written) }))
    }
}

/// The working directory, as an argument.
const HERE: u64 = libc::AT_FDCWD.cast_unsigned() as u64;

/// The path of a file that a call names, from a `/proc`.
fn place(call: Notification, dir: u64, name: &CStr) -> Result<CString, Refusal> {
    let name = name.to_bytes();
    let text = match low(dir) {
        _ if name.starts_with(b"/") => Vec::new(),
        here if u64::from(here) == HERE => format!("{}/cwd/", call.pid).into_bytes(),
        fd => format!("{}/fd/{fd}/", call.pid).into_bytes(),
    };
    CString::new([&text, name].concat()).map_err(|_| Refusal::NotOurs)
}
