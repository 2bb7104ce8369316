//! The directory that a bundle is written to: a hidden one beside its place until it is whole.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::BundleError;
use crate::sys::{dir, file};

/// A directory under construction. Dropping it removes it; what a killed process left is removed by the next one that
/// writes to the same place.
pub(super) struct Place {
    shown: PathBuf,
    dest: PathBuf,
    temporary: PathBuf,
    finished: bool,
    /// Of the directory itself: held as long as somebody writes there.
    _lock: File,
}

impl Place {
    /// Takes the place of a directory that is new or empty.
    pub fn claim(shown: &Path) -> Result<Self, BundleError> {
        let dest = real(shown)?;
        check_empty(shown, &dest)?;
        let name = dest.file_name().ok_or_else(|| BundleError::NotEmpty { dest: shown.to_owned() })?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".lith-bundle");
        let temporary = dest.with_file_name(hidden);
        let lock = lock(shown, &temporary)?;
        empty(&temporary).map_err(|e| file::context(e, "empty", &temporary))?;
        Ok(Self { shown: shown.to_owned(), dest, temporary, finished: false, _lock: lock })
    }

    /// Where to write.
    pub fn dir(&self) -> &Path {
        &self.temporary
    }

    /// Gives the directory its name.
    pub fn finish(mut self) -> Result<(), BundleError> {
        match fs::rename(&self.temporary, &self.dest) {
            Ok(()) => self.finished = true,
            Err(error) => {
                check_empty(&self.shown, &self.dest)?;
                return Err(file::context(error, "rename the bundle to", &self.shown).into());
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed by the next one.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

/// A path without symbolic links whose last name may be missing.
fn real(shown: &Path) -> Result<PathBuf, BundleError> {
    match fs::canonicalize(shown) {
        Ok(dest) => return Ok(dest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file::context(error, "open", shown).into()),
    }
    let parent = match shown.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let missing = || BundleError::NoParent { dest: shown.to_owned(), parent: parent.to_owned() };
    let name = shown.file_name().ok_or_else(missing)?;
    Ok(fs::canonicalize(parent).map_err(|_| missing())?.join(name))
}

fn check_empty(shown: &Path, dest: &Path) -> Result<(), BundleError> {
    match fs::symlink_metadata(dest) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file::context(error, "look at", shown).into()),
        Ok(meta) if !meta.is_dir() => return Err(BundleError::NotADirectory { dest: shown.to_owned() }),
        Ok(_) => {}
    }
    match dir::list_path(dest)?.is_empty() {
        true => Ok(()),
        false => Err(BundleError::NotEmpty { dest: shown.to_owned() }),
    }
}

/// Makes the hidden directory, or takes over what a killed process left there. Nobody else may enter it: set-user-id
/// programs of an image are not for the users of this machine.
fn lock(shown: &Path, temporary: &Path) -> Result<File, BundleError> {
    let busy = || BundleError::Busy { dest: shown.to_owned() };
    match DirBuilder::new().mode(0o700).create(temporary) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file::context(error, "create", temporary).into());
        }
        Ok(()) | Err(_) => {}
    }
    let lock = match dir::open(temporary) {
        Ok(fd) => File::from(fd),
        Err(_) => return Err(BundleError::InTheWay { path: temporary.to_owned() }),
    };
    let own = lock.metadata()?;
    // In a directory that others write to, somebody may have been here before.
    if own.uid() != geteuid().as_raw() || own.mode() & 0o077 != 0 {
        return Err(BundleError::InTheWay { path: temporary.to_owned() });
    }
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(busy()),
        Err(errno) => return Err(file::context(errno.into(), "lock", temporary).into()),
    }
    // Its owner may have finished between the two, and then it is a bundle.
    match fs::symlink_metadata(temporary) {
        Ok(named) if (named.dev(), named.ino()) == (own.dev(), own.ino()) => Ok(lock),
        Ok(_) | Err(_) => Err(busy()),
    }
}

fn empty(dir: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    for entry in dir::list_path(dir)? {
        let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
        match fs::symlink_metadata(&path)?.is_dir() {
            true => fs::remove_dir_all(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    Ok(())
}
