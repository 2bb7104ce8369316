//! What a directory holds, one thing after the other: opened at most once, and compared with its item.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxAttributes};

use super::compare::{self, Compared};
use super::walk::{Directory, Found, Inode, Pair, Walk, failed, stat};
use super::{Change, Difference, bytes};
use crate::digest::ContentDigest;
use crate::layer::unpack::make::What;
use crate::sys::beneath;

/// How a file is opened: what took its place meanwhile must not hold the audit up.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A file that is open and asked for, or something whose bytes nobody reads.
enum Looked {
    File(usize, File),
    Other(usize),
    Failed(usize, io::Error),
}

impl Walk<'_> {
    /// Opens some files, asks for their bytes, then compares one after the other.
    pub fn batch(&self, dir: &OwnedFd, pairs: &[Pair], buffer: &mut [u8]) -> Found {
        let mut found = Found::default();
        let looked: Vec<Looked> = pairs.iter().filter_map(|pair| self.look(dir, pair, &mut found)).collect();
        for looked in looked {
            let (item, compared) = match looked {
                Looked::File(item, mut file) => {
                    let hash = |file: &mut File, size| bytes::digest(file, size, buffer);
                    (item, self.file(item, &mut file, &mut found, hash))
                }
                Looked::Other(item) => (item, self.other(dir, item, &mut found)),
                Looked::Failed(item, error) => (item, Err(error)),
            };
            self.settle(item, compared, &mut found);
        }
        found
    }

    /// Decides by a name's kind: nothing but what the directory calls a regular file is opened.
    fn look(&self, dir: &OwnedFd, pair: &Pair, found: &mut Found) -> Option<Looked> {
        let Pair { item, kind } = *pair;
        let expected = &self.expected.items[item];
        match (&expected.what, kind) {
            (What::Dir { .. }, FileType::Directory) => {
                found.dirs.push(Directory { path: expected.path.clone(), item: Some(item) });
                None
            }
            (What::File { size, .. }, FileType::RegularFile) if *size > bytes::LARGE => {
                found.large.push(item);
                None
            }
            (What::File { .. }, FileType::RegularFile) => {
                let name = OsStr::from_bytes(expected.path.name());
                Some(match beneath::open_on_mount(dir, name, FILE) {
                    Ok(fd) => {
                        let file = File::from(fd);
                        bytes::read_ahead(&file);
                        Looked::File(item, file)
                    }
                    Err(error) => Looked::Failed(item, error),
                })
            }
            _ => Some(Looked::Other(item)),
        }
    }

    /// A file too large for one processor; nothing else is read meanwhile.
    pub fn large(&self, item: usize, found: &mut Found) {
        let path = self.expected.items[item].path.as_os_str();
        let compared = beneath::open_on_mount(self.root, path, FILE)
            .and_then(|fd| self.file(item, &mut File::from(fd), found, bytes::digest_large));
        self.settle(item, compared, found);
    }

    /// An open file. What it is in truth is asked of itself, not of its name.
    fn file(
        &self,
        item: usize,
        file: &mut File,
        found: &mut Found,
        hash: impl FnOnce(&mut File, u64) -> io::Result<ContentDigest>,
    ) -> io::Result<Vec<Difference>> {
        let expected = &self.expected.items[item];
        let stat = stat(&*file, b"", AtFlags::EMPTY_PATH)?;
        let What::File { size, content, .. } = expected.what else { unreachable!("only files are opened") };
        if let Some(other) = compare::nature(expected, &stat) {
            return Ok(vec![other]);
        }
        let mut differences = Vec::new();
        if stat.stx_size != size || hash(file, size)? != content {
            differences.push(Difference::Bytes(size, stat.stx_size));
        }
        differences.extend(compare::metadata(expected, &stat, self.options.owners));
        differences.extend(compare::xattrs(&*file, expected, self.options, Compared::All)?);
        let names = self.expected.names(item);
        if u64::from(stat.stx_nlink) != names {
            differences.push(Difference::Names(names, stat.stx_nlink.into()));
        }
        if names > 1 {
            found.shared.push((item, inode(&stat)));
        }
        Ok(differences)
    }

    /// What is not opened: all but directories and files, other names of files, and what was replaced.
    fn other(&self, dir: &OwnedFd, item: usize, found: &mut Found) -> io::Result<Vec<Difference>> {
        let expected = &self.expected.items[item];
        let name = expected.path.name();
        let stat = stat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(vec![Difference::Mounted]);
        }
        if let Some(other) = compare::nature(expected, &stat) {
            self.below_replaced(item, &stat, found);
            return Ok(vec![other]);
        }
        if matches!(expected.what, What::Link(_)) {
            // All else is compared where the file has its first name.
            found.shared.push((item, inode(&stat)));
            return Ok(Vec::new());
        }
        let mut differences = Vec::new();
        if let What::Symlink(target) = expected.what {
            let leads = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
            if leads != target {
                differences.push(Difference::Target(target.to_vec(), leads));
            }
        }
        differences.extend(compare::metadata(expected, &stat, self.options.owners));
        Ok(differences)
    }

    /// What was in a directory that is none any more is gone; what is in one that was none is new.
    fn below_replaced(&self, item: usize, stat: &Statx, found: &mut Found) {
        for gone in self.expected.with_below(item).skip(1) {
            found.add(&gone.path, Change::Removed);
        }
        if compare::kind_on_disk(stat) == FileType::Directory {
            let path = self.expected.items[item].path.clone();
            found.dirs.push(Directory { path, item: None });
        }
    }

    /// Holds the names of each file that has several against each other.
    pub fn links(&self, found: &mut Found) {
        let inodes: BTreeMap<usize, Inode> = found.shared.iter().copied().collect();
        for (item, inode) in std::mem::take(&mut found.shared) {
            let Some(first) = self.expected.first_name(item) else { continue };
            // A first name that is gone, or no file, is named itself.
            if inodes.get(&first).is_some_and(|known| *known != inode) {
                let first = self.expected.items[first].path.clone();
                found.changed(&self.expected.items[item].path, vec![Difference::Unlinked(first)]);
            }
        }
    }

    pub fn settle(&self, item: usize, compared: io::Result<Vec<Difference>>, found: &mut Found) {
        let expected = &self.expected.items[item];
        match compared {
            Ok(differences) => found.changed(&expected.path, differences),
            Err(error) => {
                failed(&expected.path, &error, compare::kind_name(compare::kind_of(&expected.what)), found);
            }
        }
    }
}

fn inode(stat: &Statx) -> Inode {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}
