//! Images and the names that point to them.
//!
//! `images/<id>` says which manifest an image has and which image it was built on; `refs/<hash of name>` holds a
//! name and a manifest digest. Refs are the roots of gc.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{IndexRecord, IndexedImage, Store, StoreError};
use crate::digest::{BlobDigest, ImageId};
use crate::sys::file::{self, Durability, Lock};

/// One image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the config blob.
    pub id: ImageId,
    /// Digest of the manifest blob; intermediate images have none.
    pub manifest: Option<BlobDigest>,
    /// The image one step before, if it was built here.
    pub parent: Option<ImageId>,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefRecord {
    /// Fully qualified: `registry/path:tag`.
    pub name: String,
    pub manifest: BlobDigest,
    pub image: ImageId,
    /// The index that it points to, if its image is for several platforms: manifest and image are those of one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<BlobDigest>,
}

impl Store {
    fn image_path(&self, id: &ImageId) -> PathBuf {
        self.root.join("images").join(id.hex())
    }

    fn ref_path(&self, name: &str) -> PathBuf {
        self.root.join("refs").join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }

    /// Remembers an image. Its config (and manifest) are blobs already. A record with a manifest is never
    /// replaced by one without.
    pub fn put_image(&self, record: &ImageRecord) -> Result<(), StoreError> {
        let known = self.image(&record.id);
        if known.as_ref() == Some(record) || record.manifest.is_none() && known.is_some() {
            return Ok(());
        }
        let durability = if record.manifest.is_some() { Durability::Synced } else { Durability::Cached };
        let bytes = serde_json::to_vec(record).expect("a plain record serialises");
        Ok(file::replace(&self.image_path(&record.id), &bytes, durability)?)
    }

    /// The record of an image; `None` if it is not here or is damaged.
    pub fn image(&self, id: &ImageId) -> Option<ImageRecord> {
        read_record(&self.image_path(id)).filter(|record: &ImageRecord| record.id == *id)
    }

    /// All images, by id.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let mut all: Vec<ImageRecord> = self.records("images", |r: &ImageRecord| self.image_path(&r.id))?;
        all.sort_by_key(|record| record.id);
        Ok(all)
    }

    /// Points a name to a manifest. Everything the manifest needs must be durable already.
    pub fn set_ref(&self, name: &str, manifest: BlobDigest, image: ImageId) -> Result<(), StoreError> {
        self.put_ref(&RefRecord { name: name.to_owned(), manifest, image, index: None }, None)
    }

    /// Points a name to an index; `image` is what it stands for where one image is needed.
    pub fn set_index_ref(
        &self,
        name: &str,
        index: &IndexRecord,
        image: &IndexedImage,
    ) -> Result<(), StoreError> {
        let IndexedImage { manifest, image, .. } = *image;
        let record = RefRecord { name: name.to_owned(), manifest, image, index: Some(index.digest) };
        self.put_ref(&record, Some(index))
    }

    fn put_ref(&self, record: &RefRecord, index: Option<&IndexRecord>) -> Result<(), StoreError> {
        let path = self.ref_path(&record.name);
        let _alone = self.names_lock()?;
        // Somebody may have removed the images with their last other name since their records were written.
        let own = [(record.image, record.manifest)];
        let others = index.into_iter().flat_map(|index| &index.images).map(|one| (one.image, one.manifest));
        for (id, manifest) in own.into_iter().chain(others) {
            if self.image(&id).is_none() {
                self.put_image(&ImageRecord { id, manifest: Some(manifest), parent: None })?;
            }
        }
        if let Some(index) = index {
            self.put_index(index)?;
        }
        if read_record::<RefRecord>(&path).as_ref() == Some(record) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(record).expect("a plain record serialises");
        Ok(file::replace(&path, &bytes, Durability::Synced)?)
    }

    /// What a fully qualified name points to.
    pub fn get_ref(&self, name: &str) -> Option<RefRecord> {
        read_record(&self.ref_path(name)).filter(|record: &RefRecord| record.name == name)
    }

    /// Removes a name; whether it was there.
    pub fn remove_ref(&self, name: &str) -> Result<bool, StoreError> {
        remove_file(&self.ref_path(name))
    }

    /// Removes the record of an image that no name and no index points to; its blobs stay until gc. Whether it was
    /// removed.
    pub fn remove_unnamed(&self, id: &ImageId) -> Result<bool, StoreError> {
        let _alone = self.names_lock()?;
        let is_named = self.refs()?.iter().any(|named| named.image == *id);
        if is_named || self.indexes()?.iter().any(|index| index.has(id)) {
            return Ok(false);
        }
        if let Some(manifest) = self.image(id).and_then(|record| record.manifest) {
            self.remove_attestations(&manifest)?;
        }
        remove_file(&self.image_path(id))
    }

    /// Held while a name is given, or while it is looked whether an image has one.
    pub(super) fn names_lock(&self) -> Result<Lock, StoreError> {
        self.work_lock("names")
    }

    /// All names, sorted.
    pub fn refs(&self) -> Result<Vec<RefRecord>, StoreError> {
        let mut all: Vec<RefRecord> = self.records("refs", |r: &RefRecord| self.ref_path(&r.name))?;
        all.sort();
        Ok(all)
    }

    /// The records of a directory that are whole and under the name they should have.
    pub(super) fn records<T: for<'de> Deserialize<'de>>(
        &self,
        dir: &str,
        home: impl Fn(&T) -> PathBuf,
    ) -> Result<Vec<T>, StoreError> {
        let whole = |path: &PathBuf| read_record(path).filter(|record| home(record) == *path);
        Ok(self.record_files(dir)?.iter().filter_map(whole).collect())
    }

    pub(super) fn record_files(&self, dir: &str) -> Result<Vec<PathBuf>, StoreError> {
        let dir = self.root.join(dir);
        let names = match crate::sys::dir::list_path(&dir) {
            Ok(names) => names,
            // A store of an earlier version has fewer directories.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(names
            .iter()
            .filter_map(|entry| std::str::from_utf8(&entry.name).ok())
            .filter(|name| !name.starts_with('.'))
            .map(|name| dir.join(name))
            .collect())
    }

    /// The files of names and image records that cannot be read and so do not count, and what mends each.
    pub(super) fn damaged_records(&self) -> Result<Vec<(PathBuf, &'static str)>, StoreError> {
        let mut damaged = Vec::new();
        for path in self.record_files("refs")? {
            if read_record(&path).is_none_or(|r: RefRecord| self.ref_path(&r.name) != path) {
                damaged.push((path, "tag or load the image again"));
            }
        }
        for path in self.record_files("images")? {
            if read_record(&path).is_none_or(|r: ImageRecord| self.image_path(&r.id) != path) {
                damaged.push((path, "build or load it again"));
            }
        }
        damaged.extend(self.damaged_indexes()?.into_iter().map(|path| (path, "build or load it again")));
        let said = self.damaged_attestations()?.into_iter();
        damaged.extend(said.map(|path| (path, "build or copy the image again, with its attestations")));
        Ok(damaged)
    }
}

/// More bytes than a record of an image or a name has.
const RECORD: u64 = 64 << 10;

pub(super) fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&file::read_regular(path, RECORD).ok()?).ok()
}

pub(super) fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file::context(error, "remove", path).into()),
    }
}
