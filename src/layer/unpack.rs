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
    let maker =
        Maker { tar, owners: options.owners, devices: options.devices, opaque: options.marks.opaque() };
    maker.make(dest, &items)
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
                What::File { size: *size, offset: *offset, content: *content }
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
