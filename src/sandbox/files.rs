//! Files that are there for the time of a run: bound over the root, from memory.

use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, futimens, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::sys;
use crate::sys::mount::Reach;

use super::failure::{Doing as _, SetupError};
use super::root::Staging;
use super::spec::File;
use super::target::Tree;

/// Of all files.
const LOCKED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Puts the files in. The process may write to them; that is lost with the run.
pub(super) fn mount(tree: &mut Tree, staging: &Staging, files: &[File]) -> Result<(), SetupError> {
    if files.is_empty() {
        return Ok(());
    }
    let store = staging.subdirectory("files")?;
    for (index, file) in files.iter().enumerate() {
        let shown = file.path.display().to_string();
        let target = tree.file(&file.path)?;
        let made = make(&store, &index.to_string(), &file.bytes, &shown)?;
        fchmod(&made, Mode::from_raw_mode(file.mode & 0o7777)).doing("write", &shown)?;
        // Scripts are among them, and programs that stand in for others.
        sys::mount::clone(&made, c"", Reach::One, LOCKED)
            .and_then(|mount| sys::mount::allow_execution(&mount).map(|()| mount))
            .and_then(|mount| sys::mount::attach(mount, target))
            .map_err(|errno| SetupError::File { path: shown, errno: errno.into() })?;
    }
    Ok(())
}

/// A read-only mount of one file; `name` is its own in the staging directory.
pub(super) fn read_only(
    staging: &Staging,
    name: &str,
    bytes: &[u8],
    (mode, uid, gid): (u32, u32, u32),
) -> Result<OwnedFd, SetupError> {
    let made = make(staging.dir(), name, bytes, "a file for a mount")?;
    if (uid, gid) != (0, 0) {
        fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| SetupError::Identity { uid, gid, errno: errno.into() })?;
    }
    fchmod(&made, Mode::from_raw_mode(mode & 0o7777)).doing("write", "a file for a mount")?;
    let attributes = LOCKED.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
    sys::mount::clone(&made, c"", Reach::One, attributes).doing("mount", "a file")
}

/// A file of the staging tmpfs, mode 0600.
fn make(dir: &OwnedFd, name: &str, bytes: &[u8], shown: &str) -> Result<OwnedFd, SetupError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::from_raw_mode(0o600)).doing("make", shown)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        .doing("write", shown)?;
    // When it was put there must not show in what a step makes of it.
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    futimens(&file, &Timestamps { last_access: zero, last_modification: zero })
        .doing("set the time of", shown)?;
    Ok(file.into())
}
