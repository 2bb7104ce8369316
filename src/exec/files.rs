//! The files of a build context, wherever they came from.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::copy::{self, Placement};
use super::observe::{Observer, Rootfs};
use super::source::{Body, Entry, Form, Modes, Source, SourceNode};
use super::{ExecError, archive, pack};
use crate::context::{Context, ContextError, Filter, StatIndex};
use crate::epoch::Epoch;
use crate::layer::Meta;
use crate::layer::tree::{FollowLast, Tree};
use crate::path::ImagePath;
use crate::store::{LayerRef, Store};

/// A build context.
#[derive(Debug)]
pub enum Files {
    /// A directory of the host, and what is known of its files.
    Directory { context: Arc<Context>, index: StatIndex },
    /// What came as one: a tar, a repository. Layers of the store, none if it is empty.
    Packed(Arc<Rootfs>),
}

/// How the files of contexts are taken.
#[derive(Debug, Clone, Copy)]
pub struct Taking {
    pub modes: Modes,
    pub epoch: Epoch,
}

impl Files {
    /// What a path or pattern selects, through a filter.
    pub fn select(
        &self,
        store: &Store,
        pattern: &ImagePath,
        filter: &Filter,
        taking: Taking,
    ) -> Result<Vec<Source>, ExecError> {
        match self {
            Self::Directory { context, index } => {
                Source::from_context(context, index, pattern, filter, taking.modes, taking.epoch)
            }
            Self::Packed(rootfs) => {
                let found = Source::from_packed(store, rootfs, pattern, filter, taking.modes, taking.epoch);
                found.map_err(in_context)
            }
        }
    }

    /// What stands at one path, which is no pattern.
    pub fn at(&self, store: &Store, path: &ImagePath, taking: Taking) -> Result<Source, ExecError> {
        let pattern = crate::context::pattern::quoted(path);
        let mut found = self.select(store, &pattern, &Filter::default(), taking)?;
        found.pop().ok_or_else(|| ContextError::NotFound(path.clone()).into())
    }
}

/// Whose files are missing.
fn in_context(error: ExecError) -> ExecError {
    match error {
        ExecError::NotFound { path } => ContextError::NotFound(path).into(),
        other => other,
    }
}

/// Reads a tar, packed or not, into a layer that can be a context; `None` if it is no tar. Nothing is unpacked to disk:
/// whatever its links and names are, they lead nowhere. `shown` names it in messages.
pub fn pack_tar(store: &Store, shown: &str, file: File) -> Result<Option<LayerRef>, ExecError> {
    let size = file.metadata()?.len();
    let content = crate::digest::ContentDigest::of(b"");
    let node = SourceNode::File { size, content, body: Body::Blob(Arc::new(file)) };
    let top = Entry { meta: Meta::default(), node };
    let source =
        Source { name: Vec::new(), shown: shown.to_owned(), top, below: Vec::new(), form: Form::Tree };
    archive::open(store, &source)?.map(|source| pack_source(store, &source)).transpose()
}

/// Makes a layer of what a source brings.
pub fn pack_source(store: &Store, source: &Source) -> Result<LayerRef, ExecError> {
    let empty = Rootfs::new();
    let observer = Observer::new(store, &empty, Arc::new(Tree::new(Vec::new())));
    let root = ImagePath::root();
    let placement =
        Placement { dest: &root, dest_is_dir: true, chown: None, chmod: None, epoch: Epoch::ZERO };
    let planned = copy::land(&observer, &placement, std::slice::from_ref(source))?;
    let (sink, written) = pack::pack(store, &planned)?;
    store.commit_layer(sink, &written)?;
    Ok(LayerRef { diff_id: written.diff_id, size: written.size })
}

/// The bytes of a regular file of a packed context, links followed in it; `None` if there is none.
pub fn read_packed(
    store: &Store,
    rootfs: &Rootfs,
    path: &ImagePath,
    limit: u64,
) -> Result<Option<Vec<u8>>, ExecError> {
    let tree = Tree::new(rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?);
    let real = tree.resolve(path, FollowLast::Follow)?.path;
    let Some(found) = tree.get(&real) else { return Ok(None) };
    let Some((size, _, offset)) = found.file() else {
        return Err(ExecError::NotAFile { path: real });
    };
    if size > limit {
        return Err(ExecError::TooLarge { path: real, size, limit });
    }
    let mut bytes =
        vec![0; usize::try_from(size).map_err(|_| ExecError::TooLarge { path: real.clone(), size, limit })?];
    let tar = store.layer_tar(rootfs[found.layer].diff_id)?;
    tar.read_exact_at(&mut bytes, offset).map_err(|source| ExecError::ReadLayer { path: real, source })?;
    Ok(Some(bytes))
}

/// The names in a directory of a packed context, sorted; none if there is no directory.
pub fn names_packed(store: &Store, rootfs: &Rootfs, path: &ImagePath) -> Result<Vec<String>, ExecError> {
    let tree = Tree::new(rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?);
    let real = tree.resolve(path, FollowLast::Follow)?.path;
    let inside = tree.walk(&real).into_iter().map(|found| found.entry.path.clone());
    let names = inside.filter_map(|inner| {
        let below = inner.strip_prefix(&real)?;
        let mut names = below.names();
        let name = String::from_utf8(names.next()?.to_vec()).ok()?;
        names.next().is_none().then_some(name)
    });
    Ok(names.collect())
}

/// Everything that comes from a stream, in a file without a name.
pub fn spool(store: &Store, input: &mut dyn io::Read, limit: u64) -> Result<File, ExecError> {
    let mut file = crate::sys::file::Unnamed::new(&store.root().join("tmp"))?;
    let size = io::copy(&mut input.take(limit + 1), &mut file)?;
    if size > limit {
        return Err(io::Error::other(format!("it is larger than the limit of {limit} bytes")).into());
    }
    Ok(file.file().try_clone()?)
}
