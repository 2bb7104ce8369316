//! The layer of mount points: what the layers below it lack, made without mounting them for writing.
//!
//! An overlay would copy a directory up when something is made in it; here that is done by hand, which takes no mount for
//! writing and leaves no work directory behind. What is copied is what overlayfs copies: owner, mode, times and extended
//! attributes but its own.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, futimens, mkdirat, openat};
use rustix::io::Errno;

use crate::sys::xattr;

use super::failure::{Doing as _, SetupError};
use super::target::{Ground, Kind, Way, file_type, make, open_path, times, walk};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A layer in the making, and what it lies on.
pub(super) struct Points {
    layer: OwnedFd,
    /// The layers below, merged; None if there are none.
    below: Option<OwnedFd>,
}

/// Something in it: as far as it is in the layer, and as far as it is below. One of them is there.
pub(super) struct Spot {
    made: Option<OwnedFd>,
    below: Option<OwnedFd>,
}

impl AsFd for Spot {
    /// What shows: the layer's own.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.made.as_ref().or(self.below.as_ref()).expect("one of them is there").as_fd()
    }
}

impl Points {
    /// The layer with its directory at a path.
    pub(super) fn new(layer: &Path, below: Option<OwnedFd>) -> Result<Self, SetupError> {
        let layer =
            openat(CWD, layer, OFlags::PATH | DIRECTORY, Mode::empty()).doing("open", layer.display())?;
        Ok(Self { layer, below })
    }

    /// Makes a directory right below the root if there is nothing of that name. What else is there is judged later.
    pub(super) fn top(&mut self, name: &str) -> rustix::io::Result<()> {
        let mut way = Way { root: self.root()?, below: vec![] };
        match self.open(&way.root, name.as_bytes()) {
            Err(Errno::NOENT) => self.create(&mut way, name.as_bytes(), Kind::Directory).map(drop),
            found => found.map(drop),
        }
    }

    /// Makes what is missing of a path.
    pub(super) fn place(&mut self, path: &Path, kind: Kind) -> rustix::io::Result<()> {
        walk(self, path, kind).map(drop)
    }
}

impl Ground for Points {
    type Place = Spot;

    fn root(&self) -> rustix::io::Result<Spot> {
        let clone = |fd: &OwnedFd| fd.try_clone().map_err(|_| Errno::MFILE);
        Ok(Spot { made: Some(clone(&self.layer)?), below: self.below.as_ref().map(clone).transpose()? })
    }

    fn open(&self, dir: &Spot, name: &[u8]) -> rustix::io::Result<Spot> {
        let made = dir.made.as_ref().map_or(Ok(None), |dir| found(dir, name))?;
        let is_directory = |fd: &OwnedFd| Ok(file_type(fd)? == FileType::Directory);
        let below = match (&made, &dir.below) {
            (_, None) => None,
            // Anything but a directory hides what is below.
            (Some(made), Some(_)) if !is_directory(made)? => None,
            (_, Some(dir)) => found(dir, name)?,
        };
        match (made, below) {
            (None, None) => Err(Errno::NOENT),
            // Below a directory nothing but a directory shows.
            (Some(made), Some(below)) if !is_directory(&below)? => Ok(Spot { made: Some(made), below: None }),
            (made, below) => Ok(Spot { made, below }),
        }
    }

    fn create(&mut self, way: &mut Way<Spot>, name: &[u8], kind: Kind) -> rustix::io::Result<Spot> {
        let mut above = way.root.made.as_ref().expect("the root is in the layer");
        for (spot, name) in &mut way.below {
            if let (None, Some(below)) = (&spot.made, &spot.below) {
                spot.made = Some(copy(above, name, below)?);
            }
            above = spot.made.as_ref().expect("it is there or was made");
        }
        Ok(Spot { made: Some(make(above, name, kind)?), below: None })
    }
}

/// What has a name, unless that is a whiteout.
fn found(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    let found = match open_path(dir, name) {
        Err(Errno::NOENT) => return Ok(None),
        found => found?,
    };
    let stat = fstat(&found)?;
    let whiteout = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
    Ok((!whiteout).then_some(found))
}

/// Makes a directory like another one.
fn copy(above: &OwnedFd, name: &[u8], like: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let name = OsStr::from_bytes(name);
    let (stat, parent) = (fstat(like)?, fstat(above)?);
    mkdirat(above, name, Mode::RWXU)?;
    let made = openat(above, name, OFlags::RDONLY | DIRECTORY, Mode::empty())?;
    fchown(&made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    let like = openat(like, c".", OFlags::RDONLY | DIRECTORY, Mode::empty())?;
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let own = |name: &[u8]| !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.");
    for (name, value) in xattr::read(&like, own).map_err(io)? {
        match xattr::set(&made, &name, &value).map_err(io) {
            // A label of the machine's own, say.
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(&made, &times(&stat))?;
    futimens(&openat(above, c".", OFlags::RDONLY | DIRECTORY, Mode::empty())?, &times(&parent))?;
    Ok(made)
}
