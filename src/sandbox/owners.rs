//! Owners where the user namespace has a single id: recorded, not lost.
//!
//! The kernel refuses to give a file to an id it has no number for. So the calls of the chown family wait for init,
//! which notes the wanted owner on the file (`user.lith.owner`, value `uid:gid`) and lets the caller believe it was
//! done. Regular files and directories only: nothing else can hold such a note. What stat(2) says is not changed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, XattrFlags, chownat, fgetxattr, fremovexattr, fsetxattr, fstat,
    openat,
};
use rustix::io::Result;

use crate::sys::seccomp::{Answer, Notification};

use super::failure::{Doing as _, SetupError};
use super::filter::Handed;
use super::supervisor::{Calls, Processes, Refusal, low};
use crate::mount::OWNER_XATTR as XATTR;

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

fn is_single(map: &str) -> bool {
    let counts: Vec<&str> = map.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    counts == ["1"]
}

/// The calls that are handed over.
pub(super) fn handed() -> Vec<Handed> {
    CALLS.iter().filter_map(|(number, _)| Handed::always(*number)).collect()
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

/// Answers a call, if it is one of these.
pub(super) fn answer(calls: &Calls, call: Notification) -> Option<Answer> {
    let (_, kind) = CALLS.iter().find(|(number, _)| *number == libc::c_long::from(call.number))?;
    Some(match change(calls, call, *kind) {
        Ok(()) => Answer::Done,
        Err(Refusal::Errno(errno)) => Answer::Failed(errno),
        Err(Refusal::NotOurs) => Answer::Kernel,
    })
}

fn change(calls: &Calls, call: Notification, kind: Call) -> std::result::Result<(), Refusal> {
    let [a, b, c, d, e, _] = call.arguments;
    let (file, user, group) = match kind {
        #[cfg(target_arch = "x86_64")]
        Call::Chown => (calls.named(call, a, true)?, b, c),
        #[cfg(target_arch = "x86_64")]
        Call::Lchown => (calls.named(call, a, false)?, b, c),
        Call::Fchown => (calls.descriptor(call, a)?, b, c),
        Call::Fchownat => (calls.named_at(call, a, b, AtFlags::from_bits_retain(low(e)))?, c, d),
        // There are no groups to have but the one that is there.
        Call::Setgroups => return Ok(()),
    };
    Ok(record(&calls.processes, &file, low(user), low(group))?)
}

/// Notes the owner; -1 leaves what is noted. A file of user and group 0 has no note.
fn record(processes: &Processes, file: &OwnedFd, user: u32, group: u32) -> Result<()> {
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
        processes.open_at(&format!("self/fd/{}", file.as_raw_fd()), OFlags::RDONLY | OFlags::NONBLOCK)?;
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
