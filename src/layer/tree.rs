//! The merged view of a stack of layers, from their tables of contents alone.
//!
//! Owns: how whiteouts, opaque marks and replaced directories hide what lies below, and how a path is resolved
//! through symlinks inside the root. Never touches a disk.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::entry::{Meta, Node, Toc, TocEntry};
use crate::digest::ContentDigest;
use crate::path::{ImagePath, PathError, layer_order};

/// The most symlinks one path may lead through, as in Linux' path resolution.
pub const MAX_LINKS: usize = 40;

/// Why a path of a tree has no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("{path} leads through more than {MAX_LINKS} symlinks")]
    Loop { path: ImagePath },
    #[error("{path} leads through {file}, which is not a directory")]
    NotADirectory { path: ImagePath, file: ImagePath },
    #[error("{path} leads to a path that cannot be")]
    Path { path: ImagePath, source: PathError },
}

/// Layers on top of each other, bottom first. The root is always there: 0755, owner 0:0, time 0, unless a layer says
/// otherwise.
#[derive(Debug)]
pub struct Tree {
    layers: Vec<Arc<Toc>>,
    merged: OnceLock<Merged>,
}

/// What is visible, in layer order; the root comes first.
#[derive(Debug, Clone)]
struct Merged {
    items: Vec<Item>,
    /// Directories that no layer lists though it lists what they hold.
    implied: Vec<TocEntry>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    layer: usize,
    slot: Slot,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    /// Index into the entries of the layer.
    Listed(usize),
    /// Index into `Merged::implied`.
    Implied(usize),
}

/// One visible entry and the layer it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Index of the layer, 0 at the bottom. An implied directory belongs to the layer that implies it; a root
    /// that no layer lists belongs to layer 0.
    pub layer: usize,
    /// Never a whiteout or an opaque mark.
    pub entry: &'a TocEntry,
    toc: Option<&'a Toc>,
}

impl Found<'_> {
    /// Size, content and offset in the layer's tar of a regular file, by whichever of its names it was found.
    pub fn file(&self) -> Option<(u64, ContentDigest, u64)> {
        let node = match &self.entry.node {
            Node::Hardlink(target) => &self.toc?.get(target)?.node,
            node => node,
        };
        match node {
            Node::File { size, content, offset } => Some((*size, *content, *offset)),
            Node::Dir
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo
            | Node::Whiteout
            | Node::Opaque => None,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.entry.node == Node::Dir
    }
}

/// Whether [`Tree::resolve`] follows a symlink at the end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowLast {
    Follow,
    Keep,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Without symlinks in it, but for the last name under [`FollowLast::Keep`]. Names that do not exist are kept.
    pub path: ImagePath,
    /// The symlinks passed on the way, in order.
    pub links: Vec<ImagePath>,
}

impl Tree {
    /// A view of layers, bottom first. Costs nothing before the first question.
    pub fn new(layers: Vec<Arc<Toc>>) -> Self {
        Self { layers, merged: OnceLock::new() }
    }

    /// The view with one more layer on top. What this view has merged already is not merged again.
    pub fn with_layer(&self, layer: Arc<Toc>) -> Self {
        let top = self.layers.len();
        let is_empty = layer.entries().is_empty();
        let layers: Vec<Arc<Toc>> = self.layers.iter().cloned().chain([layer]).collect();
        let merged = match self.merged.get() {
            None => OnceLock::new(),
            Some(below) if is_empty => OnceLock::from(below.clone()),
            Some(below) => OnceLock::from(Stacking::new(&layers, below.clone(), top).run()),
        };
        Self { layers, merged }
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[Arc<Toc>] {
        &self.layers
    }

    /// What is at a path. Symlinks are not followed.
    pub fn get(&self, path: &ImagePath) -> Option<Found<'_>> {
        let merged = self.merged();
        let at = self.first_from(path.as_bytes());
        let item = merged.items.get(at)?;
        let found = self.found(item);
        (found.entry.path == *path).then_some(found)
    }

    /// The children of a directory, sorted by name; empty for anything else.
    pub fn list(&self, dir: &ImagePath) -> Vec<Found<'_>> {
        let below = self.below(dir);
        let mut children = Vec::new();
        let mut at = 0;
        while let Some(item) = below.get(at) {
            let found = self.found(item);
            children.push(found);
            at += 1;
            if found.is_dir() {
                at += below[at..].partition_point(|i| is_below(self.path_of(i), &found.entry.path));
            }
        }
        children
    }

    /// Everything strictly below a directory, in layer order.
    pub fn walk(&self, dir: &ImagePath) -> Vec<Found<'_>> {
        self.below(dir).iter().map(|item| self.found(item)).collect()
    }

    /// Follows the symlinks of a path inside the root, as a process there would. `..` of a link's target stops at the
    /// root. What does not exist is kept as it is written.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`] if the way leads through something that exists and is no directory.
    pub fn resolve(&self, path: &ImagePath, last: FollowLast) -> Result<Resolved, TreeError> {
        let mut at = ImagePath::root();
        let mut links = Vec::new();
        // Names still to go, the next one at the end.
        let mut ahead: Vec<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        ahead.reverse();
        while let Some(name) = ahead.pop() {
            if name == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            let here = at.child(&name);
            let found = self.get(&here);
            match found.map(|f| &f.entry.node) {
                Some(Node::Symlink(target)) if !ahead.is_empty() || last == FollowLast::Follow => {
                    if links.len() == MAX_LINKS {
                        return Err(TreeError::Loop { path: path.clone() });
                    }
                    links.push(here);
                    if target.starts_with(b"/") {
                        at = ImagePath::root();
                    }
                    push_target(&mut ahead, target, path)?;
                }
                Some(node) if *node != Node::Dir && !ahead.is_empty() => {
                    return Err(TreeError::NotADirectory { path: path.clone(), file: here });
                }
                Some(_) | None => at = here,
            }
        }
        // Link targets may have built a path longer than any that can be stored.
        let clean = ImagePath::parse(at.as_bytes());
        let path = clean.map_err(|source| TreeError::Path { path: path.clone(), source })?;
        Ok(Resolved { path, links })
    }

    fn merged(&self) -> &Merged {
        self.merged.get_or_init(|| {
            let mut merged = Merged { items: Vec::new(), implied: Vec::new() };
            let root = merged.imply(0, ImagePath::root());
            merged.items.push(root);
            let holds_something = |layer: &usize| !self.layers[*layer].entries().is_empty();
            for layer in (0..self.layers.len()).filter(holds_something) {
                merged = Stacking::new(&self.layers, merged, layer).run();
            }
            merged
        })
    }

    fn found(&self, item: &Item) -> Found<'_> {
        let toc = self.layers.get(item.layer).map(Arc::as_ref);
        Found { layer: item.layer, entry: self.merged().entry(&self.layers, item), toc }
    }

    fn path_of(&self, item: &Item) -> &ImagePath {
        &self.merged().entry(&self.layers, item).path
    }

    /// Index of the first visible entry at or after a path.
    fn first_from(&self, path: &[u8]) -> usize {
        let items = &self.merged().items;
        items.partition_point(|i| layer_order(self.path_of(i).as_bytes(), path) == Ordering::Less)
    }

    fn below(&self, dir: &ImagePath) -> &[Item] {
        let from = self.first_from(dir.as_bytes());
        let items = &self.merged().items[from..];
        match items.split_first() {
            Some((first, rest)) if self.path_of(first) == dir => {
                &rest[..rest.partition_point(|i| is_below(self.path_of(i), dir))]
            }
            Some(_) | None => &[],
        }
    }
}

/// Adds the names of a link's target in front of those ahead.
fn push_target(ahead: &mut Vec<Vec<u8>>, target: &[u8], path: &ImagePath) -> Result<(), TreeError> {
    for name in target.rsplit(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name != b".."
            && let Err(source) = ImagePath::parse(name)
        {
            return Err(TreeError::Path { path: path.clone(), source });
        }
        ahead.push(name.to_vec());
    }
    Ok(())
}

/// Whether a path lies strictly below a directory. Allocates nothing.
fn is_below(path: &ImagePath, dir: &ImagePath) -> bool {
    let (path, dir) = (path.as_bytes(), dir.as_bytes());
    match dir.len() {
        0 => !path.is_empty(),
        len => path.len() > len && path[len] == b'/' && path.starts_with(dir),
    }
}

impl Merged {
    fn entry<'a>(&'a self, layers: &'a [Arc<Toc>], item: &Item) -> &'a TocEntry {
        match item.slot {
            Slot::Listed(at) => &layers[item.layer].entries()[at],
            Slot::Implied(at) => &self.implied[at],
        }
    }

    fn imply(&mut self, layer: usize, path: ImagePath) -> Item {
        let meta = Meta { mode: 0o755, ..Meta::default() };
        self.implied.push(TocEntry { path, meta, node: Node::Dir });
        Item { layer, slot: Slot::Implied(self.implied.len() - 1) }
    }
}

/// One layer on its way onto what is merged so far. Both lists are in layer order and so is the result.
struct Stacking<'a> {
    layers: &'a [Arc<Toc>],
    layer: usize,
    lower: Vec<Item>,
    out: Merged,
    /// The lower entries strictly below this path are hidden. One suffices: within it everything is hidden anyway.
    hidden: Option<&'a ImagePath>,
    /// The directories that lead to the last entry of `out`, as indices into it, the root first.
    way: Vec<usize>,
}

impl<'a> Stacking<'a> {
    fn new(layers: &'a [Arc<Toc>], mut below: Merged, layer: usize) -> Self {
        let lower = std::mem::take(&mut below.items);
        Self { layers, layer, lower, out: below, hidden: None, way: Vec::new() }
    }

    fn run(mut self) -> Merged {
        let toc: &'a Toc = &self.layers[self.layer];
        let lower = std::mem::take(&mut self.lower);
        let mut lower = lower.into_iter().peekable();
        for (at, entry) in toc.entries().iter().enumerate() {
            while let Some(item) = lower.next_if(|item| self.lower_path(item) < &entry.path) {
                self.keep(item);
            }
            let same = lower.next_if(|item| *self.lower_path(item) == entry.path);
            self.place(at, entry, same);
        }
        for item in lower {
            self.keep(item);
        }
        self.out
    }

    fn lower_path(&self, item: &Item) -> &ImagePath {
        &self.out.entry(self.layers, item).path
    }

    fn is_hidden(&self, path: &ImagePath) -> bool {
        self.hidden.is_some_and(|dir| is_below(path, dir))
    }

    fn keep(&mut self, item: Item) {
        if !self.is_hidden(self.lower_path(&item)) {
            self.push(item);
        }
    }

    /// One entry of the layer, and the lower one of the same path.
    fn place(&mut self, at: usize, entry: &'a TocEntry, same: Option<Item>) {
        let same = same.filter(|_| !self.is_hidden(&entry.path));
        match &entry.node {
            Node::Dir => self.push_listed(at, entry),
            Node::Opaque => {
                if let Some(item) = same {
                    self.push(item);
                }
                self.lead_to(&entry.path);
                self.hide(&entry.path);
            }
            // Nothing takes the root's place; the reader lets no such layer pass.
            Node::Whiteout
            | Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo
                if entry.path.is_root() =>
            {
                if let Some(item) = same {
                    self.push(item);
                }
            }
            Node::Whiteout => self.hide(&entry.path),
            Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo => {
                self.hide(&entry.path);
                self.push_listed(at, entry);
            }
        }
    }

    fn hide(&mut self, path: &'a ImagePath) {
        if !self.is_hidden(path) {
            self.hidden = Some(path);
        }
    }

    fn push_listed(&mut self, at: usize, entry: &TocEntry) {
        if let Some(parent) = entry.path.parent() {
            self.lead_to(&parent);
        }
        self.push(Item { layer: self.layer, slot: Slot::Listed(at) });
    }

    /// Appends an item whose parents are there.
    fn push(&mut self, item: Item) {
        let path = self.lower_path(&item);
        let depth = self.way.iter().take_while(|at| is_below(path, self.out_path(**at))).count();
        let is_dir = self.out.entry(self.layers, &item).node == Node::Dir;
        self.way.truncate(depth);
        if is_dir {
            self.way.push(self.out.items.len());
        }
        self.out.items.push(item);
    }

    fn out_path(&self, at: usize) -> &ImagePath {
        self.lower_path(&self.out.items[at])
    }

    /// Makes sure that a path and all above are directories: a layer may list a file without its parents, and a
    /// lower layer may have something else in their place.
    fn lead_to(&mut self, dir: &ImagePath) {
        if self.way.iter().rev().any(|at| self.out_path(*at) == dir) {
            return;
        }
        if let Some(parent) = dir.parent() {
            self.lead_to(&parent);
        }
        // A lower layer's file, symlink or device, which the directory replaces.
        if self.out.items.last().is_some_and(|item| self.lower_path(item) == dir) {
            self.out.items.pop();
        }
        let item = self.out.imply(self.layer, dir.clone());
        self.push(item);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text.as_bytes()).unwrap()
    }

    fn entry(text: &str, node: Node) -> TocEntry {
        let mode = match node {
            Node::Whiteout | Node::Opaque => 0,
            _ => 0o700,
        };
        TocEntry { path: path(text), meta: Meta { mode, ..Meta::default() }, node }
    }

    fn file(byte: u8) -> Node {
        Node::File { size: 1, content: ContentDigest::of(&[byte]), offset: u64::from(byte) }
    }

    fn tree(layers: Vec<Vec<TocEntry>>) -> Tree {
        Tree::new(layers.into_iter().map(|entries| Arc::new(Toc::new(entries))).collect())
    }

    fn shown(found: Vec<Found<'_>>) -> Vec<String> {
        found.iter().map(|f| format!("{}:{}", f.layer, f.entry.path)).collect()
    }

    #[test]
    fn layers_hide_each_other() {
        let tree = tree(vec![
            vec![
                entry("a", Node::Dir),
                entry("a/gone", file(1)),
                entry("a/kept", file(2)),
                entry("b", Node::Dir),
                entry("b/x", file(3)),
                entry("c", Node::Dir),
                entry("c/y", file(4)),
                entry("d", file(5)),
            ],
            vec![
                entry("a/gone", Node::Whiteout),
                entry("b", Node::Opaque),
                entry("b/z", file(6)),
                entry("c", file(7)),
                entry("d", Node::Dir),
            ],
        ]);
        assert_eq!(shown(tree.walk(&path(""))), ["0:/a", "0:/a/kept", "0:/b", "1:/b/z", "1:/c", "1:/d"]);
        assert_eq!(shown(tree.list(&path(""))), ["0:/a", "0:/b", "1:/c", "1:/d"]);
        assert_eq!(shown(tree.list(&path("a"))), ["0:/a/kept"]);
        assert!(tree.list(&path("c")).is_empty());
        assert!(tree.get(&path("a/gone")).is_none());
        assert_eq!(tree.get(&path("a")).unwrap().entry.meta.mode, 0o700);
    }

    #[test]
    fn the_root_is_always_there() {
        let empty = tree(vec![]);
        let root = empty.get(&ImagePath::root()).unwrap();
        assert_eq!((root.entry.meta.mode, root.entry.meta.uid), (0o755, 0));
        assert!(empty.walk(&ImagePath::root()).is_empty());
        let said =
            tree(vec![vec![entry("", Node::Dir)], vec![entry("", Node::Opaque)], vec![entry("a", file(1))]]);
        assert_eq!(said.get(&ImagePath::root()).unwrap().entry.meta.mode, 0o700);
        assert_eq!(shown(said.walk(&ImagePath::root())), ["2:/a"]);
    }

    #[test]
    fn hard_links_lead_to_their_file() {
        let tree = tree(vec![
            vec![entry("a", file(1)), entry("b", Node::Hardlink(path("a")))],
            vec![entry("a", Node::Whiteout)],
        ]);
        assert_eq!(tree.get(&path("b")).unwrap().file(), Some((1, ContentDigest::of(&[1]), 1)));
    }

    #[test]
    fn resolving() {
        let link = |target: &str| Node::Symlink(target.as_bytes().to_vec());
        let tree = tree(vec![vec![
            entry("usr", Node::Dir),
            entry("usr/bin", Node::Dir),
            entry("bin", link("usr/bin")),
            entry("up", link("../../../usr/./bin")),
            entry("abs", link("/bin")),
            entry("file", file(1)),
            entry("loop", link("pool")),
            entry("pool", link("loop")),
            entry("gone", link("/no/where")),
            entry("long", link("nothing")),
        ]]);
        let resolve = |text: &str, last| {
            tree.resolve(&path(text), last)
                .map(|r| (r.path.to_string(), r.links.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        let follow = |text: &str| resolve(text, FollowLast::Follow).unwrap();
        assert_eq!(follow("bin/sh"), ("/usr/bin/sh".into(), vec!["/bin".into()]));
        assert_eq!(follow("up"), ("/usr/bin".into(), vec!["/up".into()]));
        assert_eq!(follow("abs/x/y"), ("/usr/bin/x/y".into(), vec!["/abs".into(), "/bin".into()]));
        assert_eq!(follow("gone/x"), ("/no/where/x".into(), vec!["/gone".into()]));
        assert_eq!(resolve("bin", FollowLast::Keep).unwrap(), ("/bin".into(), vec![]));
        assert!(matches!(resolve("loop/x", FollowLast::Keep), Err(TreeError::Loop { .. })));
        assert_eq!(
            resolve("file/x", FollowLast::Follow),
            Err(TreeError::NotADirectory { path: path("file/x"), file: path("file") })
        );
    }

    /// The rules of image-spec applied one entry after the other to a map.
    fn naive(layers: &[Vec<TocEntry>]) -> BTreeMap<ImagePath, (usize, Node, u16)> {
        let mut map: BTreeMap<ImagePath, (usize, Node, u16)> = BTreeMap::new();
        map.insert(ImagePath::root(), (0, Node::Dir, 0o755));
        for (layer, entries) in layers.iter().enumerate() {
            let toc = Toc::new(entries.clone());
            // What a layer hides is gone before anything of it is added.
            for e in toc.entries() {
                match e.node {
                    Node::Whiteout => map.retain(|p, _| p.strip_prefix(&e.path).is_none()),
                    Node::Opaque => map.retain(|p, _| p == &e.path || p.strip_prefix(&e.path).is_none()),
                    _ => {}
                }
            }
            for e in toc.entries() {
                if e.node == Node::Whiteout {
                    continue;
                }
                let mut dirs: Vec<ImagePath> = e.path.ancestors().collect();
                dirs.extend((e.node == Node::Opaque).then(|| e.path.clone()));
                for dir in dirs {
                    if map.get(&dir).is_none_or(|(_, node, _)| *node != Node::Dir) {
                        map.insert(dir, (layer, Node::Dir, 0o755));
                    }
                }
                if e.node == Node::Opaque {
                    continue;
                }
                if e.node != Node::Dir {
                    map.retain(|p, _| p.strip_prefix(&e.path).is_none());
                }
                map.insert(e.path.clone(), (layer, e.node.clone(), e.meta.mode));
            }
        }
        map
    }

    /// A layer as the reader lets it pass: nothing below a non-directory, whiteouts have nothing beside or below them.
    fn layer() -> impl Strategy<Value = Vec<TocEntry>> {
        let name = prop::sample::select(vec![
            "a", "a/a", "a/b", "a/a/a", "a/b/c", "a.b", "b", "b/a", "b/a/b", "c/d/e",
        ]);
        let node = prop_oneof![
            3 => Just(Node::Dir),
            3 => any::<u8>().prop_map(file),
            2 => Just(Node::Whiteout),
            1 => Just(Node::Opaque),
        ];
        prop::collection::btree_map(name, node, 0..6).prop_map(|entries| {
            let mut kept: Vec<TocEntry> = Vec::new();
            for (name, node) in entries {
                let new = entry(name, node);
                let clashes = kept.iter().any(|e| {
                    let above = matches!(e.node, Node::File { .. } | Node::Whiteout);
                    above && new.path.strip_prefix(&e.path).is_some()
                });
                if !clashes {
                    kept.push(new);
                }
            }
            kept
        })
    }

    /// The same view made by adding one layer at a time to a view that was asked already.
    fn grown(layers: Vec<Vec<TocEntry>>) -> Tree {
        layers.into_iter().fold(Tree::new(Vec::new()), |tree, layer| {
            assert!(tree.get(&ImagePath::root()).is_some());
            tree.with_layer(Arc::new(Toc::new(layer)))
        })
    }

    fn everything(tree: &Tree) -> Vec<(usize, TocEntry)> {
        tree.walk(&ImagePath::root()).iter().map(|f| (f.layer, f.entry.clone())).collect()
    }

    proptest! {
        #[test]
        fn the_view_is_that_of_a_naive_model(layers in prop::collection::vec(layer(), 0..5)) {
            let model = naive(&layers);
            let grown = grown(layers.clone());
            let tree = tree(layers);
            prop_assert_eq!(everything(&grown), everything(&tree), "layer by layer as all at once");
            let mut seen: Vec<Found<'_>> = tree.get(&ImagePath::root()).into_iter().collect();
            seen.extend(tree.walk(&ImagePath::root()));
            let seen: Vec<_> = seen.iter().map(|f| (f.entry.path.clone(), f.entry.node.clone(), f.entry.meta.mode)).collect();
            let want: Vec<_> = model.iter().map(|(p, (_, node, mode))| (p.clone(), node.clone(), *mode)).collect();
            prop_assert_eq!(seen, want);
            for (path, (layer, node, _)) in &model {
                let found = tree.get(path).unwrap();
                prop_assert_eq!(&found.entry.node, node);
                if !path.is_root() {
                    prop_assert_eq!(found.layer, *layer);
                }
                let children: Vec<_> = model.keys().filter(|p| p.parent().as_ref() == Some(path)).cloned().collect();
                let listed: Vec<_> = tree.list(path).iter().map(|f| f.entry.path.clone()).collect();
                prop_assert_eq!(listed, children);
            }
        }
    }
}
