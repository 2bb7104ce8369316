//! The end of all writes to a root: what a step leaves cannot be changed once it counts as its result.
//!
//! A process that is gone may have passed a file that it had open for writing to another sandbox, over a socket in a
//! cache they share (CVE-2024-27297). The pid namespace ends none of these.

use rustix::event::Timespec;
use rustix::fs::{stat, statfs};
use rustix::io::Errno;

use crate::sys;
use crate::sys::mount::FsError;

use super::failure::{Doing as _, SetupError};

/// How often is asked again, and how long is waited in between, in nanoseconds: files that were on their way in a
/// socket when its last owner died are closed by the kernel a little later.
const TRIES: u32 = 300;
const PAUSE: i64 = 10_000_000;

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY_MAGIC: i64 = 0x794C_7630;

/// Which file system is at the root of this process, by its device number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Root(u64);

/// The one that is there now.
pub(super) fn root() -> Result<Root, SetupError> {
    stat(c"/").map(|root| Root(root.st_dev)).doing("look at", "/")
}

/// Makes the file system at the root of this process read-only for everybody, now that no process of the sandbox is
/// left. It became that of the sandbox when init entered it; `host` is what was there before, which stays as it is.
///
/// # Errors
/// [`SetupError::Held`] if somebody still has a file of it open for writing.
pub(super) fn close(host: Root) -> Result<(), SetupError> {
    // Init failed before it entered a root of its own; and nothing but an overlay may be closed.
    let overlay = statfs(c"/").is_ok_and(|fs| fs.f_type == OVERLAY_MAGIC);
    if root()? == host || !overlay {
        return Ok(());
    }
    for _ in 0..TRIES {
        match sys::mount::make_read_only(c"/") {
            Err(FsError { errno: Errno::BUSY, .. }) => {
                collect();
                pause();
            }
            other => return other.doing("close", "the root file system"),
        }
    }
    Err(SetupError::Held)
}

/// Has the kernel look for sockets that nobody holds: it does when one is closed (unix_gc of net/unix/garbage.c).
fn collect() {
    // Without one it does so later.
    drop(std::os::unix::net::UnixStream::pair());
}

fn pause() {
    // Cut short by a signal it is only shorter.
    let _ = rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: PAUSE }));
}
