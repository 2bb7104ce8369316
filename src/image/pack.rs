//! The blobs of an image as an OCI layout wants them: layers packed, documents in OCI's media types.
//!
//! Owns: which layers are packed anew (spec/archives.md, "Layers") and what that makes of the manifest.

use std::collections::BTreeMap;
use std::io;

use super::export::ExportError;
use super::gather::{Extent, gather};
use super::index::index;
use super::output::{Existing, Layers};
use super::stored::StoredImage;
use super::verified::Verified;
use crate::digest::{BlobDigest, DiffId};
use crate::layer::compress::{Codec, Compressor};
use crate::oci::attest::{Attestation, EMPTY};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::{Flavor, MediaType, Packing};
use crate::oci::{Descriptor, DescriptorPlatform, Document, Manifest};
use crate::platform::Platform;
use crate::store::{IndexRecord, Store};

/// What is told of packing while it goes on: layers one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// A layer that no output had so far is being packed.
    Packing(DiffId),
    /// It is so many bytes now.
    Packed { layer: DiffId, size: u64 },
}

/// Who is told.
pub type Told<'a> = &'a dyn Fn(Telling);

/// All blobs of one image, sorted by digest.
pub(crate) struct Packed {
    /// The manifest, with the image's platform; the index of an image for several.
    pub manifest: Descriptor,
    pub blobs: BTreeMap<BlobDigest, Blob>,
    /// The manifests and indexes below an index: what is named before what names it.
    pub inner: Vec<Descriptor>,
    /// Artifacts about it, or about what is below it; what they are about comes before them.
    pub referrers: Vec<Referrer>,
}

/// An artifact about a manifest or an index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Referrer {
    pub subject: BlobDigest,
    pub entry: Descriptor,
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
            self.referrers.push(Referrer { subject: self.manifest.digest, entry });
        }
        self
    }

    /// Images for several platforms as one, with an index that says what each is for.
    pub fn together(images: Vec<(Platform, Self)>, annotations: &BTreeMap<String, String>) -> Self {
        let images = images.into_iter().map(|(platform, mut image)| {
            image.manifest.platform = Some(DescriptorPlatform::from(&platform));
            image
        });
        Self::joined(images.collect(), annotations)
    }

    /// The same with images that say themselves what they are for.
    pub fn joined(images: Vec<Self>, annotations: &BTreeMap<String, String>) -> Self {
        let mut blobs = BTreeMap::new();
        let (mut manifests, mut referrers) = (Vec::new(), Vec::new());
        for image in images {
            manifests.push(image.manifest);
            referrers.extend(image.referrers);
            blobs.extend(image.blobs);
        }
        let bytes = index(manifests.clone(), annotations).to_bytes();
        let manifest = Descriptor::of(MediaType::OciIndex, &bytes);
        blobs.insert(manifest.digest, Blob::Bytes(bytes));
        Self { manifest, blobs, inner: manifests, referrers }
    }
}

impl Packed {
    /// The images of an index of the store under that index, byte for byte where they are the ones that it names and all
    /// else that it names is here; else under a new one that says the same.
    pub fn of_index(store: &Store, record: &IndexRecord, images: Vec<Self>) -> Result<Self, ExportError> {
        let bytes = store.read_blob(&record.digest, MAX_DOCUMENT as u64)?;
        let document = Document::parse(&bytes, None);
        let document = document.map_err(|source| ExportError::Index { digest: record.digest, source })?;
        let media_type = document.media_type();
        let Document::Index(old) = document else { return Err(ExportError::NoIndex(record.digest)) };
        let is_unchanged =
            record.images.iter().zip(&images).all(|(one, image)| one.manifest == image.manifest.digest);
        if is_unchanged {
            let top = Descriptor::of(media_type, &bytes);
            match gather(store, &top, Extent { platform: None, referrers: true }) {
                Ok(gathered) => return Ok(gathered.packed),
                // Taken in without what it says of its images.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(ExportError::Gather(Box::new(error))),
            }
        }
        let platforms = record.images.iter().map(|one| one.platform.clone());
        Ok(Self::together(platforms.zip(images).collect(), &old.annotations))
    }

    /// The bytes of one of its documents.
    pub fn document(&self, of: &Descriptor) -> &[u8] {
        match self.blobs.get(&of.digest) {
            Some(Blob::Bytes(bytes)) => bytes,
            Some(Blob::Stored(_)) | None => unreachable!("manifests are packed as bytes"),
        }
    }
}

/// Where a blob's bytes are.
pub(crate) enum Blob {
    Bytes(Vec<u8>),
    /// At the place that the image comes from, of this size.
    Stored(u64),
}

/// Packs an image. The same image and options give the same blobs in every store.
pub(crate) fn pack(
    store: &Store,
    image: &StoredImage,
    layers: Layers,
    told: Told<'_>,
) -> Result<Packed, ExportError> {
    let mut blobs = BTreeMap::new();
    let mut descriptors = Vec::new();
    for (layer, diff) in image.manifest.layers.iter().zip(image.layers()) {
        let descriptor = pack_layer(store, layer, *diff, layers, told)?;
        blobs.insert(descriptor.digest, Blob::Stored(descriptor.size));
        descriptors.push(descriptor);
    }
    let bytes = manifest_bytes(image, descriptors);
    let mut manifest = Descriptor::of(MediaType::OciManifest, &bytes);
    manifest.platform = image.config.platform().as_ref().map(DescriptorPlatform::from);
    blobs.insert(image.id.into(), Blob::Bytes(image.config_bytes.clone()));
    blobs.insert(manifest.digest, Blob::Bytes(bytes));
    Ok(Packed { manifest, blobs, inner: Vec::new(), referrers: Vec::new() })
}

/// An image with the manifest and the blobs that it has, whatever their types and packing.
pub(crate) fn as_it_is(image: &StoredImage) -> Packed {
    let layers = image.manifest.layers.iter().map(|layer| (layer.digest, Blob::Stored(layer.size)));
    let mut blobs: BTreeMap<BlobDigest, Blob> = layers.collect();
    let mut manifest = Descriptor::of(image.manifest.media_type(), &image.manifest_bytes);
    manifest.platform = image.config.platform().as_ref().map(DescriptorPlatform::from);
    blobs.insert(image.id.into(), Blob::Bytes(image.config_bytes.clone()));
    blobs.insert(manifest.digest, Blob::Bytes(image.manifest_bytes.clone()));
    Packed { manifest, blobs, inner: Vec::new(), referrers: Vec::new() }
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
    told: Told<'_>,
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
    let (digest, size) = packed_blob(store, diff, options.packing, told)?;
    let media_type = MediaType::layer(Flavor::Oci, options.packing);
    Ok(Descriptor { annotations: layer.annotations.clone(), ..Descriptor::new(media_type, digest, size) })
}

/// A layer as it travels.
pub fn packed_layer(store: &Store, diff: DiffId, packing: Packing) -> Result<Descriptor, ExportError> {
    let (digest, size) = packed_blob(store, diff, packing, &|_| {})?;
    Ok(Descriptor::new(MediaType::layer(Flavor::Oci, packing), digest, size))
}

/// The blob of a layer so packed; made once a store.
fn packed_blob(
    store: &Store,
    diff: DiffId,
    packing: Packing,
    told: Told<'_>,
) -> Result<(BlobDigest, u64), ExportError> {
    let Some(codec) = Codec::of(packing) else { return Ok((diff.into(), store.open_blob(&diff.into())?.1)) };
    if let Some(known) = store.compressed(diff, codec) {
        return Ok(known);
    }
    told(Telling::Packing(diff));
    let pack_error = |source| ExportError::Pack { layer: diff, source };
    let mut tar = Verified::open(store, diff.into())?;
    let mut packer = Compressor::new(codec, store.blob_writer()?).map_err(pack_error)?;
    io::copy(&mut tar, &mut packer).map_err(pack_error)?;
    let (digest, size) = packer.finish().map_err(pack_error)?.commit(None)?;
    store.remember_compressed(diff, codec, digest, size)?;
    told(Telling::Packed { layer: diff, size });
    Ok((digest, size))
}
