//! Answers the system calls of a program that are handed over to init (seccomp_unotify(2)).
//!
//! Owns: the loop of one call, and how files and memory of its caller are reached. What is answered is the business of
//! [`super::owners`] and [`super::world`].

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};
use rustix::process::Pid;

use crate::sys;
use crate::sys::seccomp::{self, Answer, Notification};

use super::failure::{Doing as _, SetupError};
use super::spec::{Seen, World};
use super::world::Answers;
use super::{filter, owners, world};

/// The longest path of a process, with its zero byte.
const PATH_MAX: usize = 4096;

/// A `/proc` of this process' pid namespace.
pub(super) struct Processes(OwnedFd);

impl AsFd for Processes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Processes {
    /// That of now.
    pub(super) fn open() -> std::result::Result<Self, SetupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, c"/proc", flags, Mode::empty()).map(Self).doing("open", "/proc")
    }

    pub(super) fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        openat(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// A file there of a page at most, in one piece.
    pub(super) fn read_short(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        let file = self.open_at(path, OFlags::RDONLY)?;
        let count = rustix::io::read(&file, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// All of a file there, which has no size beforehand.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open_at(path, OFlags::RDONLY)?;
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut part))? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&part[..count]),
            }
        }
    }
}

/// The calls that are handed over.
pub(super) fn handed(owners_are_recorded: bool, world: Option<&World>) -> Vec<filter::Handed> {
    let owners = owners_are_recorded.then(owners::handed).unwrap_or_default();
    let world = world.map(world::handed).unwrap_or_default();
    owners.into_iter().chain(world).collect()
}

/// Answers calls of a program. Its root must be that of the program: links in paths are followed from there.
pub(super) struct Supervisor {
    calls: Calls,
    world: Option<Answers>,
    /// Whether somebody may call.
    awake: bool,
}

/// Where calls wait, and how their callers are reached.
pub(super) struct Calls {
    pub listener: OwnedFd,
    pub processes: Processes,
}

/// What becomes of a call.
pub(super) enum Verdict {
    Now(Answer),
    /// It is answered later, by whoever says so.
    Held,
}

impl Supervisor {
    /// The program hands its calls over at `listener`.
    pub(super) fn new(listener: OwnedFd, processes: Processes, world: Option<Answers>) -> Self {
        Self { calls: Calls { listener, processes }, world, awake: true }
    }

    /// Readable when a call waits.
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.awake.then(|| self.calls.listener.as_fd())
    }

    /// Nobody is left who could call.
    pub(super) fn rest(&mut self) {
        self.awake = false;
    }

    /// Writable when bytes are wanted of it.
    pub(super) fn pool(&self) -> Option<BorrowedFd<'_>> {
        self.world.as_ref()?.pool()
    }

    /// Fills [`Self::pool`].
    pub(super) fn fill_pool(&mut self) {
        if let Some(world) = &mut self.world {
            world.fill_pool();
        }
    }

    /// How long until [`Self::answer_held`] has something to do.
    pub(super) fn pause(&self) -> Option<Timespec> {
        self.world.as_ref()?.pause()
    }

    /// Answers calls that were held and whose time has come.
    pub(super) fn answer_held(&mut self) {
        if let Some(world) = &mut self.world {
            world.answer_held(&self.calls);
        }
    }

    /// Answers the next call that waits.
    pub(super) fn serve(&mut self) {
        // A caller that was killed needs no answer.
        let Ok(call) = seccomp::receive(&self.calls.listener) else { return };
        let verdict = match owners::answer(&self.calls, call) {
            Some(answer) => Verdict::Now(answer),
            None => match &mut self.world {
                Some(world) => world.answer(&self.calls, call),
                None => Verdict::Now(Answer::Kernel),
            },
        };
        if let Verdict::Now(answer) = verdict {
            let _ = seccomp::answer(&self.calls.listener, call, answer);
        }
    }

    /// What was seen of the program.
    pub(super) fn seen(&self) -> Seen {
        self.world.as_ref().map(Answers::seen).unwrap_or_default()
    }
}

/// Why a call is not answered with success.
pub(super) enum Refusal {
    /// What the kernel would say, too.
    Errno(Errno),
    /// Not understood, so as without a supervisor.
    NotOurs,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// User and group ids, descriptors and flags are 32 bits wide; the kernel looks at no more either.
pub(super) fn low(argument: u64) -> u32 {
    u32::try_from(argument & 0xFFFF_FFFF).expect("masked to 32 bits")
}

impl Calls {
    /// The file that a call names by descriptor and path, as fchownat(2) and fstatat(2) do.
    pub(super) fn named_at(
        &self,
        call: Notification,
        dir: u64,
        path: u64,
        flags: AtFlags,
    ) -> std::result::Result<OwnedFd, Refusal> {
        let path = self.valid_path(call, path, flags.contains(AtFlags::EMPTY_PATH))?;
        if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
            return self.descriptor(call, dir);
        }
        Ok(self.open(call, Some(dir), &path, !flags.contains(AtFlags::SYMLINK_NOFOLLOW))?)
    }

    /// The file that a path from the caller's working directory means.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn named(
        &self,
        call: Notification,
        path: u64,
        follow: bool,
    ) -> std::result::Result<OwnedFd, Refusal> {
        let path = self.valid_path(call, path, false)?;
        Ok(self.open(call, None, &path, follow)?)
    }

    /// The file a path of the caller means: from its root, its working directory or one of its descriptors. No magic
    /// links, since those would lead through this process' descriptors instead of the caller's.
    fn open(&self, call: Notification, dir: Option<u64>, path: &CString, follow: bool) -> Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let pid = call.pid;
        let absolute = path.as_bytes().starts_with(b"/");
        let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let (base, resolve) = match dir {
            _ if absolute => (format!("{pid}/root"), ResolveFlags::IN_ROOT),
            Some(fd) if u64::from(low(fd)) != cwd => (format!("{pid}/fd/{}", low(fd)), ResolveFlags::empty()),
            Some(_) | None => (format!("{pid}/cwd"), ResolveFlags::empty()),
        };
        let base = self.processes.open_at(&base, OFlags::PATH)?;
        openat2(base, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS)
    }

    /// The file behind a descriptor of the caller.
    pub(super) fn descriptor(&self, call: Notification, fd: u64) -> std::result::Result<OwnedFd, Refusal> {
        let path = format!("{}/fd/{}", call.pid, low(fd));
        let file = self.processes.open_at(&path, OFlags::PATH).map_err(|_| Errno::BADF)?;
        if self.waits(call) { Ok(file) } else { Err(Refusal::NotOurs) }
    }

    /// Whether the caller still waits, so that its number means nobody else.
    pub(super) fn waits(&self, call: Notification) -> bool {
        seccomp::waits(&self.listener, call)
    }

    /// As [`Self::path`], and surely the caller's.
    fn valid_path(
        &self,
        call: Notification,
        address: u64,
        may_be_empty: bool,
    ) -> std::result::Result<CString, Refusal> {
        let path = self.path(call, address, may_be_empty)?;
        if self.waits(call) { Ok(path) } else { Err(Refusal::NotOurs) }
    }

    /// The text at an address of the caller, or of another process if that is gone. A null address is an empty text where
    /// an empty one may be meant.
    pub(super) fn path(
        &self,
        call: Notification,
        address: u64,
        may_be_empty: bool,
    ) -> std::result::Result<CString, Refusal> {
        if address == 0 && may_be_empty {
            return Ok(CString::default());
        }
        let mut bytes = Vec::new();
        // Page by page: the text may lie at the end of a mapping.
        while bytes.len() < PATH_MAX {
            let at = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
            let to_page_end = 4096 - usize::try_from(at % 4096).expect("less than a page");
            let mut chunk = vec![0; to_page_end.min(PATH_MAX - bytes.len()).min(256)];
            let count = sys::memory::read(number(call)?, at, &mut chunk)?;
            if let Some(end) = chunk[..count].iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&chunk[..end]);
                return CString::new(bytes).map_err(|_| Refusal::NotOurs);
            }
            bytes.extend_from_slice(&chunk[..count]);
        }
        Err(Errno::NAMETOOLONG.into())
    }
}

/// The number of the thread that makes a call.
pub(super) fn number(call: Notification) -> Result<Pid> {
    i32::try_from(call.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}
