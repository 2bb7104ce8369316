//! Volumes: directories of the store that outlive containers, `volumes/<name>/{_data,meta.json}`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::config::{Config, MountSource};
use super::state::now;
use crate::store::{ContainerId, Containers, Store};
use crate::sys::dir;
use crate::sys::file::{self, Durability, Hold, Lock};

/// `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    #[serde(default)]
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// Made for one container.
    #[serde(default)]
    pub anonymous: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Volumes of a container that is being made: while this is held, nobody removes them.
pub struct Prepared {
    containers: Containers,
    locks: Vec<Lock>,
    made: Vec<String>,
}

impl Prepared {
    /// Takes those away that were made for it.
    pub fn undo(self) {
        drop(self.locks);
        for name in &self.made {
            // One that somebody uses by now stays.
            let _ = remove(&self.containers, name);
        }
    }
}

/// The directory of a volume.
pub(super) fn home(containers: &Containers, name: &str) -> PathBuf {
    containers.root().join("volumes").join(name)
}

/// Where a volume's files are.
pub fn data(containers: &Containers, name: &str) -> PathBuf {
    home(containers, name).join("_data")
}

/// Whether a name may be given to a volume: docker's rule.
pub fn check_name(name: &str) -> Result<(), ContainerError> {
    if super::names::is_plain(name) {
        return Ok(());
    }
    Err(ContainerError::BadVolumeName { name: name.chars().take(100).collect() })
}

fn lock(containers: &Containers, name: &str) -> Result<Lock, ContainerError> {
    let path = containers.root().join("locks").join(format!("volume-{name}"));
    Lock::wait(&path, Hold::Exclusive).map_err(ContainerError::io("lock a volume"))
}

/// Makes sure of the volumes of a container that is about to be made; names those that have no name yet.
pub fn prepare(store: &Store, config: &mut Config) -> Result<Prepared, ContainerError> {
    let containers = Containers::of(store.root());
    let mut wanted: Vec<(String, bool, PathBuf)> = Vec::new();
    for mount in &mut config.mounts {
        if let MountSource::Volume { name, anonymous } = &mut mount.source {
            if name.is_empty() {
                *name = random_name()?;
            }
            check_name(name)?;
            wanted.push((name.clone(), *anonymous, mount.target.clone()));
        }
    }
    // In one order for everybody, so that nobody waits for each other.
    wanted.sort();
    wanted.dedup_by(|a, b| a.0 == b.0);
    let mut prepared = Prepared { containers, locks: vec![], made: vec![] };
    for (name, anonymous, target) in wanted {
        prepared.locks.push(lock(&prepared.containers, &name)?);
        let made = ensure(&prepared.containers, &name, anonymous, BTreeMap::new());
        if made.as_ref().is_ok_and(|new| *new) {
            prepared.made.push(name.clone());
        }
        let filled = made.and_then(|_| super::seed::fill(store, config, &name, &target));
        if let Err(error) = filled {
            prepared.undo();
            return Err(error);
        }
    }
    Ok(prepared)
}

/// Makes a volume unless it is there. Whether it was made. The caller holds its lock.
fn ensure(
    containers: &Containers,
    name: &str,
    anonymous: bool,
    labels: BTreeMap<String, String>,
) -> Result<bool, ContainerError> {
    let home = home(containers, name);
    if home.join("_data").is_dir() {
        return Ok(false);
    }
    let io = |act: &'static str| ContainerError::io(act);
    let building = containers.root().join("tmp").join(file::unique_name());
    fs::create_dir_all(building.join("_data")).map_err(io("make a volume"))?;
    fs::set_permissions(building.join("_data"), fs::Permissions::from_mode(0o755))
        .map_err(io("make a volume"))?;
    let meta = Volume { name: name.to_owned(), created: now(), anonymous, labels };
    let bytes = serde_json::to_vec(&meta).expect("plain data");
    file::replace(&building.join("meta.json"), &bytes, Durability::Synced).map_err(io("make a volume"))?;
    fs::create_dir_all(containers.root().join("volumes")).map_err(io("make a volume"))?;
    fs::rename(&building, &home).map_err(io("make a volume"))?;
    Ok(true)
}

/// Makes a volume, an anonymous one if it gets no name; gives its name. One that is there stays as it is.
pub fn create(
    containers: &Containers,
    name: Option<&str>,
    labels: BTreeMap<String, String>,
) -> Result<String, ContainerError> {
    let anonymous = name.is_none();
    let name = name.map_or_else(random_name, |name| Ok(name.to_owned()))?;
    check_name(&name)?;
    let _lock = lock(containers, &name)?;
    ensure(containers, &name, anonymous, labels)?;
    Ok(name)
}

fn random_name() -> Result<String, ContainerError> {
    Ok(ContainerId::random().map_err(ContainerError::io("read random numbers"))?.to_string())
}

/// A volume by its name.
pub fn find(containers: &Containers, name: &str) -> Result<Volume, ContainerError> {
    let unknown = || ContainerError::UnknownVolume(name.chars().take(200).collect());
    check_name(name).map_err(|_| unknown())?;
    let bytes = fs::read(home(containers, name).join("meta.json")).map_err(|_| unknown())?;
    let volume: Volume = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
    Ok(Volume { name: name.to_owned(), ..volume })
}

/// All volumes, by name.
pub fn list(containers: &Containers) -> Result<Vec<Volume>, ContainerError> {
    let entries = match dir::list_path(&containers.root().join("volumes")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        entries => entries.map_err(ContainerError::io("list volumes"))?,
    };
    let names = entries.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok());
    Ok(names.filter_map(|name| find(containers, name).ok()).collect())
}

/// What of a container's config tells of volumes.
#[derive(Deserialize)]
struct Uses {
    mounts: Vec<super::MountPoint>,
}

/// The volumes that containers use, running or not, each with one that does.
pub fn used(containers: &Containers) -> Result<BTreeMap<String, ContainerId>, ContainerError> {
    let mut used = BTreeMap::new();
    for id in containers.ids()? {
        let bytes = match fs::read(containers.dir(&id).join("config.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes.map_err(ContainerError::io("read the config of a container"))?,
        };
        // Of whatever version: a volume that may be in use is in use.
        let uses: Uses = serde_json::from_slice(&bytes)
            .map_err(|error| ContainerError::Damaged { id: id.clone(), reason: error.to_string() })?;
        for mount in uses.mounts {
            if let MountSource::Volume { name, .. } = mount.source {
                used.entry(name).or_insert_with(|| id.clone());
            }
        }
    }
    Ok(used)
}

/// How many bytes the files of a volume have; one with several names counts once.
pub fn size(containers: &Containers, name: &str) -> u64 {
    let mut seen = BTreeSet::new();
    size_below(&data(containers, name), &mut seen)
}

/// What cannot be looked at counts nothing.
fn size_below(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return if seen.insert((meta.dev(), meta.ino())) { meta.len() } else { 0 };
    }
    let entries = dir::list_path(path).unwrap_or_default();
    entries.iter().map(|entry| size_below(&path.join(OsStr::from_bytes(&entry.name)), seen)).sum()
}

/// Removes a volume that no container uses.
pub fn remove(containers: &Containers, name: &str) -> Result<(), ContainerError> {
    find(containers, name)?;
    let _lock = lock(containers, name)?;
    find(containers, name)?;
    if let Some(by) = used(containers)?.remove(name) {
        return Err(ContainerError::VolumeInUse { name: name.to_owned(), by });
    }
    let going = containers.root().join("tmp").join(file::unique_name());
    fs::rename(home(containers, name), &going).map_err(ContainerError::io("remove a volume"))?;
    match dir::remove_all(&going) {
        // gc was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ContainerError::io("remove a volume")),
    }
}
