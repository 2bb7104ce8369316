//! Unpacked layers, as docker's overlay2 keeps them: `overlay/<cache-id>/{diff,link}` and short links in `l/`.
//!
//! An unpacked layer is a cache of its tar: made when a mount needs it, whole when it has its name, and made again
//! after a power cut (the boot it was made in is noted beside it).

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{LayerRef, Store, StoreError};
use crate::digest::{DiffId, chain_ids};
use crate::layer::unpack::{Devices, TreeOwners, UnpackOptions, unpack};
use crate::layer::{Owners, Tree};
use crate::mount::{OverlayMarks, Writable};
use crate::sys::file::{self, Durability, unique_name};
use crate::sys::several;

/// The tar of a layer without entries has this size: two zero blocks.
pub const EMPTY_LAYER: u64 = 1024;

/// More bytes than any note beside an unpacked layer has.
pub(super) const LABEL: u64 = 256;

/// How this process can unpack layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpacking {
    /// Real root.
    Root,
    /// Root of a user namespace with a range of ids.
    Mapped,
    /// Root of a user namespace with one id: owners are recorded in the table of contents alone.
    SingleId,
    /// Not at all: no user namespace is to be had.
    Never,
}

impl Unpacking {
    /// The overlay marks that a mount of this process uses.
    pub const fn marks(self) -> OverlayMarks {
        match self {
            Self::Root => OverlayMarks::Trusted,
            Self::Mapped | Self::SingleId | Self::Never => OverlayMarks::User,
        }
    }

    /// Whether owners are on disk.
    pub const fn owners(self) -> Owners {
        match self {
            Self::Root | Self::Mapped => Owners::AsOnDisk,
            Self::SingleId | Self::Never => Owners::Recorded,
        }
    }

    const fn devices(self) -> Devices {
        match self {
            Self::Root => Devices::Make,
            Self::Mapped | Self::SingleId | Self::Never => Devices::Record,
        }
    }

    /// Whose files a plain directory tree can hold, and whether devices.
    pub const fn plain_tree(self) -> (TreeOwners, Devices) {
        let owners = match self {
            Self::Root | Self::Mapped => TreeOwners::AsInLayers,
            Self::SingleId | Self::Never => TreeOwners::Root,
        };
        (owners, self.devices())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Mapped => "user-namespace",
            Self::SingleId => "user-namespace-single-id",
            Self::Never => "plain-user",
        }
    }
}

/// A private directory for one run: `upper` and `work`. Removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Where the run writes.
    pub fn writable(&self) -> Writable {
        Writable { upper: self.dir.join("diff"), work: self.dir.join("work") }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(&self.dir);
    }
}

/// Removes a tree as far as it can be; what stays is garbage that gc removes.
pub(super) fn remove_tree(dir: &Path) {
    // overlayfs leaves `work/work` with mode 0000, which stops a walk by anyone but root.
    let is_dir = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if is_dir(&dir.join("work")) && is_dir(&dir.join("work/work")) {
        let _ = fs::set_permissions(dir.join("work/work"), PermissionsExt::from_mode(0o700));
    }
    let _ = crate::sys::dir::remove_all(dir);
}

/// Which layers of a stack hold anything.
fn mounted(stack: &[LayerRef]) -> Vec<usize> {
    (0..stack.len()).filter(|at| stack[*at].size > EMPTY_LAYER).collect()
}

/// Leaves out what came before.
fn once_each<T: Clone + Eq + std::hash::Hash>(list: Vec<T>) -> Vec<T> {
    let mut known = HashSet::new();
    list.into_iter().filter(|one| known.insert(one.clone())).collect()
}

impl Store {
    /// How this store's process unpacks.
    pub fn unpacking(&self) -> Unpacking {
        self.unpacking
    }

    /// The local name of the unpacked directory of a stack's top layer: 64 hex digits. It depends on what is below
    /// only if the layer names files without their directories, which then come from there. The layer's table has to be
    /// here.
    pub fn cache_id(&self, stack: &[DiffId]) -> Result<String, StoreError> {
        let [alone, on_chain] = Self::cache_ids(stack);
        Ok(if self.is_self_contained(top(stack))? { alone } else { on_chain })
    }

    /// The cache id of a stack's top layer if it needs nothing from below, and if it does.
    pub(super) fn cache_ids(stack: &[DiffId]) -> [String; 2] {
        let chain = chain_ids(stack).pop().expect("a stack has a top");
        let of_layer = blake3::derive_key("lith 2026 cache id", top(stack).as_bytes());
        let of_chain = blake3::derive_key("lith 2026 cache id of a chain", chain.as_bytes());
        [of_layer, of_chain].map(|hash| crate::digest::hex(&hash))
    }

    pub(super) fn is_self_contained(&self, diff: DiffId) -> Result<bool, StoreError> {
        let memo = || self.self_contained.lock().expect("no panic while held");
        if let Some(known) = memo().get(&diff) {
            return Ok(*known);
        }
        let is = self.toc_here(diff)?.is_self_contained();
        memo().insert(diff, is);
        Ok(is)
    }

    /// The short link's name in `l/` of a cache id: 26 characters as docker has them.
    pub fn short_link(cache_id: &str) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bytes = blake3::derive_key("lith 2026 short link", cache_id.as_bytes());
        bytes.iter().take(26).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
    }

    /// The directory that a stack's top layer is or will be unpacked in.
    pub fn diff_dir(&self, stack: &[DiffId]) -> Result<PathBuf, StoreError> {
        Ok(self.root.join("overlay").join(self.cache_id(stack)?).join("diff"))
    }

    /// Makes sure that a stack's top layer is unpacked; gives its `diff` directory. Work is done once among all
    /// processes.
    pub fn unpacked(&self, stack: &[DiffId]) -> Result<PathBuf, StoreError> {
        let cache_id = self.cache_id(stack)?;
        let dir = self.root.join("overlay").join(&cache_id);
        if !self.is_unpacked(&dir)? {
            debug_assert!(several::may_lock(), "a layer is unpacked by a thread of rayon's pool");
            let _once = self.work_lock(&format!("unpack-{cache_id}"))?;
            if !self.is_unpacked(&dir)? {
                let scratch = self.unpack_new(stack)?;
                self.publish(&cache_id, scratch)?;
            }
        }
        Ok(dir.join("diff"))
    }

    /// The unpacked directories of all layers of a stack that hold anything, bottom first. What is not unpacked is, in
    /// parallel. A layer that is there twice counts where it is topmost, which shows all that it has; overlayfs takes
    /// no directory twice.
    pub fn lowers(&self, stack: &[LayerRef]) -> Result<Vec<PathBuf>, StoreError> {
        self.bring_all(stack)?;
        let diffs: Vec<DiffId> = stack.iter().map(|layer| layer.diff_id).collect();
        let tops = mounted(stack);
        let there =
            tops.iter().map(|top| self.found_unpacked(&diffs[..=*top])).collect::<Result<Vec<_>, _>>()?;
        // Threads would be in the way of whatever else starts, so they are started only for work.
        let dirs = match there.into_iter().collect::<Option<Vec<_>>>() {
            Some(all) => all,
            None => {
                let at_once = rayon::current_num_threads();
                several::each(at_once, &tops, |top| self.unpacked(&diffs[..=*top]))?
            }
        };
        let mut topmost_first = once_each(dirs.into_iter().rev().collect());
        topmost_first.reverse();
        Ok(topmost_first)
    }

    /// The `diff` directory of a stack's top layer, if that is unpacked.
    fn found_unpacked(&self, stack: &[DiffId]) -> Result<Option<PathBuf>, StoreError> {
        let dir = self.root.join("overlay").join(self.cache_id(stack)?);
        Ok(self.is_unpacked(&dir)?.then(|| dir.join("diff")))
    }

    /// The short links of the directories that [`Store::lowers`] gives, topmost first.
    pub fn links(&self, stack: &[LayerRef]) -> Result<Vec<String>, StoreError> {
        let diffs: Vec<DiffId> = stack.iter().map(|layer| layer.diff_id).collect();
        let cache_ids = mounted(stack).into_iter().rev().map(|top| self.cache_id(&diffs[..=top]));
        let links = cache_ids.map(|id| Ok(Self::short_link(&id?)));
        Ok(once_each(links.collect::<Result<_, StoreError>>()?))
    }

    fn unpack_new(&self, stack: &[DiffId]) -> Result<Scratch, StoreError> {
        let scratch = self.scratch()?;
        self.unpack_into(stack, &scratch.writable().upper)?;
        Ok(scratch)
    }

    /// Unpacks a stack's top layer into an empty directory.
    pub fn unpack_into(&self, stack: &[DiffId], dest: &Path) -> Result<(), StoreError> {
        let diff = top(stack);
        let toc = self.toc(diff)?;
        let lower = self.lower(stack)?;
        unpack(&self.layer_tar(diff)?, &toc, dest, &self.unpack_options(&lower))
            .map_err(|source| StoreError::Unpack { diff, source })
    }

    /// What a stack's top layer takes directories from that it does not list: nothing, if it lists them all.
    pub(super) fn lower(&self, stack: &[DiffId]) -> Result<Tree, StoreError> {
        let (diff, below) = stack.split_last().expect("a stack has a top");
        let below = if self.is_self_contained(*diff)? { &[] } else { below };
        Ok(Tree::new(below.iter().map(|diff| self.toc(*diff)).collect::<Result<_, _>>()?))
    }

    /// How this process unpacks.
    pub(super) fn unpack_options<'a>(&self, lower: &'a Tree) -> UnpackOptions<'a> {
        UnpackOptions {
            marks: self.unpacking.marks(),
            owners: self.unpacking.owners(),
            devices: self.unpacking.devices(),
            lower,
        }
    }

    /// Moves what a directory of a layer that stands on nothing holds into an empty directory.
    pub fn unpack_below(&self, diff: DiffId, name: &[u8], dest: &Path) -> Result<(), StoreError> {
        use std::os::unix::ffi::OsStrExt as _;
        let scratch = self.scratch()?;
        self.unpack_into(&[diff], &scratch.writable().upper)?;
        let inner = scratch.writable().upper.join(std::ffi::OsStr::from_bytes(name));
        for entry in crate::sys::dir::list_path(&inner)? {
            let name = std::ffi::OsStr::from_bytes(&entry.name);
            fs::rename(inner.join(name), dest.join(name)).map_err(|e| file::context(e, "move to", dest))?;
        }
        Ok(())
    }

    /// Makes a captured upper directory the unpacked form of the layer that was captured from it.
    pub fn adopt(&self, diff: DiffId, scratch: Scratch) -> Result<(), StoreError> {
        self.publish(&self.cache_id(&[diff])?, scratch)
    }

    /// Gives an unpacked layer its name.
    fn publish(&self, cache_id: &str, scratch: Scratch) -> Result<(), StoreError> {
        self.claim_mapping()?;
        let dir = self.root.join("overlay").join(cache_id);
        if self.is_unpacked(&dir)? {
            return Ok(());
        }
        Self::label(cache_id, &scratch)?;
        if dir.exists() {
            remove_tree(&dir);
        }
        match fs::rename(&scratch.dir, &dir) {
            Ok(()) => std::mem::forget(scratch),
            // Another process was faster; the scratch is dropped.
            Err(error) if dir.exists() => drop((scratch, error)),
            Err(error) => return Err(file::context(error, "publish", &dir).into()),
        }
        let short = self.root.join("l").join(Self::short_link(cache_id));
        match symlink(short_target(cache_id), &short) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(file::context(error, "link", &short).into())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Notes beside an unpacked layer when and as what it was made.
    fn label(cache_id: &str, scratch: &Scratch) -> Result<(), StoreError> {
        remove_tree(&scratch.dir.join("work"));
        file::replace(&scratch.dir.join("boot"), file::boot_id()?.as_bytes(), Durability::Cached)?;
        let link = Self::short_link(cache_id);
        Ok(file::replace(&scratch.dir.join("link"), link.as_bytes(), Durability::Cached)?)
    }

    /// Makes an unpacked layer anew from its tar, which is hashed first, and has it change places with the old one.
    /// That is left as it is, since others may have it mounted; gives the place where it is until the next sweep.
    pub(super) fn unpack_anew(&self, stack: &[DiffId]) -> Result<PathBuf, StoreError> {
        self.verify_blob(&top(stack).into())?;
        self.claim_mapping()?;
        let cache_id = self.cache_id(stack)?;
        let scratch = self.unpack_new(stack)?;
        Self::label(&cache_id, &scratch)?;
        file::exchange(&scratch.dir, &self.root.join("overlay").join(&cache_id))?;
        let old = scratch.dir.clone();
        std::mem::forget(scratch);
        Ok(old)
    }

    /// An unpacked layer counts if it was made in this boot: what an earlier one left unsynced may be damaged.
    pub(super) fn is_unpacked(&self, dir: &Path) -> Result<bool, StoreError> {
        match file::read_regular(&dir.join("boot"), LABEL) {
            Ok(made) => Ok(made == file::boot_id()?.as_bytes()),
            Err(_) => Ok(false),
        }
    }

    /// Owners on disk mean different things under different id maps, so a store has one of them.
    fn claim_mapping(&self) -> Result<(), StoreError> {
        match self.check_mapping()? {
            true => Ok(()),
            false => {
                let path = self.root.join("overlay").join("mapping");
                Ok(file::replace(&path, self.unpacking.name().as_bytes(), Durability::Cached)?)
            }
        }
    }

    /// Whether unpacked layers were made as this process makes them; false if there are none yet.
    pub(super) fn check_mapping(&self) -> Result<bool, StoreError> {
        let path = self.root.join("overlay").join("mapping");
        let Ok(found) = file::read_regular(&path, LABEL) else { return Ok(false) };
        let (found, wanted) = (String::from_utf8_lossy(&found), self.unpacking.name());
        if found.trim() == wanted {
            return Ok(true);
        }
        let found = crate::diag::escape(found.trim().as_bytes());
        Err(StoreError::Mapping { root: self.root.clone(), found, wanted: wanted.to_owned() })
    }

    /// A fresh `upper` and `work` for one run.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        self.scratch_at(&self.tmp())
    }

    /// The same in another directory, from where it cannot be adopted.
    pub fn scratch_at(&self, place: &Path) -> Result<Scratch, StoreError> {
        let dir = place.join(unique_name());
        for sub in ["diff", "work"] {
            let path = dir.join(sub);
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .map_err(|e| file::context(e, "create", &path))?;
            // The mode of `upper` is that of the root a process sees; no umask may change it.
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        }
        Ok(Scratch { dir })
    }
}

fn top(stack: &[DiffId]) -> DiffId {
    *stack.last().expect("a stack has a top")
}

/// Where the short link of a cache id leads.
pub(super) fn short_target(cache_id: &str) -> String {
    format!("../overlay/{cache_id}/diff")
}
