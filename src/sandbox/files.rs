//! Files that are there for the time of a run: bound over the root, from memory.

use std::io::Write as _;

use rustix::fs::{Mode, OFlags, fchmod, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::sys;
use crate::sys::mount::Reach;

use super::failure::{Doing as _, SetupError};
use super::root::Staging;
use super::spec::File;
use super::target::Tree;

/// Puts the files in. The process may write to them; that is lost with the run.
pub(super) fn mount(tree: &mut Tree, staging: &Staging, files: &[File]) -> Result<(), SetupError> {
    if files.is_empty() {
        return Ok(());
    }
    let store = staging.subdirectory("files")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    for (index, file) in files.iter().enumerate() {
        let shown = file.path.display();
        let target = tree.file(&file.path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = openat(&store, index.to_string(), flags, Mode::from_raw_mode(0o600)).doing("make", shown)?;
        let mut copy = std::fs::File::from(fd);
        copy.write_all(&file.bytes)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing("write", file.path.display())?;
        fchmod(&copy, Mode::from_raw_mode(file.mode & 0o7777)).doing("write", file.path.display())?;
        sys::mount::clone(&copy, c"", Reach::One, attributes)
            .and_then(|mount| sys::mount::attach(mount, target))
            .map_err(|errno| SetupError::File {
                path: file.path.display().to_string(),
                errno: errno.into(),
            })?;
    }
    Ok(())
}
