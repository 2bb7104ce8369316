//! The build context: which files a COPY takes from a directory of the host, and their digests.
//!
//! Owns: ignore rules, wildcards, the sorted scan, the index that makes an unchanged tree cheap. Symlinks are
//! resolved inside the context and never lead out of it. Only regular files are opened, and never through a link.

pub mod filter;
pub mod ignore;
pub mod index;
pub mod pattern;
pub mod scan;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::path::ImagePath;

pub use filter::Filter;
pub use index::{Stamp, StatIndex};
pub use scan::{Found, Kind, Selected};

/// What stands in the way of using a context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("{act} {path} in the build context: {source}")]
    Io { act: &'static str, path: ImagePath, source: io::Error },
    #[error("build context {root}: {source}")]
    Root { root: PathBuf, source: io::Error },
    #[error("{0} is not in the build context")]
    NotFound(ImagePath),
    #[error("{path} is left out of the build context by {file}")]
    Ignored { path: ImagePath, file: String },
    #[error("{path} in the build context is a {kind}; only files, directories and symlinks can be copied")]
    Special { path: ImagePath, kind: &'static str },
    #[error("{path} in the build context leads through more than 40 symlinks, or to a name that cannot be")]
    Links { path: ImagePath },
    #[error("{0} in the build context changed while it was read; build again when nothing writes there")]
    Changed(ImagePath),
    #[error("pattern {pattern}: {source}")]
    Pattern { pattern: ImagePath, source: pattern::PatternError },
}

/// How a file is opened: a FIFO that took its place must not make us wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Reads a file of rules. `None` if there is none.
pub fn ignore_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match crate::sys::file::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A directory of the host, seen through its ignore rules.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    dir: File,
    ignore: ignore::Ignore,
    /// The name of the ignore file, for messages.
    ignore_name: String,
}

impl Context {
    /// Opens a context. `ignore_name` is where the rules came from.
    pub fn open(root: &Path, ignore: ignore::Ignore, ignore_name: &str) -> Result<Self, ContextError> {
        let error = |source| ContextError::Root { root: root.to_owned(), source };
        let dir = File::open(root).map_err(error)?;
        if !dir.metadata().map_err(error)?.is_dir() {
            return Err(error(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Self { root: root.to_owned(), dir, ignore, ignore_name: ignore_name.to_owned() })
    }

    /// The directory as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a regular file of a scan for reading and checks that it is still the file that was seen.
    pub fn open_file(&self, path: &ImagePath, seen: &Stamp) -> Result<File, ContextError> {
        let io = |source| ContextError::Io { act: "open", path: path.clone(), source };
        let file = match crate::sys::beneath::open(&self.dir, path, FILE, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(error) if is_replaced(&error) => return Err(ContextError::Changed(path.clone())),
            Err(error) => return Err(io(error)),
        };
        if Stamp::of_file(&file).map_err(io)? != *seen {
            return Err(ContextError::Changed(path.clone()));
        }
        Ok(file)
    }
}

/// Whether opening what was a regular file failed because something else, or nothing, has its name now: gone, a
/// symlink, below what is no directory any more, a socket.
fn is_replaced(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::LOOP, Errno::NOTDIR, Errno::NXIO, Errno::XDEV]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
