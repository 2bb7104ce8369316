//! What can be wrong with a tar.

use std::io;

use crate::path::{ImagePath, PathError};

/// Where a tar is bad, and how.
#[derive(Debug, thiserror::Error)]
#[error("tar is bad at byte {offset}{}: {what}", shown(.entry))]
pub struct ReadError {
    /// Where the header of the entry begins, in uncompressed bytes; else where reading stopped.
    pub offset: u64,
    /// The entry's name as it stands in the tar, escaped; `None` before a name is known.
    pub entry: Option<String>,
    pub what: Fault,
}

fn shown(entry: &Option<String>) -> String {
    entry.as_ref().map(|name| format!(", entry {name}")).unwrap_or_default()
}

/// One kind of badness. Nothing is repaired or guessed: where programs disagree on what bytes mean, they are refused.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot read it: {0}")]
    Io(io::Error),
    #[error("there is nothing in it, not even the two zero blocks of an empty tar")]
    Empty,
    #[error("it is cut short")]
    Truncated,
    #[error("it is larger than {0} bytes, the most that is allowed")]
    TooLarge(u64),
    #[error("it has more than {0} entries, the most that is allowed")]
    TooManyEntries(usize),
    #[error("this is not a tar header: its checksum does not match")]
    Checksum,
    #[error("the header is neither POSIX ustar nor GNU, by its magic")]
    Magic,
    #[error("a lone zero block stands between entries")]
    LoneZeroBlock,
    #[error("its names, link targets and xattrs take more than {0} bytes, the most that is allowed")]
    TooMuchMetadata(u64),
    #[error("the {field} is not a number as tar writes them")]
    Number { field: &'static str },
    #[error("the {field} is out of range")]
    Range { field: &'static str },
    #[error("an extended header is longer than {0} bytes, the most that is allowed")]
    ExtendedTooLong(u64),
    #[error("a PAX record is malformed: {0}")]
    Record(&'static str),
    #[error("the PAX record {0} is there twice for one entry")]
    RecordTwice(String),
    #[error("a global header sets {0} for all that follows")]
    Global(String),
    #[error("its extended headers contradict each other: several of one kind, or PAX beside GNU")]
    Mixed,
    #[error("an extended header has no entry after it")]
    Dangling,
    #[error("the GNU long name is empty or has bytes after its end")]
    LongName,
    #[error("sparse files are not supported; write the tar without them")]
    Sparse,
    #[error("type {} is unknown", char::from(*.0).escape_default())]
    Type(u8),
    #[error("only a regular file can have bytes, and this entry claims {0}")]
    Body(u64),
    #[error("it has no name")]
    NoName,
    #[error("{0}")]
    Path(PathError),
    #[error("its name ends in a slash and it is no directory")]
    TrailingSlash,
    #[error("the root can only be a directory")]
    Root,
    #[error("the target of the hard link: {0}")]
    LinkPath(PathError),
    #[error("the hard link leads to {0}, which is no regular file earlier in the same layer")]
    LinkTarget(ImagePath),
    #[error("the symlink's target is empty, longer than 4095 bytes, or holds a zero byte")]
    SymlinkTarget,
    #[error("it is character device 0:0, which overlayfs takes for a deletion")]
    WhiteoutDevice,
    #[error("it is no valid whiteout")]
    Whiteout,
    #[error("xattr {0} has a bad name or more than 65536 bytes")]
    Xattr(String),
    #[error("it is there twice")]
    Duplicate,
    #[error("it lies below {0}, which is not a directory")]
    BelowNonDirectory(ImagePath),
}
