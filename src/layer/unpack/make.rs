//! Making files: directories first, files side by side, then what refers to them, the metadata of directories last.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::{Devices, UnpackError};
use crate::digest::ContentDigest;
use crate::layer::capture::Owners;
use crate::layer::entry::{Meta, Mtime};
use crate::mount::OWNER_XATTR;
use crate::path::ImagePath;
use crate::sys::beneath::{self, Beneath};
use crate::sys::xattr;

/// Files up to this size are read and written at once; larger ones are left to the kernel to copy.
const SMALL: u64 = 128 * 1024;

/// One thing to make.
pub(in crate::layer) struct Item<'a> {
    pub path: ImagePath,
    pub meta: Meta,
    pub what: What<'a>,
}

/// What to make.
pub(in crate::layer) enum What<'a> {
    Dir {
        opaque: bool,
    },
    File {
        size: u64,
        offset: u64,
        content: ContentDigest,
    },
    /// Another name of a file among the items.
    Link(ImagePath),
    Symlink(&'a [u8]),
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
    Whiteout,
}

/// How to make things.
pub(super) struct Maker<'a> {
    /// The layer's uncompressed tar.
    pub tar: &'a File,
    pub owners: Owners,
    pub devices: Devices,
    /// The xattr that marks a directory as opaque.
    pub opaque: &'static str,
}

impl Maker<'_> {
    /// Makes everything below an existing directory. Items are in layer order, directories before what they hold.
    pub fn make(&self, dest: &Path, items: &[Item<'_>]) -> Result<(), UnpackError> {
        let mut tree = Beneath::open(dest).map_err(failed("open", &ImagePath::root()))?;
        for item in items.iter().filter(|item| matches!(item.what, What::Dir { .. })) {
            self.directory(&mut tree, &item.path)?;
        }
        let root = tree.root();
        items.par_iter().try_for_each(|item| match item.what {
            What::File { size, offset, content } => self.file(root, item, offset..offset + size, content),
            What::Dir { .. }
            | What::Link(_)
            | What::Symlink(_)
            | What::Char { .. }
            | What::Block { .. }
            | What::Fifo
            | What::Whiteout => Ok(()),
        })?;
        for item in items {
            self.special(&mut tree, item)?;
        }
        for item in items.iter().rev() {
            if let What::Dir { opaque } = item.what {
                self.finish_directory(&mut tree, item, opaque)?;
            }
        }
        Ok(())
    }

    fn directory(&self, tree: &mut Beneath, path: &ImagePath) -> Result<(), UnpackError> {
        if path.is_root() {
            return Ok(());
        }
        let holder = tree.holder(path).map_err(failed("open the directory of", path))?;
        rustix::fs::mkdirat(holder, path.name(), Mode::RWXU).map_err(failed("make directory", path))
    }

    /// A tar that rotted must not become a file that a process reads: what was copied is hashed.
    fn file(
        &self,
        root: BorrowedFd<'_>,
        item: &Item<'_>,
        range: Range<u64>,
        content: ContentDigest,
    ) -> Result<(), UnpackError> {
        let path = &item.path;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let created = beneath::open(root, path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(created.map_err(failed("create", path))?);
        if copy(self.tar, range, &mut file, path)? != content {
            return Err(UnpackError::Corrupt { path: path.clone() });
        }
        self.set_meta(file.as_fd(), item)
    }

    /// Everything that is neither a directory nor a file with bytes.
    fn special(&self, tree: &mut Beneath, item: &Item<'_>) -> Result<(), UnpackError> {
        let path = &item.path;
        match &item.what {
            What::Dir { .. } | What::File { .. } => Ok(()),
            What::Link(target) => self.link(tree, path, target),
            What::Symlink(target) => {
                let holder = tree.holder(path).map_err(failed("open the directory of", path))?;
                rustix::fs::symlinkat(*target, holder, path.name()).map_err(failed("make symlink", path))?;
                self.set_meta_at(holder, item, None)
            }
            What::Fifo => self.node(tree, item, FileType::Fifo, 0),
            What::Char { .. } | What::Block { .. } if self.devices == Devices::Record => Ok(()),
            What::Char { major, minor } => {
                self.node(tree, item, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            What::Block { major, minor } => {
                self.node(tree, item, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
            What::Whiteout => {
                let holder = tree.holder(path).map_err(failed("open the directory of", path))?;
                let (kind, device) = (FileType::CharacterDevice, rustix::fs::makedev(0, 0));
                let made = rustix::fs::mknodat(holder, path.name(), kind, Mode::empty(), device);
                made.map_err(failed("make the whiteout", path))
            }
        }
    }

    fn link(&self, tree: &mut Beneath, path: &ImagePath, target: &ImagePath) -> Result<(), UnpackError> {
        let from = beneath::open_dir(tree.root(), &target.parent().unwrap_or_default());
        let from = from.map_err(failed("open the directory of", target))?;
        let holder = tree.holder(path).map_err(failed("open the directory of", path))?;
        rustix::fs::linkat(&from, target.name(), holder, path.name(), AtFlags::empty())
            .map_err(failed("link", path))
    }

    fn node(
        &self,
        tree: &mut Beneath,
        item: &Item<'_>,
        kind: FileType,
        device: u64,
    ) -> Result<(), UnpackError> {
        let path = &item.path;
        let holder = tree.holder(path).map_err(failed("open the directory of", path))?;
        rustix::fs::mknodat(holder, path.name(), kind, Mode::RUSR | Mode::WUSR, device)
            .map_err(failed("make device", path))?;
        self.set_meta_at(holder, item, Some(mode(&item.meta)))
    }

    fn finish_directory(&self, tree: &mut Beneath, item: &Item<'_>, opaque: bool) -> Result<(), UnpackError> {
        let path = &item.path;
        let fd = tree.dir(path).map_err(failed("open", path))?;
        if opaque {
            xattr::set(fd, self.opaque.as_bytes(), b"y").map_err(failed("mark as opaque", path))?;
        }
        self.set_meta(fd, item)
    }

    /// Owner, then mode and xattrs, which a change of owner would strip, then the time.
    fn set_meta(&self, fd: BorrowedFd<'_>, item: &Item<'_>) -> Result<(), UnpackError> {
        let (path, meta) = (&item.path, &item.meta);
        let (uid, gid) = owner(meta);
        self.owned(rustix::fs::fchown(fd, uid, gid), path)?;
        rustix::fs::fchmod(fd, mode(meta)).map_err(failed("set the mode of", path))?;
        for (name, value) in &meta.xattrs {
            match xattr::set(fd, name, value) {
                Err(error)
                    if self.owners == Owners::Recorded && error.kind() == io::ErrorKind::PermissionDenied => {
                }
                set => set.map_err(failed("set an xattr of", path))?,
            }
        }
        if self.owners == Owners::Recorded && (meta.uid, meta.gid) != (0, 0) {
            let note = format!("{}:{}", meta.uid, meta.gid);
            xattr::set(fd, OWNER_XATTR.as_bytes(), note.as_bytes())
                .map_err(failed("note the owner of", path))?;
        }
        rustix::fs::futimens(fd, &times(meta.mtime)).map_err(failed("set the time of", path))
    }

    /// The same for what cannot be opened.
    fn set_meta_at(
        &self,
        holder: BorrowedFd<'_>,
        item: &Item<'_>,
        mode: Option<Mode>,
    ) -> Result<(), UnpackError> {
        let (path, meta) = (&item.path, &item.meta);
        let (uid, gid) = owner(meta);
        let chown = rustix::fs::chownat(holder, path.name(), uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        self.owned(chown, path)?;
        if let Some(mode) = mode {
            // Made a moment ago and no symlink, so there is nothing to follow.
            let set = rustix::fs::chmodat(holder, path.name(), mode, AtFlags::empty());
            set.map_err(failed("set the mode of", path))?;
        }
        let set = rustix::fs::utimensat(holder, path.name(), &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(failed("set the time of", path))
    }

    fn owned(&self, chown: rustix::io::Result<()>, path: &ImagePath) -> Result<(), UnpackError> {
        match chown {
            // With one id only, owners live in the table of contents.
            Err(Errno::PERM | Errno::INVAL) if self.owners == Owners::Recorded => Ok(()),
            done => done.map_err(failed("set the owner of", path)),
        }
    }
}

fn failed<'a, E: Into<io::Error>>(
    act: &'static str,
    path: &'a ImagePath,
) -> impl FnOnce(E) -> UnpackError + use<'a, E> {
    move |source| UnpackError::Io { act, path: path.clone(), source: source.into() }
}

fn owner(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

fn mode(meta: &Meta) -> Mode {
    Mode::from_raw_mode(meta.mode.into())
}

fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
    }
}

/// Copies a file's bytes out of the tar.
fn copy(
    tar: &File,
    range: Range<u64>,
    file: &mut File,
    path: &ImagePath,
) -> Result<ContentDigest, UnpackError> {
    let mut at = range.start;
    if range.end - at > SMALL {
        at = copy_in_kernel(tar, at, range.end, file).map_err(failed("write", path))?;
    }
    let copied = at;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; usize::try_from((range.end - range.start).min(SMALL)).expect("at most 128 KiB")];
    at = range.start;
    while at < range.end {
        let left = if at < copied { copied - at } else { range.end - at };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = tar.read_exact_at(&mut buffer[..len], at);
        read.map_err(|source| UnpackError::Tar { path: path.clone(), source })?;
        hasher.update(&buffer[..len]);
        if at >= copied {
            file.write_all(&buffer[..len]).map_err(failed("write", path))?;
        }
        at += len as u64;
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Lets the kernel copy, or share, as much as it will; says how far it came.
fn copy_in_kernel(tar: &File, mut at: u64, end: u64, file: &File) -> io::Result<u64> {
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(tar, Some(&mut at), file, None, len) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}
