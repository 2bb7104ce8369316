//! An image's file system as a plain directory: `type=local`.
//!
//! Owns: spec/archives.md, "Local". Everything is made below the directory's descriptor and through no symlink,
//! neither one of the image nor one that was there, so nothing outside is touched.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use super::export::ExportError;
use super::files::Slice;
use super::flatten::{directory, merged, moved, open_tars};
use super::stored::StoredImage;
use crate::digest::ContentDigest;
use crate::layer::names::FirstNames;
use crate::layer::tree::Found;
use crate::layer::{Meta, Node};
use crate::path::ImagePath;
use crate::store::Store;
use crate::sys::beneath::Beneath;
use crate::sys::file;

/// Why an entry could not be made in a directory.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("create {path} in {dest}: {source}")]
    Create { dest: PathBuf, path: ImagePath, source: io::Error },
    #[error("{dest} has a directory where the image has none: {path}")]
    Directory { dest: PathBuf, path: ImagePath },
}

/// Writes the merged file system into `dest`, which is made if it is missing, or into a directory below it. Files and
/// symlinks that are there are replaced, other directories and what they hold stay. Owner is the caller; devices and
/// extended attributes are left out. Gives the paths of the devices.
pub(super) fn write(
    store: &Store,
    image: &StoredImage,
    dest: &Path,
    below: &ImagePath,
) -> Result<Vec<ImagePath>, ExportError> {
    fs::create_dir_all(dest).map_err(|e| file::context(e, "create", dest))?;
    let shown = dest.to_owned();
    let real = fs::canonicalize(dest).map_err(|e| file::context(e, "open", dest))?;
    let root = Beneath::open(&real).map_err(|e| file::context(e, "open", dest))?;
    let tars = open_tars(store, image)?;
    let tree = merged(store, image)?;
    let mut out = Output { dest: shown, root, dirs: Vec::new(), skipped: Vec::new() };
    let mut names = FirstNames::default();
    if !below.is_root() {
        out.node(below, &directory(), &Node::Dir)?;
    }
    for found in tree.walk(&ImagePath::root()) {
        let path = below.join(&found.entry.path);
        match names.node(&found).map(|node| moved(node, below)) {
            Some(node) => out.node(&path, &found.entry.meta, &node)?,
            None => out.file(image, &tars, &found, &path)?,
        }
    }
    out.finish()
}

/// The directory being written.
struct Output {
    dest: PathBuf,
    root: Beneath,
    /// Directories whose mode and time are set last, because making what is in them needs and changes both.
    dirs: Vec<(ImagePath, Meta)>,
    skipped: Vec<ImagePath>,
}

impl Output {
    fn node(&mut self, path: &ImagePath, meta: &Meta, node: &Node) -> Result<(), ExportError> {
        let made = match node {
            Node::Dir => {
                self.dirs.push((path.clone(), meta.clone()));
                self.directory(path)
            }
            Node::Symlink(target) => self.clear(path).and_then(|()| {
                let holder = self.root.holder(path)?;
                rustix::fs::symlinkat(target.as_slice(), holder, path.name())?;
                Ok(rustix::fs::utimensat(holder, path.name(), &times(meta), AtFlags::SYMLINK_NOFOLLOW)?)
            }),
            Node::Fifo => self.clear(path).and_then(|()| {
                let holder = self.root.holder(path)?;
                let mode = Mode::from_raw_mode(meta.mode.into());
                rustix::fs::mknodat(holder, path.name(), FileType::Fifo, mode, 0)?;
                Ok(rustix::fs::utimensat(holder, path.name(), &times(meta), AtFlags::SYMLINK_NOFOLLOW)?)
            }),
            Node::Hardlink(first) => self.clear(path).and_then(|()| self.link(first, path)),
            Node::Char { .. } | Node::Block { .. } => {
                self.skipped.push(path.clone());
                Ok(())
            }
            // The merged view has neither, and a file comes with its bytes.
            Node::File { .. } | Node::Whiteout | Node::Opaque => Ok(()),
        };
        made.map_err(|source| self.error(path, source))
    }

    fn file(
        &mut self,
        image: &StoredImage,
        tars: &[File],
        found: &Found<'_>,
        path: &ImagePath,
    ) -> Result<(), ExportError> {
        let meta = &found.entry.meta;
        let layer = image.layers()[found.layer];
        let corrupt = || ExportError::Corrupt { layer, path: path.clone() };
        let (size, content, offset) = found.file().ok_or_else(corrupt)?;
        let body = Slice::new(&tars[found.layer], offset, size);
        let written = self.clear(path).and_then(|()| self.body(path, meta, body));
        match written.map_err(|source| self.error(path, source))? {
            actual if actual == content => Ok(()),
            _ => Err(corrupt()),
        }
    }

    fn body(&mut self, path: &ImagePath, meta: &Meta, mut body: Slice<'_>) -> io::Result<ContentDigest> {
        let holder = self.root.holder(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(holder, path.name(), flags, Mode::RUSR | Mode::WUSR)?);
        let mut hash = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = body.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count])?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode.into()))?;
        rustix::fs::futimens(&file, &times(meta))?;
        Ok(ContentDigest::from_bytes(*hash.finalize().as_bytes()))
    }

    fn directory(&mut self, path: &ImagePath) -> io::Result<()> {
        let holder = self.root.holder(path)?;
        let exists = match rustix::fs::statat(holder, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(rustix::io::Errno::NOENT) => false,
            Err(error) => return Err(error.into()),
        };
        if exists {
            return Ok(());
        }
        self.clear(path)?;
        Ok(rustix::fs::mkdirat(self.root.holder(path)?, path.name(), Mode::RWXU)?)
    }

    fn link(&mut self, first: &ImagePath, path: &ImagePath) -> io::Result<()> {
        // Beneath holds one directory open; a link needs two.
        let from = self.root.holder(first)?.try_clone_to_owned()?;
        let to = self.root.holder(path)?;
        Ok(rustix::fs::linkat(from.as_fd(), first.name(), to, path.name(), AtFlags::empty())?)
    }

    /// Makes room for a name; never at the cost of a directory.
    fn clear(&mut self, path: &ImagePath) -> io::Result<()> {
        match rustix::fs::unlinkat(self.root.holder(path)?, path.name(), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(mut self) -> Result<Vec<ImagePath>, ExportError> {
        // Children before parents: once a parent has its mode, the way down may be closed.
        for (path, meta) in std::mem::take(&mut self.dirs).iter().rev() {
            let set = || -> io::Result<()> {
                let dir = crate::sys::beneath::open_dir(self.root.root(), path)?;
                rustix::fs::fchmod(&dir, Mode::from_raw_mode(meta.mode.into()))?;
                Ok(rustix::fs::futimens(&dir, &times(meta))?)
            };
            set().map_err(|source| self.error(path, source))?;
        }
        Ok(self.skipped)
    }

    fn error(&self, path: &ImagePath, source: io::Error) -> ExportError {
        let (dest, path) = (self.dest.clone(), path.clone());
        if source.kind() == io::ErrorKind::IsADirectory {
            return LocalError::Directory { dest, path }.into();
        }
        LocalError::Create { dest, path, source }.into()
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime.secs, tv_nsec: meta.mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
