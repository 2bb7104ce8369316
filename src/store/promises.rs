//! Layers that are not here and can be had: what was promised, by which place (spec/store-layout.md, "Promises").
//!
//! Knows no place: how to get to one is a [`Bringer`]'s. A layer is brought when something reads it, so whoever opens a
//! blob or a table of the store needs to know nothing of promises.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::{EMPTY_LAYER, LayerRef, Store, StoreError};
use crate::digest::{BlobDigest, DiffId};
use crate::layer::Toc;
use crate::layer::compress::Codec;
use crate::oci::Descriptor;
use crate::sign::KeyId;
use crate::sys::file::{self, Durability};
use crate::sys::several;

/// The version of a promise's file.
pub const PROMISE_VERSION: u32 = 1;

/// The largest file that is read.
const MOST: u64 = 1 << 20;

/// How many layers are brought at once.
const AT_ONCE: usize = 4;

/// A layer that a place has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    pub diff_id: DiffId,
    /// Of the tar, in bytes; `None` where nobody says.
    pub size: Option<u64>,
    /// The blob that the layer is packed in there.
    pub blob: Descriptor,
    /// The codec of ours that made the blob, by its name in the store; `None` if another did or may have.
    pub codec: Option<String>,
    pub toc: Option<PromisedToc>,
    /// As a [`Bringer`] knows it.
    pub place: String,
    /// An image has it, and no action made it: nobody but the place can give it.
    pub is_of_image: bool,
    /// Who signed the record that it is of.
    pub signed: Option<KeyId>,
    /// It was not kept. The layer is then brought at once or not at all.
    #[serde(default)]
    pub is_broken: bool,
}

/// A layer's table, as a blob of a place: not always that which has the layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromisedToc {
    pub blob: Descriptor,
    pub place: String,
    /// Who signed the record that names it.
    pub signed: Option<KeyId>,
}

/// Why a promise was not kept.
#[derive(Debug)]
pub enum Unkept {
    /// The place could not be asked, or has it no more.
    Absent(Cause),
    /// What it gave is something else.
    Other(Cause),
}

pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Unkept {
    pub fn into_cause(self) -> Cause {
        match self {
            Self::Absent(cause) | Self::Other(cause) => cause,
        }
    }
}

/// A descriptor without all that a registry may hang on it.
fn bare(blob: &Descriptor) -> Descriptor {
    Descriptor::new(blob.media_type.clone(), blob.digest, blob.size)
}

/// Gets to the places of promises.
pub trait Bringer: Send + Sync {
    /// Puts the packed blob into the store.
    fn blob(&self, store: &Store, promise: &Promise) -> Result<(), Unkept>;

    /// Puts the layer into the store, its tar and its table.
    fn layer(&self, store: &Store, promise: &Promise) -> Result<(), Unkept>;

    /// The layer's table, if the place has it.
    fn table(&self, store: &Store, promise: &Promise) -> Result<Option<Toc>, Unkept>;
}

impl Promise {
    /// Bytes of the tar. Where nobody says, more than an empty layer has.
    pub fn tar_size(&self) -> u64 {
        self.size.unwrap_or(self.blob.size.max(EMPTY_LAYER + 1))
    }

    fn is_of(&self, digest: &BlobDigest) -> bool {
        self.blob.digest == *digest || BlobDigest::from(self.diff_id) == *digest
    }
}

impl Store {
    /// Whoever is given here brings what was promised. Without one nothing is.
    pub fn set_bringer(&self, bringer: Arc<dyn Bringer>) {
        // The first stays: there is one a process.
        let _ = self.bringer.set(bringer);
    }

    fn promise_path(&self, digest: &BlobDigest) -> PathBuf {
        self.root.join("promises").join(digest.hex())
    }

    /// Remembers who has a layer.
    pub fn promise(&self, promise: &Promise) -> Result<(), StoreError> {
        let dir = self.root.join("promises");
        std::fs::create_dir_all(&dir).map_err(|e| file::context(e, "create", &dir))?;
        let promise = Promise { blob: bare(&promise.blob), ..promise.clone() };
        let sealed = seal("promise", PROMISE_VERSION, &promise);
        for digest in [promise.blob.digest, promise.diff_id.into()] {
            file::replace(&self.promise_path(&digest), &sealed, Durability::Synced)?;
        }
        Ok(())
    }

    /// Adds a table to the promise of an image's layer that is not here, unless it has one of somebody who signs.
    pub fn amend_promise(&self, diff: DiffId, toc: PromisedToc) -> Result<(), StoreError> {
        let promised = self.promised(&diff.into()).filter(|_| !self.has_blob(&diff.into()));
        match promised.filter(|promise| promise.toc.as_ref().is_none_or(|old| old.signed.is_none())) {
            Some(promise) if promise.toc.as_ref() != Some(&toc) => {
                self.promise(&Promise { toc: Some(toc), ..promise })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What was promised of a layer or of its packed blob, and is not known to be vain.
    pub fn promised(&self, digest: &BlobDigest) -> Option<Promise> {
        self.promise_of(digest).filter(|promise| !self.is_vain(promise))
    }

    /// Whether what was promised of a blob was something else, or could not be had by this process.
    pub fn is_broken(&self, digest: &BlobDigest) -> bool {
        self.promise_of(digest).is_some_and(|promise| self.is_vain(&promise))
    }

    fn is_vain(&self, promise: &Promise) -> bool {
        promise.is_broken || self.vain.lock().expect("no panic while held").contains(&promise.diff_id)
    }

    /// For this process a layer that could not be had is not promised any more.
    pub fn do_without(&self, promise: &Promise) {
        self.vain.lock().expect("no panic while held").insert(promise.diff_id);
    }

    pub(super) fn promise_of(&self, digest: &BlobDigest) -> Option<Promise> {
        let bytes = file::read_regular(&self.promise_path(digest), MOST).ok()?;
        open_sealed("promise", PROMISE_VERSION, &bytes).filter(|promise: &Promise| promise.is_of(digest))
    }

    /// Whether a layer of this size was promised.
    pub(super) fn is_promised(&self, diff: DiffId, size: u64) -> bool {
        self.promised(&diff.into()).is_some_and(|promise| promise.tar_size() == size)
    }

    /// The blob that a codec makes of a layer, if somebody has it.
    pub(super) fn promised_packing(&self, diff: DiffId, codec: Codec) -> Option<(BlobDigest, u64)> {
        // Of one that is here nobody has looked at the other's blob.
        let promise = self.promised(&diff.into()).filter(|_| !self.has_blob(&diff.into()))?;
        (promise.codec == Some(codec.memo_name())).then_some((promise.blob.digest, promise.blob.size))
    }

    /// Brings a layer or its packed blob that was promised. `false` if it was not.
    pub(super) fn bring(&self, digest: &BlobDigest) -> Result<bool, StoreError> {
        let (Some(promise), Some(bringer)) = (self.promise_of(digest), self.bringer.get()) else {
            return Ok(false);
        };
        if promise.is_broken {
            let (diff, place) = (promise.diff_id, promise.place);
            return Err(StoreError::Broken { diff, place });
        }
        debug_assert!(several::may_lock(), "a layer is brought by a thread of rayon's pool");
        let _once = self.work_lock(&format!("bring-{}", promise.diff_id.hex()))?;
        if self.has_blob(digest) {
            self.believe_own(promise.diff_id);
            return Ok(true);
        }
        // A blob that is the tar itself is more than a blob.
        let is_packed = promise.blob.digest == *digest && *digest != promise.diff_id.into();
        let brought = match is_packed {
            true => bringer.blob(self, &promise),
            false => bringer.layer(self, &promise),
        };
        self.believe_own(promise.diff_id);
        brought.map_err(|unkept| self.unkept(promise, unkept))?;
        Ok(true)
    }

    /// What was believed of a layer until it was here may have been another.
    fn believe_own(&self, diff: DiffId) {
        if let Ok(toc) = self.toc_on_disk(diff) {
            self.know_toc(diff, Arc::new(toc));
        }
    }

    /// Makes sure that all of these layers are here; those that are elsewhere are brought at the same time.
    pub fn bring_all(&self, layers: &[LayerRef]) -> Result<(), StoreError> {
        let is_elsewhere = |layer: &&LayerRef| !self.has_blob(&layer.diff_id.into());
        let elsewhere: Vec<&LayerRef> = layers.iter().filter(is_elsewhere).collect();
        // They wait for servers more than they work.
        several::each(AT_ONCE, &elsewhere, |layer| self.layer_tar(layer.diff_id)).map(drop)
    }

    /// The table of a layer that is not here: from who promised the layer, or made from that.
    pub(super) fn bring_toc(&self, diff: DiffId) -> Result<Option<Toc>, StoreError> {
        let (Some(promise), Some(bringer)) = (self.promised(&diff.into()), self.bringer.get()) else {
            // A kill may have come between a tar and its table.
            return Ok(self.remake_toc(diff));
        };
        // Without it the layer itself tells.
        if !self.has_blob(&diff.into())
            && let Ok(Some(toc)) = bringer.table(self, &promise)
        {
            return Ok(Some(toc));
        }
        self.open_blob(&diff.into())?;
        Ok(self.toc_on_disk(diff).ok().or_else(|| self.remake_toc(diff)))
    }

    /// Notes that a promise was not kept; one that was kept with something else is broken for good.
    fn unkept(&self, promise: Promise, unkept: Unkept) -> StoreError {
        let (source, is_other) = match unkept {
            Unkept::Absent(source) => (source, false),
            Unkept::Other(source) => (source, true),
        };
        if is_other {
            // It is found out again if this cannot be written.
            let _ = self.break_promise(&promise);
        }
        let (diff, place) = (promise.diff_id, promise.place.clone());
        self.unkept.lock().expect("no panic while held").push(promise);
        StoreError::Promise { diff, place, source }
    }

    /// The tables of promised layers, which are kept as long as their promises.
    pub(super) fn promised_tables(&self) -> Result<Vec<BlobDigest>, StoreError> {
        let dir = self.root.join("promises");
        let names = match crate::sys::dir::list_path(&dir) {
            Ok(names) => names,
            // A store of an earlier version has none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file::context(error, "list", &dir).into()),
        };
        let hex = names.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok());
        let promises = hex.filter_map(|hex| self.promise_of(&BlobDigest::from_hex(hex).ok()?));
        Ok(promises.filter_map(|promise| Some(promise.toc?.blob.digest)).collect())
    }

    /// The promises that were not kept since this was last asked.
    pub fn unkept_promises(&self) -> Vec<Promise> {
        std::mem::take(&mut *self.unkept.lock().expect("no panic while held"))
    }

    /// From now on the layer is not here.
    pub fn break_promise(&self, promise: &Promise) -> Result<(), StoreError> {
        self.promise(&Promise { is_broken: true, ..promise.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media::MediaType;
    use crate::store::Unpacking;

    fn promise() -> Promise {
        Promise {
            diff_id: DiffId::from_bytes([1; 32]),
            size: Some(2048),
            blob: Descriptor::new(MediaType::OciLayerGzip, BlobDigest::from_bytes([2; 32]), 77),
            codec: Some(Codec::Gzip.memo_name()),
            toc: None,
            place: "oci-layout:/somewhere".into(),
            is_of_image: false,
            signed: None,
            is_broken: false,
        }
    }

    #[test]
    fn a_promise_stands_for_its_layer_until_it_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), Unpacking::Root).unwrap();
        let (promise, diff) = (promise(), promise().diff_id);
        assert!(!store.has_layer(diff, 2048));
        store.promise(&promise).unwrap();
        assert!(store.has_layer(diff, 2048));
        assert!(!store.has_layer(diff, 2049));
        assert_eq!(store.layer_size(diff).unwrap(), 2048);
        assert_eq!(store.compressed(diff, Codec::Gzip), Some((promise.blob.digest, 77)));
        assert_eq!(store.compressed(diff, Codec::Zstd), None);
        assert_eq!(store.promised(&promise.blob.digest), Some(promise.clone()));
        // Nobody here gets to the place.
        assert!(matches!(store.layer_tar(diff), Err(StoreError::MissingBlob(_))));
        store.break_promise(&promise).unwrap();
        assert!(!store.has_layer(diff, 2048));
        assert!(store.is_broken(&promise.blob.digest));
        assert_eq!(store.compressed(diff, Codec::Gzip), None);
    }

    #[test]
    fn a_promise_moved_to_another_name_or_damaged_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), Unpacking::Root).unwrap();
        store.promise(&promise()).unwrap();
        let (from, other) = (store.promise_path(&promise().blob.digest), BlobDigest::from_bytes([3; 32]));
        std::fs::copy(&from, store.promise_path(&other)).unwrap();
        assert_eq!(store.promised(&other), None);
        let mut bytes = std::fs::read(&from).unwrap();
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        std::fs::write(&from, bytes).unwrap();
        assert_eq!(store.promised(&promise().blob.digest), None);
    }
}
