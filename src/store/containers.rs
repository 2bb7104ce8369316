//! Where containers are in the store: their directories, names, locks and overlay directories
//! (spec/container-state.md). What a container is, its own module knows.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::snapshots::remove_tree;
use super::{Store, StoreError};
use crate::digest::{DiffId, ImageId, chain_ids};
use crate::mount::Writable;
use crate::sys::dir;
use crate::sys::file::{self, Durability, Hold, Lock};

/// The id of a container: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// A new one, from the kernel's random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        Ok(Self(crate::digest::hex(&bytes)))
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex.then(|| Self(text.to_owned()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12, as listings show it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// The name of its layer in `overlay/`.
    pub fn mount_id(&self) -> String {
        crate::digest::hex(&blake3::derive_key("lith 2026 mount id", self.0.as_bytes()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The containers of a store, without its lease: they are in use as long as they are there.
#[derive(Debug, Clone)]
pub struct Containers {
    root: PathBuf,
}

/// The directories of a container's two layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLayers {
    /// `overlay/<mount id>`.
    pub own: PathBuf,
    /// `overlay/<mount id>-init`.
    pub init: PathBuf,
}

impl ContainerLayers {
    /// Where the container writes.
    pub fn writable(&self) -> Writable {
        Writable { upper: self.own.join("diff"), work: self.own.join("work") }
    }

    /// Where mount points are made.
    pub fn mount_points(&self) -> PathBuf {
        self.init.join("diff")
    }

    /// Where the root file system shows while the container runs.
    pub fn merged(&self) -> PathBuf {
        self.own.join("merged")
    }
}

/// What a new container is made of.
pub struct NewContainer<'a> {
    pub id: &'a ContainerId,
    /// The image's layers, bottom first.
    pub stack: &'a [DiffId],
    /// The short links of those that are mounted, topmost first.
    pub below: &'a [String],
    /// Names that it may have, in the order of preference.
    pub names: &'a mut dyn Iterator<Item = String>,
    /// Files of its directory.
    pub files: &'a [(&'a str, &'a [u8])],
    pub durability: Durability,
}

/// What came of making one.
pub enum Created {
    New {
        name: String,
        lock: Lock,
    },
    /// All its names are taken, the last by this one.
    Taken {
        by: Option<ContainerId>,
    },
}

/// What of a container's config tells gc what to keep.
#[derive(Deserialize)]
struct Needs {
    image: ImageId,
}

impl Containers {
    /// Those of the store at `root`, which must have been opened before.
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All ids, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>, StoreError> {
        let entries = match dir::list_path(&self.root.join("containers")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            entries => entries?,
        };
        let parse = |name: &[u8]| ContainerId::parse(std::str::from_utf8(name).ok()?);
        Ok(entries.iter().filter_map(|entry| parse(&entry.name)).collect())
    }

    /// The directory of a container.
    pub fn dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    /// The directories of its layers.
    pub fn layers(&self, id: &ContainerId) -> ContainerLayers {
        let overlay = self.root.join("overlay");
        let mount = id.mount_id();
        ContainerLayers { init: overlay.join(format!("{mount}-init")), own: overlay.join(mount) }
    }

    /// The entry in the layer db.
    pub fn mount_dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("layerdb/mounts").join(id.as_str())
    }

    /// Takes the lock of a container if nobody holds it.
    pub fn attempt_lock(&self, id: &ContainerId) -> Result<Option<Lock>, StoreError> {
        Ok(Lock::attempt_existing(&self.dir(id).join("lock"), Hold::Exclusive)?)
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.root.join("container-names").join(name)
    }

    /// The container that has a name.
    pub fn by_name(&self, name: &str) -> Option<ContainerId> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return None;
        }
        let id = ContainerId::parse(fs::read_to_string(self.name_path(name)).ok()?.trim())?;
        self.dir(&id).is_dir().then_some(id)
    }

    /// The name of a container, which it keeps as long as it is there.
    pub fn name(&self, id: &ContainerId) -> String {
        fs::read_to_string(self.dir(id).join("name")).unwrap_or_default()
    }

    /// Makes a container under the first of its names that is free. Its lock is held when it appears.
    pub fn create(&self, new: NewContainer<'_>) -> Result<Created, StoreError> {
        self.make_layers(&new)?;
        for dir in ["containers", "container-names"] {
            make_dir(&self.root.join(dir))?;
        }
        let _names = self.names_lock()?;
        let mut taken = None;
        let mut names = new.names;
        let free = Iterator::find(&mut names, |name| {
            taken = self.by_name(name);
            taken.is_none()
        });
        let Some(name) = free else {
            let mut going = Going::to(&self.root);
            self.take_layers(new.id, &mut going)?;
            going.delete()?;
            return Ok(Created::Taken { by: taken });
        };
        let building = self.root.join("tmp").join(file::unique_name());
        make_dir(&building)?;
        for (file, bytes) in [&[("name", name.as_bytes())], new.files].concat() {
            file::create(&building.join(file), bytes, new.durability)?;
        }
        let lock = Lock::wait(&building.join("lock"), Hold::Exclusive)?;
        let home = self.dir(new.id);
        fs::rename(&building, &home).map_err(|e| file::context(e, "create", &home))?;
        file::replace(&self.name_path(&name), new.id.as_str().as_bytes(), new.durability)?;
        if new.durability == Durability::Synced {
            file::sync_dir(&home)?;
            file::sync_dir(&self.root.join("containers"))?;
        }
        Ok(Created::New { name, lock })
    }

    fn names_lock(&self) -> Result<Lock, StoreError> {
        Ok(Lock::wait(&self.root.join("locks/container-names"), Hold::Exclusive)?)
    }

    fn make_layers(&self, new: &NewContainer<'_>) -> Result<(), StoreError> {
        let layers = self.layers(new.id);
        let name = |dir: &Path| dir.file_name().expect("it has one").to_string_lossy().into_owned();
        let short = |dir: &Path| Store::short_link(&name(dir));
        let init = new.below.to_vec();
        let own = [short(&layers.init)].into_iter().chain(init.iter().cloned()).collect();
        for (dir, below) in [(&layers.init, init), (&layers.own, own)] {
            make_dir(dir)?;
            make_dir(&dir.join("diff"))?;
            // The mode of `diff` is that of the root a process sees; no umask may change it.
            fs::set_permissions(dir.join("diff"), PermissionsExt::from_mode(0o755))?;
            let lower: Vec<String> = below.iter().map(|link| format!("l/{link}")).collect();
            file::create(&dir.join("lower"), lower.join(":").as_bytes(), Durability::Cached)?;
            file::create(&dir.join("link"), short(dir).as_bytes(), Durability::Cached)?;
            let link = self.root.join("l").join(short(dir));
            symlink(format!("../overlay/{}/diff", name(dir)), &link)
                .map_err(|e| file::context(e, "link", &link))?;
        }
        make_dir(&layers.own.join("work"))?;
        let mounts = self.mount_dir(new.id);
        make_dir(&mounts)?;
        let put =
            |file: &str, text: &str| file::create(&mounts.join(file), text.as_bytes(), Durability::Cached);
        put("mount-id", &name(&layers.own))?;
        put("init-id", &name(&layers.init))?;
        if let Some(chain) = chain_ids(new.stack).pop() {
            put("parent", &chain.to_string())?;
        }
        Ok(())
    }

    /// Takes the layers of a container away.
    fn take_layers(&self, id: &ContainerId, going: &mut Going) -> Result<(), StoreError> {
        let layers = self.layers(id);
        for dir in [&layers.own, &layers.init] {
            let name = dir.file_name().expect("it has one").to_string_lossy().into_owned();
            let _ = fs::remove_file(self.root.join("l").join(Store::short_link(&name)));
            going.take(dir)?;
        }
        going.take(&self.mount_dir(id))
    }

    /// Removes a container whose lock the caller holds. What is killed on the way leaves it there, to be removed again.
    /// Its bytes go with what is given.
    pub fn remove(&self, id: &ContainerId) -> Result<Going, StoreError> {
        let mut going = Going::to(&self.root);
        self.take_layers(id, &mut going)?;
        let _names = self.names_lock()?;
        let name = self.name(id);
        if self.by_name(&name).as_ref() == Some(id) {
            let path = self.name_path(&name);
            fs::remove_file(&path).map_err(|e| file::context(e, "remove", &path))?;
        }
        going.take(&self.dir(id))?;
        Ok(going)
    }

    /// The images that containers are of, and the names in `overlay/` that they have. A container whose config cannot
    /// be read keeps its layers all the same.
    pub(super) fn needs(&self) -> Result<(BTreeSet<ImageId>, BTreeSet<String>), StoreError> {
        let mut images = BTreeSet::new();
        let mut overlays = BTreeSet::new();
        for id in self.ids()? {
            let config = fs::read(self.dir(&id).join("config.json")).ok();
            let needs: Option<Needs> = config.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            images.extend(needs.map(|needs| needs.image));
            overlays.extend([id.mount_id(), format!("{}-init", id.mount_id())]);
        }
        Ok((images, overlays))
    }
}

/// What was taken from its place to be deleted: garbage of `tmp`, should that not come about.
#[must_use]
#[derive(Debug)]
pub struct Going {
    tmp: PathBuf,
    taken: Vec<PathBuf>,
}

impl Going {
    fn to(root: &Path) -> Self {
        Self { tmp: root.join("tmp"), taken: vec![] }
    }

    /// Takes a directory from its place at once, so that nothing stands there that is half gone.
    fn take(&mut self, dir: &Path) -> Result<(), StoreError> {
        let to = self.tmp.join(file::unique_name());
        match fs::rename(dir, &to) {
            // Whoever was killed while removing it had taken it already.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.exists() => Ok(()),
            Err(error) => Err(file::context(error, "remove", dir).into()),
            Ok(()) => {
                self.taken.push(to);
                Ok(())
            }
        }
    }

    /// Deletes it.
    pub fn delete(self) -> Result<(), StoreError> {
        for dir in &self.taken {
            remove_tree(dir);
        }
        match self.taken.iter().find(|dir| dir.exists()) {
            None => Ok(()),
            Some(left) => {
                let error = io::Error::other("something in it cannot be removed");
                Err(file::context(error, "remove", left).into())
            }
        }
    }
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|e| file::context(e, "create", path).into())
}
