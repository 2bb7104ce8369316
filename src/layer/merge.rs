//! Several layers as one: what they change, all together, of what they stand on (spec/layer.md, "Merging").
//!
//! Owns: which entries the one layer has. Never reads a byte of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Meta, Node};
use super::tree::{Found, Tree};
use crate::path::ImagePath;

/// One entry of the merged layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub meta: Meta,
    /// The offset of a file counts in the tar of `layer`.
    pub node: Node,
    /// Index of the layer in the upper view; of no use for a whiteout.
    pub layer: usize,
}

/// A regular file by its layer and the name that holds it there.
type FileId = (usize, ImagePath);

/// What `upper` changes of `lower`, in layer order. `upper` is `lower` with further layers on top, each of which lists the
/// directories of everything that it lists.
pub fn merge(lower: &Tree, upper: &Tree) -> BTreeMap<ImagePath, Change> {
    let mut changes = changed(lower, upper);
    changes.extend(removed(lower, upper));
    let holders: BTreeSet<ImagePath> = changes.keys().flat_map(ImagePath::ancestors).collect();
    for dir in holders.into_iter().filter(|dir| !dir.is_root()) {
        let found = upper.get(&dir).expect("what holds a change is there");
        changes.entry(dir).or_insert_with(|| change(&found, found.entry.node.clone()));
    }
    changes
}

/// Entries that are there and differ. If a name of a file is a change, so are all names that the layers gave it.
fn changed(lower: &Tree, upper: &Tree) -> BTreeMap<ImagePath, Change> {
    let root = ImagePath::root();
    let below = lower.layers().len();
    let own: Vec<Found<'_>> = upper.walk(&root).into_iter().filter(|found| found.layer >= below).collect();
    let differs = |found: &&Found<'_>| !is_same(lower.get(&found.entry.path).as_ref(), found);
    let files: BTreeSet<FileId> = own.iter().filter(differs).filter_map(file_id).collect();
    let mut holding: BTreeMap<FileId, ImagePath> = BTreeMap::new();
    let mut changes = BTreeMap::new();
    for found in &own {
        let path = &found.entry.path;
        let node = match file_id(found) {
            None if differs(&found) => found.entry.node.clone(),
            Some(id) if files.contains(&id) => match holding.get(&id) {
                Some(first) => Node::Hardlink(first.clone()),
                None => {
                    holding.insert(id, path.clone());
                    file(found)
                }
            },
            None | Some(_) => continue,
        };
        changes.insert(path.clone(), change(found, node));
    }
    changes
}

/// Whiteouts of what is gone, the topmost name of each.
fn removed(lower: &Tree, upper: &Tree) -> Vec<(ImagePath, Change)> {
    let holds = |dir: &ImagePath| upper.get(dir).is_some_and(|found| found.is_dir());
    let is_gone =
        |path: &ImagePath| upper.get(path).is_none() && path.parent().is_some_and(|dir| holds(&dir));
    let gone = lower.walk(&ImagePath::root()).into_iter().map(|found| found.entry.path.clone());
    let whiteout = Change { meta: Meta::default(), node: Node::Whiteout, layer: 0 };
    gone.filter(is_gone).map(|path| (path, whiteout.clone())).collect()
}

fn change(found: &Found<'_>, node: Node) -> Change {
    Change { meta: found.entry.meta.clone(), node, layer: found.layer }
}

/// Which file a name is one of; `None` for what is no regular file.
fn file_id(found: &Found<'_>) -> Option<FileId> {
    let name = match &found.entry.node {
        Node::Hardlink(target) => target,
        _ => &found.entry.path,
    };
    found.file().map(|_| (found.layer, name.clone()))
}

/// A regular file as such, by whichever of its names it was found.
fn file(found: &Found<'_>) -> Node {
    let (size, content, offset) = found.file().expect("it is a regular file");
    Node::File { size, content, offset }
}

/// Whether two entries are the same in everything that a layer can say, files in every byte.
fn is_same(lower: Option<&Found<'_>>, upper: &Found<'_>) -> bool {
    let Some(lower) = lower else { return false };
    let content = |found: &Found<'_>| found.file().map(|(size, content, _)| (size, content));
    let same_node = match (content(lower), content(upper)) {
        (Some(lower), Some(upper)) => lower == upper,
        (None, None) => lower.entry.node == upper.entry.node,
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_node && lower.entry.meta == upper.entry.meta
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::digest::ContentDigest;
    use crate::layer::{Toc, TocEntry};
    use proptest::prelude::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text.as_bytes()).unwrap()
    }

    /// What an entry is made of: kind, content, mode.
    type Raw = (u8, u8, u16);

    /// A layer as lith writes them: every directory listed, nothing below what is none, links to a file before them.
    fn layer(raw: &BTreeMap<&str, Raw>) -> Toc {
        let mut entries: BTreeMap<ImagePath, TocEntry> = BTreeMap::new();
        let mut put = |path: ImagePath, meta: Meta, node: Node| {
            entries.insert(path.clone(), TocEntry { path, meta, node });
        };
        let meta = |mode: u16| Meta { mode, ..Meta::default() };
        let is_leaf = |name: &str| raw.get(name).is_some_and(|(kind, ..)| *kind > 2);
        let mut last_file: Option<(ImagePath, u16)> = None;
        for (name, (kind, content, mode)) in raw {
            let own = path(name);
            let ancestors: Vec<ImagePath> = own.ancestors().filter(|dir| !dir.is_root()).collect();
            let covered = |dir: &ImagePath| is_leaf(std::str::from_utf8(dir.as_bytes()).unwrap());
            if ancestors.iter().any(covered) {
                continue;
            }
            for dir in ancestors {
                let known = raw.get(std::str::from_utf8(dir.as_bytes()).unwrap());
                put(dir, meta(known.map_or(0o700, |(_, _, mode)| *mode)), Node::Dir);
            }
            match kind {
                0..=2 => put(own, meta(*mode), Node::Dir),
                3..=5 => {
                    let digest = ContentDigest::of(&[*content]);
                    last_file = Some((own.clone(), *mode));
                    put(
                        own,
                        meta(*mode),
                        Node::File { size: 1, content: digest, offset: u64::from(*content) },
                    );
                }
                6 => match &last_file {
                    Some((file, mode)) => put(own, meta(*mode), Node::Hardlink(file.clone())),
                    None => put(own, meta(*mode), Node::Fifo),
                },
                7 => put(own, meta(0o777), Node::Symlink(vec![b'a' + content % 2])),
                _ => put(own, Meta::default(), Node::Whiteout),
            }
        }
        Toc::new(entries.into_values().collect())
    }

    fn raw_layer() -> impl Strategy<Value = BTreeMap<&'static str, Raw>> {
        let names = vec!["a", "a/a", "a/b", "a/a/a", "a/b/c", "a.b", "b", "b/a", "b/a/b", "c/d", "c"];
        let mode = prop::sample::select(vec![0o644, 0o755]);
        prop::collection::btree_map(prop::sample::select(names), (0u8..10, 0u8..3, mode), 0..8)
    }

    fn tree(layers: &[Toc]) -> Tree {
        Tree::new(layers.iter().cloned().map(Arc::new).collect())
    }

    /// Everything that a process sees, with the names that are one file.
    fn seen(tree: &Tree) -> Vec<(ImagePath, Meta, String)> {
        let all = tree.walk(&ImagePath::root());
        let shown = |found: &Found<'_>| {
            let node = match (found.file(), file_id(found)) {
                (Some((size, content, _)), Some(id)) => {
                    let names = all.iter().filter(|other| file_id(other).as_ref() == Some(&id));
                    let names: Vec<String> = names.map(|found| found.entry.path.to_string()).collect();
                    format!("{size} {content} {}", names.join(" "))
                }
                _ => format!("{:?}", found.entry.node),
            };
            (found.entry.path.clone(), found.entry.meta.clone(), node)
        };
        all.iter().map(shown).collect()
    }

    fn merged(lower: &[Toc], upper: &[Toc]) -> Toc {
        let changes = merge(&tree(lower), &tree(&[lower, upper].concat()));
        let entry = |(path, Change { meta, node, .. })| TocEntry { path, meta, node };
        Toc::new(changes.into_iter().map(entry).collect())
    }

    #[test]
    fn what_comes_and_goes_is_not_there() {
        let lower =
            [layer(&BTreeMap::from([("a", (0, 0, 0o755)), ("a/b", (3, 1, 0o644)), ("b", (3, 1, 0o644))]))];
        let upper = [
            layer(&BTreeMap::from([
                ("a/a", (3, 2, 0o644)),
                ("a/b", (9, 0, 0)),
                ("b", (9, 0, 0)),
                ("c", (3, 0, 0o644)),
            ])),
            layer(&BTreeMap::from([("a/a", (9, 0, 0)), ("b", (3, 1, 0o644)), ("c", (9, 0, 0))])),
        ];
        let toc = merged(&lower, &upper);
        let shown: Vec<String> =
            toc.entries().iter().map(|entry| format!("{} {:?}", entry.path, entry.node)).collect();
        // `b` is what it was, `a/a` and `c` are gone, and the directory's mode changed with what is in it.
        assert_eq!(shown, ["/a Dir", "/a/b Whiteout"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn one_layer_does_what_all_of_them_do(
            lower in prop::collection::vec(raw_layer(), 0..3),
            upper in prop::collection::vec(raw_layer(), 0..4),
        ) {
            let lower: Vec<Toc> = lower.iter().map(layer).collect();
            let upper: Vec<Toc> = upper.iter().map(layer).collect();
            let toc = merged(&lower, &upper);
            prop_assert!(toc.is_self_contained());
            let one = tree(&[&lower[..], std::slice::from_ref(&toc)].concat());
            let all = tree(&[&lower[..], &upper[..]].concat());
            // A link between names of which none changed is not seen by a comparison with what is below.
            let plain = |seen: Vec<(ImagePath, Meta, String)>| -> Vec<(ImagePath, Meta, String)> {
                seen.into_iter().map(|(path, meta, node)| {
                    let short = node.split(' ').take(2).collect::<Vec<_>>().join(" ");
                    (path, meta, short)
                }).collect()
            };
            prop_assert_eq!(plain(seen(&one)), plain(seen(&all)));
            // On nothing every name is a change, so links are as they were.
            let alone = tree(&[merged(&[], &upper)]);
            prop_assert_eq!(seen(&alone), seen(&tree(&upper)));
            // There is nothing more to say, and nothing of no effect.
            prop_assert_eq!(merged(&lower, std::slice::from_ref(&toc)), toc);
        }
    }
}
