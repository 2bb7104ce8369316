//! Layers of the store: the tar is the blob of the same sha256, the table of contents stands beside it, and the
//! layer db names stacks by chain id as docker's does.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::blobs::LayerSink;
use super::{Store, StoreError};
use crate::digest::{BlobDigest, ChainId, DiffId, chain_ids};
use crate::layer::Toc;
use crate::layer::compress::Codec;
use crate::layer::write::Written;
use crate::sys::file::{self, Durability};

impl Store {
    fn toc_path(&self, diff: DiffId) -> PathBuf {
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
        if self.check_toc(diff).is_err() {
            file::replace(&self.toc_path(diff), &toc.encode(), Durability::Cached)?;
        }
        Ok(())
    }

    /// Whether the layer's tar and table are both here, the tar of `size` bytes.
    pub fn has_layer(&self, diff: DiffId, size: u64) -> bool {
        fs::metadata(self.blob_path(&diff.into())).is_ok_and(|m| m.len() == size)
            && self.toc_path(diff).exists()
    }

    /// What a layer holds. A damaged table is made again from the layer's tar.
    pub fn toc(&self, diff: DiffId) -> Result<Arc<Toc>, StoreError> {
        let memo = || self.tocs.lock().expect("no panic while held");
        if let Some(toc) = memo().get(&diff) {
            return Ok(toc.clone());
        }
        let toc = Arc::new(self.read_toc(diff)?);
        memo().insert(diff, toc.clone());
        Ok(toc)
    }

    fn read_toc(&self, diff: DiffId) -> Result<Toc, StoreError> {
        let path = self.toc_path(diff);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingToc(diff));
            }
            Err(error) => return Err(file::context(error, "read", &path).into()),
        };
        Toc::decode(&bytes)
            .or_else(|source| self.remake_toc(diff).ok_or(StoreError::CorruptToc { diff, source }))
    }

    /// Reads a table as it is on disk, without mending it.
    pub(super) fn check_toc(&self, diff: DiffId) -> Result<(), StoreError> {
        let bytes =
            fs::read(self.toc_path(diff)).map_err(|e| file::context(e, "read", &self.toc_path(diff)))?;
        Toc::decode(&bytes).map(drop).map_err(|source| StoreError::CorruptToc { diff, source })
    }

    /// The table is a cache of the tar: reads the tar again, checks its diff id, and replaces the table.
    fn remake_toc(&self, diff: DiffId) -> Option<Toc> {
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

    /// The tar's size in bytes.
    pub fn layer_size(&self, diff: DiffId) -> Result<u64, StoreError> {
        Ok(self.open_blob(&diff.into())?.1)
    }

    /// Enters a stack of layers, bottom first, into the layer db: `diff`, `parent`, `cache-id`, `size`.
    pub fn register_chain(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let chains = chain_ids(layers);
        for (at, (diff, chain)) in layers.iter().zip(&chains).enumerate().rev() {
            let dir = self.chain_dir(*chain);
            if dir.join("size").exists() {
                // Entries are made top down and `size` last, so what lies below may still be missing only if a
                // kill came between; the loop goes on until it has checked every one.
                continue;
            }
            fs::create_dir_all(&dir).map_err(|e| file::context(e, "create", &dir))?;
            let put = |name: &str, text: String| {
                file::replace(&dir.join(name), text.as_bytes(), Durability::Cached)
            };
            put("diff", diff.to_string())?;
            if at > 0 {
                put("parent", chains[at - 1].to_string())?;
            }
            put("cache-id", self.cache_id(&layers[..=at])?)?;
            put("size", self.layer_size(*diff)?.to_string())?;
        }
        Ok(())
    }

    fn chain_dir(&self, chain: ChainId) -> PathBuf {
        self.root.join("layerdb/sha256").join(chain.hex())
    }

    fn compressed_path(&self, diff: DiffId, codec: Codec) -> PathBuf {
        self.root.join("compressed").join(format!("{}.{}", diff.hex(), codec.memo_name()))
    }

    /// The blob that this codec makes of a layer, if it was made before and is still here: digest and size.
    pub fn compressed(&self, diff: DiffId, codec: Codec) -> Result<Option<(BlobDigest, u64)>, StoreError> {
        let Ok(text) = fs::read_to_string(self.compressed_path(diff, codec)) else { return Ok(None) };
        let parsed = text
            .trim()
            .split_once(' ')
            .and_then(|(digest, size)| Some((digest.parse::<BlobDigest>().ok()?, size.parse::<u64>().ok()?)));
        Ok(parsed
            .filter(|(digest, size)| fs::metadata(self.blob_path(digest)).is_ok_and(|m| m.len() == *size)))
    }

    /// Forgets packed forms of a layer that are not what they were, so that they are packed again.
    fn forget_rotten_packings(&self, diff: DiffId) -> Result<(), StoreError> {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let Some((packed, _)) = self.compressed(diff, codec)? else { continue };
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
