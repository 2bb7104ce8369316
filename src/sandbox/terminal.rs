//! A terminal of the process' own, in the root file system's `/dev/pts`.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sys;
use crate::sys::mount::Reach;

use super::failure::{Doing as _, SetupError};
use super::spec::Size;

/// Both ends.
pub(super) struct Terminal {
    /// The caller's.
    pub ours: OwnedFd,
    /// The process'.
    pub theirs: OwnedFd,
}

/// As in linux/magic.h.
const DEVPTS: i64 = 0x1cd1;

/// Makes a terminal. Within a running container `/dev` may be anything, so no link is followed and what is opened must
/// lie in a file system of terminals (CVE-2025-52565); its other end is asked for by descriptor.
pub(super) fn open(size: Size) -> Result<Terminal, SetupError> {
    let shown = "/dev/pts/ptmx";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ours = openat2(CWD, shown, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).doing("open", shown)?;
    if fstatfs(&ours).doing("look at", shown)?.f_type != DEVPTS {
        return Err(Errno::NOTTY).doing("open", shown);
    }
    unlockpt(&ours).doing("unlock", "the terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let theirs = ioctl_tiocgptpeer(&ours, flags).doing("open", "the other end of the terminal")?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).doing("set the size of", "the terminal")?;
    Ok(Terminal { ours, theirs })
}

/// Shows the terminal as `/dev/console` too. Only while no program runs yet, and where a mount over `/dev` left the place
/// that there is for it.
pub(super) fn show_as_console(terminal: &Terminal) -> Result<(), SetupError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let shown = "/dev/console";
    let Ok(place) = openat2(CWD, shown, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) else {
        return Ok(());
    };
    let nosuid = rustix::mount::MountAttrFlags::MOUNT_ATTR_NOSUID;
    sys::mount::clone(terminal.theirs.as_fd(), c"", Reach::One, nosuid)
        .and_then(|mount| sys::mount::attach(mount, place))
        .doing("mount", shown)
}
