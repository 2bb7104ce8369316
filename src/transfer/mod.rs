//! Trees of files from one place to another, as a tar on the way: `cp`.
//!
//! Owns: docker's rules of what a copy comes to be called, and that nothing in the files themselves leads elsewhere: what
//! is sent is reached by descriptors from its root on, and what is received lies below the directory it was sent to.
//! Never knows where it runs: in a container it is called by a process whose root that container's is.

mod place;
mod receive;
mod send;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use place::Place;
pub use receive::receive;
pub use send::send;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub path: PathBuf,
    /// A symlink there stands for what it leads to.
    pub follow: bool,
}

/// Where something is received, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    pub path: PathBuf,
    pub form: Form,
    pub owners: Owners,
}

/// What the tar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One file or directory with all that is in it, as [`send`] writes it; it may be called otherwise afterwards.
    Tree,
    /// Anything, for a directory that is there.
    Archive,
}

/// Whose the files will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// Theirs who receive them.
    Receiver,
    /// The same as before, by number.
    Kept,
}

/// Why something was not copied.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot {act} {path}: {source}")]
    Io { act: &'static str, path: String, source: io::Error },
    #[error("{path} is not there")]
    Missing { path: String },
    #[error("{path} is not a directory")]
    NotADirectory { path: String },
    #[error("{path} is not a directory, so no directory can be copied there")]
    DirectoryOverFile { path: String },
    #[error("{path} is a directory, so nothing else can be put in its place")]
    FileOverDirectory { path: String },
    #[error("{path} changed while it was read")]
    Changed { path: String },
    #[error("the archive names {path}, which is no place below a directory")]
    Name { path: String },
    #[error("the archive links {path} to {target}, which it does not hold before")]
    Link { path: String, target: String },
    #[error("the archive ends in the middle")]
    Cut,
    #[error("not an archive that can be read: {0}")]
    Archive(#[source] io::Error),
    #[error("cannot pass the files on: {0}")]
    Stream(#[source] io::Error),
}

impl TransferError {
    fn io<E: Into<io::Error>>(act: &'static str, path: &[u8]) -> impl FnOnce(E) -> Self {
        let path = shown(path);
        move |source| Self::Io { act, path, source: source.into() }
    }
}

/// How a path ends, which says what is meant by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Name,
    /// `/`: a directory.
    Slash,
    /// `/.`: what is in a directory.
    Contents,
}

impl Ending {
    fn of(path: &Path) -> Self {
        match path.as_os_str().as_bytes() {
            b"." | [.., b'/', b'.'] => Self::Contents,
            [.., b'/'] => Self::Slash,
            _ => Self::Name,
        }
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn shown(path: &[u8]) -> String {
    crate::diag::escape(path)
}
