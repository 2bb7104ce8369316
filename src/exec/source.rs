//! What a COPY or ADD takes in: entries of the context, of another image, of a heredoc or of an archive, in one
//! shape, with a digest that says all that matters about them.

use std::collections::btree_map::Entry as MapEntry;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::ExecError;
use crate::action::{KeepMeta, SourceDigest};
use crate::canon::{Hasher, Sink as _};
use crate::context::{self, Context, Filter, Stamp, StatIndex};
use crate::digest::{ContentDigest, DiffId};
use crate::epoch::Epoch;
use crate::fetch::git::GitDir;
use crate::fetch::{Fetched, GitTree};
use crate::layer::tree::{FollowLast, Found, Tree};
use crate::layer::{Meta, Mtime, Node};
use crate::path::ImagePath;
use crate::store::{LayerRef, Store, StoreError};

/// Version of the digest in `spec/step-hash.md`, "Source digest".
const SOURCE_VERSION: u32 = 1;

/// What [`Source::boxed`] calls the thing in the box.
pub const BOXED: &[u8] = b"files";

/// One source with everything it brings.
#[derive(Debug, Clone)]
pub struct Source {
    /// What a file is called below a destination directory.
    pub name: Vec<u8>,
    /// As written, for people.
    pub shown: String,
    /// The file, or the directory itself (whose own metadata matters only where it is nested).
    pub top: Entry,
    /// For a directory: what is below it, by path relative to it, in layer order.
    pub below: Vec<(ImagePath, Entry)>,
    pub form: Form,
}

/// What a source was before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Files as they lie.
    Tree,
    /// An archive that was unpacked: it says what modes its entries have, whatever `--chmod` does.
    Archive,
}

/// One file, directory, link or device to be copied.
#[derive(Debug, Clone)]
pub struct Entry {
    pub meta: Meta,
    pub node: SourceNode,
}

/// What it is.
#[derive(Debug, Clone)]
pub enum SourceNode {
    Dir,
    File {
        size: u64,
        content: ContentDigest,
        body: Body,
    },
    /// Another name of a file of the same source, by its path relative to the source's directory.
    Hardlink(ImagePath),
    /// Symlinks, devices, FIFOs.
    Other(Node),
}

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub enum Body {
    Context {
        context: Arc<Context>,
        path: ImagePath,
        stamp: Stamp,
    },
    /// At an offset of an uncompressed tar that nobody changes.
    Tar {
        tar: Arc<File>,
        offset: u64,
    },
    /// At an offset of a layer's tar.
    Layer {
        tar: Arc<LayerTar>,
        offset: u64,
    },
    Bytes(Arc<[u8]>),
    /// A blob of the store, whole.
    Blob(Arc<File>),
}

/// The tar of a layer, opened when something reads it: until then it may be elsewhere.
#[derive(Debug)]
pub struct LayerTar {
    diff_id: DiffId,
    file: OnceLock<File>,
}

impl LayerTar {
    fn new(layer: &LayerRef) -> Arc<Self> {
        Arc::new(Self { diff_id: layer.diff_id, file: OnceLock::new() })
    }

    pub fn open(&self, store: &Store) -> Result<&File, StoreError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = store.layer_tar(self.diff_id)?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// How modes of the context are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    AsTheyAre,
    /// As git has them: 0755 for directories and for files that their owner may execute, else 0644; so that the umask of
    /// a checkout costs no hit.
    Normalised,
}

impl Modes {
    /// The mode of a file or directory that has `mode` in its context.
    fn apply(self, mode: u16, is_dir: bool) -> u16 {
        match self {
            Self::AsTheyAre => mode,
            Self::Normalised if is_dir || mode & 0o100 != 0 => 0o755,
            Self::Normalised => 0o644,
        }
    }
}

impl Source {
    /// Whether it is a directory, whose contents are copied.
    pub fn is_dir(&self) -> bool {
        matches!(self.top.node, SourceNode::Dir)
    }

    /// Reads what a path or pattern selects in a context; files whose digest the index does not know are hashed,
    /// in parallel.
    pub fn from_context(
        context: &Arc<Context>,
        index: &StatIndex,
        pattern: &ImagePath,
        filter: &Filter,
        modes: Modes,
        epoch: Epoch,
    ) -> Result<Vec<Self>, ExecError> {
        let entry = |found: &context::Found| context_entry(context, index, found, modes, epoch);
        context
            .select(pattern)?
            .into_iter()
            .filter(|selected| selected.top.kind == context::Kind::Dir || !filter.drops(&selected.name))
            .map(|selected| {
                let base = &selected.top.path;
                let relative = |found: context::Found| {
                    (found.path.strip_prefix(base).expect("a scan stays below its top"), found)
                };
                let found: Vec<_> = selected.below.into_iter().map(relative).collect();
                let is_dir = |(_, found): &(_, context::Found)| found.kind == context::Kind::Dir;
                let below = filter
                    .select(found, |(path, _)| path, is_dir)
                    .into_par_iter()
                    .with_min_len(16)
                    .map(|(relative, found)| Ok((relative, entry(&found)?)))
                    .collect::<Result<Vec<_>, ExecError>>()?;
                let shown = crate::diag::escape(base.as_bytes());
                Ok(Self { name: selected.name, shown, top: entry(&selected.top)?, below, form: Form::Tree })
            })
            .collect()
    }

    /// What a path or pattern selects in another image's file system.
    pub fn from_rootfs(
        store: &Store,
        rootfs: &[LayerRef],
        pattern: &ImagePath,
        filter: &Filter,
    ) -> Result<Vec<Self>, ExecError> {
        let (tree, tars) = tree_and_tars(store, rootfs)?;
        super::select::select(&tree, pattern)?
            .into_iter()
            .map(|(name, path)| from_tree(&tree, &tars, name, &path, filter))
            .filter(|source| source.is_dir() || !filter.drops(&source.name))
            .map(Ok)
            .collect()
    }

    /// A file that was fetched; it belongs to root alone, as in BuildKit.
    pub fn from_blob(name: &str, shown: String, fetched: &Fetched, file: File, epoch: Epoch) -> Self {
        let body = Body::Blob(Arc::new(file));
        let node = SourceNode::File { size: fetched.size, content: fetched.content, body };
        let top = Entry { meta: fixed_meta(0o600, epoch), node };
        Self { name: name.as_bytes().to_vec(), shown, top, below: vec![], form: Form::Tree }
    }

    /// The files of a repository, with a `.git` if one is wanted.
    pub fn from_git(
        shown: String,
        tree: GitTree,
        dir: Option<GitDir>,
        filter: &Filter,
        epoch: Epoch,
    ) -> Self {
        let mut below: Vec<(ImagePath, Entry)> = Vec::new();
        for (path, entry) in tree.entries {
            let (mode, node) = match entry.node {
                Node::Dir => (0o755, SourceNode::Dir),
                Node::File { size, content, offset } => {
                    let body = Body::Tar { tar: entry.tar, offset };
                    (if entry.executable { 0o755 } else { 0o644 }, SourceNode::File { size, content, body })
                }
                other => (0o777, SourceNode::Other(other)),
            };
            below.push((path, Entry { meta: fixed_meta(mode, epoch), node }));
        }
        if let Some(dir) = dir {
            let top = ImagePath::root().child(b".git");
            below.push((top.clone(), Entry { meta: fixed_meta(0o755, epoch), node: SourceNode::Dir }));
            below.extend(dir.entries.into_iter().map(|(path, bytes)| {
                let entry = match bytes {
                    None => Entry { meta: fixed_meta(0o755, epoch), node: SourceNode::Dir },
                    Some(bytes) => Entry { meta: fixed_meta(0o644, epoch), node: file_node(&bytes) },
                };
                (top.join(&path), entry)
            }));
            below.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let is_dir = |(_, entry): &(_, Entry)| matches!(entry.node, SourceNode::Dir);
        let below = filter.select(below, |(path, _)| path, is_dir);
        let top = Entry { meta: fixed_meta(0o755, epoch), node: SourceNode::Dir };
        Self { name: Vec::new(), shown, top, below, form: Form::Tree }
    }

    /// Whether it came from another machine.
    pub fn is_fetched(&self) -> bool {
        matches!(self.top.node, SourceNode::File { body: Body::Blob(_), .. })
    }

    /// The same as the one thing in a directory, named [`BOXED`], so that its own metadata is copied too.
    pub fn boxed(self, epoch: Epoch) -> Self {
        let name = ImagePath::root().child(BOXED);
        let inside = |(path, entry): (ImagePath, Entry)| {
            let node = match entry.node {
                SourceNode::Hardlink(to) => SourceNode::Hardlink(name.join(&to)),
                other => other,
            };
            (name.join(&path), Entry { node, ..entry })
        };
        let below = std::iter::once((ImagePath::root(), self.top)).chain(self.below).map(inside).collect();
        let top = Entry { meta: fixed_meta(0o755, epoch), node: SourceNode::Dir };
        Self { below, top, ..self }
    }

    /// What a path or pattern selects in a context that came as one: every file is a file of its own.
    pub fn from_packed(
        store: &Store,
        rootfs: &[LayerRef],
        pattern: &ImagePath,
        filter: &Filter,
        modes: Modes,
        epoch: Epoch,
    ) -> Result<Vec<Self>, ExecError> {
        let (tree, tars) = tree_and_tars(store, rootfs)?;
        let mut sources = Vec::new();
        for (name, path) in super::select::select(&tree, pattern)? {
            let entry = |found: &Found<'_>| packed_entry(found, &tars, modes, epoch);
            let top = entry(&tree.get(&path).expect("just selected"))?;
            if !matches!(top.node, SourceNode::Dir) && filter.drops(&name) {
                continue;
            }
            let below = filtered(&tree, &path, filter)
                .into_iter()
                .map(|(at, found)| Ok((at, entry(&found)?)))
                .collect::<Result<_, ExecError>>()?;
            sources.push(Self {
                name,
                shown: crate::diag::escape(path.as_bytes()),
                top,
                below,
                form: Form::Tree,
            });
        }
        Ok(sources)
    }

    /// What stands at one path of a root file system, which is no pattern, and where that really is.
    pub fn at_rootfs(
        store: &Store,
        rootfs: &[LayerRef],
        path: &ImagePath,
    ) -> Result<(ImagePath, Self), ExecError> {
        let (tree, tars) = tree_and_tars(store, rootfs)?;
        let real = tree.resolve(path, FollowLast::Follow)?.path;
        if !real.is_root() && tree.get(&real).is_none() {
            return Err(ExecError::NotFound { path: path.clone() });
        }
        let source = from_tree(&tree, &tars, Vec::new(), &real, &Filter::default());
        Ok((real, source))
    }

    /// A heredoc.
    pub fn from_bytes(name: &str, bytes: &[u8], epoch: Epoch) -> Self {
        let top = Entry { meta: fixed_meta(0o644, epoch), node: file_node(bytes) };
        Self {
            name: name.as_bytes().to_vec(),
            shown: crate::diag::escape(name.as_bytes()),
            top,
            below: vec![],
            form: Form::Tree,
        }
    }

    /// The digest of names, kinds, modes, contents, and with `KeepMeta::Source` of owners, times and xattrs.
    pub fn digest(&self, keep: KeepMeta) -> SourceDigest {
        SourceDigest { name: self.shown.clone(), digest: self.digest_as(&self.name, keep) }
    }

    /// The same digest of something whose own name does not matter.
    pub fn unnamed_digest(&self, keep: KeepMeta) -> ContentDigest {
        self.digest_as(b"", keep)
    }

    fn digest_as(&self, name: &[u8], keep: KeepMeta) -> ContentDigest {
        let mut hasher = Hasher::new("lith source", SOURCE_VERSION);
        hasher.field("name", name);
        describe(&self.top, keep, &mut hasher);
        for (path, entry) in &self.below {
            hasher.field("path", path.as_bytes());
            describe(entry, keep, &mut hasher);
        }
        ContentDigest::from_bytes(hasher.finish())
    }
}

fn describe(entry: &Entry, keep: KeepMeta, sink: &mut Hasher) {
    sink.number("mode", u64::from(entry.meta.mode));
    match &entry.node {
        SourceNode::Dir => sink.text("kind", "directory"),
        SourceNode::File { size, content, .. } => {
            sink.text("kind", "file");
            sink.number("size", *size);
            sink.field("content", content.as_bytes());
        }
        SourceNode::Hardlink(to) => sink.field("hardlink", to.as_bytes()),
        SourceNode::Other(Node::Symlink(target)) => sink.field("symlink", target),
        SourceNode::Other(Node::Char { major, minor }) => sink.text("char", &format!("{major}:{minor}")),
        SourceNode::Other(Node::Block { major, minor }) => sink.text("block", &format!("{major}:{minor}")),
        SourceNode::Other(Node::Fifo) => sink.text("kind", "fifo"),
        SourceNode::Other(
            Node::Dir | Node::File { .. } | Node::Hardlink(_) | Node::Whiteout | Node::Opaque,
        ) => {
            unreachable!("these have shapes of their own or cannot be copied")
        }
    }
    if keep == KeepMeta::Source {
        sink.text("owner", &format!("{}:{}", entry.meta.uid, entry.meta.gid));
        sink.text("mtime", &format!("{}.{}", entry.meta.mtime.secs, entry.meta.mtime.nanos));
    }
    for (name, value) in &entry.meta.xattrs {
        sink.open("xattr");
        sink.field("name", name);
        sink.field("value", value);
        sink.close();
    }
}

fn file_node(bytes: &[u8]) -> SourceNode {
    SourceNode::File {
        size: bytes.len() as u64,
        content: ContentDigest::of(bytes),
        body: Body::Bytes(bytes.into()),
    }
}

fn fixed_meta(mode: u16, epoch: Epoch) -> Meta {
    Meta { mode, mtime: Mtime { secs: epoch.seconds(), nanos: 0 }, ..Meta::default() }
}

fn context_entry(
    context: &Arc<Context>,
    index: &StatIndex,
    found: &context::Found,
    modes: Modes,
    epoch: Epoch,
) -> Result<Entry, ExecError> {
    let node = match &found.kind {
        context::Kind::Dir => SourceNode::Dir,
        context::Kind::Symlink(target) => SourceNode::Other(Node::Symlink(target.clone())),
        context::Kind::File(stamp) => {
            let content = match index.get(&found.path, stamp) {
                Some(content) => content,
                None => hash_file(context, index, &found.path, stamp)?,
            };
            let body = Body::Context { context: context.clone(), path: found.path.clone(), stamp: *stamp };
            SourceNode::File { size: stamp.size, content, body }
        }
    };
    let mode = match &found.kind {
        context::Kind::Symlink(_) => 0o777,
        context::Kind::Dir => modes.apply(found.mode, true),
        context::Kind::File(_) => modes.apply(found.mode, false),
    };
    Ok(Entry { meta: fixed_meta(mode, epoch), node })
}

/// Hashes a file, with all processors if it is large, and makes sure that it did not change meanwhile.
fn hash_file(
    context: &Context,
    index: &StatIndex,
    path: &ImagePath,
    stamp: &Stamp,
) -> Result<ContentDigest, ExecError> {
    const PIECE: usize = 4 << 20;
    let read_at = crate::sys::clock::realtime_nanos();
    let file = context.open_file(path, stamp)?;
    let error = |source| context::ContextError::Io { act: "read", path: path.clone(), source };
    let mut hasher = blake3::Hasher::new();
    let size = usize::try_from(stamp.size).unwrap_or(PIECE);
    let mut buffer = vec![0; size.clamp(1, PIECE)];
    let mut at = 0;
    loop {
        let got = file.read_at(&mut buffer, at).map_err(error)?;
        if got == 0 {
            break;
        }
        if got >= 1 << 20 {
            hasher.update_rayon(&buffer[..got]);
        } else {
            hasher.update(&buffer[..got]);
        }
        at += got as u64;
        if at >= stamp.size && stamp.size < PIECE as u64 {
            break;
        }
    }
    if at != stamp.size || Stamp::of_file(&file).map_err(error)? != *stamp {
        return Err(context::ContextError::Changed(path.clone()).into());
    }
    let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
    index.note(path, *stamp, content, read_at);
    Ok(content)
}

/// The merged view of a root file system, and the tar of each of its layers.
fn tree_and_tars(store: &Store, rootfs: &[LayerRef]) -> Result<(Tree, Vec<Arc<LayerTar>>), ExecError> {
    let tocs = rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?;
    Ok((Tree::new(tocs), rootfs.iter().map(LayerTar::new).collect()))
}

fn from_tree(
    tree: &Tree,
    tars: &[Arc<LayerTar>],
    name: Vec<u8>,
    path: &ImagePath,
    filter: &Filter,
) -> Source {
    let top = tree.get(path).expect("just selected");
    let mut links = Links::default();
    let below = filtered(tree, path, filter)
        .into_iter()
        .map(|(relative, found)| {
            let entry = tree_entry(&found, tars, &mut links, &relative);
            (relative, entry)
        })
        .collect();
    let top = tree_entry(&top, tars, &mut Links::default(), &ImagePath::root());
    Source { name, shown: crate::diag::escape(path.as_bytes()), top, below, form: Form::Tree }
}

/// What a filter leaves below a path, by path relative to it.
fn filtered<'a>(tree: &'a Tree, path: &ImagePath, filter: &Filter) -> Vec<(ImagePath, Found<'a>)> {
    let walk = tree.walk(path).into_iter();
    let found = walk
        .map(|found| (found.entry.path.strip_prefix(path).expect("a walk stays below its top"), found))
        .collect();
    filter.select(found, |(path, _)| path, |(_, found)| found.is_dir())
}

/// An entry as one of a directory of the host would be taken.
fn packed_entry(
    found: &Found<'_>,
    tars: &[Arc<LayerTar>],
    modes: Modes,
    epoch: Epoch,
) -> Result<Entry, ExecError> {
    let path = || found.entry.path.clone();
    let special = |kind| Err(context::ContextError::Special { path: path(), kind }.into());
    let node = match (&found.entry.node, found.file()) {
        (_, Some((size, content, offset))) => {
            let body = Body::Layer { tar: tars[found.layer].clone(), offset };
            SourceNode::File { size, content, body }
        }
        (Node::Dir, None) => SourceNode::Dir,
        (Node::Symlink(_), None) => SourceNode::Other(found.entry.node.clone()),
        (Node::Fifo, None) => return special("FIFO"),
        (_, None) => return special("device"),
    };
    let mode = match &node {
        SourceNode::Other(_) => 0o777,
        SourceNode::Dir => modes.apply(found.entry.meta.mode, true),
        SourceNode::File { .. } | SourceNode::Hardlink(_) => modes.apply(found.entry.meta.mode, false),
    };
    Ok(Entry { meta: fixed_meta(mode, epoch), node })
}

/// The first name, in this source, of each file of a layer: by layer and by the name that holds the bytes there.
type Links = std::collections::BTreeMap<(usize, ImagePath), ImagePath>;

fn tree_entry(found: &Found<'_>, tars: &[Arc<LayerTar>], links: &mut Links, relative: &ImagePath) -> Entry {
    let holder = match &found.entry.node {
        Node::Hardlink(to) => to,
        _ => &found.entry.path,
    };
    let node = match found.file() {
        Some((size, content, offset)) => match links.entry((found.layer, holder.clone())) {
            MapEntry::Occupied(first) => SourceNode::Hardlink(first.get().clone()),
            MapEntry::Vacant(vacant) => {
                vacant.insert(relative.clone());
                let body = Body::Layer { tar: tars[found.layer].clone(), offset };
                SourceNode::File { size, content, body }
            }
        },
        None if found.entry.node == Node::Dir => SourceNode::Dir,
        None => SourceNode::Other(found.entry.node.clone()),
    };
    Entry { meta: found.entry.meta.clone(), node }
}
