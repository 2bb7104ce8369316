//! The tree that layers make, read from their tars alone: independent of the program's own reader.

use std::collections::BTreeMap;
use std::io::Read as _;

use lith::digest::ContentDigest;

/// One layer's entries in their order.
#[derive(Debug)]
pub struct Layer(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    path: Vec<u8>,
    what: What,
}

#[derive(Debug)]
enum What {
    Node(Node),
    /// Another name of a file.
    Link(Vec<u8>),
    /// The path of lower layers is gone.
    Whiteout,
    /// All below the path in lower layers is gone.
    Opaque,
}

/// What an image says of one path, times left aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u64, u64),
    /// Size and digest, target, or device numbers.
    pub content: String,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// All names of the file, if it has several; filled in when the tree is whole.
    pub names: Vec<String>,
}

/// A merged file system by path without the leading slash; the root is the empty path.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, (Node, usize)>,
    inodes: usize,
}

impl Layer {
    /// Reads an uncompressed layer.
    pub fn read(tar: &[u8]) -> Self {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| Entry::read(&mut entry.unwrap()));
        Self(entries.collect())
    }
}

impl Entry {
    fn read(entry: &mut tar::Entry<'_, &[u8]>) -> Self {
        let path = normal(&entry.path_bytes());
        let cut = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = (path[..cut.saturating_sub(1)].to_vec(), &path[cut..]);
        if name == b".wh..wh..opq" {
            return Self { path: parent, what: What::Opaque };
        }
        if let Some(gone) = name.strip_prefix(b".wh.") {
            let path = [&path[..cut], gone].concat();
            return Self { path, what: What::Whiteout };
        }
        let what = match entry.header().entry_type() {
            tar::EntryType::Link => What::Link(normal(&entry.link_name_bytes().unwrap())),
            _ => What::Node(Node::read(entry)),
        };
        Self { path, what }
    }
}

impl Node {
    fn read(entry: &mut tar::Entry<'_, &[u8]>) -> Self {
        let header = entry.header();
        let device = || format!("{:?}:{:?}", header.device_major().unwrap(), header.device_minor().unwrap());
        let (kind, content) = match header.entry_type() {
            tar::EntryType::Directory => ("dir", String::new()),
            tar::EntryType::Symlink => {
                ("symlink", format!("-> {}", entry.link_name_bytes().unwrap().escape_ascii()))
            }
            tar::EntryType::Fifo => ("fifo", String::new()),
            tar::EntryType::Char => ("char", device()),
            tar::EntryType::Block => ("block", device()),
            tar::EntryType::Regular | tar::EntryType::GNUSparse => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                ("file", format!("{} bytes {}", bytes.len(), ContentDigest::of(&bytes)))
            }
            other => panic!("an entry of type {other:?}"),
        };
        let mode = if kind == "symlink" { 0o777 } else { entry.header().mode().unwrap() & 0o7777 };
        let owner = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
        Self { kind, mode, owner, content, xattrs: xattrs(entry), names: Vec::new() }
    }

    fn dir() -> Self {
        let xattrs = BTreeMap::new();
        Self { kind: "dir", mode: 0o755, owner: (0, 0), content: String::new(), xattrs, names: Vec::new() }
    }
}

fn xattrs(entry: &mut tar::Entry<'_, &[u8]>) -> BTreeMap<String, Vec<u8>> {
    let Some(extensions) = entry.pax_extensions().unwrap() else { return BTreeMap::new() };
    let all = extensions.map(|extension| extension.unwrap());
    all.filter_map(|extension| {
        let name = extension.key().unwrap().strip_prefix("SCHILY.xattr.")?;
        Some((name.to_owned(), extension.value_bytes().to_vec()))
    })
    .collect()
}

/// Without `./` or `/` before and `/` behind.
fn normal(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

impl Tree {
    /// The tree of layers from the bottom up.
    pub fn of<'a>(layers: impl Iterator<Item = &'a Layer>) -> BTreeMap<Vec<u8>, Node> {
        let mut tree = Self::default();
        tree.put(Vec::new(), Node::dir());
        for layer in layers {
            tree.apply(layer);
        }
        tree.finish()
    }

    /// Whiteouts first, because they speak of lower layers only.
    fn apply(&mut self, layer: &Layer) {
        for Entry { path, what } in &layer.0 {
            match what {
                What::Whiteout => {
                    self.empty(path);
                    self.nodes.remove(path);
                }
                What::Opaque => self.empty(path),
                What::Node(_) | What::Link(_) => {}
            }
        }
        for Entry { path, what } in &layer.0 {
            match what {
                What::Node(node) => self.put(path.clone(), node.clone()),
                What::Link(to) => {
                    let target = self.nodes.get(to);
                    let target = target.unwrap_or_else(|| panic!("no target of {}", path.escape_ascii()));
                    let target = target.clone();
                    self.nodes.insert(path.clone(), target);
                }
                What::Whiteout | What::Opaque => {}
            }
        }
    }

    fn put(&mut self, path: Vec<u8>, node: Node) {
        if node.kind != "dir" {
            self.empty(&path);
        }
        self.inodes += 1;
        self.nodes.insert(path, (node, self.inodes));
    }

    /// Removes all below a path.
    fn empty(&mut self, path: &[u8]) {
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        self.nodes.retain(|at, _| at == path || !at.starts_with(&prefix));
    }

    fn finish(self) -> BTreeMap<Vec<u8>, Node> {
        let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, (_, inode)) in &self.nodes {
            names.entry(*inode).or_default().push(format!("/{}", path.escape_ascii()));
        }
        let whole = self.nodes.into_iter().map(|(path, (mut node, inode))| {
            if names[&inode].len() > 1 {
                node.names.clone_from(&names[&inode]);
            }
            (path, node)
        });
        whole.collect()
    }
}
