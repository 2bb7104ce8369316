//! A directory as one layer: its table, made by looking at every file.
//!
//! Owns: what of a file on disk is compared. Never follows a symlink, never leaves the directory; what is mounted below
//! is looked into like anything else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, readlinkat};

use crate::digest::ContentDigest;
use crate::layer::entry::is_carried;
use crate::layer::{Meta, Mtime, Node, Toc, TocEntry};
use crate::path::ImagePath;
use crate::sys::{beneath, dir, xattr};

/// The table of what is below a directory, its own entry left out, and the directory.
///
/// # Errors
/// Those of reading, with the path.
pub fn scan(root: &Path) -> io::Result<(OwnedFd, Toc)> {
    let root = dir::open(root)?;
    let mut seen = Vec::new();
    let mut left = vec![ImagePath::root()];
    while let Some(at) = left.pop() {
        let listed = beneath::open_dir(&root, &at).and_then(|fd| dir::list(&fd));
        for entry in listed.map_err(|error| named(error, &at))? {
            let path = at.child(&entry.name);
            if entry.kind == FileType::Directory {
                left.push(path.clone());
            }
            seen.push(path);
        }
    }
    seen.sort();
    let looked: Vec<Looked> = seen
        .into_par_iter()
        .filter_map(|path| match look(&root, &path) {
            // It went away meanwhile, or is a socket, which no layer holds.
            Ok(None) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(Some(looked)) => Some(Ok(looked)),
            Err(error) => Some(Err(named(error, &path))),
        })
        .collect::<io::Result<_>>()?;
    Ok((root, Toc::new(joined(looked))))
}

/// One path, and which file it is if that has several names.
struct Looked {
    entry: TocEntry,
    inode: Option<(u64, u64)>,
}

/// Makes further names of a file links to the first.
fn joined(all: Vec<Looked>) -> Vec<TocEntry> {
    let mut firsts: BTreeMap<(u64, u64), ImagePath> = BTreeMap::new();
    let mut entries = Vec::with_capacity(all.len());
    for Looked { mut entry, inode } in all {
        if let Some(inode) = inode {
            match firsts.get(&inode) {
                Some(first) => entry.node = Node::Hardlink(first.clone()),
                None => drop(firsts.insert(inode, entry.path.clone())),
            }
        }
        entries.push(entry);
    }
    entries
}

fn look(root: &OwnedFd, path: &ImagePath) -> io::Result<Option<Looked>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let handle = beneath::open(root, path, flags, Mode::empty())?;
    let stat = fstat(&handle)?;
    let device = |raw| (rustix::fs::major(raw), rustix::fs::minor(raw));
    let (mut xattrs, mut inode) = (Vec::new(), None);
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            xattrs = xattr::read(beneath::open_dir(root, path)?, is_carried)?;
            Node::Dir
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let mut file = File::from(beneath::open(root, path, flags, Mode::empty())?);
            xattrs = xattr::read(&file, is_carried)?;
            inode = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
            let (size, content) = hash(&mut file)?;
            Node::File { size, content, offset: 0 }
        }
        FileType::Symlink => Node::Symlink(readlinkat(handle.as_fd(), c"", Vec::new())?.into_bytes()),
        FileType::CharacterDevice => {
            let (major, minor) = device(stat.st_rdev);
            Node::Char { major, minor }
        }
        FileType::BlockDevice => {
            let (major, minor) = device(stat.st_rdev);
            Node::Block { major, minor }
        }
        FileType::Fifo => Node::Fifo,
        FileType::Socket | FileType::Unknown => return Ok(None),
    };
    Ok(Some(Looked { entry: TocEntry { path: path.clone(), meta: meta(&stat, xattrs), node }, inode }))
}

/// Times in seconds, as layers have them.
fn meta(stat: &Stat, mut xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Meta {
    xattrs.sort();
    let mode = u16::try_from(stat.st_mode & 0o7777).expect("twelve bits");
    Meta { mode, uid: stat.st_uid, gid: stat.st_gid, mtime: Mtime { secs: stat.st_mtime, nanos: 0 }, xattrs }
}

fn hash(file: &mut File) -> io::Result<(u64, ContentDigest)> {
    let mut hasher = blake3::Hasher::new();
    let (mut size, mut buffer) = (0, vec![0; 128 << 10]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, ContentDigest::from_bytes(*hasher.finalize().as_bytes())));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

fn named(error: io::Error, path: &ImagePath) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
