//! An unpacked layer held against its table of contents: what was added, changed or removed since it was made.
//!
//! Owns: the comparison. Reads only, follows nothing, and reads each file's bytes once.

use std::fs::File;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};

use super::capture::Owners;
use super::entry::{Node, Toc, TocEntry, is_carried};
use super::unpack::Devices;
use crate::digest::ContentDigest;
use crate::mount::{OWNER_XATTR, OverlayMarks};
use crate::path::ImagePath;
use crate::sys::beneath::{self, Beneath};
use crate::sys::{dir, xattr};

/// How the layer was unpacked.
#[derive(Debug, Clone, Copy)]
pub struct AuditOptions {
    pub marks: OverlayMarks,
    pub owners: Owners,
    pub devices: Devices,
}

/// One thing that is not as the table says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation {
    pub path: ImagePath,
    pub what: &'static str,
}

/// Compares a directory with the layer it was unpacked from. Deviations come in layer order; none means equal.
///
/// # Errors
/// Of reading the directory.
pub fn audit(unpacked: &Path, toc: &Toc, options: &AuditOptions) -> io::Result<Vec<Deviation>> {
    let mut tree = Beneath::open(unpacked)?;
    let mut found = Vec::new();
    list(&mut tree, ImagePath::root(), &mut found)?;
    found.sort_unstable();
    let mut deviations = added(toc, &found);
    let entries: Vec<&TocEntry> = toc.entries().iter().collect();
    let checked: Vec<Option<Deviation>> = entries
        .par_chunks(256)
        .map(|piece| {
            let mut tree = Beneath::open(unpacked)?;
            piece.iter().map(|entry| check(&mut tree, toc, entry, options)).collect::<io::Result<Vec<_>>>()
        })
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    deviations.extend(checked.into_iter().flatten());
    deviations.sort();
    Ok(deviations)
}

/// Every path on disk below the root.
fn list(tree: &mut Beneath, at: ImagePath, found: &mut Vec<ImagePath>) -> io::Result<()> {
    let entries = dir::list(tree.dir(&at)?)?;
    for entry in entries {
        let path = at.child(&entry.name);
        found.push(path.clone());
        if entry.kind == FileType::Directory {
            list(tree, path, found)?;
        }
    }
    Ok(())
}

/// What is on disk and neither listed nor the directory of something listed.
fn added(toc: &Toc, found: &[ImagePath]) -> Vec<Deviation> {
    let is_known = |path: &ImagePath| toc.get(path).is_some() || !toc.below(path).is_empty();
    let unknown = found.iter().filter(|path| !is_known(path));
    unknown.map(|path| Deviation { path: path.clone(), what: "was added" }).collect()
}

fn check(
    tree: &mut Beneath,
    toc: &Toc,
    entry: &TocEntry,
    options: &AuditOptions,
) -> io::Result<Option<Deviation>> {
    let path = &entry.path;
    if path.is_root() {
        return Ok(None);
    }
    let deviation = |what| Ok(Some(Deviation { path: path.clone(), what }));
    let is_device = matches!(entry.node, Node::Char { .. } | Node::Block { .. });
    if is_device && options.devices == Devices::Record {
        return Ok(None);
    }
    let Some(stat) = stat(tree, path)? else { return deviation("was removed") };
    if let Some(what) = wrong_kind(tree, entry, &stat, options)? {
        return deviation(what);
    }
    if let Some(what) = other_content(tree, toc, entry, &stat)? {
        return deviation(what);
    }
    let meta = &entry.meta;
    let has_meta = !matches!(entry.node, Node::Whiteout | Node::Opaque);
    let is_symlink = matches!(entry.node, Node::Symlink(_));
    if has_meta && !is_symlink && u32::from(stat.stx_mode) & 0o7777 != u32::from(meta.mode) {
        return deviation("has another mode");
    }
    if has_meta && options.owners == Owners::AsOnDisk && (stat.stx_uid, stat.stx_gid) != (meta.uid, meta.gid)
    {
        return deviation("has another owner");
    }
    if has_meta && (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec) != (meta.mtime.secs, meta.mtime.nanos) {
        return deviation("has another time");
    }
    Ok(None)
}

fn stat(tree: &mut Beneath, path: &ImagePath) -> io::Result<Option<Statx>> {
    let holder = match tree.holder(path) {
        Ok(holder) => holder,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match rustix::fs::statx(holder, path.name(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn wrong_kind(
    tree: &mut Beneath,
    entry: &TocEntry,
    stat: &Statx,
    options: &AuditOptions,
) -> io::Result<Option<&'static str>> {
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    let device = (stat.stx_rdev_major, stat.stx_rdev_minor);
    let right = match &entry.node {
        Node::Dir => kind == FileType::Directory,
        Node::Opaque => {
            let mark = options.marks.opaque().as_bytes();
            let is_marked =
                kind == FileType::Directory && xattr::get(tree.dir(&entry.path)?, mark)?.is_some();
            return Ok((!is_marked).then_some("is no longer opaque"));
        }
        Node::File { .. } | Node::Hardlink(_) => kind == FileType::RegularFile,
        Node::Symlink(target) => {
            let name = entry.path.name();
            kind == FileType::Symlink
                && rustix::fs::readlinkat(tree.holder(&entry.path)?, name, Vec::new())?.as_bytes() == target
        }
        Node::Char { major, minor } => kind == FileType::CharacterDevice && device == (*major, *minor),
        Node::Block { major, minor } => kind == FileType::BlockDevice && device == (*major, *minor),
        Node::Fifo => kind == FileType::Fifo,
        Node::Whiteout => kind == FileType::CharacterDevice && device == (0, 0),
    };
    Ok((!right).then_some("was replaced"))
}

/// Bytes and xattrs of a regular file, xattrs of a directory.
fn other_content(
    tree: &mut Beneath,
    toc: &Toc,
    entry: &TocEntry,
    stat: &Statx,
) -> io::Result<Option<&'static str>> {
    let node = match &entry.node {
        Node::Hardlink(to) => toc.get(to).map_or(&entry.node, |leader| &leader.node),
        node => node,
    };
    let xattrs = match node {
        Node::Dir => carried(tree.dir(&entry.path)?)?,
        Node::File { size, content, .. } => {
            if *size != stat.stx_size {
                return Ok(Some("has other bytes"));
            }
            let fd = beneath::open(tree.root(), &entry.path, OFlags::RDONLY, Mode::empty())?;
            let mut file = File::from(fd);
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut file, &mut hasher)?;
            if ContentDigest::from_bytes(*hasher.finalize().as_bytes()) != *content {
                return Ok(Some("has other bytes"));
            }
            carried(&file)?
        }
        Node::Hardlink(_)
        | Node::Symlink(_)
        | Node::Char { .. }
        | Node::Block { .. }
        | Node::Fifo
        | Node::Whiteout
        | Node::Opaque => return Ok(None),
    };
    Ok((xattrs != entry.meta.xattrs).then_some("has other extended attributes"))
}

fn carried(fd: impl std::os::fd::AsFd) -> io::Result<Vec<super::entry::Xattr>> {
    xattr::read(fd, |name| is_carried(name) && name != OWNER_XATTR.as_bytes())
}
