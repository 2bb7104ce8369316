//! Writing what a build did, while it goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::entry::{BaseLayer, Encoded, Entry, Shared, TYPE};
use super::{Place, PlaceError, Signing, table};
use crate::digest::{BlobDigest, ChainId, DiffId};
use crate::image::packed_layer;
use crate::layer::compress::Codec;
use crate::oci::Descriptor;
use crate::oci::media::{MediaType, Packing};
use crate::store::{LayerRef, Record, Store};

/// A record that may be written, and what its action was done on.
#[derive(Debug, Clone)]
pub struct Offer {
    pub record: Record,
    pub parent: Option<ChainId>,
    /// The layers of that, if no action made them.
    pub base: Arc<Vec<LayerRef>>,
}

/// What was written to a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    pub entries: usize,
    pub layers: usize,
    /// Bytes of these layers.
    pub bytes: u64,
    /// Why a record was left out, the first of them: its layer is elsewhere and cannot be had.
    pub left: Option<String>,
}

/// Writes to one place.
pub struct Writer<'a> {
    store: &'a Store,
    place: Arc<dyn Place>,
    packing: Packing,
    signing: Option<Arc<Signing>>,
    /// Those that are known to be there.
    layers: HashSet<BlobDigest>,
    written: Written,
}

impl<'a> Writer<'a> {
    /// `packing` is how layers are packed there.
    pub fn new(store: &'a Store, place: Arc<dyn Place>, packing: Packing) -> Self {
        let (layers, written) = (HashSet::new(), Written::default());
        Self { store, place, packing, signing: None, layers, written }
    }

    /// The same, which signs what was done here.
    pub fn signing(self, signing: Option<Arc<Signing>>) -> Self {
        Self { signing, ..self }
    }

    /// Writes what it is told of until nobody tells any more. After an error the rest is listened to and left.
    pub fn write(mut self, offers: &Receiver<Offer>) -> Result<Written, PlaceError> {
        let mut failed = None;
        for offer in offers {
            if failed.is_none() {
                failed = self.add(&offer).err();
            }
        }
        let shown = self.place.shown().to_owned();
        let ended = failed.map_or_else(|| self.place.finish(), Err);
        ended.map_err(|error| format!("write to {shown}: {}", crate::diag::chain(&*error)))?;
        Ok(self.written)
    }

    fn add(&mut self, offer: &Offer) -> Result<(), PlaceError> {
        let Offer { record, parent, base } = offer;
        let tag = Entry::tag(record.key);
        // What cannot be read there is written anew.
        let known = self.place.entry(&tag)?.and_then(|bytes| Entry::decode(&bytes, record.key).ok());
        let mut entry = known.unwrap_or(Entry { key: record.key, records: vec![] });
        for there in entry.saying(*parent, record) {
            let is_signed = self.signs(record).is_none_or(|signing| signing.has_signed(record.key, there));
            if is_signed && self.is_there(&there.blob)? {
                return Ok(());
            }
        }
        let blob = match self.layer(record.layer.diff_id) {
            Ok(blob) => blob,
            Err(error) => {
                self.written.left.get_or_insert(crate::diag::chain(&*error));
                return Ok(());
            }
        };
        self.put_layer(&blob)?;
        let toc = self.put_table(record.layer.diff_id)?;
        let Record { observations, layer, .. } = record.clone();
        let codec = Codec::of(self.packing).map(Codec::memo_name);
        let base = self.put_base(base)?;
        let mut new =
            Shared { parent: *parent, observations, layer, blob, codec, toc, base, signatures: vec![] };
        if let Some(signing) = self.signs(record) {
            new.signatures = vec![signing.sign(record.key, &new)?];
        }
        entry.add(new);
        if self.put(&tag, &entry).is_err() {
            // Blobs of the others may have gone from there.
            entry.records.truncate(1);
            self.put(&tag, &entry)?;
        }
        self.written.entries += 1;
        Ok(())
    }

    /// Who signs a record: nobody one that was brought, which is another's word.
    fn signs(&self, record: &Record) -> Option<&Signing> {
        self.signing.as_deref().filter(|_| record.brought.is_none())
    }

    fn put(&self, tag: &str, entry: &Entry) -> Result<(), PlaceError> {
        let Encoded { manifest, config } = entry.encode();
        self.place.put_bytes(self.store, &Descriptor::of(MediaType::from(TYPE), &config), &config)?;
        self.place.put_entry(self.store, tag, &manifest)
    }

    fn is_there(&mut self, blob: &Descriptor) -> Result<bool, PlaceError> {
        let there = self.layers.contains(&blob.digest) || self.place.has(blob)?;
        if there {
            self.layers.insert(blob.digest);
        }
        Ok(there)
    }

    /// The blob of a layer, which is there or here now. One that was promised may not be to be had.
    fn layer(&mut self, diff: DiffId) -> Result<Descriptor, PlaceError> {
        let blob = packed_layer(self.store, diff, self.packing)?;
        if !self.is_there(&blob)? {
            self.store.open_blob(&blob.digest)?;
        }
        Ok(blob)
    }

    /// A table of ordinary size; who wants another reads the layer.
    fn put_table(&mut self, diff: DiffId) -> Result<Option<Descriptor>, PlaceError> {
        // One that is elsewhere is not brought for its table.
        if !self.store.has_toc(diff) {
            return Ok(None);
        }
        let Some((table, bytes)) = table::pack(&*self.store.toc(diff)?)? else { return Ok(None) };
        if !self.is_there(&table)? {
            self.place.put_bytes(self.store, &table, &bytes)?;
        }
        Ok(Some(table))
    }

    fn put_base(&mut self, base: &[LayerRef]) -> Result<Vec<BaseLayer>, PlaceError> {
        let mut of = |diff_id| Ok(BaseLayer { diff_id, toc: self.put_table(diff_id)? });
        base.iter().map(|layer| of(layer.diff_id)).collect()
    }

    fn put_layer(&mut self, blob: &Descriptor) -> Result<(), PlaceError> {
        if self.is_there(blob)? {
            return Ok(());
        }
        self.place.put_stored(self.store, blob)?;
        self.layers.insert(blob.digest);
        self.written.layers += 1;
        self.written.bytes += blob.size;
        Ok(())
    }
}
