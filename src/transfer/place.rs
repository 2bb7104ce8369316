//! Where paths are looked for.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::{Ending, TransferError, bytes};
use crate::path::ImagePath;

/// Whose paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Those of whoever calls, as they are.
    Caller,
    /// Those of a container, which is the root of this process. No path leads through a magic link: what a process of
    /// the container has open, or has for its root, is not where the path says.
    Container,
}

/// A path, the way it is meant.
pub(super) struct Wanted {
    /// Without what it ended in.
    pub path: PathBuf,
    pub ending: Ending,
    /// What it is called; `None` for the root.
    pub name: Option<Vec<u8>>,
}

impl Place {
    /// Reads a path as people write it.
    pub(super) fn wanted(self, text: &Path) -> Result<Wanted, TransferError> {
        let ending = Ending::of(text);
        match self {
            Self::Container => {
                let clean = ImagePath::clamped(bytes(text))
                    .map_err(|_| TransferError::Name { path: super::shown(bytes(text)) })?;
                let name = (!clean.is_root()).then(|| clean.name().to_vec());
                Ok(Wanted { path: OsString::from_vec(clean.absolute()).into(), ending, name })
            }
            Self::Caller => {
                // `..` and the like have a name only once it is known where they are.
                let name = match text.file_name() {
                    Some(name) => Some(bytes(Path::new(name)).to_vec()),
                    None => {
                        let real = std::fs::canonicalize(text).unwrap_or_default();
                        real.file_name().map(|name| bytes(Path::new(name)).to_vec())
                    }
                };
                // The components are the same, but for what it ended in.
                Ok(Wanted { path: text.components().collect(), ending, name })
            }
        }
    }

    /// Opens a path.
    pub(super) fn open(self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let (root, resolve) = match self {
            Self::Caller => (None, ResolveFlags::empty()),
            Self::Container => {
                let root =
                    openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                (Some(root), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
            }
        };
        loop {
            let opened = match &root {
                Some(root) => openat2(root, path, flags, Mode::empty(), resolve),
                None => openat(CWD, path, flags, Mode::empty()),
            };
            match opened {
                // Something on the way was renamed meanwhile; the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}
