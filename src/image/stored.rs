//! An image of the store, its manifest and config read and verified.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use super::attested;
use super::ingest::BlobSource;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::image::assemble::{Assembled, Base};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{ConfigError, Descriptor, Document, DocumentError, ImageConfig, Manifest};
use crate::store::{ImageRecord, Store, StoreError};
use crate::sys::file::Durability;

/// An image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    pub id: ImageId,
    /// Digest of the manifest.
    pub digest: BlobDigest,
    pub manifest: Manifest,
    pub manifest_bytes: Vec<u8>,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
}

/// Why an image of the store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("manifest {digest}: {source}")]
    Manifest { digest: BlobDigest, source: DocumentError },
    #[error("{0} is an index; a single image was expected")]
    Index(BlobDigest),
    #[error("{0} is a manifest; an index was expected")]
    Single(BlobDigest),
    #[error("config {id}: {source}")]
    Config { id: ImageId, source: ConfigError },
    #[error("manifest {digest} has {layers} layers, but its config has {diff_ids} diff ids")]
    LayerCount { digest: BlobDigest, layers: usize, diff_ids: usize },
}

impl StoredImage {
    /// Reads the image of a manifest digest.
    pub fn open(store: &Store, digest: BlobDigest) -> Result<Self, StoredError> {
        let manifest_bytes = store.read_blob(&digest, MAX_DOCUMENT as u64)?;
        let document = Document::parse(&manifest_bytes, None)
            .map_err(|source| StoredError::Manifest { digest, source })?;
        let Document::Manifest(manifest) = document else { return Err(StoredError::Index(digest)) };
        let id = ImageId::from(manifest.config.digest);
        let config_bytes = store.read_blob(&id.into(), MAX_DOCUMENT as u64)?;
        let config =
            ImageConfig::parse(&config_bytes).map_err(|source| StoredError::Config { id, source })?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(StoredError::LayerCount { digest, layers, diff_ids });
        }
        Ok(Self { id, digest, manifest, manifest_bytes, config, config_bytes })
    }

    /// The layers' diff ids, bottom first.
    pub fn layers(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// This image as what another one stands on.
    pub fn into_base(self) -> Base {
        Base { manifest: self.manifest, config: self.config }
    }
}

/// Puts an assembled image into the store. Its layers are there already.
pub fn store_image(store: &Store, image: &Assembled, parent: Option<ImageId>) -> Result<(), StoreError> {
    store.put_blob(&image.config_bytes, Durability::Synced)?;
    let manifest = store.put_blob(&image.manifest_bytes, Durability::Synced)?;
    store.register_chain(&image.config.rootfs.diff_ids)?;
    store.put_image(&ImageRecord { id: image.id, manifest: Some(manifest), parent })
}

impl BlobSource for Store {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        self.open_from(blob, 0)
    }

    fn open_from(&self, blob: &Descriptor, at: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let (mut file, _) = self.open_blob(&blob.digest).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Box::new(file))
    }

    fn store(&self) -> Option<&Store> {
        Some(self)
    }

    fn is_here(&self, blob: BlobDigest) -> bool {
        self.has_blob(&blob) || self.promised(&blob).is_none()
    }

    /// One that is damaged is found before any of it goes out.
    fn file(&self, blob: &Descriptor) -> Result<Option<File>, StoreError> {
        self.verify_blob(&blob.digest)?;
        Ok(Some(self.open_blob(&blob.digest)?.0))
    }

    fn referrers(&self, subject: BlobDigest) -> io::Result<Vec<Descriptor>> {
        attested::referrers(self, subject).map_err(io::Error::other)
    }
}
