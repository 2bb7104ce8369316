//! The way through the tree: one level after the other, the directories of each side by side.
//!
//! No recursion, so that no depth of a tree is too deep; paths are opened from the root, through no symlink and no mount.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags};

use super::compare::{self, Compared};
use super::expected::Expected;
use super::{Change, Deviation, Difference, bytes};
use crate::layer::unpack::UnpackOptions;
use crate::path::{ImagePath, MAX_PATH};
use crate::sys::{beneath, dir};

/// Files opened before the first of them is read.
const BATCH: usize = 32;

/// One audit.
pub(super) struct Walk<'a> {
    pub root: BorrowedFd<'a>,
    pub expected: &'a Expected<'a>,
    pub options: &'a UnpackOptions<'a>,
}

/// A directory to look at: one of the layer, by its item, or one that was added.
pub(super) struct Directory {
    pub path: ImagePath,
    pub item: Option<usize>,
}

/// A name that is both expected and there.
pub(super) struct Pair {
    pub item: usize,
    /// As the directory tells it.
    pub kind: FileType,
}

/// What was found in one place.
#[derive(Default)]
pub(super) struct Found {
    pub deviations: Vec<Deviation>,
    /// Directories of the next level.
    pub dirs: Vec<Directory>,
    /// Files that all processors read together.
    pub large: Vec<usize>,
    /// Inodes of files that have several names.
    pub shared: Vec<(usize, Inode)>,
}

/// Device and number.
pub(super) type Inode = (u32, u32, u64);

impl Found {
    pub fn add(&mut self, path: &ImagePath, change: Change) {
        self.deviations.push(Deviation { path: path.clone(), change });
    }

    pub fn changed(&mut self, path: &ImagePath, differences: Vec<Difference>) {
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
        let buffer = || vec![0; bytes::BUFFER];
        let checked =
            pairs.par_chunks(BATCH).map_init(buffer, |buffer, batch| self.batch(&fd, batch, buffer));
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
pub(super) fn failed(path: &ImagePath, error: &io::Error, expected: &'static str, found: &mut Found) {
    found.add(path, Change::of(error, expected));
}

pub(super) fn stat(at: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Statx> {
    Ok(rustix::fs::statx(at, name, flags, StatxFlags::BASIC_STATS)?)
}
