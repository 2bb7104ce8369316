//! What is compared of a tree or of a layer: a list of paths, each with what it is, in layer order.
//!
//! Owns: what hard links come to. Never compares.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Node, NodeKind};
use crate::diag::escape;
use crate::digest::ContentDigest;
use crate::layer::{self, Meta, Toc, Tree};
use crate::path::ImagePath;

/// One path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub path: &'a ImagePath,
    pub meta: &'a Meta,
    pub what: What<'a>,
    /// Of the stack, from 0 at the bottom.
    pub layer: usize,
}

/// What is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    Dir,
    File {
        size: u64,
        content: ContentDigest,
        /// Where the bytes begin in the layer's tar.
        offset: u64,
        /// The name that holds the bytes in its layer.
        holder: &'a ImagePath,
        /// The first name of the file in the whole list, if this is another one.
        first: Option<&'a ImagePath>,
    },
    Symlink(&'a [u8]),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Whiteout,
    Opaque,
}

/// Everything that is visible in a merged tree; its root only if some layer lists it. `bottom` layers below the tree were
/// left out.
pub(super) fn of_tree(tree: &Tree, bottom: usize) -> Vec<Item<'_>> {
    let root = ImagePath::root();
    let lists_root = tree.layers().iter().any(|toc| toc.get(&root).is_some());
    let top = tree.get(&root).filter(|_| lists_root);
    let all: Vec<_> = top.into_iter().chain(tree.walk(&root)).collect();
    let mut items = Vec::with_capacity(all.len());
    for found in &all {
        let layer = bottom + found.layer;
        let holder = match &found.entry.node {
            layer::Node::Hardlink(target) => target,
            _ => &found.entry.path,
        };
        let what = what(&found.entry.node, found.file(), holder);
        items.push(Item { path: &found.entry.path, meta: &found.entry.meta, what, layer });
    }
    number_links(&mut items);
    items
}

/// Everything that a layer lists, whiteouts too.
pub(super) fn of_layer(toc: &Toc, layer: usize) -> Vec<Item<'_>> {
    let mut items = Vec::with_capacity(toc.entries().len());
    for entry in toc.entries() {
        let (holder, node) = match &entry.node {
            layer::Node::Hardlink(target) => (target, toc.get(target).map(|held| &held.node)),
            node => (&entry.path, Some(node)),
        };
        let file = match node {
            Some(layer::Node::File { size, content, offset }) => Some((*size, *content, *offset)),
            _ => None,
        };
        items.push(Item {
            path: &entry.path,
            meta: &entry.meta,
            what: what(&entry.node, file, holder),
            layer,
        });
    }
    number_links(&mut items);
    items
}

fn what<'a>(
    node: &'a layer::Node,
    file: Option<(u64, ContentDigest, u64)>,
    holder: &'a ImagePath,
) -> What<'a> {
    match node {
        layer::Node::Dir => What::Dir,
        layer::Node::File { .. } | layer::Node::Hardlink(_) => {
            let (size, content, offset) = file.unwrap_or((0, ContentDigest::from_bytes([0; 32]), 0));
            What::File { size, content, offset, holder, first: None }
        }
        layer::Node::Symlink(target) => What::Symlink(target),
        layer::Node::Char { major, minor } => What::Char(*major, *minor),
        layer::Node::Block { major, minor } => What::Block(*major, *minor),
        layer::Node::Fifo => What::Fifo,
        layer::Node::Whiteout => What::Whiteout,
        layer::Node::Opaque => What::Opaque,
    }
}

/// Which of several names of a file is the first: it does not matter which of them the tar had its bytes at.
fn number_links(items: &mut [Item<'_>]) {
    let shared: BTreeSet<(usize, &ImagePath)> = items
        .iter()
        .filter_map(|item| match item.what {
            What::File { holder, .. } if holder != item.path => Some((item.layer, holder)),
            _ => None,
        })
        .collect();
    if shared.is_empty() {
        return;
    }
    let mut firsts: BTreeMap<(usize, &ImagePath), &ImagePath> = BTreeMap::new();
    for item in items {
        let What::File { holder, first, .. } = &mut item.what else { continue };
        let key = (item.layer, *holder);
        if !shared.contains(&key) {
            continue;
        }
        match firsts.get(&key) {
            Some(known) => *first = Some(known),
            None => drop(firsts.insert(key, item.path)),
        }
    }
}

impl Item<'_> {
    /// As the report has it.
    pub fn node(&self) -> Node {
        let (mut size, mut content, mut target) = (None, None, None);
        let kind = match self.what {
            What::Dir => NodeKind::Directory,
            What::File { size: bytes, content: digest, first, .. } => {
                (size, content) = (Some(bytes), Some(crate::digest::hex(digest.as_bytes())));
                target = first.map(ToString::to_string);
                if first.is_some() { NodeKind::Hardlink } else { NodeKind::File }
            }
            What::Symlink(text) => {
                target = Some(escape(text));
                NodeKind::Symlink
            }
            What::Char(major, minor) => {
                target = Some(format!("{major}:{minor}"));
                NodeKind::CharDevice
            }
            What::Block(major, minor) => {
                target = Some(format!("{major}:{minor}"));
                NodeKind::BlockDevice
            }
            What::Fifo => NodeKind::Fifo,
            What::Whiteout => NodeKind::Whiteout,
            What::Opaque => NodeKind::Opaque,
        };
        let Meta { mode, uid, gid, mtime, .. } = self.meta;
        let mtime = super::entries::time(*mtime);
        let layer = self.layer + 1;
        Node { kind, mode: format!("{mode:04o}"), uid: *uid, gid: *gid, mtime, size, content, target, layer }
    }
}
