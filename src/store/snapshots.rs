//! Unpacked layers, as docker's overlay2 keeps them: `overlay/<cache-id>/{diff,link}` and short links in `l/`.
//!
//! An unpacked layer is a cache of its tar: made when a mount needs it, whole when it has its name, and made again
//! after a power cut (the boot it was made in is noted beside it).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::digest::DiffId;
use crate::layer::Owners;
use crate::layer::unpack::{Devices, UnpackOptions, unpack};
use crate::mount::{OverlayMarks, Writable};
use crate::sys::file::{self, Durability, unique_name};

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
            Self::Root => Devices::Create,
            Self::Mapped | Self::SingleId | Self::Never => Devices::Skip,
        }
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
    let _ = fs::remove_dir_all(dir);
}

impl Store {
    /// How this store's process unpacks.
    pub fn unpacking(&self) -> Unpacking {
        self.unpacking
    }

    /// The local name of a layer's unpacked directory: 64 hex digits made from the diff id.
    pub fn cache_id(diff: DiffId) -> String {
        blake3::derive_key("lith 2026 cache id", diff.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The short link's name in `l/`: 26 characters as docker has them.
    pub fn short_link(diff: DiffId) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bytes = blake3::derive_key("lith 2026 short link", diff.as_bytes());
        bytes.iter().take(26).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
    }

    fn unpacked_dir(&self, diff: DiffId) -> PathBuf {
        self.root.join("overlay").join(Self::cache_id(diff))
    }

    /// The directory a layer is or will be unpacked in.
    pub fn diff_dir(&self, diff: DiffId) -> PathBuf {
        self.unpacked_dir(diff).join("diff")
    }

    /// Makes sure a layer is unpacked; gives its `diff` directory. Work is done once among all processes.
    pub fn unpacked(&self, diff: DiffId) -> Result<PathBuf, StoreError> {
        let dir = self.unpacked_dir(diff);
        if self.is_unpacked(&dir)? {
            return Ok(dir.join("diff"));
        }
        let _once = self.work_lock(&format!("unpack-{}", Self::cache_id(diff)))?;
        if !self.is_unpacked(&dir)? {
            let scratch = self.scratch()?;
            let options = UnpackOptions {
                marks: self.unpacking.marks(),
                owners: self.unpacking.owners(),
                devices: self.unpacking.devices(),
            };
            let toc = self.toc(diff)?;
            unpack(&self.layer_tar(diff)?, &toc, &scratch.writable().upper, &options)
                .map_err(|source| StoreError::Unpack { diff, source })?;
            self.adopt(diff, scratch)?;
        }
        Ok(dir.join("diff"))
    }

    /// Makes a captured upper directory the unpacked form of the layer that was captured from it.
    pub fn adopt(&self, diff: DiffId, scratch: Scratch) -> Result<(), StoreError> {
        self.claim_mapping()?;
        let dir = self.unpacked_dir(diff);
        if self.is_unpacked(&dir)? {
            return Ok(());
        }
        remove_tree(&scratch.dir.join("work"));
        file::replace(&scratch.dir.join("boot"), boot_id()?.as_bytes(), Durability::Cached)?;
        let link = Self::short_link(diff);
        file::replace(&scratch.dir.join("link"), link.as_bytes(), Durability::Cached)?;
        if dir.exists() {
            remove_tree(&dir);
        }
        match fs::rename(&scratch.dir, &dir) {
            Ok(()) => std::mem::forget(scratch),
            // Another process was faster; the scratch is dropped.
            Err(error) if dir.exists() => drop((scratch, error)),
            Err(error) => return Err(file::context(error, "publish", &dir).into()),
        }
        let short = self.root.join("l").join(link);
        match symlink(format!("../overlay/{}/diff", Self::cache_id(diff)), &short) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(file::context(error, "link", &short).into())
            }
            _ => Ok(()),
        }
    }

    /// An unpacked layer counts if it was made in this boot: what an earlier one left unsynced may be damaged.
    fn is_unpacked(&self, dir: &Path) -> Result<bool, StoreError> {
        match fs::read(dir.join("boot")) {
            Ok(made) => Ok(made == boot_id()?.as_bytes()),
            Err(_) => Ok(false),
        }
    }

    /// Owners on disk mean different things under different id maps, so a store has one of them.
    fn claim_mapping(&self) -> Result<(), StoreError> {
        let path = self.root.join("overlay").join("mapping");
        let wanted = self.unpacking.name();
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == wanted => Ok(()),
            Ok(found) => Err(StoreError::Mapping {
                root: self.root.clone(),
                found: found.trim().to_owned(),
                wanted: wanted.to_owned(),
            }),
            Err(_) => Ok(file::replace(&path, wanted.as_bytes(), Durability::Cached)?),
        }
    }

    /// A fresh `upper` and `work` for one run.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let dir = self.tmp().join(unique_name());
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

fn boot_id() -> io::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map_err(|e| file::context(e, "read", path))
}
