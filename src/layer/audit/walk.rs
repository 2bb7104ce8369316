//! The way through the tree: one level after the other, the directories of each side by side.
//!
//! No recursion, so that no depth of a tree is too deep; paths are opened from the root, through no symlink and no mount.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxAttributes, StatxFlags};

use super::compare::{self, Compared};
use super::expected::Expected;
use super::{Change, Deviation, Difference, bytes};
use crate::digest::ContentDigest;
use crate::layer::unpack::UnpackOptions;
use crate::layer::unpack::make::What;
use crate::path::{ImagePath, MAX_PATH};
use crate::sys::{beneath, dir};

/// Files opened before the first of them is read.
const BATCH: usize = 32;
/// How a file is opened: what took its place meanwhile must not hold the audit up.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// One audit.
pub(super) struct Walk<'a> {
    pub root: BorrowedFd<'a>,
    pub expected: &'a Expected<'a>,
    pub options: &'a UnpackOptions<'a>,
}

/// A directory to look at: one of the layer, by its item, or one that was added.
struct Directory {
    path: ImagePath,
    item: Option<usize>,
}

/// A name that is both expected and there.
struct Pair {
    item: usize,
    /// As the directory tells it.
    kind: FileType,
}

/// What was found in one place.
#[derive(Default)]
struct Found {
    deviations: Vec<Deviation>,
    /// Directories of the next level.
    dirs: Vec<Directory>,
    /// Files that all processors read together.
    large: Vec<usize>,
    /// Inodes of files that have several names.
    shared: Vec<(usize, Inode)>,
}

/// Device and number.
type Inode = (u32, u32, u64);

/// A file that is open and asked for, or something whose bytes nobody reads.
enum Looked {
    File(usize, File),
    Other(usize),
    Failed(usize, io::Error),
}

impl Found {
    fn add(&mut self, path: &ImagePath, change: Change) {
        self.deviations.push(Deviation { path: path.clone(), change });
    }

    fn changed(&mut self, path: &ImagePath, differences: Vec<Difference>) {
        if !differences.is_empty() {
            self.add(path, Change::Changed(differences));
        }
    }

    fn join(mut self, other: Found) -> Found {
        self.deviations.extend(other.deviations);
        self.dirs.extend(other.dirs);
        self.large.extend(other.large);
        self.shared.extend(other.shared);
        self
    }
}

impl Walk<'_> {
    pub fn run(&self) -> io::Result<Vec<Deviation>> {
        let mut all = Found::default();
        let mut level = vec![Directory { path: ImagePath::root(), item: Some(0) }];
        dir::list(self.root)?;
        while !level.is_empty() {
            let found = level.par_iter().map(|dir| self.directory(dir)).reduce(Found::default, Found::join);
            all = all.join(found);
            level = std::mem::take(&mut all.dirs);
        }
        for item in std::mem::take(&mut all.large) {
            self.large(item, &mut all);
        }
        self.links(&mut all);
        all.deviations.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all.deviations)
    }

    fn directory(&self, dir: &Directory) -> Found {
        let mut found = Found::default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = beneath::open_on_mount(self.root, dir.path.as_os_str(), flags);
        let listed = opened.and_then(|fd| Ok((dir::list(&fd)?, fd)));
        let (names, fd) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                failed(&dir.path, &error, "a directory", &mut found);
                return found;
            }
        };
        if let Some(item) = dir.item {
            self.settle(item, self.directory_itself(&fd, item), &mut found);
        }
        let pairs = self.pair(&fd, dir, names, &mut found);
        let checked = pairs.par_chunks(BATCH).map(|batch| self.batch(&fd, batch));
        found.join(checked.reduce(Found::default, Found::join))
    }

    fn directory_itself(&self, fd: &OwnedFd, item: usize) -> io::Result<Vec<Difference>> {
        let expected = &self.expected.items[item];
        if expected.path.is_root() && !self.expected.lists_root {
            // It was the root of an upper directory, and no part of the layer.
            return compare::xattrs(fd, expected, self.options, Compared::Marks);
        }
        let stat = stat(fd, b"", AtFlags::EMPTY_PATH)?;
        let mut differences = compare::metadata(expected, &stat, self.options.owners);
        differences.extend(compare::xattrs(fd, expected, self.options, Compared::All)?);
        Ok(differences)
    }

    /// Holds the names of a directory against those it should have; both are sorted. Notes what was added and removed,
    /// and gives the rest.
    fn pair(&self, fd: &OwnedFd, dir: &Directory, names: Vec<dir::Entry>, found: &mut Found) -> Vec<Pair> {
        let mut pairs = Vec::with_capacity(names.len());
        let mut wanted =
            dir.item.map_or(&[][..], |item| self.expected.children(item)).iter().copied().peekable();
        let name_of = |item: &usize| self.expected.items[*item].path.name();
        for entry in names {
            while let Some(item) = wanted.next_if(|item| name_of(item) < &entry.name[..]) {
                self.removed(item, found);
            }
            match wanted.next_if(|item| name_of(item) == entry.name) {
                Some(item) => pairs.push(Pair { item, kind: kind(fd, &entry) }),
                None => added(fd, dir.path.child(&entry.name), found),
            }
        }
        wanted.for_each(|item| self.removed(item, found));
        pairs
    }

    fn removed(&self, item: usize, found: &mut Found) {
        for gone in self.expected.with_below(item) {
            found.add(&gone.path, Change::Removed);
        }
    }

    /// Opens some files, asks for their bytes, then compares one after the other.
    fn batch(&self, dir: &OwnedFd, pairs: &[Pair]) -> Found {
        let mut found = Found::default();
        let looked: Vec<Looked> = pairs.iter().filter_map(|pair| self.look(dir, pair, &mut found)).collect();
        let mut buffer = vec![0; bytes::BUFFER];
        for looked in looked {
            let (item, compared) = match looked {
                Looked::File(item, mut file) => {
                    let hash = |file: &mut File, size| bytes::digest(file, size, &mut buffer);
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
    fn large(&self, item: usize, found: &mut Found) {
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
    fn links(&self, found: &mut Found) {
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

    fn settle(&self, item: usize, compared: io::Result<Vec<Difference>>, found: &mut Found) {
        let expected = &self.expected.items[item];
        match compared {
            Ok(differences) => found.changed(&expected.path, differences),
            Err(error) => {
                failed(&expected.path, &error, compare::kind_name(compare::kind_of(&expected.what)), found);
            }
        }
    }
}

/// The kind of a name; not every file system tells it with the name.
fn kind(dir: &OwnedFd, entry: &dir::Entry) -> FileType {
    if entry.kind != FileType::Unknown {
        return entry.kind;
    }
    let stat = stat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW);
    stat.map_or(FileType::Unknown, |stat| compare::kind_on_disk(&stat))
}

/// Something that is there and should not be. What is in it is new too, as far down as paths go.
fn added(dir: &OwnedFd, path: ImagePath, found: &mut Found) {
    let stat = stat(dir, path.name(), AtFlags::SYMLINK_NOFOLLOW).ok();
    found.add(&path, Change::Added(stat.as_ref().map_or("of unknown kind", compare::named)));
    let is_dir = stat.is_some_and(|stat| compare::kind_on_disk(&stat) == FileType::Directory);
    if is_dir && path.as_bytes().len() < MAX_PATH {
        found.dirs.push(Directory { path, item: None });
    }
}

/// What kept a path from being compared is itself a deviation: the rest is looked at all the same.
fn failed(path: &ImagePath, error: &io::Error, expected: &'static str, found: &mut Found) {
    found.add(path, Change::of(error, expected));
}

fn stat(at: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Statx> {
    Ok(rustix::fs::statx(at, name, flags, StatxFlags::BASIC_STATS)?)
}

fn inode(stat: &Statx) -> Inode {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}
