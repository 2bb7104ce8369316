//! Images for several platforms, as one index of their manifests.
//!
//! `indexes/<digest>` says which images an index has, so that nobody needs to read the index itself to know them.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::images::{read_record, remove_file};
use super::{Store, StoreError};
use crate::digest::{BlobDigest, ImageId};
use crate::platform::Platform;
use crate::sys::file::{self, Durability};

/// One index of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRecord {
    /// Digest of the index, which is a blob.
    pub digest: BlobDigest,
    /// At least one, in the index' order, each for another platform.
    pub images: Vec<IndexedImage>,
}

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedImage {
    pub platform: Platform,
    pub manifest: BlobDigest,
    pub image: ImageId,
}

impl IndexRecord {
    /// Whether an image is one of its.
    pub fn has(&self, image: &ImageId) -> bool {
        self.images.iter().any(|one| one.image == *image)
    }
}

impl Store {
    fn index_path(&self, digest: &BlobDigest) -> PathBuf {
        self.root.join("indexes").join(digest.hex())
    }

    /// Remembers an index. It and its images are in the store already.
    pub fn put_index(&self, record: &IndexRecord) -> Result<(), StoreError> {
        if self.index(&record.digest).as_ref() == Some(record) {
            return Ok(());
        }
        let path = self.index_path(&record.digest);
        let bytes = serde_json::to_vec(record).expect("a plain record serialises");
        // A store of an earlier version has no such directory.
        let dir = path.parent().expect("it lies in a directory");
        fs::create_dir_all(dir).map_err(|error| file::context(error, "create", dir))?;
        Ok(file::replace(&path, &bytes, Durability::Synced)?)
    }

    /// The record of an index; `None` if it is not here or is damaged.
    pub fn index(&self, digest: &BlobDigest) -> Option<IndexRecord> {
        let record: IndexRecord = read_record(&self.index_path(digest))?;
        (record.digest == *digest && !record.images.is_empty()).then_some(record)
    }

    /// All indexes, by digest.
    pub fn indexes(&self) -> Result<Vec<IndexRecord>, StoreError> {
        let mut all: Vec<IndexRecord> =
            self.records("indexes", |record: &IndexRecord| self.index_path(&record.digest))?;
        all.retain(|record| !record.images.is_empty());
        all.sort_by_key(|record| record.digest);
        Ok(all)
    }

    /// Removes the record of an index that no name points to. Whether it was removed.
    pub fn remove_unnamed_index(&self, digest: &BlobDigest) -> Result<bool, StoreError> {
        let _alone = self.names_lock()?;
        if self.refs()?.iter().any(|named| named.index == Some(*digest)) {
            return Ok(false);
        }
        self.remove_attestations(digest)?;
        remove_file(&self.index_path(digest))
    }

    /// The files of indexes that cannot be read, and those that a name needs and that are not there.
    pub(super) fn damaged_indexes(&self) -> Result<Vec<PathBuf>, StoreError> {
        let is_bad = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            BlobDigest::from_hex(name).map_or(true, |digest| self.index(&digest).is_none())
        };
        let there: Vec<PathBuf> = self.record_files("indexes")?;
        let needed = self.refs()?.into_iter().filter_map(|named| named.index);
        let missing = needed.map(|digest| self.index_path(&digest)).filter(|path| !there.contains(path));
        let mut damaged: Vec<PathBuf> = missing.collect();
        damaged.extend(there.iter().filter(|path| is_bad(path)).cloned());
        damaged.sort();
        damaged.dedup();
        Ok(damaged)
    }
}
