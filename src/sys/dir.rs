//! Directory listings, sorted: the order of the host's file system never shows.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Never empty, `.` or `..`; without slash and zero byte.
    pub name: Vec<u8>,
    pub inode: u64,
    /// As the directory tells it; [`FileType::Unknown`] where the file system does not.
    pub kind: FileType,
}

/// The names of an open directory, sorted by their bytes. The descriptor's own position is left alone.
///
/// # Errors
/// Of `getdents64`, or of opening `.` anew. The caller knows the path and names it.
pub fn list(dir: impl AsFd) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            entries.push(Entry { name: name.to_vec(), inode: entry.ino(), kind: entry.file_type() });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The names of a directory by path, sorted by their bytes.
///
/// # Errors
/// If the path is not a directory, or is a symlink to one.
pub fn list_path(path: &Path) -> io::Result<Vec<Entry>> {
    list(open(path)?)
}

/// Opens a directory for the `*at` calls; not through a symlink at its end.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_sorted_and_without_dots() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c", "B"] {
            std::fs::write(scratch.path().join(name), "").unwrap();
        }
        let names: Vec<_> = list_path(scratch.path()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, [b"B", b"a", b"b", b"c"]);
    }
}
