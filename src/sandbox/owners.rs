//! Owners where the user namespace has a single id: recorded, not lost.
//!
//! The kernel refuses to give a file to an id it has no number for. So the calls of the chown family wait for init,
//! which notes the wanted owner on the file (`user.lith.owner`, value `uid:gid`) and lets the caller believe it was
//! done. Regular files and directories only: nothing else can hold such a note. What stat(2) says is not changed.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags, chownat, fgetxattr, fremovexattr,
    fsetxattr, fstat, openat, openat2,
};
use rustix::io::{Errno, Result};

use crate::sys::seccomp::{self, Answer, Instruction, Notification};

use super::failure::{Doing as _, SetupError};
use super::filter;
use crate::mount::OWNER_XATTR as XATTR;

/// The longest path of a process, with its zero byte.
const PATH_MAX: u64 = 4096;

/// Whether the user namespace of a process, whose directory in `/proc` this is, has one user id and no more.
pub(super) fn are_recorded(process: impl AsFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let map = openat(process, c"uid_map", flags, Mode::empty()).ok();
    map.and_then(|map| std::io::read_to_string(File::from(map)).ok()).is_some_and(|map| is_single(&map))
}

/// The directory of this process in the `/proc` of now.
pub(super) fn our_process() -> std::result::Result<OwnedFd, SetupError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, c"/proc/self", flags, Mode::empty()).doing("open", "/proc/self")
}

/// A `/proc` of this process' pid namespace.
pub(super) struct Processes(OwnedFd);

impl Processes {
    /// That of now.
    pub(super) fn open() -> std::result::Result<Self, SetupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, c"/proc", flags, Mode::empty()).map(Self).doing("open", "/proc")
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        openat(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty())
    }
}

/// Answers calls of a program. Its root must be that of the program: links in paths are followed from there.
pub(super) struct Supervisor {
    listener: OwnedFd,
    processes: Processes,
}

fn is_single(map: &str) -> bool {
    let counts: Vec<&str> = map.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    counts == ["1"]
}

/// The filter that hands the calls over.
pub(super) fn filter() -> Vec<Instruction> {
    let numbers: Vec<u32> = CALLS.iter().filter_map(|(number, _)| u32::try_from(*number).ok()).collect();
    filter::hand_over(&numbers)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    #[cfg(target_arch = "x86_64")]
    Chown,
    #[cfg(target_arch = "x86_64")]
    Lchown,
    Fchown,
    Fchownat,
    Setgroups,
}

const CALLS: &[(libc::c_long, Call)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, Call::Chown),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, Call::Lchown),
    (libc::SYS_fchown, Call::Fchown),
    (libc::SYS_fchownat, Call::Fchownat),
    (libc::SYS_setgroups, Call::Setgroups),
];

impl Supervisor {
    /// The program hands its calls over at `listener`.
    pub(super) fn new(listener: OwnedFd, processes: Processes) -> Self {
        Self { listener, processes }
    }

    /// Readable when a call waits.
    pub(super) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Answers the next call that waits.
    pub(super) fn serve(&self) {
        // A caller that was killed needs no answer.
        let Ok(call) = seccomp::receive(&self.listener) else { return };
        let answer = match change(self, call) {
            Ok(()) => Answer::Done,
            Err(Refusal::Errno(errno)) => Answer::Failed(errno),
            Err(Refusal::NotOurs) => Answer::Kernel,
        };
        let _ = seccomp::answer(&self.listener, call, answer);
    }
}

enum Refusal {
    /// What the kernel would say, too.
    Errno(Errno),
    /// Not understood, so as without this supervisor.
    NotOurs,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

fn change(us: &Supervisor, call: Notification) -> std::result::Result<(), Refusal> {
    let known = CALLS.iter().find(|(number, _)| *number == libc::c_long::from(call.number));
    let Some((_, kind)) = known else { return Err(Refusal::NotOurs) };
    let [a, b, c, d, e, _] = call.arguments;
    let (file, user, group) = match kind {
        #[cfg(target_arch = "x86_64")]
        Call::Chown => (named(us, call, None, a, true)?, b, c),
        #[cfg(target_arch = "x86_64")]
        Call::Lchown => (named(us, call, None, a, false)?, b, c),
        Call::Fchown => (descriptor(us, call, a)?, b, c),
        Call::Fchownat => {
            let flags = AtFlags::from_bits_retain(low(e));
            let path = read_path(us, call, b)?;
            let file = if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
                descriptor(us, call, a)?
            } else {
                let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
                open(us, call, Some(a), &path, follow)?
            };
            (file, c, d)
        }
        // There are no groups to have but the one that is there.
        Call::Setgroups => return Ok(()),
    };
    Ok(record(us, &file, low(user), low(group))?)
}

/// User and group ids, descriptors and flags are 32 bits wide; the kernel looks at no more either.
fn low(argument: u64) -> u32 {
    u32::try_from(argument & 0xFFFF_FFFF).expect("masked to 32 bits")
}

#[cfg(target_arch = "x86_64")]
fn named(
    us: &Supervisor,
    call: Notification,
    dir: Option<u64>,
    path: u64,
    follow: bool,
) -> std::result::Result<OwnedFd, Refusal> {
    let path = read_path(us, call, path)?;
    Ok(open(us, call, dir, &path, follow)?)
}

/// The file a path of the caller means: from its root, its working directory or one of its descriptors. No magic
/// links, since those would lead through this process' descriptors instead of the caller's.
fn open(
    us: &Supervisor,
    call: Notification,
    dir: Option<u64>,
    path: &CString,
    follow: bool,
) -> Result<OwnedFd> {
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
    let base = us.processes.open_at(&base, OFlags::PATH)?;
    openat2(base, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS)
}

fn descriptor(us: &Supervisor, call: Notification, fd: u64) -> std::result::Result<OwnedFd, Refusal> {
    let path = format!("{}/fd/{}", call.pid, low(fd));
    let file = us.processes.open_at(&path, OFlags::PATH).map_err(|_| Errno::BADF)?;
    if seccomp::waits(&us.listener, call) { Ok(file) } else { Err(Refusal::NotOurs) }
}

/// The text at an address of the caller.
fn read_path(us: &Supervisor, call: Notification, address: u64) -> std::result::Result<CString, Refusal> {
    let path = format!("{}/mem", call.pid);
    let mut memory =
        us.processes.open_at(&path, OFlags::RDONLY).map(File::from).map_err(|_| Refusal::NotOurs)?;
    if !seccomp::waits(&us.listener, call) {
        return Err(Refusal::NotOurs);
    }
    memory.seek(SeekFrom::Start(address)).map_err(|_| Errno::FAULT)?;
    let mut bytes = Vec::new();
    // A path near the end of a mapping: what could be read is enough if it holds the end of the text.
    let read = memory.take(PATH_MAX).read_to_end(&mut bytes);
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => {
            bytes.truncate(end);
            CString::new(bytes).map_err(|_| Refusal::NotOurs)
        }
        None if read.is_err() => Err(Errno::FAULT.into()),
        None => Err(Errno::NAMETOOLONG.into()),
    }
}

/// Notes the owner; -1 leaves what is noted. A file of user and group 0 has no note.
fn record(us: &Supervisor, file: &OwnedFd, user: u32, group: u32) -> Result<()> {
    // What the kernel does at every change of owner: drops setuid and setgid bits.
    chownat(file, c"", None, None, AtFlags::EMPTY_PATH)?;
    match FileType::from_raw_mode(fstat(file)?.st_mode) {
        FileType::RegularFile | FileType::Directory => {}
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => return Ok(()),
    }
    // Attributes are not to be had by a descriptor that is only a path.
    let file =
        us.processes.open_at(&format!("self/fd/{}", file.as_raw_fd()), OFlags::RDONLY | OFlags::NONBLOCK)?;
    let mut note = [0; 32];
    let old = match fgetxattr(&file, XATTR, &mut note) {
        Ok(length) => parse(&note[..length]),
        Err(_) => (0, 0),
    };
    let pick = |new: u32, old: u32| if new == u32::MAX { old } else { new };
    match (pick(user, old.0), pick(group, old.1)) {
        now if now == old => Ok(()),
        (0, 0) => fremovexattr(&file, XATTR),
        (user, group) => fsetxattr(&file, XATTR, format!("{user}:{group}").as_bytes(), XattrFlags::empty()),
    }
}

fn parse(note: &[u8]) -> (u32, u32) {
    let text = std::str::from_utf8(note).unwrap_or_default();
    let ids = text.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
    ids.unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_is_told_from_many() {
        assert!(is_single("         0       1001          1\n"));
        assert!(!is_single("         0       1001          1\n         1     100000      65536\n"));
        assert!(!is_single("         0          0 4294967295\n"));
        assert!(!is_single(""));
    }

    #[test]
    fn a_note_that_is_none_is_that_of_root() {
        assert_eq!(parse(b"33:44"), (33, 44));
        for bad in ["", "33", "33:", "a:b", "-1:0", "4294967296:0"] {
            assert_eq!(parse(bad.as_bytes()), (0, 0), "{bad}");
        }
    }
}
