//! Opening what lies below a directory, and nothing else: no symlink on the way, no `..`, no magic link
//! (`openat2(2)`, `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::path::ImagePath;

/// Opens a path below `root`. `O_CLOEXEC` and `O_NOFOLLOW` are always set.
///
/// # Errors
/// `ELOOP` if any part of the path is a symlink, `EXDEV` if it would leave `root`.
pub fn open(root: impl AsFd, path: &ImagePath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    open_as(root, path.as_os_str(), flags, mode, WITHIN)
}

/// Opens what lies below a directory on the same mount: what is mounted over it is not looked into.
///
/// # Errors
/// As [`open`]; `EXDEV` also for a mount point.
pub fn open_on_mount(root: impl AsFd, path: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    open_as(root, path, flags, Mode::empty(), WITHIN.union(ResolveFlags::NO_XDEV))
}

/// Below the root, and through no symlink.
const WITHIN: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn open_as(
    root: impl AsFd,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        match rustix::fs::openat2(&root, path, flags, mode, resolve) {
            // The kernel could not tell for sure because something was renamed meanwhile; it asks to try again.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(fd) => return Ok(fd),
        }
    }
}

/// Opens a directory below `root` for the `*at` calls.
pub fn open_dir(root: impl AsFd, path: &ImagePath) -> io::Result<OwnedFd> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// A directory tree with the directory used last held open: work in layer order mostly stays in one.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    last: Option<(ImagePath, OwnedFd)>,
}

impl Beneath {
    /// Opens the tree's root, which must be a directory and not a symlink.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: super::dir::open(root)?, last: None })
    }

    /// The root's descriptor.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A directory of the tree.
    pub fn dir(&mut self, path: &ImagePath) -> io::Result<BorrowedFd<'_>> {
        if path.is_root() {
            return Ok(self.root.as_fd());
        }
        let known = self.last.take().filter(|(last, _)| last == path);
        let fd = match known {
            Some((_, fd)) => fd,
            None => open_dir(&self.root, path)?,
        };
        Ok(self.last.insert((path.clone(), fd)).1.as_fd())
    }

    /// The directory that holds a path. The root's holder is the root.
    pub fn holder(&mut self, path: &ImagePath) -> io::Result<BorrowedFd<'_>> {
        self.dir(&path.parent().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_symlink_is_followed() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("real")).unwrap();
        std::fs::write(scratch.path().join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", scratch.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", scratch.path().join("out")).unwrap();
        let root = super::super::dir::open(scratch.path()).unwrap();
        let try_open = |path: &str| {
            let path = ImagePath::parse(path.as_bytes()).unwrap();
            open(&root, &path, OFlags::RDONLY, Mode::empty()).map(drop).map_err(|e| e.raw_os_error())
        };
        assert_eq!(try_open("real/file"), Ok(()));
        let refused = Err(Some(rustix::io::Errno::LOOP.raw_os_error()));
        assert_eq!(try_open("link/file"), refused);
        assert_eq!(try_open("out/passwd"), refused);
        assert_eq!(try_open("link"), refused);
    }
}
