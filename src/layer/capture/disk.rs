//! The upper directory itself: reading it without following anything, and tidying it at the end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT};

use super::{CaptureError, Mend, Plan, Planned, Removal, Verdict, io_error};
use crate::digest::ContentDigest;
use crate::layer::entry::{Mtime, Node, TocEntry, Xattr, is_carried};
use crate::mount::OverlayMarks;
use crate::path::ImagePath;
use crate::sys::beneath::{self, Beneath};
use crate::sys::{dir, xattr};

/// Whose the directory is while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nobody else's: modes may be changed for the time of the reading.
    Alone,
    /// It stays as it is.
    Shared,
}

/// The upper directory, open.
pub(super) struct Disk {
    tree: Beneath,
    marks: OverlayMarks,
    held: Held,
}

/// What a directory's own marks and xattrs say.
pub(super) struct DirectoryFacts {
    pub opaque: bool,
    pub xattrs: Vec<Xattr>,
}

impl Disk {
    pub fn open(upper: &Path, marks: OverlayMarks, held: Held) -> Result<Self, CaptureError> {
        let tree = Beneath::open(upper).map_err(io_error("open", &ImagePath::root()))?;
        Ok(Self { tree, marks, held })
    }

    /// The names in a directory, sorted.
    pub fn names(&mut self, path: &ImagePath) -> Result<Vec<Vec<u8>>, CaptureError> {
        let fd = self.tree.dir(path).map_err(io_error("open", path))?;
        let entries = dir::list(fd).map_err(io_error("list", path))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    pub fn stat(&mut self, path: &ImagePath) -> Result<Statx, CaptureError> {
        let holder = self.holder(path)?;
        let (name, flags) = (path.name(), AtFlags::SYMLINK_NOFOLLOW);
        rustix::fs::statx(holder, name, flags, StatxFlags::BASIC_STATS).map_err(io_error("stat", path))
    }

    /// Whether there is anything at a path.
    pub fn has(&mut self, path: &ImagePath) -> bool {
        self.stat(path).is_ok()
    }

    /// Takes the bytes of a regular file away.
    pub fn empty(&mut self, path: &ImagePath) -> Result<(), CaptureError> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = mode_of(&self.stat(path)?);
        let is_locked = !mode.contains(Mode::WUSR) && !rustix::process::geteuid().is_root();
        if is_locked {
            self.chmod(path, mode | Mode::WUSR)?;
        }
        let file =
            beneath::open(self.tree.root(), path, flags, Mode::empty()).map_err(io_error("open", path))?;
        rustix::fs::ftruncate(&file, 0).map_err(io_error("empty", path))?;
        if is_locked {
            rustix::fs::fchmod(&file, mode).map_err(io_error("restore the mode of", path))?;
        }
        Ok(())
    }

    pub fn link_target(&mut self, path: &ImagePath) -> Result<Vec<u8>, CaptureError> {
        let holder = self.holder(path)?;
        let target = rustix::fs::readlinkat(holder, path.name(), Vec::new());
        Ok(target.map_err(io_error("read the symlink", path))?.into_bytes())
    }

    /// Opens a regular file for reading. The owner may have denied that to itself, and without privileges that
    /// counts: then the mode is put back as soon as the file is open.
    pub fn file(&mut self, path: &ImagePath) -> Result<File, CaptureError> {
        // What is written to by others may have become something that waits for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = |tree: &Beneath| beneath::open(tree.root(), path, flags, Mode::empty());
        match open(&self.tree) {
            Ok(file) => Ok(file.into()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.held == Held::Alone => {
                let mode = mode_of(&self.stat(path)?);
                self.chmod(path, mode | Mode::RUSR)?;
                let file = open(&self.tree).map_err(io_error("open", path))?;
                rustix::fs::fchmod(&file, mode).map_err(io_error("restore the mode of", path))?;
                Ok(file.into())
            }
            Err(error) => Err(io_error("open", path)(error)),
        }
    }

    pub fn content(&mut self, path: &ImagePath) -> Result<ContentDigest, CaptureError> {
        let mut file = self.file(path)?;
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file, &mut hasher).map_err(io_error("read", path))?;
        Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Whether an empty file stands for a whiteout: the other form that the kernel knows (overlayfs.rst, "Whiteouts
    /// and opaque directories").
    pub fn is_whiteout_file(&mut self, path: &ImagePath) -> Result<bool, CaptureError> {
        let mark = self.mark("whiteout");
        let file = self.file(path)?;
        Ok(xattr::get(&file, &mark).map_err(io_error("read the xattrs of", path))?.is_some())
    }

    /// The xattrs of a regular file that belong into a layer.
    ///
    /// # Errors
    /// [`CaptureError::Feature`] if the file's bytes are elsewhere.
    pub fn file_xattrs(&mut self, path: &ImagePath) -> Result<Vec<Xattr>, CaptureError> {
        let file = self.file(path)?;
        self.refuse_feature(&file, path, "metacopy")?;
        kept_xattrs(&file, path)
    }

    /// Looks at a directory itself.
    pub fn directory(&mut self, path: &ImagePath) -> Result<DirectoryFacts, CaptureError> {
        let mark = self.mark("opaque");
        let fd = self.tree.dir(path).map_err(io_error("open", path))?;
        let opaque = xattr::get(fd, &mark).map_err(io_error("read the xattrs of", path))?;
        let xattrs = kept_xattrs(fd, path)?;
        let fd = fd.try_clone_to_owned().map_err(io_error("open", path))?;
        self.refuse_feature(&fd, path, "redirect")?;
        Ok(DirectoryFacts { opaque: opaque.is_some_and(|value| value == b"y"), xattrs })
    }

    /// Gives the owner of a directory the rights to read it and to change its names, where it has taken them from
    /// itself and they would count. Says whether it did; [`Mend`] has the mode put back.
    pub fn unlock(&mut self, path: &ImagePath, stat: &Statx) -> Result<bool, CaptureError> {
        let mode = mode_of(stat);
        let locked =
            self.held == Held::Alone && !mode.contains(Mode::RWXU) && !rustix::process::geteuid().is_root();
        if locked {
            self.chmod(path, mode | Mode::RWXU)?;
        }
        Ok(locked)
    }

    /// Makes the directory what unpacking the layer would have made.
    pub fn tidy(&mut self, plan: &Plan) -> Result<(), CaptureError> {
        for Removal { path, is_dir } in &plan.remove {
            self.remove(path, *is_dir)?;
        }
        // Children before their directory, whose time they change.
        for planned in plan.entries.iter().rev() {
            let entry = &planned.entry;
            match planned.verdict {
                Verdict::Same => self.remove(&entry.path, entry.node == Node::Dir)?,
                Verdict::Changed => self.mend(planned)?,
            }
        }
        Ok(())
    }

    fn mend(&mut self, planned: &Planned) -> Result<(), CaptureError> {
        let TocEntry { path, meta, .. } = &planned.entry;
        match planned.mend {
            Mend::Nothing => Ok(()),
            Mend::Time => self.set_time(path, meta.mtime),
            Mend::Directory { opaque, unlocked } => {
                if opaque {
                    let mark = self.mark("opaque");
                    let fd = self.tree.dir(path).map_err(io_error("open", path))?;
                    xattr::remove(fd, &mark).map_err(io_error("remove the opaque mark of", path))?;
                }
                if unlocked {
                    self.chmod(path, Mode::from_raw_mode(meta.mode.into()))?;
                }
                self.set_time(path, meta.mtime)
            }
            Mend::Whiteout => {
                let holder = self.holder(path)?;
                let made = rustix::fs::mknodat(
                    holder,
                    path.name(),
                    FileType::CharacterDevice,
                    Mode::empty(),
                    rustix::fs::makedev(0, 0),
                );
                made.map_err(io_error("make the whiteout", path))
            }
        }
    }

    fn set_time(&mut self, path: &ImagePath, mtime: Mtime) -> Result<(), CaptureError> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
        };
        let holder = self.holder(path)?;
        let set = rustix::fs::utimensat(holder, path.name(), &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(io_error("set the time of", path))
    }

    fn remove(&mut self, path: &ImagePath, is_dir: bool) -> Result<(), CaptureError> {
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let holder = self.holder(path)?;
        rustix::fs::unlinkat(holder, path.name(), flags).map_err(io_error("remove", path))
    }

    /// For paths that are known not to be symlinks: `fchmodat` would follow one.
    fn chmod(&mut self, path: &ImagePath, mode: Mode) -> Result<(), CaptureError> {
        let holder = self.holder(path)?;
        let set = rustix::fs::chmodat(holder, path.name(), mode, AtFlags::empty());
        set.map_err(io_error("set the mode of", path))
    }

    fn holder(&mut self, path: &ImagePath) -> Result<BorrowedFd<'_>, CaptureError> {
        self.tree.holder(path).map_err(io_error("open the directory of", path))
    }

    fn refuse_feature(
        &self,
        fd: impl AsFd,
        path: &ImagePath,
        feature: &'static str,
    ) -> Result<(), CaptureError> {
        let value = xattr::get(fd, &self.mark(feature)).map_err(io_error("read the xattrs of", path))?;
        match value {
            None => Ok(()),
            Some(_) => Err(CaptureError::Feature { path: path.clone(), feature }),
        }
    }

    fn mark(&self, name: &str) -> Vec<u8> {
        let opaque = self.marks.opaque();
        let prefix = opaque.strip_suffix("opaque").expect("the mark ends in its own name");
        [prefix, name].concat().into_bytes()
    }
}

/// Whether an xattr of a captured file belongs into the layer.
pub(super) fn is_kept(name: &[u8]) -> bool {
    is_carried(name)
}

/// The bits that chmod sets.
pub(super) fn mode_of(stat: &Statx) -> Mode {
    Mode::from_raw_mode(u32::from(stat.stx_mode & 0o7777))
}

fn kept_xattrs(fd: impl AsFd, path: &ImagePath) -> Result<Vec<Xattr>, CaptureError> {
    xattr::read(fd, is_kept).map_err(io_error("read the xattrs of", path))
}
