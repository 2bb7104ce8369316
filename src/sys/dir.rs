//! Directory listings, sorted: the order of the host's file system never shows. And their removal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

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

/// How deep a tree may be to be removed at one go, and how many descriptors that takes.
const DEPTH: u32 = 64;

/// Removes a directory with everything in it, however deep: one descriptor for each level, as the standard library
/// needs, is more than a process has if somebody wants it to be.
///
/// # Errors
/// `NotFound` if it is not there.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let mut serial = 0;
    loop {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
                let (top, before) = (open(path)?, serial);
                raise(&top, &top, 1, &mut serial)?;
                if serial == before {
                    // It was not the depth that took them all.
                    return Err(error);
                }
            }
            removed => return removed,
        }
    }
}

/// Moves what is deeper than [`DEPTH`] up to the top.
fn raise(top: &OwnedFd, dir: &OwnedFd, depth: u32, serial: &mut u64) -> io::Result<()> {
    for entry in list(dir)?.iter().filter(|entry| entry.kind == FileType::Directory) {
        let name = entry.name.as_slice();
        if depth == DEPTH {
            *serial += 1;
            rustix::fs::renameat(dir, name, top, format!(".lith-deep-{serial}"))?;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        raise(top, &rustix::fs::openat(dir, name, flags, Mode::empty())?, depth + 1, serial)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep");
        std::fs::create_dir(&path).unwrap();
        let mut dir = open(&path).unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        // Where the limit is high this tries the moving alone.
        for _ in 0..limit.min(5000) + 10 {
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
            drop(rustix::fs::openat(&dir, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap());
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            dir = rustix::fs::openat(&dir, "d", flags, Mode::empty()).unwrap();
        }
        let top = open(&path).unwrap();
        raise(&top, &top, 1, &mut 0).unwrap();
        assert!(path.join(".lith-deep-1").is_dir());
        remove_all(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(remove_all(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

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
