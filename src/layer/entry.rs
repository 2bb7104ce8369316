//! One entry of a layer, and the table of all of them.

use crate::digest::ContentDigest;
use crate::path::ImagePath;

/// Seconds and nanoseconds since 1970; layers lith writes have no nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mtime {
    pub secs: i64,
    pub nanos: u32,
}

/// Name and value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Whether an xattr of this name can be part of a layer: those that overlayfs or SELinux obey cannot.
pub fn is_carried(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// What every entry has besides its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Mtime,
    /// Name and value, sorted by name, names unique. Never `trusted.overlay.*`, `user.overlay.*` or
    /// `security.selinux`.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Dir,
    File {
        size: u64,
        content: ContentDigest,
        /// Where the bytes begin in the uncompressed tar.
        offset: u64,
    },
    /// Another name of a regular file of the same layer, by that file's path. Its `Meta` equals the file's.
    Hardlink(ImagePath),
    /// The target's bytes as they are.
    Symlink(Vec<u8>),
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// The entry's path is hidden in all layers below. `Meta` is all zero.
    Whiteout,
    /// Everything below the entry's path is hidden in all layers below this one. Only foreign layers hold it;
    /// lith spells opaque directories out. `Meta` is all zero. The directory's own entry, if there is one, comes
    /// right before it.
    Opaque,
}

/// One line of a table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocEntry {
    pub path: ImagePath,
    pub meta: Meta,
    pub node: Node,
}

/// All entries of one layer in layer order (see [`ImagePath`]'s `Ord`), each path at most once, but for an
/// `Opaque` beside its directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toc {
    entries: Vec<TocEntry>,
}

impl Toc {
    /// A table of entries in any order. The caller has made sure that paths are unique.
    pub fn new(mut entries: Vec<TocEntry>) -> Self {
        let rank = |e: &TocEntry| u8::from(e.node == Node::Opaque);
        entries.sort_by(|a, b| a.path.cmp(&b.path).then(rank(a).cmp(&rank(b))));
        Self { entries }
    }

    /// A table of entries that are in layer order already.
    pub(super) fn from_sorted(entries: Vec<TocEntry>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.path <= b.path));
        Self { entries }
    }

    /// All entries in layer order.
    pub fn entries(&self) -> &[TocEntry] {
        &self.entries
    }

    /// Whether every entry's directory is listed too, so that the layer unpacks to the same whatever is below it.
    /// Layers that lith writes always are.
    pub fn is_self_contained(&self) -> bool {
        let mut last = None;
        self.entries.iter().all(|entry| {
            let holder = entry.path.parent().filter(|holder| !holder.is_root());
            let known = last == holder
                || holder.as_ref().is_none_or(|dir| self.get(dir).is_some_and(|e| e.node == Node::Dir));
            last = holder;
            known
        })
    }

    /// The entry of a path, `Opaque` left out.
    pub fn get(&self, path: &ImagePath) -> Option<&TocEntry> {
        let at = self.entries.partition_point(|e| e.path < *path);
        self.entries.get(at).filter(|e| e.path == *path && e.node != Node::Opaque)
    }

    /// Whether the layer hides everything below `path` that lower layers have there.
    pub fn is_opaque(&self, path: &ImagePath) -> bool {
        let at = self.entries.partition_point(|e| e.path < *path);
        self.entries[at..].iter().take(2).any(|e| e.path == *path && e.node == Node::Opaque)
    }

    /// Every entry strictly below a directory, in layer order.
    pub fn below<'a>(&'a self, dir: &'a ImagePath) -> &'a [TocEntry] {
        let from = self.entries.partition_point(|e| e.path <= *dir);
        let rest = &self.entries[from..];
        let len = rest.partition_point(|e| e.path.strip_prefix(dir).is_some());
        &rest[..len]
    }
}
