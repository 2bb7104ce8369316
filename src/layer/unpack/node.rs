//! Everything that is neither a directory nor a regular file.

use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, Uid, makedev};

use super::{Devices, UnpackError, UnpackOptions, file, io_error, owner_error};
use crate::layer::capture::Owners;
use crate::layer::entry::{Node, TocEntry};
use crate::path::ImagePath;
use crate::sys::beneath::Beneath;

/// Makes a link, device, FIFO or whiteout; does nothing for others.
pub(super) fn make(root: &mut Beneath, entry: &TocEntry, options: &UnpackOptions) -> Result<(), UnpackError> {
    match &entry.node {
        Node::Dir | Node::File { .. } | Node::Opaque => Ok(()),
        Node::Hardlink(to) => hard_link(root, &entry.path, to),
        Node::Symlink(target) => symlink(root, entry, target, options),
        Node::Whiteout => mknod(root, &entry.path, FileType::CharacterDevice, Mode::empty(), 0),
        Node::Fifo => device(root, entry, FileType::Fifo, 0, options),
        Node::Char { .. } | Node::Block { .. } if options.devices == Devices::Skip => Ok(()),
        Node::Char { major, minor } => {
            device(root, entry, FileType::CharacterDevice, makedev(*major, *minor), options)
        }
        Node::Block { major, minor } => {
            device(root, entry, FileType::BlockDevice, makedev(*major, *minor), options)
        }
    }
}

fn hard_link(root: &mut Beneath, path: &ImagePath, to: &ImagePath) -> Result<(), UnpackError> {
    // The file's own directory is opened through no symlink, and its name is not followed.
    let from = root
        .holder(to)
        .and_then(|fd| fd.try_clone_to_owned())
        .map_err(io_error("open the directory of", to))?;
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    rustix::fs::linkat(from, to.name(), holder, path.name(), AtFlags::empty()).map_err(io_error("link", path))
}

fn symlink(
    root: &mut Beneath,
    entry: &TocEntry,
    target: &[u8],
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    let path = &entry.path;
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    rustix::fs::symlinkat(target, holder, path.name()).map_err(io_error("create symlink", path))?;
    dress(root, entry, options)
}

fn device(
    root: &mut Beneath,
    entry: &TocEntry,
    kind: FileType,
    device: Dev,
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    mknod(root, &entry.path, kind, Mode::RUSR, device)?;
    dress(root, entry, options)?;
    let holder = root.holder(&entry.path).map_err(io_error("open the directory of", &entry.path))?;
    // fchmodat follows symlinks, but nobody else works in here and this name was just made as a device.
    rustix::fs::chmodat(
        holder,
        entry.path.name(),
        Mode::from_raw_mode(entry.meta.mode.into()),
        AtFlags::empty(),
    )
    .map_err(io_error("set the mode of", &entry.path))?;
    set_times(root, entry)
}

fn mknod(
    root: &mut Beneath,
    path: &ImagePath,
    kind: FileType,
    mode: Mode,
    device: Dev,
) -> Result<(), UnpackError> {
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    rustix::fs::mknodat(holder, path.name(), kind, mode, device).map_err(io_error("create device", path))
}

/// Owner and time of something that is not opened.
fn dress(root: &mut Beneath, entry: &TocEntry, options: &UnpackOptions) -> Result<(), UnpackError> {
    let (path, meta) = (&entry.path, &entry.meta);
    if options.owners == Owners::AsOnDisk {
        let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::chownat(holder, path.name(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(owner_error(path, meta))?;
    }
    set_times(root, entry)
}

fn set_times(root: &mut Beneath, entry: &TocEntry) -> Result<(), UnpackError> {
    let path = &entry.path;
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    let times = file::times(entry.meta.mtime);
    rustix::fs::utimensat(holder, path.name(), &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(io_error("set the time of", path))
}
