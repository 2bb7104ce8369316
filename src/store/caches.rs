//! Cache mounts: directories that live on from build to build, by name, outside all images (spec/cache-mounts.md).
//!
//! `caches/<hash of the name>/name` says what it is called; `<number>/data` are its instances and `<number>/lock`
//! is held by whoever uses one. There is a second instance only if `private` users met. `naming` is held for a moment
//! by whoever writes or removes the name, so that a cache has one as long as it has data.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Store, StoreError, snapshots};
use crate::sys::file::{self, Durability, Hold, Lock};

/// How an instance is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheUse {
    /// The first instance, with others.
    Shared,
    /// Whichever nobody else uses.
    Private,
    /// The first instance, alone; waits for it.
    Alone,
}

/// An instance in use. Dropping it lets others have it.
#[derive(Debug)]
pub struct CacheInUse {
    data: PathBuf,
    _lock: Lock,
}

impl CacheInUse {
    /// Its directory.
    pub fn data(&self) -> &Path {
        &self.data
    }
}

/// One cache, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    pub name: String,
    pub instances: usize,
    /// Bytes of all files of all instances.
    pub size: u64,
    /// When a step last asked for it: seconds since 1970.
    pub used: i64,
}

/// What became of a cache that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Removed,
    InUse,
    Missing,
}

/// How many instances one cache may have: more than steps that run at once.
const INSTANCES: usize = 1024;

impl Store {
    fn caches_dir(&self) -> PathBuf {
        self.root.join("caches")
    }

    fn cache_dir(&self, name: &str) -> PathBuf {
        self.caches_dir().join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }

    /// An instance of a cache, made by `fill` in an empty directory if it is new. `waits` is called once if somebody
    /// else has it.
    pub fn use_cache<E: From<StoreError>>(
        &self,
        name: &str,
        how: CacheUse,
        fill: impl FnOnce(&Path) -> Result<(), E>,
        waits: impl FnOnce(),
    ) -> Result<CacheInUse, E> {
        let dir = self.cache_dir(name);
        make_private_dir(&dir)?;
        let (instance, lock) = take_instance(&dir, how, waits)?;
        // With the instance in hand: who removes the cache from now on finds it in use.
        write_name(&dir, name, &naming(&dir)?)?;
        let data = instance.join("data");
        if !data.exists() {
            self.fill_instance(&instance, fill)?;
        }
        Ok(CacheInUse { data, _lock: lock })
    }

    /// Whole or not at all: a kill while it is filled leaves an instance without data.
    fn fill_instance<E: From<StoreError>>(
        &self,
        instance: &Path,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let _once = Lock::wait(&instance.join("fill"), Hold::Exclusive).map_err(StoreError::from)?;
        let data = instance.join("data");
        if data.exists() {
            return Ok(());
        }
        let scratch = self.scratch()?;
        let made = scratch.writable().upper;
        fill(&made)?;
        fs::rename(&made, &data).map_err(|e| file::context(e, "publish", &data)).map_err(StoreError::from)?;
        Ok(())
    }

    /// All caches, by name.
    pub fn caches(&self) -> Result<Vec<CacheInfo>, StoreError> {
        let mut all = Vec::new();
        for entry in list(&self.caches_dir())? {
            let dir = self.caches_dir().join(&entry);
            let Ok(name) = fs::read_to_string(dir.join("name")) else { continue };
            let instances: Vec<PathBuf> = instances(&dir)?;
            let size = instances.iter().map(|instance| size(&instance.join("data"))).sum();
            let used = fs::metadata(dir.join("name")).map_or(0, |meta| meta.mtime());
            all.push(CacheInfo { name, instances: instances.len(), size, used });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Removes a cache unless a step uses it.
    pub fn remove_cache(&self, name: &str) -> Result<Removal, StoreError> {
        let dir = self.cache_dir(name);
        if !dir.join("name").exists() {
            return Ok(Removal::Missing);
        }
        let _naming = naming(&dir)?;
        let Some(held) = take_all(&dir)? else { return Ok(Removal::InUse) };
        for (instance, lock) in held {
            // Whoever waits for the lock finds an instance without data and fills it.
            self.discard(&instance)?;
            drop(lock);
        }
        match fs::remove_file(dir.join("name")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::Missing),
            Err(error) => Err(file::context(error, "remove", &dir).into()),
            Ok(()) => Ok(Removal::Removed),
        }
    }

    /// Gives a cache what `fill` makes in an empty directory, in place of all that it had. False, and nothing is
    /// changed, if a step uses it; nor is anything if `fill` fails.
    pub fn replace_cache<E: From<StoreError>>(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<bool, E> {
        let scratch = self.scratch()?;
        let made = scratch.writable().upper;
        fill(&made)?;
        let dir = self.cache_dir(name);
        make_private_dir(&dir.join("0"))?;
        let named = naming(&dir)?;
        let Some(held) = take_all(&dir)? else { return Ok(false) };
        for (instance, _) in &held {
            self.discard(instance)?;
        }
        let data = dir.join("0/data");
        fs::rename(&made, &data).map_err(|e| file::context(e, "publish", &data)).map_err(StoreError::from)?;
        write_name(&dir, name, &named)?;
        Ok(true)
    }

    /// Takes an instance's data out of the way in one go, then removes it.
    fn discard(&self, instance: &Path) -> Result<(), StoreError> {
        let data = instance.join("data");
        if data.symlink_metadata().is_err() {
            return Ok(());
        }
        let doomed = self.tmp().join(file::unique_name());
        fs::rename(&data, &doomed).map_err(|e| file::context(e, "remove", &data))?;
        snapshots::remove_tree(&doomed);
        Ok(())
    }

    /// Names of the directories of caches that hold nothing any more.
    pub(super) fn caches_without_data(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut empty = BTreeSet::new();
        for entry in list(&self.caches_dir())? {
            if instances(&self.caches_dir().join(&entry))?.is_empty() {
                empty.insert(entry);
            }
        }
        Ok(empty)
    }
}

/// The right to name a cache, or to take its name. Who holds it waits for no instance.
fn naming(dir: &Path) -> Result<Lock, StoreError> {
    Ok(Lock::wait(&dir.join("naming"), Hold::Exclusive)?)
}

/// Written anew each time: its time says when the cache was last wanted.
fn write_name(dir: &Path, name: &str, _naming: &Lock) -> Result<(), StoreError> {
    Ok(file::replace(&dir.join("name"), name.as_bytes(), Durability::Cached)?)
}

/// Holds every instance of a cache alone; `None` if somebody uses one.
fn take_all(dir: &Path) -> Result<Option<Vec<(PathBuf, Lock)>>, StoreError> {
    let mut held = Vec::new();
    for name in list(dir)?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let instance = dir.join(name);
        match Lock::attempt(&instance.join("lock"), Hold::Exclusive)? {
            Some(lock) => held.push((instance, lock)),
            None => return Ok(None),
        }
    }
    Ok(Some(held))
}

fn make_private_dir(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| file::context(e, "create", dir).into())
}

/// Finds and locks the instance to use.
fn take_instance(dir: &Path, how: CacheUse, waits: impl FnOnce()) -> Result<(PathBuf, Lock), StoreError> {
    let open = |number: usize| -> Result<PathBuf, StoreError> {
        let instance = dir.join(number.to_string());
        make_private_dir(&instance)?;
        Ok(instance)
    };
    let hold = match how {
        CacheUse::Shared => Hold::Shared,
        CacheUse::Alone => Hold::Exclusive,
        CacheUse::Private => {
            for number in 0..INSTANCES {
                let instance = open(number)?;
                if let Some(lock) = Lock::attempt(&instance.join("lock"), Hold::Exclusive)? {
                    return Ok((instance, lock));
                }
            }
            Hold::Exclusive
        }
    };
    let instance = open(0)?;
    let path = instance.join("lock");
    let lock = match Lock::attempt(&path, hold)? {
        Some(lock) => lock,
        None => {
            waits();
            Lock::wait(&path, hold)?
        }
    };
    Ok((instance, lock))
}

/// Instances with data.
fn instances(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let all = list(dir)?.into_iter().map(|name| dir.join(name));
    Ok(all.filter(|instance| instance.join("data").is_dir()).collect())
}

fn list(dir: &Path) -> Result<Vec<String>, StoreError> {
    match crate::sys::dir::list_path(dir) {
        Ok(entries) => Ok(entries
            .into_iter()
            .filter_map(|entry| String::from_utf8(entry.name).ok())
            .filter(|name| !name.starts_with('.'))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes of all files below a directory, as far as they can be seen.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = crate::sys::dir::list_path(dir) else { return 0 };
    let below = entries.iter().map(|entry| {
        let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => size(&path),
            Ok(meta) if meta.is_file() => meta.size(),
            Ok(_) | Err(_) => 0,
        }
    });
    below.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Unpacking;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), Unpacking::Root).unwrap();
        (dir, store)
    }

    fn use_it(store: &Store, how: CacheUse) -> CacheInUse {
        let fill = |dir: &Path| Ok::<_, StoreError>(fs::write(dir.join("made"), "x")?);
        store.use_cache("ns/a", how, fill, || panic!("nobody has it")).unwrap()
    }

    #[test]
    fn what_was_left_is_found_again() {
        let (_dir, store) = store();
        let first = use_it(&store, CacheUse::Shared);
        fs::write(first.data().join("kept"), "1234").unwrap();
        let beside = use_it(&store, CacheUse::Shared);
        assert_eq!(beside.data(), first.data());
        assert_eq!(store.remove_cache("ns/a").unwrap(), Removal::InUse);
        drop((first, beside));
        let again = use_it(&store, CacheUse::Alone);
        assert!(again.data().join("kept").exists());
        drop(again);
        let listed = store.caches().unwrap();
        assert_eq!((listed[0].name.as_str(), listed[0].instances, listed[0].size), ("ns/a", 1, 5));
        assert_eq!(store.remove_cache("ns/a").unwrap(), Removal::Removed);
        assert_eq!(store.remove_cache("ns/a").unwrap(), Removal::Missing);
        assert!(store.caches().unwrap().is_empty());
        assert!(!use_it(&store, CacheUse::Alone).data().join("kept").exists());
    }

    #[test]
    fn private_users_never_meet() {
        let (_dir, store) = store();
        let first = use_it(&store, CacheUse::Private);
        let second = use_it(&store, CacheUse::Private);
        assert_ne!(first.data(), second.data());
        drop(first);
        assert_ne!(use_it(&store, CacheUse::Private).data(), second.data());
        drop(second);
        assert_eq!(store.caches().unwrap()[0].instances, 2);
    }

    #[test]
    fn what_has_data_has_a_name() {
        let (_dir, store) = store();
        let fill = |dir: &Path| Ok::<_, StoreError>(fs::write(dir.join("made"), "x")?);
        let dir = store.cache_dir("ns/a");
        for _ in 0..200 {
            std::thread::scope(|scope| {
                let using = scope.spawn(|| {
                    let used = store.use_cache("ns/a", CacheUse::Private, fill, || {}).unwrap();
                    assert!(used.data().join("made").exists());
                });
                scope.spawn(|| store.remove_cache("ns/a").unwrap());
                using.join().unwrap();
            });
            assert!(instances(&dir).unwrap().is_empty() || dir.join("name").exists(), "data without a name");
        }
    }

    #[test]
    fn a_lock_is_waited_for() {
        let (_dir, store) = store();
        let first = use_it(&store, CacheUse::Alone);
        let (told, tell) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let fill = |_: &Path| Ok::<_, StoreError>(());
                let used = store.use_cache("ns/a", CacheUse::Alone, fill, || told.send(()).unwrap());
                used.unwrap().data().join("by-first").exists()
            });
            tell.recv().unwrap();
            fs::write(first.data().join("by-first"), "").unwrap();
            drop(first);
            assert!(waiting.join().unwrap(), "it saw what the first left");
        });
    }
}
