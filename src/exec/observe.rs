//! Looking at a parent's file system and noting what was seen: the observations of a COPY, an ADD, a WORKDIR.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::ExecError;
use crate::action::{Aspect, Observation};
use crate::digest::{ChainId, DiffId, chain_ids};
use crate::layer::tree::{Found, Tree};
use crate::layer::{Meta, Node};
use crate::path::ImagePath;
use crate::store::{LayerRef, Store};

/// The root file system a step stands on: layers, bottom first.
pub type Rootfs = Vec<LayerRef>;

/// The identity of a whole root file system; `None` for the empty one.
pub fn chain(rootfs: &[LayerRef]) -> Option<ChainId> {
    let diffs: Vec<DiffId> = rootfs.iter().map(|layer| layer.diff_id).collect();
    chain_ids(&diffs).pop()
}

/// The observation of a whole root file system.
pub fn whole(rootfs: &[LayerRef]) -> Observation {
    Observation::Rootfs(chain(rootfs))
}

/// A parent that notes every question put to it.
pub struct Observer<'a> {
    store: &'a Store,
    rootfs: &'a [LayerRef],
    tree: Arc<Tree>,
    seen: RefCell<BTreeMap<(ImagePath, Aspect), String>>,
}

/// The largest passwd or group file that is read.
const MAX_NAMES_FILE: u64 = 1 << 20;

impl<'a> Observer<'a> {
    /// `tree` is the view of `rootfs`.
    pub fn new(store: &'a Store, rootfs: &'a [LayerRef], tree: Arc<Tree>) -> Self {
        Self { store, rootfs, tree, seen: RefCell::default() }
    }

    /// What stands at a path, symlinks not followed.
    pub fn entry(&self, path: &ImagePath) -> Option<Found<'_>> {
        self.note(path, Aspect::Entry);
        self.tree.get(path)
    }

    /// Whether a directory stands at a path.
    pub fn is_dir(&self, path: &ImagePath) -> bool {
        self.note(path, Aspect::IsDir);
        matches!(self.tree.get(path), Some(found) if found.entry.node == Node::Dir)
    }

    /// What a directory holds, by name. Not noted: whoever relies on it notes what it looks at.
    pub fn children(&self, dir: &ImagePath) -> Vec<ImagePath> {
        self.tree.list(dir).iter().map(|found| found.entry.path.clone()).collect()
    }

    /// The bytes of a small regular file, symlinks on the way followed in the root; `None` if there is none.
    pub fn small_file(&self, path: &ImagePath) -> Result<Option<Vec<u8>>, ExecError> {
        let path = self.resolve(path)?;
        self.note(&path, Aspect::Content);
        let Some(found) = self.tree.get(&path) else { return Ok(None) };
        let Some((size, _, offset)) = found.file() else {
            return Err(ExecError::NotAFile { path });
        };
        if size > MAX_NAMES_FILE {
            return Err(ExecError::TooLarge { path, size, limit: MAX_NAMES_FILE });
        }
        let mut bytes = vec![0; usize::try_from(size).expect("at most 1 MiB")];
        let tar = self.store.layer_tar(self.rootfs[found.layer].diff_id)?;
        tar.read_exact_at(&mut bytes, offset).map_err(|source| ExecError::ReadLayer { path, source })?;
        Ok(Some(bytes))
    }

    /// Follows symlinks inside the root, the last component too. What does not exist is kept as it is written.
    pub fn resolve(&self, path: &ImagePath) -> Result<ImagePath, ExecError> {
        let real = path.follow(|at| {
            Ok::<_, ExecError>(match self.entry(at).map(|found| &found.entry.node) {
                Some(Node::Symlink(target)) => Some(target.clone()),
                Some(_) | None => None,
            })
        })?;
        real.ok_or_else(|| ExecError::Links { path: path.clone() })
    }

    /// Everything that was asked and answered, in order of paths.
    pub fn observations(&self) -> Vec<Observation> {
        let seen = self.seen.borrow();
        seen.iter()
            .map(|((path, aspect), seen)| Observation::Path {
                path: path.clone(),
                aspect: *aspect,
                seen: seen.clone(),
            })
            .collect()
    }

    /// The first observation that does not hold here, with what holds instead; `None` if all hold.
    pub fn contradiction(&self, observations: &[Observation]) -> Option<(Observation, String)> {
        observations.iter().find_map(|observation| match observation {
            Observation::Rootfs(_) => {
                let own = whole(self.rootfs);
                (own != *observation).then(|| (observation.clone(), format!("{own:?}")))
            }
            Observation::Path { path, aspect, seen } => {
                let own = describe(&self.tree, path, *aspect);
                (own != *seen).then(|| (observation.clone(), own))
            }
        })
    }

    fn note(&self, path: &ImagePath, aspect: Aspect) {
        let mut seen = self.seen.borrow_mut();
        seen.entry((path.clone(), aspect)).or_insert_with(|| describe(&self.tree, path, aspect));
    }
}

/// The text of one observation.
fn describe(tree: &Tree, path: &ImagePath, aspect: Aspect) -> String {
    let found = tree.get(path);
    match aspect {
        Aspect::Entry => found.map_or_else(|| "absent".to_owned(), |found| describe_entry(&found)),
        Aspect::IsDir => match found {
            Some(found) if found.entry.node == Node::Dir => "directory".to_owned(),
            Some(_) | None => "no directory".to_owned(),
        },
        Aspect::Content => match found.as_ref().map(Found::file) {
            None => "absent".to_owned(),
            Some(None) => "no regular file".to_owned(),
            Some(Some((_, content, _))) => content.to_string(),
        },
    }
}

fn describe_entry(found: &Found<'_>) -> String {
    match &found.entry.node {
        Node::Dir => format!("directory {}", describe_meta(&found.entry.meta)),
        Node::Symlink(target) => format!("symlink to {}", crate::diag::escape(target)),
        Node::File { .. } | Node::Hardlink(_) => "file".to_owned(),
        Node::Char { .. } | Node::Block { .. } => "device".to_owned(),
        Node::Fifo => "FIFO".to_owned(),
        Node::Whiteout | Node::Opaque => unreachable!("a merged tree shows no whiteouts"),
    }
}

fn describe_meta(meta: &Meta) -> String {
    let mut text =
        format!("{:04o} {}:{} {}.{}", meta.mode, meta.uid, meta.gid, meta.mtime.secs, meta.mtime.nanos);
    for (name, value) in &meta.xattrs {
        let _ = write!(text, " {}={}", crate::diag::escape(name), crate::digest::hex(value));
    }
    text
}
