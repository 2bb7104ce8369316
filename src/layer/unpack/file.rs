//! Regular files, and what an open file or directory is given at the end.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use super::{UnpackError, UnpackOptions, io_error, owner_error};
use crate::digest::ContentDigest;
use crate::layer::capture::Owners;
use crate::layer::entry::{Meta, Mtime, Node, TocEntry};
use crate::path::ImagePath;
use crate::sys::beneath::Beneath;

/// Bytes read at once from the tar.
const BUFFER: u64 = 1 << 20;

/// Writes one regular file.
pub(super) fn write(
    root: &mut Beneath,
    tar: &File,
    entry: &TocEntry,
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    let Node::File { size, offset, content } = entry.node else { unreachable!("only files come here") };
    let path = &entry.path;
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(holder, path.name(), flags, Mode::RUSR | Mode::WUSR)
        .map_err(io_error("create file", path))?;
    let mut file = File::from(fd);
    let written = copy(tar, offset, size, &mut file).map_err(io_error("write file", path))?;
    if written != content {
        return Err(UnpackError::Corrupt { path: path.clone() });
    }
    dress(file.as_fd(), path, &entry.meta, options)
}

/// Small files through a buffer; large ones inside the kernel, where the file system shares blocks if it can. Gives
/// the digest of what was copied: a tar that rotted must not become a file that a process reads.
fn copy(tar: &File, offset: u64, size: u64, file: &mut File) -> io::Result<ContentDigest> {
    let mut hasher = blake3::Hasher::new();
    let (mut at, mut left) = (offset, size);
    while left > BUFFER {
        let chunk = usize::try_from(left.min(1 << 30)).expect("at most 1 GiB");
        match rustix::fs::copy_file_range(tar, Some(&mut at), &*file, None, chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => {
                hash_large(&mut hasher, tar, at - copied as u64, copied as u64)?;
                left -= copied as u64;
            }
            // Not between these two file systems.
            Err(_) => break,
        }
    }
    let mut buffer = vec![0; usize::try_from(left.min(BUFFER)).expect("at most 1 MiB")];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        tar.read_exact_at(&mut buffer[..want], at)?;
        file.write_all(&buffer[..want])?;
        hasher.update(&buffer[..want]);
        at += want as u64;
        left -= want as u64;
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Hashes a part of the tar with all processors.
fn hash_large(hasher: &mut blake3::Hasher, tar: &File, offset: u64, size: u64) -> io::Result<()> {
    let (mut at, mut left) = (offset, size);
    let mut buffer = vec![0; usize::try_from(left.min(4 * BUFFER)).expect("at most 4 MiB")];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        tar.read_exact_at(&mut buffer[..want], at)?;
        hasher.update_rayon(&buffer[..want]);
        at += want as u64;
        left -= want as u64;
    }
    Ok(())
}

/// Owner, xattrs, mode and time of an open file or directory, in the order in which the kernel keeps them: a change
/// of owner drops setuid and capabilities.
pub(super) fn dress(
    fd: BorrowedFd<'_>,
    path: &ImagePath,
    meta: &Meta,
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    if options.owners == Owners::AsOnDisk {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(owner_error(path, meta))?;
    }
    for (name, value) in &meta.xattrs {
        crate::sys::xattr::set(fd, name, value).map_err(io_error("set an extended attribute of", path))?;
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode.into()))
        .map_err(io_error("set the mode of", path))?;
    rustix::fs::futimens(fd, &times(meta.mtime)).map_err(io_error("set the time of", path))
}

/// Access time as modification time: a layer has no other.
pub(super) fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
