//! An unpacked layer held against what unpacking it makes: what was added, changed or removed since
//! (spec/store-layout.md, "Unpacked layers").
//!
//! Owns: the comparison. Reads only, follows no symlink and crosses no mount, opens nothing but directories and regular
//! files, and reads each file's bytes once, whatever its names.

mod bytes;
mod check;
mod compare;
mod expected;
mod walk;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::entry::{Mtime, Toc};
use super::unpack::UnpackOptions;
use crate::diag::escape;
use crate::path::ImagePath;

/// One path that is not as unpacking would make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    pub path: ImagePath,
    pub change: Change,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// With what it is: a file, a whiteout.
    Added(&'static str),
    Removed,
    /// In at least one thing.
    Changed(Vec<Difference>),
}

/// One thing in which a path differs; what is expected comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is something else: a file where a directory was.
    Kind(&'static str, &'static str),
    /// It is a device of another number.
    Device((u32, u32), (u32, u32)),
    /// A symlink leads elsewhere.
    Target(Vec<u8>, Vec<u8>),
    /// Sizes; equal ones have other bytes.
    Bytes(u64, u64),
    Mode(u16, u16),
    /// User and group.
    Owner((u32, u32), (u32, u32)),
    Time(Mtime, Mtime),
    /// An extended attribute; `None` where there is none.
    Xattr {
        name: Vec<u8>,
        expected: Option<Vec<u8>>,
        found: Option<Vec<u8>>,
    },
    /// How many names the file has: others may be anywhere, and who writes through them writes here.
    Names(u64, u64),
    /// It is no longer another name of that file.
    Unlinked(ImagePath),
    /// Something is mounted on it, so what it holds cannot be seen.
    Mounted,
    /// It cannot be read.
    Unreadable(String),
}

impl Change {
    /// What became of a path that could not be looked at, and was of some kind.
    pub fn of(error: &io::Error, expected: &'static str) -> Self {
        let difference = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => return Self::Removed,
            Some(Errno::XDEV) => Difference::Mounted,
            Some(Errno::NOTDIR) => Difference::Kind(expected, "no directory"),
            Some(Errno::LOOP) => Difference::Kind(expected, "a symlink"),
            _ => Difference::Unreadable(error.to_string()),
        };
        Self::Changed(vec![difference])
    }
}

impl Difference {
    /// What differs, in one word.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Kind(..) => "kind",
            Self::Device(..) => "device",
            Self::Target(..) => "target",
            Self::Bytes(..) => "bytes",
            Self::Mode(..) => "mode",
            Self::Owner(..) => "owner",
            Self::Time(..) => "time",
            Self::Xattr { .. } => "xattr",
            Self::Names(..) | Self::Unlinked(_) => "links",
            Self::Mounted => "mount",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// What is expected and what was found, as text; `None` where there is no such thing.
    pub fn sides(&self) -> (Option<String>, Option<String>) {
        let both = |expected: String, found: String| (Some(expected), Some(found));
        let pair = |pair: &(u32, u32)| format!("{}:{}", pair.0, pair.1);
        match self {
            Self::Kind(expected, found) => both((*expected).to_owned(), (*found).to_owned()),
            Self::Device(expected, found) | Self::Owner(expected, found) => both(pair(expected), pair(found)),
            Self::Target(expected, found) => both(escape(expected), escape(found)),
            Self::Bytes(expected, found) | Self::Names(expected, found) => {
                both(expected.to_string(), found.to_string())
            }
            Self::Mode(expected, found) => both(format!("{expected:04o}"), format!("{found:04o}")),
            Self::Time(expected, found) => both(time(*expected), time(*found)),
            Self::Xattr { name, expected, found } => {
                let side = |value: &Option<Vec<u8>>| {
                    value.as_ref().map(|value| format!("{}={}", escape(name), escape(value)))
                };
                (side(expected), side(found))
            }
            Self::Unlinked(first) => (Some(first.to_string()), None),
            Self::Mounted => (None, None),
            Self::Unreadable(why) => (None, Some(why.clone())),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what();
        match (self, self.sides()) {
            (Self::Xattr { name, expected: None, .. }, _) => write!(f, "xattr {} was added", escape(name)),
            (Self::Xattr { name, found: None, .. }, _) => write!(f, "xattr {} was removed", escape(name)),
            (Self::Xattr { name, .. }, _) => write!(f, "xattr {} has another value", escape(name)),
            (Self::Bytes(expected, found), _) if expected == found => write!(f, "other bytes, as many"),
            (Self::Bytes(expected, found), _) => write!(f, "other bytes: {found}, was {expected}"),
            (Self::Names(expected, found), _) => write!(f, "names {found}, was {expected}"),
            (Self::Unlinked(first), _) => write!(f, "no longer the same file as {first}"),
            (Self::Mounted, _) => write!(f, "something is mounted here"),
            (Self::Unreadable(why), _) => write!(f, "cannot be read: {why}"),
            (Self::Kind(expected, found), _) => write!(f, "is {found}, was {expected}"),
            (_, (Some(expected), Some(found))) => write!(f, "{what} {found}, was {expected}"),
            (_, (None, _) | (_, None)) => write!(f, "{what}"),
        }
    }
}

/// RFC 3339, or seconds since 1970 for a time that no calendar has.
fn time(time: Mtime) -> String {
    let nanos = i32::try_from(time.nanos).unwrap_or(0);
    match jiff::Timestamp::new(time.secs, nanos) {
        Ok(stamp) => stamp.to_string(),
        Err(_) => format!("@{}", time.secs),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(kind) => write!(f, "{kind}"),
            Self::Removed => write!(f, "removed"),
            Self::Changed(differences) => {
                for (at, difference) in differences.iter().enumerate() {
                    write!(f, "{}{difference}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

/// Compares a directory with what unpacking a layer with these options makes. Deviations come in layer order; none
/// means equal. What cannot be read is a deviation too. To be called from outside of rayon's pool, which it uses.
///
/// # Errors
/// Of listing the root.
pub fn audit(root: BorrowedFd<'_>, toc: &Toc, options: &UnpackOptions<'_>) -> io::Result<Vec<Deviation>> {
    let expected = expected::Expected::new(toc, options);
    walk::Walk { root, expected: &expected, options }.run()
}
