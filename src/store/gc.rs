//! What can go, and its going: a plan that can be shown, then a sweep.
//!
//! The sweep holds the store alone: every other process holds the lease shared while it works, so nothing that is
//! being made or used is ever removed, and no clock is needed to be safe.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Containers, RefRecord, Store, StoreError, Unpacking, chains, prepare, snapshots};
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::oci::{ImageConfig, Manifest};
use crate::sys::dir;
use crate::sys::file::{self, Hold, Lock};

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What nothing points to: leftovers of killed builds and removed images.
    Garbage,
    /// Also action records, intermediate and unnamed images: everything that no name reaches.
    Cache,
}

/// What becomes of cache mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMounts {
    Keep,
    /// All of them go.
    Clear,
}

/// One thing that goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doomed {
    pub path: PathBuf,
    /// Bytes of the file, or of all files of the directory.
    pub size: u64,
}

/// What a sweep will remove.
#[derive(Debug, Default)]
pub struct GcPlan {
    pub doomed: Vec<Doomed>,
}

/// What names, images and records reach.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub blobs: BTreeSet<BlobDigest>,
    pub diffs: BTreeSet<DiffId>,
    images: BTreeSet<ImageId>,
    indexes: BTreeSet<BlobDigest>,
    /// Manifests and indexes about which something may be said.
    subjects: BTreeSet<BlobDigest>,
    /// The layers of each image, bottom first.
    pub stacks: BTreeSet<Vec<DiffId>>,
    /// Cache ids of unpacked layers.
    caches: BTreeSet<String>,
}

/// More bytes than a digest has as text.
const DIGEST: u64 = 128;
/// The largest manifest or config that is read.
const DOCUMENT: u64 = 4 << 20;

impl Store {
    /// Opens the store alone, for a sweep. With `wait`, waits until nobody else uses it; else `None` if somebody
    /// does.
    pub fn open_alone(root: &Path, unpacking: Unpacking, wait: bool) -> Result<Option<Self>, StoreError> {
        prepare(root)?;
        let path = root.join("lock");
        let lease = if wait {
            Some(Lock::wait(&path, Hold::Exclusive)?)
        } else {
            Lock::attempt(&path, Hold::Exclusive)?
        };
        Ok(lease.map(|lease| Self::held(root, unpacking, lease)))
    }

    /// What can go. The store must be held alone for the plan to stay true. Names that begin with a dot are
    /// half-written files of killed processes.
    pub fn gc_plan(&self, scope: Scope, mounts: CacheMounts) -> Result<GcPlan, StoreError> {
        let reach = self.reach(scope)?;
        let mut plan = GcPlan::default();
        // What points goes before what it points to: a sweep that is killed leaves no record of what is gone.
        for dir in ["actions", "builds", "packages", "downloads", "pulls", "git", "logs"] {
            self.doom(&mut plan, dir, |_| scope == Scope::Garbage)?;
        }
        if scope == Scope::Garbage {
            for shard in dir::list_path(&self.root.join("actions"))? {
                self.doom(&mut plan, &format!("actions/{}", String::from_utf8_lossy(&shard.name)), |_| true)?;
            }
        }
        self.doom(&mut plan, "attestations", |name| {
            BlobDigest::from_hex(name).is_ok_and(|subject| reach.subjects.contains(&subject))
        })?;
        self.doom(&mut plan, "indexes", |name| {
            BlobDigest::from_hex(name).is_ok_and(|index| reach.indexes.contains(&index))
        })?;
        self.doom(&mut plan, "image-builds", |name| {
            ImageId::from_hex(name).is_ok_and(|image| reach.images.contains(&image))
        })?;
        self.doom(&mut plan, "images", |name| {
            ImageId::from_hex(name).is_ok_and(|image| reach.images.contains(&image))
        })?;
        self.doom(&mut plan, "containers", |_| true)?;
        self.doom(&mut plan, "container-names", |name| Containers::of(&self.root).by_name(name).is_some())?;
        let containers = Containers::of(&self.root).ids()?;
        self.doom(&mut plan, "layerdb/mounts", |name| containers.iter().any(|id| id.as_str() == name))?;
        self.doom(&mut plan, "layerdb/sha256", |name| self.chain_is_reached(name, &reach))?;
        let diff = |name: &str| DiffId::from_hex(name).is_ok_and(|diff| reach.diffs.contains(&diff));
        self.doom(&mut plan, "tocs", diff)?;
        self.doom(&mut plan, "promises", |name| self.is_reached_promise(name, &reach))?;
        self.doom(&mut plan, "compressed", |name| name.split('.').next().is_some_and(diff))?;
        self.doom(&mut plan, "overlay", |name| name == "mapping" || reach.caches.contains(name))?;
        let links: BTreeSet<String> = reach.caches.iter().map(|cache| Self::short_link(cache)).collect();
        self.doom(&mut plan, "l", |name| links.contains(name))?;
        self.doom(&mut plan, "tmp", |_| false)?;
        self.doom(&mut plan, "partial", |_| false)?;
        self.doom(&mut plan, "locks", |_| false)?;
        let empty = self.caches_without_data()?;
        if !empty.is_empty() || mounts == CacheMounts::Clear {
            self.doom(&mut plan, "caches", |name| mounts == CacheMounts::Keep && !empty.contains(name))?;
        }
        for dir in ["refs", "contexts"] {
            self.doom(&mut plan, dir, |_| true)?;
        }
        self.doom(&mut plan, "blobs/sha256", |name| {
            BlobDigest::from_hex(name).is_ok_and(|digest| reach.blobs.contains(&digest))
        })?;
        Ok(plan)
    }

    /// Removes what a plan names. Whatever cannot be removed stays garbage and is an error at the end.
    pub fn sweep(&self, plan: &GcPlan) -> Result<(), StoreError> {
        let mut first_error = None;
        let chains = self.root.join("layerdb/sha256");
        for doomed in &plan.doomed {
            let removed = match doomed.path.starts_with(&chains) {
                true => chains::remove(&doomed.path),
                false => remove(&doomed.path),
            };
            if let Err(error) = removed {
                first_error = first_error.or(Some(file::context(error, "remove", &doomed.path)));
            }
        }
        match first_error {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    fn reach(&self, scope: Scope) -> Result<Reach, StoreError> {
        let mut reach = Reach::default();
        for RefRecord { manifest, image, index, .. } in self.refs()? {
            self.reach_image(&mut reach, image, Some(manifest));
            index.into_iter().for_each(|index| self.reach_index(&mut reach, index));
        }
        if scope == Scope::Garbage {
            for index in self.indexes()? {
                self.reach_index(&mut reach, index.digest);
            }
            for image in self.images()? {
                self.reach_image(&mut reach, image.id, image.manifest);
            }
            reach.blobs.extend(self.downloaded()?);
            for record in self.all_action_records()? {
                reach.diffs.insert(record.layer.diff_id);
                reach.caches.extend(self.cache_id(&[record.layer.diff_id]).ok());
            }
        }
        reach.blobs.extend(self.promised_tables()?);
        let (images, overlays) = Containers::of(&self.root).needs()?;
        for image in images {
            self.reach_image(&mut reach, image, self.image(&image).and_then(|record| record.manifest));
        }
        reach.caches.extend(overlays);
        reach.caches.extend(self.mounted_caches()?);
        let blobs: Vec<BlobDigest> = reach.diffs.iter().map(|diff| BlobDigest::from(*diff)).collect();
        reach.blobs.extend(blobs);
        for stack in &reach.stacks {
            reach.caches.extend((1..=stack.len()).filter_map(|top| self.cache_id(&stack[..top]).ok()));
        }
        for entry in dir::list_path(&self.root.join("compressed"))? {
            self.reach_compressed(&mut reach, &String::from_utf8_lossy(&entry.name));
        }
        Ok(reach)
    }

    /// What one image needs: its documents, its layers, and the blobs that its manifest names.
    pub(super) fn reach_image(&self, reach: &mut Reach, image: ImageId, manifest: Option<BlobDigest>) {
        reach.images.insert(image);
        reach.blobs.insert(image.into());
        let parse = |digest: BlobDigest| self.read_blob(&digest, DOCUMENT).ok();
        if let Some(config) =
            parse(image.into()).and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok())
        {
            reach.diffs.extend(&config.rootfs.diff_ids);
            reach.stacks.insert(config.rootfs.diff_ids);
        }
        if let Some(manifest) = manifest {
            reach.blobs.insert(manifest);
            let parsed = parse(manifest).and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
            reach.blobs.extend(parsed.iter().flat_map(|m| m.layers.iter().map(|layer| layer.digest)));
            self.reach_attestations(reach, manifest);
        }
    }

    /// What is said of a manifest or an index, and of that in turn.
    pub(super) fn reach_attestations(&self, reach: &mut Reach, subject: BlobDigest) {
        let mut waiting = vec![subject];
        while let Some(subject) = waiting.pop() {
            if !reach.subjects.insert(subject) {
                continue;
            }
            for artifact in self.attestations(&subject) {
                reach.blobs.insert(artifact.manifest);
                let bytes = self.read_blob(&artifact.manifest, DOCUMENT).ok();
                let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
                let parts =
                    parsed.iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]));
                reach.blobs.extend(parts.map(|part| part.digest));
                waiting.push(artifact.manifest);
            }
        }
    }

    /// What an index needs: itself and all of its images.
    pub(super) fn reach_index(&self, reach: &mut Reach, digest: BlobDigest) {
        reach.indexes.insert(digest);
        reach.blobs.insert(digest);
        self.reach_attestations(reach, digest);
        for one in self.index(&digest).into_iter().flat_map(|index| index.images) {
            self.reach_image(reach, one.image, Some(one.manifest));
        }
    }

    fn reach_compressed(&self, reach: &mut Reach, name: &str) {
        let Some(diff) = name.split('.').next().and_then(|hex| DiffId::from_hex(hex).ok()) else { return };
        if !reach.diffs.contains(&diff) {
            return;
        }
        let memo = fs::read_to_string(self.root.join("compressed").join(name)).unwrap_or_default();
        reach.blobs.extend(memo.split(' ').next().and_then(|digest| digest.parse::<BlobDigest>().ok()));
    }

    /// One that was broken is kept as well, as long as something needs the layer: it says why that is not here.
    fn is_reached_promise(&self, name: &str, reach: &Reach) -> bool {
        let Ok(digest) = BlobDigest::from_hex(name) else { return false };
        self.promise_of(&digest).is_some_and(|promise| reach.diffs.contains(&promise.diff_id))
    }

    fn chain_is_reached(&self, chain: &str, reach: &Reach) -> bool {
        let diff = file::read_regular(&self.root.join("layerdb/sha256").join(chain).join("diff"), DIGEST);
        let diff = diff.ok().and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse::<DiffId>().ok());
        diff.is_some_and(|diff| reach.diffs.contains(&diff))
    }

    /// Dooms every entry of a directory that is not kept.
    fn doom(&self, plan: &mut GcPlan, sub: &str, keep: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let dir = self.root.join(sub);
        let entries = match dir::list_path(&dir) {
            Ok(entries) => entries,
            // A store of an earlier version has fewer directories.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            if name.starts_with('.') || !keep(&name) {
                let path = dir.join(&name);
                plan.doomed.push(Doomed { size: size_of(&path), path });
            }
        }
        Ok(())
    }
}

fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(entries) = dir::list_path(path) else { return 0 };
    entries.iter().map(|entry| size_of(&path.join(OsStr::from_bytes(&entry.name)))).sum()
}

/// Removes whatever is there, a tree as well.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !meta.is_dir() {
        return fs::remove_file(path);
    }
    snapshots::remove_tree(path);
    if path.exists() { dir::remove_all(path) } else { Ok(()) }
}
