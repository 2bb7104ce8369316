//! Finds, and where needed makes, the places in the root where something is mounted.
//!
//! Owns: resolution inside the root, and the record of what was made. No name is looked up twice and no symbolic
//! link is followed by the kernel; the program does not run yet, so nothing changes underneath.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timestamps, fstat, fstatfs, mkdirat, openat, openat2,
    readlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::mount::Writable;

use super::failure::{Doing as _, SetupError};
use super::spec::Stub;

/// Symbolic links in one path, as many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// The root under construction.
pub(super) struct Tree {
    root: OwnedFd,
    upper: Option<OwnedFd>,
    stubs: Vec<Stub>,
}

/// What paths lead through.
pub(super) trait Ground {
    /// Something in it, open.
    type Place: AsFd;

    fn root(&self) -> rustix::io::Result<Self::Place>;

    /// What has a name in a directory: the thing itself, even if it is a link.
    fn open(&self, dir: &Self::Place, name: &[u8]) -> rustix::io::Result<Self::Place>;

    /// Makes what is missing at the end of a way.
    fn create(
        &mut self,
        way: &mut Way<Self::Place>,
        name: &[u8],
        kind: Kind,
    ) -> rustix::io::Result<Self::Place>;
}

/// The directories from the root to where one is.
pub(super) struct Way<P> {
    pub root: P,
    /// Each with its name in the one above.
    pub below: Vec<(P, Vec<u8>)>,
}

impl<P> Way<P> {
    fn here(&self) -> &P {
        self.below.last().map_or(&self.root, |(place, _)| place)
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        let names = self.below.iter().map(|(_, name)| name.as_slice()).chain([name]);
        names.map(|name| Path::new(OsStr::from_bytes(name))).collect()
    }
}

/// Goes a path, through symbolic links as they are seen from the root. What is missing is made, the last as said.
///
/// # Errors
/// `EISDIR` if it leads to the root; `ELOOP`; those of looking up and making.
pub(super) fn walk<G: Ground>(ground: &mut G, path: &Path, last: Kind) -> rustix::io::Result<G::Place> {
    let mut way = Way { root: ground.root()?, below: Vec::new() };
    let mut todo = names_reversed(path.as_os_str().as_bytes());
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            way.below.pop();
            continue;
        }
        let found = match ground.open(way.here(), &name) {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                let kind = if todo.is_empty() { last } else { Kind::Directory };
                ground.create(&mut way, &name, kind)?
            }
            Err(errno) => return Err(errno),
        };
        if file_type(&found)? != FileType::Symlink {
            way.below.push((found, name));
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(&found, c"", Vec::new())?;
        if target.as_bytes().starts_with(b"/") {
            way.below.clear();
        }
        todo.extend(names_reversed(target.as_bytes()));
    }
    way.below.pop().map(|(place, _)| place).ok_or(Errno::ISDIR)
}

/// Why nothing can be mounted at a path.
pub(super) fn no_place(path: &Path, errno: Errno) -> SetupError {
    let reason = match errno {
        Errno::ISDIR => "it is the root itself".into(),
        other => super::failure::Errno::from(other).to_string(),
    };
    SetupError::Mount { path: path.display().to_string(), reason }
}

/// Makes a mount point, and leaves its parent's times as they were.
pub(super) fn make(dir: impl AsFd, name: &[u8], kind: Kind) -> rustix::io::Result<OwnedFd> {
    let name = OsStr::from_bytes(name);
    let before = fstat(&dir)?;
    match kind {
        Kind::Directory => mkdirat(&dir, name, Mode::from_raw_mode(0o755))?,
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(openat(&dir, name, flags, Mode::from_raw_mode(0o644))?);
        }
    }
    utimensat(&dir, c".", &times(&before), AtFlags::empty())?;
    open_path(&dir, name.as_bytes())
}

/// What a mount point is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

impl Ground for Tree {
    type Place = OwnedFd;

    fn root(&self) -> rustix::io::Result<OwnedFd> {
        clone(&self.root)
    }

    fn open(&self, dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        open_path(dir, name)
    }

    fn create(&mut self, way: &mut Way<OwnedFd>, name: &[u8], kind: Kind) -> rustix::io::Result<OwnedFd> {
        let path = way.path_of(name);
        Tree::create(self, way.here(), &path, kind)
    }
}

impl Tree {
    pub(super) fn new(root: OwnedFd, writable: Option<&Writable>) -> Result<Self, SetupError> {
        let upper = match writable {
            Some(Writable { upper, work: _ }) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Some(openat(CWD, upper, flags, Mode::empty()).doing("open", upper.display())?)
            }
            None => None,
        };
        Ok(Self { root, upper, stubs: Vec::new() })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn into_stubs(self) -> Vec<Stub> {
        self.stubs
    }

    /// A directory right below the root, where a kernel file system goes. Never through a symbolic link: an image
    /// that has one there is refused (CVE-2019-16884).
    pub(super) fn mount_point(&mut self, name: &str) -> Result<OwnedFd, SetupError> {
        let path = format!("/{name}");
        let refused = |found: &str| SetupError::MountPoint { path: path.clone(), found: found.into() };
        let found = match open_path(&self.root, name.as_bytes()) {
            Err(Errno::NOENT) => {
                let root = clone(&self.root).doing("open", "the root")?;
                return self.create(&root, Path::new(name), Kind::Directory).doing("make", &path);
            }
            other => other.doing("open", &path)?,
        };
        match file_type(&found).doing("look at", &path)? {
            FileType::Directory => Ok(found),
            FileType::Symlink => Err(refused("a symbolic link")),
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(refused("not a directory")),
        }
    }

    /// A file anywhere in the root, through the root's own symbolic links. Made empty if it is missing, as are
    /// its parents.
    pub(super) fn file(&mut self, path: &Path) -> Result<OwnedFd, SetupError> {
        self.walk(path, Kind::File)
            .map_err(|errno| SetupError::File { path: path.display().to_string(), errno: errno.into() })
    }

    /// A mount point anywhere in the root, or in what is mounted there already, found or made as [`Tree::file`] does.
    /// Never the root itself, and nothing of `/proc` and `/sys`.
    pub(super) fn place(&mut self, path: &Path, kind: Kind) -> Result<OwnedFd, SetupError> {
        let shown = path.display().to_string();
        let refused = |reason: String| SetupError::Mount { path: shown.clone(), reason };
        let found = self.walk(path, kind).map_err(|errno| no_place(path, errno))?;
        if is_kernels(&found).doing("look at", &shown)? {
            return Err(refused("it leads into a file system of the kernel's".into()));
        }
        let is_directory = file_type(&found).doing("look at", &shown)? == FileType::Directory;
        match (kind, is_directory) {
            (Kind::Directory, true) | (Kind::File, false) => Ok(found),
            (Kind::Directory, false) => Err(refused("a directory cannot be mounted on a file".into())),
            (Kind::File, true) => Err(refused("a file cannot be mounted on a directory".into())),
        }
    }

    fn walk(&mut self, path: &Path, last: Kind) -> rustix::io::Result<OwnedFd> {
        walk(self, path, last)
    }

    /// Makes a mount point, and notes it if it went to the upper directory.
    fn create(&mut self, dir: &OwnedFd, path: &Path, kind: Kind) -> rustix::io::Result<OwnedFd> {
        let name = path.file_name().ok_or(Errno::INVAL)?.as_bytes();
        let made = make(dir, name, kind)?;
        // What is made in another mount stays there.
        if fstat(dir)?.st_dev == fstat(&self.root)?.st_dev {
            self.note(path, kind)?;
        }
        Ok(made)
    }

    fn note(&mut self, path: &Path, kind: Kind) -> rustix::io::Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let made = openat2(upper, path, flags, Mode::empty(), inside)?;
        self.stubs.push(Stub {
            path: path.to_owned(),
            inode: fstat(&made)?.st_ino,
            directory: kind == Kind::Directory,
        });
        Ok(())
    }
}

/// Whether something lies in a `/proc` or a `/sys`.
fn is_kernels(fd: &OwnedFd) -> rustix::io::Result<bool> {
    /// As in linux/magic.h.
    const PROC_AND_SYS: [i64; 2] = [0x9fa0, 0x6265_6572];
    Ok(PROC_AND_SYS.contains(&fstatfs(fd)?.f_type))
}

pub(super) fn open_path(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, OsStr::from_bytes(name), flags, Mode::empty())
}

pub(super) fn file_type(fd: impl AsFd) -> rustix::io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

fn clone(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    fd.try_clone().map_err(|_| Errno::MFILE)
}

/// Both times of something.
pub(super) fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = |tv_sec: i64, nanoseconds: u64| Timespec {
        tv_sec,
        tv_nsec: nanoseconds.try_into().expect("below 10^9"),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The names of a path, last first, without empty ones and dots.
fn names_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_last_first() {
        assert_eq!(names_reversed(b"//a/./b/../c/"), [&b"c"[..], b"..", b"b", b"a"]);
        assert!(names_reversed(b"/").is_empty());
    }
}
