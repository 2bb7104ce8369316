//! Layers that places promised, brought when something reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::{Form, From, Place, PlaceError, table};
use crate::digest::BlobDigest;
use crate::image::{IngestError, bring_layer};
use crate::layer::Toc;
use crate::layer::compress::Codec;
use crate::sign::KeyId;
use crate::store::{Bringer, Promise, PromisedToc, Store, StoreError, Unkept};
use crate::sys::file::Durability;

/// Opens a place to read from it.
type Open = dyn Fn(&Form) -> Result<Arc<dyn Place>, PlaceError> + Send + Sync;

/// Knows the places that promises name; opens those that it is not told of.
pub struct Fetcher {
    open: Box<Open>,
    places: Mutex<BTreeMap<String, Arc<dyn Place>>>,
    /// Registries that it was not told of are not asked.
    is_offline: AtomicBool,
    /// If there are such, a table that none of these keys signed is none.
    trusted: OnceLock<BTreeSet<KeyId>>,
}

impl Fetcher {
    pub fn new(open: Box<Open>) -> Self {
        let (places, trusted) = (Mutex::default(), OnceLock::new());
        Self { open, places, is_offline: AtomicBool::new(false), trusted }
    }

    /// Tells of a place that is open.
    pub fn know(&self, place: Arc<dyn Place>) {
        self.places.lock().expect("no panic while held").insert(place.address(), place);
    }

    /// From now on no registry is asked but for what it was told of.
    pub fn go_offline(&self) {
        self.is_offline.store(true, Ordering::Relaxed);
    }

    /// From now on only what these keys signed is believed before it is seen.
    pub fn trust(&self, keys: BTreeSet<KeyId>) {
        // There is one policy a process.
        let _ = self.trusted.set(keys);
    }

    fn place(&self, address: &str) -> Result<Arc<dyn Place>, Unkept> {
        let mut places = self.places.lock().expect("no panic while held");
        if let Some(place) = places.get(address) {
            return Ok(place.clone());
        }
        let opened = || -> Result<Arc<dyn Place>, PlaceError> {
            match address.parse::<From>()?.form {
                Form::Registry { .. } if self.is_offline.load(Ordering::Relaxed) => {
                    Err("no other machine is asked now".into())
                }
                form => (self.open)(&form),
            }
        };
        let place = opened().map_err(Unkept::Absent)?;
        places.insert(address.to_owned(), place.clone());
        Ok(place)
    }
}

impl Bringer for Fetcher {
    fn blob(&self, store: &Store, promise: &Promise) -> Result<(), Unkept> {
        self.place(&promise.place)?.bring(store, &promise.blob).map_err(unkept)
    }

    fn layer(&self, store: &Store, promise: &Promise) -> Result<(), Unkept> {
        bring(store, &*self.place(&promise.place)?, promise)
    }

    fn table(&self, store: &Store, promise: &Promise) -> Result<Option<Toc>, Unkept> {
        let Some(PromisedToc { blob, place, signed }) = &promise.toc else { return Ok(None) };
        let is_trusted = self.trusted.get().is_none_or(|keys| signed.is_some_and(|key| keys.contains(&key)));
        if blob.size > table::MOST || !is_trusted {
            return Ok(None);
        }
        if let Some(toc) = table_here(store, promise) {
            return Ok(Some(toc));
        }
        let place = self.place(place)?;
        let absent = |error: std::io::Error| Unkept::Absent(error.into());
        let mut bytes = Vec::new();
        place.open(blob).map_err(absent)?.take(blob.size + 1).read_to_end(&mut bytes).map_err(absent)?;
        if BlobDigest::of(&bytes) != blob.digest {
            return Err(Unkept::Other(format!("its table is not {}", blob.digest).into()));
        }
        let toc = table::unpack(&bytes).map_err(Unkept::Other)?;
        let kept = store.put_blob(&bytes, Durability::Cached);
        kept.map_err(|error| Unkept::Absent(error.into()))?;
        Ok(Some(toc))
    }
}

/// The table that was promised with a layer, if it came before. It is kept as the blob that it is, so that it counts for
/// those who promised it and nobody else.
fn table_here(store: &Store, promise: &Promise) -> Option<Toc> {
    let PromisedToc { blob, .. } = promise.toc.as_ref()?;
    let is_here = store.has_blob(&blob.digest) && blob.size <= table::MOST;
    table::unpack(&is_here.then(|| store.read_blob(&blob.digest, table::MOST).ok()).flatten()?).ok()
}

/// Brings a layer as one of a pulled image is, holds it against what was said of it, and remembers what it was packed as.
pub fn bring(store: &Store, place: &dyn Place, promise: &Promise) -> Result<(), Unkept> {
    bring_layer(store, place, (&promise.blob, promise.diff_id)).map_err(unkept)?;
    if promise.size.is_some_and(|size| !store.is_here(promise.diff_id, size)) {
        return Err(Unkept::Other("it has another size".into()));
    }
    let said = table_here(store, promise);
    if said.is_some_and(|said| store.toc_on_disk(promise.diff_id).ok() != Some(said)) {
        return Err(Unkept::Other("its table of contents says other things than the layer".into()));
    }
    note_packing(store, promise).map_err(|error| Unkept::Absent(error.into()))
}

fn note_packing(store: &Store, promise: &Promise) -> Result<(), StoreError> {
    match [Codec::Gzip, Codec::Zstd].into_iter().find(|codec| Some(codec.memo_name()) == promise.codec) {
        Some(codec) => {
            store.remember_compressed(promise.diff_id, codec, promise.blob.digest, promise.blob.size)
        }
        None => Ok(()),
    }
}

/// What was given and is something else, apart from what could not be had.
fn unkept(error: IngestError) -> Unkept {
    match error {
        IngestError::Size { .. }
        | IngestError::LayerType { .. }
        | IngestError::Packing { .. }
        | IngestError::Layer { .. }
        | IngestError::DiffId { .. }
        | IngestError::Store(StoreError::CorruptBlob { .. }) => Unkept::Other(error.into()),
        _ => Unkept::Absent(error.into()),
    }
}
