//! The blobs of an image as an OCI layout wants them: layers packed, documents in OCI's media types.
//!
//! Owns: which layers are packed anew (spec/archives.md, "Layers") and what that makes of the manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::export::ExportError;
use super::index::index;
use super::output::{Existing, Layers};
use super::stored::StoredImage;
use crate::digest::{BlobDigest, DiffId};
use crate::layer::compress::{Codec, Compressor};
use crate::oci::attest::{Attestation, EMPTY};
use crate::oci::media::{Flavor, MediaType, Packing};
use crate::oci::{Descriptor, DescriptorPlatform, Manifest};
use crate::platform::Platform;
use crate::store::Store;

/// All blobs of one image, sorted by digest.
pub(crate) struct Packed {
    /// The manifest, with the image's platform; the index of an image for several.
    pub manifest: Descriptor,
    pub blobs: BTreeMap<BlobDigest, Blob>,
    /// Artifacts about it, or about the manifests of its index.
    pub referrers: Vec<Descriptor>,
}

impl Packed {
    /// With what is said of the image.
    pub fn attested(mut self, attestations: &[Attestation]) -> Self {
        for attestation in attestations {
            let statement = attestation.statement(&self.manifest);
            let (artifact, entry) = attestation.artifact(&self.manifest, &statement);
            for bytes in [statement, artifact, EMPTY.to_vec()] {
                self.blobs.insert(BlobDigest::of(&bytes), Blob::Bytes(bytes));
            }
            self.referrers.push(entry);
        }
        self
    }

    /// Images for several platforms as one, with an index that says what each is for.
    pub fn together(images: Vec<(Platform, Self)>, annotations: &BTreeMap<String, String>) -> Self {
        let mut blobs = BTreeMap::new();
        let (mut manifests, mut referrers) = (Vec::new(), Vec::new());
        for (platform, image) in images {
            manifests
                .push(Descriptor { platform: Some(DescriptorPlatform::from(&platform)), ..image.manifest });
            referrers.extend(image.referrers);
            blobs.extend(image.blobs);
        }
        let bytes = index(manifests, annotations).to_bytes();
        let manifest = Descriptor::of(MediaType::OciIndex, &bytes);
        blobs.insert(manifest.digest, Blob::Bytes(bytes));
        Self { manifest, blobs, referrers }
    }
}

/// Where a blob's bytes are.
pub(crate) enum Blob {
    Bytes(Vec<u8>),
    /// In the store, of this size.
    Stored(u64),
}

/// Packs an image. The same image and options give the same blobs in every store.
pub(crate) fn pack(store: &Store, image: &StoredImage, layers: Layers) -> Result<Packed, ExportError> {
    let mut blobs = BTreeMap::new();
    let mut descriptors = Vec::new();
    for (layer, diff) in image.manifest.layers.iter().zip(image.layers()) {
        let descriptor = pack_layer(store, layer, *diff, layers)?;
        blobs.insert(descriptor.digest, Blob::Stored(descriptor.size));
        descriptors.push(descriptor);
    }
    let bytes = manifest_bytes(image, descriptors);
    let mut manifest = Descriptor::of(MediaType::OciManifest, &bytes);
    manifest.platform = image.config.platform().as_ref().map(DescriptorPlatform::from);
    blobs.insert(image.id.into(), Blob::Bytes(image.config_bytes.clone()));
    blobs.insert(manifest.digest, Blob::Bytes(bytes));
    Ok(Packed { manifest, blobs, referrers: Vec::new() })
}

/// An image with the manifest and the blobs that it has, whatever their types and packing.
pub(crate) fn as_it_is(image: &StoredImage) -> Packed {
    let layers = image.manifest.layers.iter().map(|layer| (layer.digest, Blob::Stored(layer.size)));
    let mut blobs: BTreeMap<BlobDigest, Blob> = layers.collect();
    let mut manifest = Descriptor::of(image.manifest.media_type(), &image.manifest_bytes);
    manifest.platform = image.config.platform().as_ref().map(DescriptorPlatform::from);
    blobs.insert(image.id.into(), Blob::Bytes(image.config_bytes.clone()));
    blobs.insert(manifest.digest, Blob::Bytes(image.manifest_bytes.clone()));
    Packed { manifest, blobs, referrers: Vec::new() }
}

/// The image's own manifest where it says the same already, so that its digest stays.
fn manifest_bytes(image: &StoredImage, layers: Vec<Descriptor>) -> Vec<u8> {
    let old = &image.manifest;
    let is_oci = old.media_type() == MediaType::OciManifest && old.config.media_type == MediaType::OciConfig;
    if is_oci && old.layers == layers {
        return image.manifest_bytes.clone();
    }
    let config = Descriptor { media_type: MediaType::OciConfig, ..old.config.clone() };
    let packed = Manifest::new(Flavor::Oci, config, layers);
    Manifest { annotations: old.annotations.clone(), ..packed }.to_bytes()
}

fn pack_layer(
    store: &Store,
    layer: &Descriptor,
    diff: DiffId,
    options: Layers,
) -> Result<Descriptor, ExportError> {
    let current = layer.media_type.layer_packing();
    let keep = match (current, options.existing) {
        (Some(current), _) if current == options.packing => true,
        (Some(Packing::Gzip | Packing::Zstd), Existing::Keep) => true,
        (Some(Packing::Gzip | Packing::Zstd), Existing::Repack) => false,
        (Some(Packing::Plain), _) | (None, _) => false,
    };
    if keep {
        return Ok(Descriptor { media_type: layer.media_type.to_oci(), ..layer.clone() });
    }
    let (digest, size) = packed_blob(store, diff, options.packing)?;
    let media_type = MediaType::layer(Flavor::Oci, options.packing);
    Ok(Descriptor { annotations: layer.annotations.clone(), ..Descriptor::new(media_type, digest, size) })
}

/// A layer as it travels.
pub fn packed_layer(store: &Store, diff: DiffId, packing: Packing) -> Result<Descriptor, ExportError> {
    let (digest, size) = packed_blob(store, diff, packing)?;
    Ok(Descriptor::new(MediaType::layer(Flavor::Oci, packing), digest, size))
}

/// The blob of a layer so packed; made once a store.
fn packed_blob(store: &Store, diff: DiffId, packing: Packing) -> Result<(BlobDigest, u64), ExportError> {
    let Some(codec) = Codec::of(packing) else { return Ok((diff.into(), store.layer_size(diff)?)) };
    if let Some(known) = store.compressed(diff, codec) {
        return Ok(known);
    }
    let pack_error = |source| ExportError::Pack { layer: diff, source };
    let mut tar = Verified::open(store, diff.into())?;
    let mut packer = Compressor::new(codec, store.blob_writer()?).map_err(pack_error)?;
    io::copy(&mut tar, &mut packer).map_err(pack_error)?;
    let (digest, size) = packer.finish().map_err(pack_error)?.commit(None)?;
    store.remember_compressed(diff, codec, digest, size)?;
    Ok((digest, size))
}

/// A blob of the store whose last bytes come only if all of them have its digest.
pub(crate) struct Verified {
    file: File,
    hash: Sha256,
    left: u64,
    size: u64,
    digest: BlobDigest,
}

impl Verified {
    pub(crate) fn open(store: &Store, digest: BlobDigest) -> Result<Self, ExportError> {
        let (file, size) = store.open_blob(&digest)?;
        Ok(Self { file, hash: Sha256::new(), left: size, size, digest })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..want])?;
        self.hash.update(&buffer[..count]);
        self.left -= count as u64;
        let is_cut = count == 0 && want > 0;
        if self.left == 0 || is_cut {
            let actual = BlobDigest::from_bytes(self.hash.clone().finalize().into());
            if actual != self.digest {
                let message = format!("blob {} is corrupt: content hashes to {actual}", self.digest);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}
