//! What a directory holds, in a form that two of them can be compared by.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lith::digest::ContentDigest;

/// Everything below a directory, by path relative to it.
#[derive(Debug)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

/// One entry: all that an image says of it.
#[derive(Debug)]
pub struct Node {
    /// Kind with target, device numbers, or size and digest.
    pub what: String,
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub mtime: i64,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// All names of the file in this tree, if it has several.
    pub names: Vec<PathBuf>,
}

impl Tree {
    /// Reads a directory, but for some paths at its top.
    pub fn read(root: &Path, without: &[&str]) -> Self {
        let mut nodes = BTreeMap::new();
        let mut inodes: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(dir) = todo.pop() {
            for entry in lith::sys::dir::list_path(&root.join(&dir)).unwrap() {
                let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
                if without.iter().any(|w| Path::new(w) == path) {
                    continue;
                }
                let meta = fs::symlink_metadata(root.join(&path)).unwrap();
                if meta.is_dir() {
                    todo.push(path.clone());
                } else if meta.is_file() {
                    inodes.entry(meta.ino()).or_default().push(path.clone());
                }
                nodes.insert(path.clone(), Node::read(&root.join(&path), &meta));
            }
        }
        for mut names in inodes.into_values().filter(|names| names.len() > 1) {
            names.sort();
            for name in &names {
                nodes.get_mut(name).unwrap().names.clone_from(&names);
            }
        }
        Self(nodes)
    }

    /// One line for each path that is not the same in both, times left aside: `path: ours | theirs`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut paths: Vec<&PathBuf> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort();
        paths.dedup();
        let shown = |tree: &Self, path| tree.0.get(path).map_or_else(|| "-".to_owned(), Node::show);
        paths
            .into_iter()
            .map(|path| (path, shown(self, path), shown(other, path)))
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(path, ours, theirs)| format!("{}: {ours} | {theirs}", path.display()))
            .collect()
    }
}

impl Node {
    fn read(path: &Path, meta: &fs::Metadata) -> Self {
        let kind = meta.file_type();
        let device = || format!("{}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let what = if kind.is_dir() {
            "dir".to_owned()
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(path).unwrap().display())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else if kind.is_char_device() {
            format!("char {}", device())
        } else if kind.is_block_device() {
            format!("block {}", device())
        } else {
            let bytes = fs::read(path).unwrap();
            format!("file of {} {}", bytes.len(), ContentDigest::of(&bytes))
        };
        Self {
            what,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            mtime: meta.mtime(),
            xattrs: xattrs(path),
            names: vec![],
        }
    }

    fn show(&self) -> String {
        let Self { what, mode, owner: (uid, gid), mtime: _, xattrs, names } = self;
        format!("{what} {mode:o} {uid}:{gid} {xattrs:?} {names:?}")
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|b| *b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect()
}
