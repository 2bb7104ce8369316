//! One directory of blobs, layers, unpacked layers, images and action records, shared by any number of processes.
//!
//! The layout is `spec/store-layout.md`. Knows no processes and no network. Everything appears by rename or link
//! once it is whole; a kill at any moment leaves only garbage that [`gc`] removes.

pub mod actions;
mod attestations;
pub mod blobs;
pub mod builds;
pub mod caches;
mod chains;
pub mod containers;
pub mod downloads;
pub mod gc;
pub mod images;
mod indexes;
pub mod layers;
pub mod logs;
pub mod mounts;
pub mod partials;
pub mod promises;
pub mod pulls;
pub mod repair;
pub mod selections;
pub mod snapshots;
pub mod verify;

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::digest::{BlobDigest, DiffId};
use crate::layer::Toc;
use crate::sys::file::{self, Durability, Hold, Lock};

pub use actions::{Brought, LayerRef, Record};
pub use attestations::{ArtifactRecord, AttestationRecord};
pub use blobs::BlobWriter;
pub use containers::{ContainerId, ContainerLayers, Containers, Created, Going, NewContainer};
pub use images::{ImageRecord, RefRecord};
pub use indexes::{IndexRecord, IndexedImage};
pub use promises::{Bringer, Promise, PromisedToc, Unkept};
pub use snapshots::{EMPTY_LAYER, Scratch, Unpacking};

/// The version of the layout in `spec/store-layout.md`. A store of another version is refused.
pub const LAYOUT_VERSION: u32 = 1;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store: {0}")]
    Io(#[from] io::Error),
    #[error("store {root} is of layout version {found}; this lith knows version {LAYOUT_VERSION}")]
    Version { root: PathBuf, found: String },
    #[error("store {root} belongs to uid {owner}, not to uid {me}")]
    Owner { root: PathBuf, owner: u32, me: u32 },
    #[error("store {root} is not a directory of its own (a symlink or a file)")]
    NotADirectory { root: PathBuf },
    #[error("store {root} holds other files and no store; choose an empty directory")]
    Foreign { root: PathBuf },
    #[error("unpacked layers of store {root} were made as {found}, this run is {wanted}")]
    Mapping { root: PathBuf, found: String, wanted: String },
    #[error("blob {0} is not in the store")]
    MissingBlob(BlobDigest),
    #[error("blob {expected} is corrupt: content hashes to {actual}")]
    CorruptBlob { expected: BlobDigest, actual: BlobDigest },
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed here")]
    TooLarge { digest: BlobDigest, size: u64, limit: u64 },
    #[error("layer {0} has no table of contents in the store")]
    MissingToc(DiffId),
    #[error("table of contents of layer {diff} is damaged: {source}")]
    CorruptToc { diff: DiffId, source: crate::layer::toc::TocError },
    #[error("unpack layer {diff}: {source}")]
    Unpack { diff: DiffId, source: crate::layer::unpack::UnpackError },
    #[error("layer {diff}, which {place} has, cannot be had: {source}")]
    Promise { diff: DiffId, place: String, source: promises::Cause },
    #[error(
        "layer {diff} is not here, and {place}, which had it, gave something else; build the image again"
    )]
    Broken { diff: DiffId, place: String },
    #[error("image {0} is not in the store")]
    MissingImage(String),
    #[error("{0:?} matches several images: {1}")]
    Ambiguous(String, String),
}

/// An open store. Holding it holds the store's lease: nothing reachable or just made is removed meanwhile.
pub struct Store {
    root: PathBuf,
    unpacking: Unpacking,
    tocs: Mutex<HashMap<DiffId, Arc<Toc>>>,
    self_contained: Mutex<HashMap<DiffId, bool>>,
    /// Brings layers that are elsewhere.
    bringer: OnceLock<Arc<dyn Bringer>>,
    /// What it could not.
    unkept: Mutex<Vec<Promise>>,
    /// And does not try again.
    vain: Mutex<HashSet<DiffId>>,
    _lease: Lock,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

const DIRS: [&str; 29] = [
    "blobs/sha256",
    "tocs",
    "compressed",
    "layerdb/mounts",
    "layerdb/sha256",
    "overlay",
    "l",
    "images",
    "indexes",
    "attestations",
    "refs",
    "actions",
    "builds",
    "image-builds",
    "caches",
    "container-names",
    "containers",
    "contexts",
    "downloads",
    "git",
    "locks",
    "logs",
    "mounts",
    "packages",
    "partial",
    "promises",
    "pulls",
    "tmp",
    "volumes",
];

impl Store {
    /// Opens the store at `root`, making it if the directory is empty or missing. `unpacking` says how this
    /// process can unpack layers. Waits while a [`gc`] sweep runs.
    pub fn open(root: &Path, unpacking: Unpacking) -> Result<Self, StoreError> {
        prepare(root)?;
        let lease = Lock::wait(&root.join("lock"), Hold::Shared)?;
        Ok(Self::held(root, unpacking, lease))
    }

    fn held(root: &Path, unpacking: Unpacking, lease: Lock) -> Self {
        Self {
            root: root.to_owned(),
            unpacking,
            tocs: Mutex::default(),
            self_contained: Mutex::default(),
            bringer: OnceLock::new(),
            unkept: Mutex::default(),
            vain: Mutex::default(),
            _lease: lease,
        }
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// An exclusive lock by name among all processes, for work that should be done once. Waits for it.
    pub fn work_lock(&self, name: &str) -> Result<Lock, StoreError> {
        Ok(Lock::wait(&self.root.join("locks").join(name), Hold::Exclusive)?)
    }
}

/// Makes sure of a store of our version at `root`.
fn prepare(root: &Path) -> Result<(), StoreError> {
    let meta = match fs::symlink_metadata(root) {
        Ok(meta) if !meta.is_dir() => return Err(StoreError::NotADirectory { root: root.to_owned() }),
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(file::context(error, "open", root).into()),
    };
    let Some(meta) = meta else {
        create_dir(root)?;
        return initialise(root);
    };
    check_owner(root, &meta)?;
    let whole = check_version(root)?;
    shut(root, &meta)?;
    if whole { complete(root) } else { initialise(root) }
}

/// Makes directories that an older lith of this version did not know.
fn complete(root: &Path) -> Result<(), StoreError> {
    let missing = DIRS.iter().map(|dir| root.join(dir)).filter(|dir| !dir.exists());
    missing.into_iter().try_for_each(|dir| create_dir(&dir))
}

/// Whether a version stands there. An empty file is what a file system may leave of a store that was just made.
fn check_version(root: &Path) -> Result<bool, StoreError> {
    let version = root.join("version");
    match fs::read(&version) {
        Ok(bytes) if bytes.is_empty() => Ok(false),
        Ok(bytes) if bytes.trim_ascii() == format!("lith-store {LAYOUT_VERSION}").as_bytes() => Ok(true),
        Ok(bytes) => {
            let found = crate::diag::escape(&bytes.trim_ascii()[..bytes.trim_ascii().len().min(40)]);
            Err(StoreError::Version { root: root.to_owned(), found })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file::context(error, "read", &version).into()),
    }
}

/// A store others own is a store others can poison.
fn check_owner(root: &Path, meta: &fs::Metadata) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(StoreError::Owner { root: root.to_owned(), owner: meta.uid(), me });
    }
    Ok(())
}

/// Takes away what others may do: whoever can write poisons the store, whoever can enter finds setuid files.
fn shut(root: &Path, meta: &fs::Metadata) -> Result<(), StoreError> {
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .map_err(|e| file::context(e, "chmod", root))?;
    }
    Ok(())
}

fn create_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| file::context(e, "create", path).into())
}

/// Lays out an empty store; the version file comes last, so a half-made store is made again.
fn initialise(root: &Path) -> Result<(), StoreError> {
    let ours = |name: &str| {
        matches!(name, "lock" | "version") || DIRS.iter().any(|dir| dir.split('/').next() == Some(name))
    };
    let _alone = {
        let foreign = crate::sys::dir::list_path(root)?
            .into_iter()
            .any(|entry| !entry.name.starts_with(b".") && !std::str::from_utf8(&entry.name).is_ok_and(ours));
        if foreign {
            return Err(StoreError::Foreign { root: root.to_owned() });
        }
        Lock::wait(&root.join("lock"), Hold::Exclusive)?
    };
    for dir in DIRS {
        create_dir(&root.join(dir))?;
    }
    file::replace(
        &root.join("version"),
        format!("lith-store {LAYOUT_VERSION}\n").as_bytes(),
        Durability::Synced,
    )?;
    Ok(())
}
