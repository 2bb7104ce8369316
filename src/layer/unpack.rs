//! From a layer's tar to a directory: the unpacked layer that overlayfs stacks, or a whole tree as plain files.
//!
//! Owns: what is made from which entry. The tar was read and judged before; here nothing of it is parsed, only bytes at
//! known offsets are copied. Everything is made through descriptors below the destination, never through a symlink.

mod make;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::capture::Owners;
use super::entry::{Meta, Node, Toc, TocEntry};
use super::tree::{Found, Tree};
use crate::mount::OverlayMarks;
use crate::path::ImagePath;
use make::{Item, Maker, What};

/// How to unpack a layer.
#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions<'a> {
    pub marks: OverlayMarks,
    pub owners: Owners,
    pub devices: Devices,
    /// The layers below. A directory that the layer does not list, though it lists what it holds, gets the metadata
    /// it has there, else 0755 and owner 0:0.
    pub lower: &'a Tree,
}

/// What becomes of block and character devices. Whiteouts are made either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made, which takes CAP_MKNOD in the first user namespace.
    Make,
    /// They stay in the table of contents only.
    Record,
}

/// Why something could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("cannot {act} {path} in the unpacked directory")]
    Io { act: &'static str, path: ImagePath, source: io::Error },
    #[error("cannot read the bytes of {path} from the tar of its layer")]
    Tar { path: ImagePath, source: io::Error },
    #[error("cannot open the tar of layer {layer}")]
    Open { layer: usize, source: io::Error },
}

/// Unpacks one layer for overlayfs: whiteouts as devices 0:0, opaque marks as xattrs. `tar` is the uncompressed layer,
/// `dest` an existing empty directory; the root's own metadata is set on it.
///
/// # Errors
/// [`UnpackError`] names the act and the path; `dest` is half made then and to be thrown away.
pub fn unpack(tar: &File, toc: &Toc, dest: &Path, options: &UnpackOptions<'_>) -> Result<(), UnpackError> {
    let tars =
        BTreeMap::from([(0, tar.try_clone().map_err(|source| UnpackError::Open { layer: 0, source })?)]);
    let items = layer_items(toc, options);
    let maker = Maker {
        tars,
        owners: options.owners,
        devices: options.devices,
        opaque: Some(options.marks.opaque()),
        existing: Existing::Refuse,
    };
    maker.make(dest, &items)
}

/// What to do about files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Refuse,
    /// They are replaced; directories are kept and added to. A symlink where a directory belongs is an error.
    Replace,
}

/// How to write a whole tree out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeOptions {
    pub owners: Owners,
    pub devices: Devices,
    pub existing: Existing,
}

/// Writes what a stack of layers shows into a plain directory (`--output type=local`). `open_layer` gives the
/// uncompressed tar of a layer. The metadata of `dest` itself is left alone.
///
/// # Errors
/// [`UnpackError`] names the act and the path. Nothing outside `dest` is ever touched.
pub fn unpack_tree(
    tree: &Tree,
    open_layer: &dyn Fn(usize) -> io::Result<File>,
    dest: &Path,
    options: &TreeOptions,
) -> Result<(), UnpackError> {
    let found = tree.walk(&ImagePath::root());
    let mut tars = BTreeMap::new();
    for layer in found.iter().filter(|found| found.file().is_some()).map(|found| found.layer) {
        if let std::collections::btree_map::Entry::Vacant(place) = tars.entry(layer) {
            place.insert(open_layer(layer).map_err(|source| UnpackError::Open { layer, source })?);
        }
    }
    let TreeOptions { owners, devices, existing } = *options;
    let maker = Maker { tars, owners, devices, opaque: None, existing };
    maker.make(dest, &tree_items(&found))
}

/// The entries of one layer with the directories they need.
fn layer_items<'a>(toc: &'a Toc, options: &UnpackOptions<'a>) -> Vec<Item<'a>> {
    let mut dirs = Dirs { items: Vec::new(), way: Vec::new(), lower: options.lower };
    let lists_root = toc.entries().first().is_some_and(|e| e.path.is_root() && e.node == Node::Dir);
    if !lists_root {
        dirs.imply(&ImagePath::root());
    }
    for entry in toc.entries() {
        dirs.entry(entry);
    }
    dirs.items
}

/// Items under way, with the directories that lead to the last one.
struct Dirs<'a> {
    items: Vec<Item<'a>>,
    way: Vec<usize>,
    lower: &'a Tree,
}

impl<'a> Dirs<'a> {
    fn entry(&mut self, entry: &'a TocEntry) {
        let parent = entry.path.parent().unwrap_or_default();
        let what = match &entry.node {
            Node::Dir => What::Dir { opaque: false },
            Node::Opaque => return self.opaque(&entry.path),
            Node::Whiteout => {
                // A whiteout of a name in a directory that is nowhere hides nothing, and must not make the directory.
                let exists =
                    self.find(&parent).is_some() || self.lower.get(&parent).is_some_and(|f| f.is_dir());
                if !exists {
                    return;
                }
                What::Whiteout
            }
            Node::File { size, offset, .. } => What::File { layer: 0, size: *size, offset: *offset },
            Node::Hardlink(target) => What::Link(target.clone()),
            Node::Symlink(target) => What::Symlink(target),
            Node::Char { major, minor } => What::Char { major: *major, minor: *minor },
            Node::Block { major, minor } => What::Block { major: *major, minor: *minor },
            Node::Fifo => What::Fifo,
        };
        if !entry.path.is_root() {
            self.lead_to(&parent);
        }
        self.push(Item { path: entry.path.clone(), meta: entry.meta.clone(), what });
    }

    fn opaque(&mut self, path: &ImagePath) {
        self.lead_to(path);
        if let Some(at) = self.find(path) {
            self.items[at].what = What::Dir { opaque: true };
        }
    }

    fn lead_to(&mut self, dir: &ImagePath) {
        if self.find(dir).is_some() {
            return;
        }
        if let Some(parent) = dir.parent() {
            self.lead_to(&parent);
        }
        self.imply(dir);
    }

    fn imply(&mut self, dir: &ImagePath) {
        let below = self.lower.get(dir).filter(Found::is_dir).map(|found| found.entry.meta.clone());
        let meta = below.unwrap_or(Meta { mode: 0o755, ..Meta::default() });
        self.push(Item { path: dir.clone(), meta, what: What::Dir { opaque: false } });
    }

    fn push(&mut self, item: Item<'a>) {
        let items = &self.items;
        let leads = |at: &usize| item.path.strip_prefix(&items[*at].path).is_some();
        let depth = self.way.iter().take_while(|at| leads(at)).count();
        self.way.truncate(depth);
        if matches!(item.what, What::Dir { .. }) {
            self.way.push(self.items.len());
        }
        self.items.push(item);
    }

    fn find(&self, dir: &ImagePath) -> Option<usize> {
        self.way.iter().rev().copied().find(|at| self.items[*at].path == *dir)
    }
}

/// What a tree shows. Of the names of one file the first that is still visible holds it.
fn tree_items<'a>(found: &[Found<'a>]) -> Vec<Item<'a>> {
    let mut first: BTreeMap<(usize, &ImagePath), &ImagePath> = BTreeMap::new();
    let mut items = Vec::with_capacity(found.len());
    for found in found {
        let TocEntry { path, meta, node } = found.entry;
        let what = match node {
            Node::Dir => What::Dir { opaque: false },
            Node::File { .. } | Node::Hardlink(_) => {
                let leader = match node {
                    Node::Hardlink(target) => target,
                    _ => path,
                };
                let Some((size, _, offset)) = found.file() else { continue };
                match first.get(&(found.layer, leader)) {
                    Some(first) => What::Link((*first).clone()),
                    None => {
                        first.insert((found.layer, leader), path);
                        What::File { layer: found.layer, size, offset }
                    }
                }
            }
            Node::Symlink(target) => What::Symlink(target),
            Node::Char { major, minor } => What::Char { major: *major, minor: *minor },
            Node::Block { major, minor } => What::Block { major: *major, minor: *minor },
            Node::Fifo => What::Fifo,
            Node::Whiteout | Node::Opaque => continue,
        };
        items.push(Item { path: path.clone(), meta: meta.clone(), what });
    }
    items
}
