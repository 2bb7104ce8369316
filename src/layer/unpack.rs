//! From a layer's tar to a directory: the unpacked layer that overlayfs stacks.
//!
//! Owns: what is made from which entry. The tar was read and judged before; here nothing of it is parsed, only bytes at
//! known offsets are copied. Everything is made through descriptors below the destination, never through a symlink.

pub(super) mod make;

use std::fs::File;
use std::io;
use std::path::Path;

use super::capture::Owners;
use super::entry::{Meta, Node, Toc, TocEntry};
use super::names::FirstNames;
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
    #[error(
        "{path} in the layer's tar does not have the bytes of the table of contents; load or build it again"
    )]
    Corrupt { path: ImagePath },
}

/// Unpacks one layer for overlayfs: whiteouts as devices 0:0, opaque marks as xattrs. `tar` is the uncompressed layer,
/// `dest` an existing empty directory; the root's own metadata is set on it.
///
/// # Errors
/// [`UnpackError`] names the act and the path; `dest` is half made then and to be thrown away.
pub fn unpack(tar: &File, toc: &Toc, dest: &Path, options: &UnpackOptions<'_>) -> Result<(), UnpackError> {
    let items = layer_items(toc, options);
    let (owners, devices) = (options.owners, options.devices);
    let maker = Maker { tars: &[tar], owners, devices, opaque: options.marks.opaque() };
    maker.make(dest, &items)
}

/// Whose the files of a merged tree become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeOwners {
    AsInLayers,
    /// All are user and group 0, for a user namespace that has no other.
    Root,
}

/// Unpacks what a stack of layers shows at a directory of theirs, `top`: a plain directory tree without marks. `tars` are
/// the uncompressed layers of the tree, `dest` an existing empty directory, which gets the metadata of `top`.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_tree(
    tars: &[File],
    tree: &Tree,
    top: &ImagePath,
    dest: &Path,
    owners: TreeOwners,
    devices: Devices,
) -> Result<(), UnpackError> {
    let meta =
        tree.get(top).map_or(Meta { mode: 0o755, ..Meta::default() }, |found| found.entry.meta.clone());
    let root = Item { path: ImagePath::root(), meta, what: What::Dir { opaque: false } };
    let all = tree.walk(top);
    let mut names = FirstNames::default();
    let items = all.iter().map(|found| tree_item(found, top, &mut names));
    let mut items: Vec<Item<'_>> = [Ok(root)].into_iter().chain(items).collect::<Result<_, _>>()?;
    if owners == TreeOwners::Root {
        items.iter_mut().for_each(|item| (item.meta.uid, item.meta.gid) = (0, 0));
    }
    // A merged tree has no opaque directories to mark.
    let tars: Vec<&File> = tars.iter().collect();
    let maker = Maker { tars: &tars, owners: Owners::AsOnDisk, devices, opaque: OverlayMarks::User.opaque() };
    maker.make(dest, &items)
}

fn tree_item<'a>(
    found: &Found<'a>,
    top: &ImagePath,
    names: &mut FirstNames,
) -> Result<Item<'a>, UnpackError> {
    let path = &found.entry.path;
    let below = |path: &ImagePath| path.strip_prefix(top).expect("only what is below the top is walked");
    let what = match (names.node(found), &found.entry.node) {
        (None, _) => {
            let (size, content, offset) =
                found.file().ok_or_else(|| UnpackError::Corrupt { path: path.clone() })?;
            What::File { layer: found.layer, size, offset, content }
        }
        (Some(Node::Hardlink(first)), _) => What::Link(below(&first)),
        (Some(_), Node::Symlink(target)) => What::Symlink(target),
        (Some(Node::Char { major, minor }), _) => What::Char { major, minor },
        (Some(Node::Block { major, minor }), _) => What::Block { major, minor },
        (Some(Node::Fifo), _) => What::Fifo,
        (Some(Node::Dir), _) => What::Dir { opaque: false },
        (Some(Node::File { .. } | Node::Symlink(_) | Node::Whiteout | Node::Opaque), _) => {
            unreachable!("a merged tree shows no whiteouts, and only first names have bytes")
        }
    };
    Ok(Item { path: below(path), meta: found.entry.meta.clone(), what })
}

/// The entries of one layer with the directories they need.
pub(super) fn layer_items<'a>(toc: &'a Toc, options: &UnpackOptions<'a>) -> Vec<Item<'a>> {
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
            Node::File { size, offset, content } => {
                What::File { layer: 0, size: *size, offset: *offset, content: *content }
            }
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
