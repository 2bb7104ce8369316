//! Why a sandbox could not be set up: plain data, since it happens in the child and is told to the parent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sys::mount::FsError;

/// What stopped the sandbox before its process ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum SetupError {
    /// The root file system has something else where a kernel file system must go.
    #[error("{path} in the root file system is {found}; it must be a directory or be missing")]
    MountPoint { path: String, found: String },
    #[error("working directory {path} cannot be entered: {errno}")]
    Cwd { path: String, errno: Errno },
    /// The working directory leads out of the root.
    #[error("working directory {path} leads out of the root file system")]
    CwdOutside { path: String },
    /// A user or group that the user namespace has no number for.
    #[error(
        "user {uid}, group {gid} cannot be taken on here: {errno}; \
         only ids mapped by /etc/subuid and /etc/subgid can"
    )]
    Identity { uid: u32, gid: u32, errno: Errno },
    /// A file to be put in has no place: a parent is not a directory, or the root is read-only.
    #[error("file {path} cannot be put into the root file system: {errno}")]
    File { path: String, errno: Errno },
    /// A mount has no place: a parent is not a directory, the target is of another kind, or where it would have to be
    /// made is read-only.
    #[error("nothing can be mounted at {path} in the root file system: {reason}")]
    Mount { path: String, reason: String },
    /// The program cannot be executed.
    #[error("{name}: {reason}")]
    Program { name: String, reason: String, found: bool },
    /// A field of the spec that no process can have.
    #[error("{field} holds a zero byte")]
    Nul { field: String },
    /// The kernel refused a step.
    #[error("cannot {act} {object}: {errno}{}", detail(.log))]
    Refused { act: String, object: String, errno: Errno, log: String },
    /// All processes are gone, and yet what they wrote could still change.
    #[error(
        "a file of the root file system is still open for writing in a process outside, which got it over a socket; \
         what is written there would change a finished result"
    )]
    Held,
    /// The parent was gone, or what it sent was not a job.
    #[error("the sandbox was told nothing it understands: {reason}")]
    Job { reason: String },
}

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Errno(i32);

impl Errno {
    /// The number, as in errno(3).
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

/// Names the act and the object of a refusal: `open(..).doing("open", "/dev/null")?`.
pub(super) trait Doing<T> {
    fn doing(self, act: &str, object: impl fmt::Display) -> Result<T, SetupError>;
}

impl<T> Doing<T> for Result<T, rustix::io::Errno> {
    fn doing(self, act: &str, object: impl fmt::Display) -> Result<T, SetupError> {
        self.map_err(|errno| SetupError::Refused {
            act: act.into(),
            object: object.to_string(),
            errno: errno.into(),
            log: String::new(),
        })
    }
}

impl<T> Doing<T> for Result<T, FsError> {
    fn doing(self, act: &str, object: impl fmt::Display) -> Result<T, SetupError> {
        self.map_err(|FsError { errno, log }| SetupError::Refused {
            act: act.into(),
            object: object.to_string(),
            errno: errno.into(),
            log,
        })
    }
}

fn detail(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" ({log})") }
}
