//! Layers of the store: the tar is the blob of the same sha256, the table of contents stands beside it, and the
//! layer db names stacks by chain id as docker's does.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::blobs::LayerSink;
use super::chains::ChainEntry;
use super::{Store, StoreError};
use crate::digest::{BlobDigest, ChainId, DiffId, chain_ids};
use crate::layer::Toc;
use crate::layer::compress::Codec;
use crate::layer::write::Written;
use crate::sys::file::{self, Durability};

impl Store {
    pub(super) fn toc_path(&self, diff: DiffId) -> PathBuf {
        self.root.join("tocs").join(diff.hex())
    }

    /// Publishes a layer that a [`crate::layer::write::LayerWriter`] wrote into `sink`. If the layer was here
    /// already, whatever of it rotted is mended.
    pub fn commit_layer(&self, sink: LayerSink, written: &Written) -> Result<(), StoreError> {
        if self.has_blob(&written.diff_id.into()) {
            self.forget_rotten_packings(written.diff_id)?;
        }
        self.add_layer(written.diff_id, &written.toc)?;
        Ok(sink.publish(&self.blob_path(&written.diff_id.into()))?)
    }

    /// Remembers what a layer holds. Its tar is, or becomes, the blob of the same sha256.
    pub fn add_layer(&self, diff: DiffId, toc: &Toc) -> Result<(), StoreError> {
        if self.toc_on_disk(diff).ok().as_ref() != Some(toc) {
            file::replace(&self.toc_path(diff), &toc.encode(), Durability::Cached)?;
        }
        let believed = self.tocs.lock().expect("no panic while held").get(&diff).cloned();
        if believed.is_some_and(|believed| *believed != *toc) {
            self.know_toc(diff, Arc::new(toc.clone()));
        }
        Ok(())
    }

    /// Whether the layer's tar and table are both here, the tar of `size` bytes, or somebody has such a layer.
    pub fn has_layer(&self, diff: DiffId, size: u64) -> bool {
        self.is_here(diff, size) || self.is_promised(diff, size)
    }

    /// Whether the layer's tar and table are both here, the tar of `size` bytes.
    pub fn is_here(&self, diff: DiffId, size: u64) -> bool {
        fs::metadata(self.blob_path(&diff.into())).is_ok_and(|m| m.len() == size)
            && self.toc_path(diff).exists()
    }

    /// What a layer holds. A damaged table is made again from the layer's tar; that of a layer that is elsewhere is
    /// brought.
    pub fn toc(&self, diff: DiffId) -> Result<Arc<Toc>, StoreError> {
        match self.toc_here(diff) {
            Err(missing @ StoreError::MissingToc(_)) => {
                let toc = Arc::new(self.bring_toc(diff)?.ok_or(missing)?);
                self.tocs.lock().expect("no panic while held").insert(diff, toc.clone());
                Ok(toc)
            }
            read => read,
        }
    }

    /// The same of a layer whose table is here.
    pub(super) fn toc_here(&self, diff: DiffId) -> Result<Arc<Toc>, StoreError> {
        let memo = || self.tocs.lock().expect("no panic while held");
        if let Some(toc) = memo().get(&diff) {
            return Ok(toc.clone());
        }
        let toc = Arc::new(self.read_toc(diff)?);
        memo().insert(diff, toc.clone());
        Ok(toc)
    }

    /// Whether a layer's table is here.
    pub fn has_toc(&self, diff: DiffId) -> bool {
        self.toc_path(diff).exists()
    }

    fn read_toc(&self, diff: DiffId) -> Result<Toc, StoreError> {
        let path = self.toc_path(diff);
        let bytes = match file::read_regular(&path, u64::MAX - 1) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingToc(diff));
            }
            Err(error) => return Err(file::context(error, "read", &path).into()),
        };
        Toc::decode(&bytes)
            .or_else(|source| self.remake_toc(diff).ok_or(StoreError::CorruptToc { diff, source }))
    }

    /// The table that was made of the layer's tar as it is on disk, without mending it.
    pub fn toc_on_disk(&self, diff: DiffId) -> Result<Toc, StoreError> {
        let path = self.toc_path(diff);
        let bytes = file::read_regular(&path, u64::MAX - 1).map_err(|e| file::context(e, "read", &path))?;
        Toc::decode(&bytes).map_err(|source| StoreError::CorruptToc { diff, source })
    }

    /// Replaces a table, on disk and for this process.
    pub(super) fn replace_toc(&self, diff: DiffId, toc: Arc<Toc>) -> Result<(), StoreError> {
        file::replace(&self.toc_path(diff), &toc.encode(), Durability::Cached)?;
        self.know_toc(diff, toc);
        Ok(())
    }

    /// Tells this process what a layer holds, whatever its table says.
    pub(super) fn know_toc(&self, diff: DiffId, toc: Arc<Toc>) {
        let is = toc.is_self_contained();
        self.self_contained.lock().expect("no panic while held").insert(diff, is);
        self.tocs.lock().expect("no panic while held").insert(diff, toc);
    }

    /// The table is a cache of the tar: reads the tar again, checks its diff id, and replaces the table.
    pub(super) fn remake_toc(&self, diff: DiffId) -> Option<Toc> {
        let tar = self.layer_tar(diff).ok()?;
        let indexed = crate::layer::read::index(tar, &crate::layer::read::Limits::default()).ok()?;
        if indexed.diff_id != diff {
            return None;
        }
        file::replace(&self.toc_path(diff), &indexed.toc.encode(), Durability::Cached).ok()?;
        Some(indexed.toc)
    }

    /// The layer's uncompressed tar.
    pub fn layer_tar(&self, diff: DiffId) -> Result<File, StoreError> {
        Ok(self.open_blob(&diff.into())?.0)
    }

    /// The tar's size in bytes; of one that is elsewhere, as far as it is known.
    pub fn layer_size(&self, diff: DiffId) -> Result<u64, StoreError> {
        match self.open_here(&diff.into()) {
            Ok((_, size)) => Ok(size),
            Err(missing @ StoreError::MissingBlob(_)) => {
                self.promised(&diff.into()).map(|promise| promise.tar_size()).ok_or(missing)
            }
            Err(error) => Err(error),
        }
    }

    /// Enters a stack of layers, bottom first, into the layer db: `diff`, `parent`, `cache-id`, `size`. An entry that is
    /// not what it should be is made again. Of a layer that is elsewhere, and what stands on it, there is none.
    pub fn register_chain(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let here = layers.iter().take_while(|diff| self.has_blob(&(**diff).into())).count();
        for top in 1..=here {
            if !self.is_registered(&layers[..top])? {
                self.chain_entry(&layers[..top])?.write()?;
            }
        }
        Ok(())
    }

    /// Whether a stack has its entry. Which of the two cache ids it should have takes the layer's table, which may be
    /// long: each passes here, as every build asks.
    fn is_registered(&self, stack: &[DiffId]) -> Result<bool, StoreError> {
        for cache_id in Self::cache_ids(stack) {
            if self.entry_with(stack, cache_id)?.faults()?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a stack's entry in the layer db should be.
    pub(super) fn chain_entry(&self, stack: &[DiffId]) -> Result<ChainEntry, StoreError> {
        self.entry_with(stack, self.cache_id(stack)?)
    }

    fn entry_with(&self, stack: &[DiffId], cache_id: String) -> Result<ChainEntry, StoreError> {
        let chains = chain_ids(stack);
        let (Some(diff), Some(chain)) = (stack.last(), chains.last()) else {
            unreachable!("a stack has a top");
        };
        let mut files = vec![("diff", diff.to_string())];
        if let [.., parent, _] = chains[..] {
            files.push(("parent", parent.to_string()));
        }
        files.push(("cache-id", cache_id));
        files.push(("size", self.layer_size(*diff)?.to_string()));
        Ok(ChainEntry { dir: self.chain_dir(*chain), files })
    }

    pub(super) fn chain_dir(&self, chain: ChainId) -> PathBuf {
        self.root.join("layerdb/sha256").join(chain.hex())
    }

    fn compressed_path(&self, diff: DiffId, codec: Codec) -> PathBuf {
        self.root.join("compressed").join(format!("{}.{}", diff.hex(), codec.memo_name()))
    }

    /// The blob that this codec makes of a layer, if it was made before and is still here, or somebody has it: digest
    /// and size.
    pub fn compressed(&self, diff: DiffId, codec: Codec) -> Option<(BlobDigest, u64)> {
        self.compressed_here(diff, codec).or_else(|| self.promised_packing(diff, codec))
    }

    fn compressed_here(&self, diff: DiffId, codec: Codec) -> Option<(BlobDigest, u64)> {
        let text = fs::read_to_string(self.compressed_path(diff, codec)).ok()?;
        let (digest, size) = text.trim().split_once(' ')?;
        let (digest, size) = (digest.parse::<BlobDigest>().ok()?, size.parse::<u64>().ok()?);
        let is_here = fs::metadata(self.blob_path(&digest)).is_ok_and(|m| m.len() == size);
        is_here.then_some((digest, size))
    }

    /// Forgets packed forms of a layer that are not what they were, so that they are packed again.
    fn forget_rotten_packings(&self, diff: DiffId) -> Result<(), StoreError> {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let Some((packed, _)) = self.compressed_here(diff, codec) else { continue };
            if self.verify_blob(&packed).is_err() {
                let memo = self.compressed_path(diff, codec);
                fs::remove_file(&memo).map_err(|e| file::context(e, "remove", &memo))?;
            }
        }
        Ok(())
    }

    /// Remembers the blob that a codec made of a layer.
    pub fn remember_compressed(
        &self,
        diff: DiffId,
        codec: Codec,
        blob: BlobDigest,
        size: u64,
    ) -> Result<(), StoreError> {
        let text = format!("{blob} {size}\n");
        Ok(file::replace(&self.compressed_path(diff, codec), text.as_bytes(), Durability::Cached)?)
    }
}
