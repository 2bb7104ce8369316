//! From a descriptor to an image of the store, whatever the blobs come from.
//!
//! Owns: the order of checks. A blob's size and digest are verified before anything reads it, a layer's diff id
//! against its unpacked bytes before the layer gets a name, and the image is recorded last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use rayon::prelude::*;

use super::choose::{ChoiceError, choose};
use super::files::Tee;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::layer::compress::Decompressor;
use crate::layer::read::{self, Limits, ReadError};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::{MediaType, Packing};
use crate::oci::{
    ConfigError, Descriptor, DescriptorPlatform, Document, DocumentError, ImageConfig, Manifest,
};
use crate::platform::Platform;
use crate::store::{ImageRecord, Promise, Store, StoreError};

/// The most indexes on the way to a manifest.
const MAX_INDEX_DEPTH: usize = 8;

/// Where blobs come from: an archive, a directory, a registry.
pub trait BlobSource: Sync {
    /// The bytes of a blob, or of a manifest, unverified. Never more than the source has under that digest.
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>>;

    /// The same from a byte on.
    fn open_from(&self, blob: &Descriptor, at: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut reader = self.open(blob)?;
        io::copy(&mut reader.by_ref().take(at), &mut io::sink())?;
        Ok(reader)
    }

    /// Whether a blob can be read without being brought from somewhere else first.
    fn is_here(&self, blob: BlobDigest) -> bool {
        let _ = blob;
        true
    }

    /// The store, if it is one: there each layer has its table of contents.
    fn store(&self) -> Option<&Store> {
        None
    }

    /// A blob that lies in a file of its own, hashed just now; `None` where it comes from farther away.
    fn file(&self, blob: &Descriptor) -> Result<Option<File>, StoreError> {
        let _ = blob;
        Ok(None)
    }

    /// The manifest that has a tag of the same repository, where there are such.
    fn tagged(&self, tag: &str) -> io::Result<Option<Descriptor>> {
        let _ = tag;
        Ok(None)
    }

    /// The manifests that say they are about another one. That they do is for whoever asks to see.
    fn referrers(&self, subject: BlobDigest) -> io::Result<Vec<Descriptor>> {
        let _ = subject;
        Ok(Vec::new())
    }

    /// Brings a blob that is not there into the store, of the size and digest that its descriptor says.
    fn bring(&self, store: &Store, blob: &Descriptor) -> Result<(), IngestError> {
        copy(store, self.open(blob), blob)
    }

    /// How many blobs are waited for at once, by threads that do nothing else; none where nothing is waited for.
    fn waiting(&self) -> usize {
        0
    }
}

/// An image that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    pub id: ImageId,
    /// Digest of the image's own manifest, below any index.
    pub digest: BlobDigest,
    pub config: ImageConfig,
    /// What a reader accepted but found odd.
    pub warnings: Vec<String>,
}

/// Why an image was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("read blob {digest}: {source}")]
    Read { digest: BlobDigest, source: io::Error },
    #[error("blob {digest} has {actual} bytes; its descriptor says {expected}")]
    Size { digest: BlobDigest, expected: u64, actual: String },
    #[error("{what} {digest} of {size} bytes is larger than the limit of {MAX_DOCUMENT}")]
    TooLarge { what: &'static str, digest: BlobDigest, size: u64 },
    #[error("manifest {digest}: {source}")]
    Document { digest: BlobDigest, source: DocumentError },
    #[error("config {digest}: {source}")]
    Config { digest: BlobDigest, source: ConfigError },
    #[error("index {digest}: {source}")]
    Choice { digest: BlobDigest, source: ChoiceError },
    #[error("index {0} leads back to itself")]
    IndexLoop(BlobDigest),
    #[error("index {0} is nested deeper than {MAX_INDEX_DEPTH} levels")]
    IndexTooDeep(BlobDigest),
    #[error("index {outer} has the index {inner} among its images; load one of its platforms")]
    Nested { outer: BlobDigest, inner: BlobDigest },
    #[error("manifest {manifest} is not an image: its config is of type {media_type}")]
    NotAnImage { manifest: BlobDigest, media_type: MediaType },
    #[error("manifest {manifest} has {layers} layers, but its config {config} has {diff_ids} diff ids")]
    LayerCount { manifest: BlobDigest, config: BlobDigest, layers: usize, diff_ids: usize },
    #[error("config {config} is for {actual}, but its index says {claimed}")]
    PlatformDiffers { config: BlobDigest, claimed: String, actual: String },
    #[error("layer {layer} has the media type {media_type}, which is not a layer that lith reads")]
    LayerType { layer: BlobDigest, media_type: MediaType },
    #[error("layer {layer} is announced as {announced:?}, but its first bytes are {found:?}")]
    Packing { layer: BlobDigest, announced: Packing, found: Packing },
    #[error("layer {layer}: {source}")]
    Layer { layer: BlobDigest, source: ReadError },
    #[error("layer {layer} unpacks to {actual}; the config says {expected}")]
    DiffId { layer: BlobDigest, expected: DiffId, actual: DiffId },
}

/// Takes in the image that `top`, a manifest or an index, has for `wanted`. Any number of processes may take in
/// the same image at once.
pub fn ingest(
    store: &Store,
    source: &dyn BlobSource,
    top: &Descriptor,
    wanted: &Platform,
) -> Result<Ingested, IngestError> {
    let (descriptor, manifest) = find_manifest(store, source, top, wanted)?;
    let image = take(store, source, &descriptor, &manifest)?;
    record(store, &image)?;
    Ok(image)
}

/// The same, but that layers stay where they are, at a `place` that a [`crate::store::Bringer`] knows, until something
/// reads them.
pub fn ingest_promised(
    store: &Store,
    source: &dyn BlobSource,
    (top, wanted): (&Descriptor, &Platform),
    place: &str,
) -> Result<Ingested, IngestError> {
    let (descriptor, manifest) = find_manifest(store, source, top, wanted)?;
    let config = read_config(store, source, &descriptor, &manifest)?;
    check_platform(&manifest, &config, descriptor.platform.as_ref())?;
    for (layer, diff) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        promise_layer(store, source, (layer, *diff), place)?;
    }
    store.register_chain(&config.rootfs.diff_ids)?;
    let id = manifest.config.digest.into();
    let image = Ingested { id, digest: descriptor.digest, config, warnings: Vec::new() };
    record(store, &image)?;
    Ok(image)
}

fn promise_layer(
    store: &Store,
    source: &dyn BlobSource,
    (layer, diff): (&Descriptor, DiffId),
    place: &str,
) -> Result<(), IngestError> {
    announced(layer)?;
    let is_here = store.has_blob(&diff.into()) && store.has_blob(&layer.digest);
    if is_here || store.promised(&layer.digest).is_some() {
        return Ok(());
    }
    // What was once something else is not promised again.
    if store.is_broken(&layer.digest) {
        return bring_layer(store, source, (layer, diff)).map(drop);
    }
    Ok(store.promise(&Promise {
        diff_id: diff,
        size: None,
        blob: layer.clone(),
        codec: None,
        toc: None,
        place: place.to_owned(),
        is_of_image: true,
        signed: None,
        is_broken: false,
    })?)
}

/// Takes in an image whose manifest was read. It is not recorded yet.
pub(super) fn take(
    store: &Store,
    source: &dyn BlobSource,
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<Ingested, IngestError> {
    let config = read_config(store, source, descriptor, manifest)?;
    check_platform(manifest, &config, descriptor.platform.as_ref())?;
    let warnings = take_layers(store, source, manifest, &config)?;
    let id = manifest.config.digest.into();
    store.register_chain(&config.rootfs.diff_ids)?;
    Ok(Ingested { id, digest: descriptor.digest, config, warnings })
}

/// Makes an image that was taken in one of the store's.
pub(super) fn record(store: &Store, image: &Ingested) -> Result<(), StoreError> {
    store.put_image(&ImageRecord { id: image.id, manifest: Some(image.digest), parent: None })
}

/// Walks down indexes, each once.
fn find_manifest(
    store: &Store,
    source: &dyn BlobSource,
    top: &Descriptor,
    wanted: &Platform,
) -> Result<(Descriptor, Manifest), IngestError> {
    let mut seen = BTreeSet::new();
    let mut current = top.clone();
    for _ in 0..=MAX_INDEX_DEPTH {
        let digest = current.digest;
        if !seen.insert(digest) {
            return Err(IngestError::IndexLoop(digest));
        }
        match document(store, source, &current)? {
            Document::Manifest(manifest) => return Ok((current, manifest)),
            Document::Index(index) => {
                let next = choose(&index.manifests, wanted)
                    .map_err(|source| IngestError::Choice { digest, source })?;
                current = next.clone();
            }
        }
    }
    Err(IngestError::IndexTooDeep(current.digest))
}

/// A manifest or an index.
pub(super) fn document(
    store: &Store,
    source: &dyn BlobSource,
    top: &Descriptor,
) -> Result<Document, IngestError> {
    let digest = top.digest;
    let bytes = small(store, source, top, "manifest")?;
    Document::parse(&bytes, Some(&top.media_type)).map_err(|source| IngestError::Document { digest, source })
}

fn read_config(
    store: &Store,
    source: &dyn BlobSource,
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<ImageConfig, IngestError> {
    if !manifest.config.media_type.is_config() {
        let media_type = manifest.config.media_type.clone();
        return Err(IngestError::NotAnImage { manifest: descriptor.digest, media_type });
    }
    let digest = manifest.config.digest;
    let bytes = small(store, source, &manifest.config, "config")?;
    let config = ImageConfig::parse(&bytes).map_err(|source| IngestError::Config { digest, source })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        let manifest = descriptor.digest;
        return Err(IngestError::LayerCount { manifest, config: digest, layers, diff_ids });
    }
    Ok(config)
}

/// An index may not pass an image off as one for another platform. A variant that the config leaves out is not a
/// lie: official images leave it out.
fn check_platform(
    manifest: &Manifest,
    config: &ImageConfig,
    claimed: Option<&DescriptorPlatform>,
) -> Result<(), IngestError> {
    let Some(claimed) = claimed.and_then(DescriptorPlatform::normal) else { return Ok(()) };
    let actual = config.platform();
    let variant_is_silent = config.variant.as_deref().unwrap_or_default().is_empty();
    let agrees = actual.as_ref().is_some_and(|actual| {
        actual.os == claimed.os
            && actual.architecture == claimed.architecture
            && (variant_is_silent || actual.variant == claimed.variant)
    });
    if agrees {
        return Ok(());
    }
    let claimed = claimed.to_string();
    let actual = actual.map_or_else(|| "no platform".to_owned(), |p| p.to_string());
    Err(IngestError::PlatformDiffers { config: manifest.config.digest, claimed, actual })
}

fn take_layers(
    store: &Store,
    source: &dyn BlobSource,
    manifest: &Manifest,
    config: &ImageConfig,
) -> Result<Vec<String>, IngestError> {
    // The same layer may occur several times; each pair is looked at once.
    let mut seen = BTreeSet::new();
    let pairs: Vec<(&Descriptor, DiffId)> = manifest
        .layers
        .iter()
        .zip(config.rootfs.diff_ids.iter().copied())
        .filter(|(layer, diff)| seen.insert((layer.digest, *diff)))
        .collect();
    // All are waited for, so that of several bad layers the lowest is named, whichever thread was first.
    let results: Vec<Result<Vec<String>, IngestError>> = match source.waiting() {
        0 => pairs.into_par_iter().map(|pair| bring_layer(store, source, pair)).collect(),
        threads => take_as_they_come(store, source, &pairs, threads),
    };
    let taken = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(taken.into_iter().flatten().collect())
}

/// Takes in one layer: its blob is fetched and checked, and what it unpacks to compared with its diff id. Gives what
/// was odd about it.
pub fn bring_layer(
    store: &Store,
    source: &dyn BlobSource,
    (layer, diff): (&Descriptor, DiffId),
) -> Result<Vec<String>, IngestError> {
    let announced = announced(layer)?;
    fetch(store, source, layer)?;
    take_layer(store, layer.digest, Some(announced), diff)
}

fn announced(layer: &Descriptor) -> Result<Packing, IngestError> {
    let media_type = || layer.media_type.clone();
    layer
        .media_type
        .layer_packing()
        .ok_or_else(|| IngestError::LayerType { layer: layer.digest, media_type: media_type() })
}

/// Waits for several blobs at once and makes a layer of each as soon as it is there, on other threads: a server that
/// keeps one blob waiting keeps no other from being unpacked. After a failure nothing new is asked for.
fn take_as_they_come(
    store: &Store,
    source: &dyn BlobSource,
    pairs: &[(&Descriptor, DiffId)],
    threads: usize,
) -> Vec<Result<Vec<String>, IngestError>> {
    let results: Mutex<BTreeMap<usize, Result<Vec<String>, IngestError>>> = Mutex::default();
    let note = |at: usize, result| {
        results.lock().expect("no panic while held").insert(at, result);
    };
    let has_failed = || results.lock().expect("no panic while held").values().any(Result::is_err);
    let next = AtomicUsize::new(0);
    let (there, arrivals) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.min(pairs.len()) {
            let there = there.clone();
            let (next, note, has_failed) = (&next, &note, &has_failed);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((layer, _)) = pairs.get(at).filter(|_| !has_failed()) else { return };
                    match announced(layer).and_then(|_| fetch(store, source, layer)) {
                        Ok(()) => there.send(at).expect("waited for until all are gone"),
                        Err(error) => note(at, Err(error)),
                    }
                }
            });
        }
        drop(there);
        rayon::in_place_scope(|pool| {
            for at in arrivals {
                let note = &note;
                pool.spawn(move |_| {
                    let (layer, diff) = pairs[at];
                    let taken = announced(layer)
                        .and_then(|packing| take_layer(store, layer.digest, Some(packing), diff));
                    note(at, taken);
                });
            }
        });
    });
    results.into_inner().expect("no panic while held").into_values().collect()
}

/// Makes a layer of a blob of the store after comparing its unpacked bytes with `diff`. Without an announced
/// packing the first bytes decide. Gives what was odd about it.
pub(super) fn take_layer(
    store: &Store,
    layer: BlobDigest,
    announced: Option<Packing>,
    diff: DiffId,
) -> Result<Vec<String>, IngestError> {
    let read_error = |source| IngestError::Read { digest: layer, source };
    let (file, size) = store.open_blob(&layer)?;
    let found = packing_of(&file).map_err(read_error)?;
    if let Some(announced) = announced.filter(|announced| *announced != found) {
        return Err(IngestError::Packing { layer, announced, found });
    }
    let limits = Limits::default();
    let layer_error = |source| IngestError::Layer { layer, source };
    let differs = |actual| IngestError::DiffId { layer, expected: diff, actual };
    let indexed = match found {
        Packing::Plain if BlobDigest::from(diff) != layer => return Err(differs(layer.into())),
        Packing::Plain if store.is_here(diff, size) => return Ok(Vec::new()),
        Packing::Plain => read::index(file, &limits).map_err(layer_error)?,
        Packing::Gzip | Packing::Zstd => {
            let plain = Decompressor::new(file, limits.unpacking()).map_err(read_error)?;
            let mut writer = store.blob_writer()?;
            let indexed = read::index(Tee { from: plain, to: &mut writer }, &limits).map_err(layer_error)?;
            if indexed.diff_id != diff {
                return Err(differs(indexed.diff_id));
            }
            writer.commit(Some(diff.into()))?;
            indexed
        }
    };
    if indexed.diff_id != diff {
        return Err(differs(indexed.diff_id));
    }
    store.add_layer(diff, &indexed.toc)?;
    Ok(indexed.warnings.iter().map(|warning| format!("layer {layer}: {warning}")).collect())
}

/// What a blob's first bytes say it is.
fn packing_of(file: &File) -> io::Result<Packing> {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 4];
    let count = file.read_at(&mut magic, 0)?;
    Ok(match &magic[..count] {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        // A frame, or a frame to be skipped before it (RFC 8878).
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Packing::Zstd,
        _ => Packing::Plain,
    })
}

/// Makes sure that a blob is in the store and has the size its descriptor says.
pub(super) fn fetch(store: &Store, source: &dyn BlobSource, blob: &Descriptor) -> Result<(), IngestError> {
    let digest = blob.digest;
    let wrong = |actual: String| IngestError::Size { digest, expected: blob.size, actual };
    if store.has_blob(&digest) {
        let (_, size) = store.open_blob(&digest)?;
        return if size == blob.size { Ok(()) } else { Err(wrong(size.to_string())) };
    }
    source.bring(store, blob)
}

/// Takes a blob into the store from its reader.
fn copy(
    store: &Store,
    opened: io::Result<Box<dyn Read + Send + '_>>,
    blob: &Descriptor,
) -> Result<(), IngestError> {
    let digest = blob.digest;
    let read_error = |source| IngestError::Read { digest, source };
    let wrong = |actual: String| IngestError::Size { digest, expected: blob.size, actual };
    let mut writer = store.blob_writer()?;
    let reader = opened.map_err(read_error)?;
    let copied = io::copy(&mut reader.take(blob.size.saturating_add(1)), &mut writer).map_err(read_error)?;
    if copied > blob.size {
        return Err(wrong("more".into()));
    }
    if copied < blob.size {
        return Err(wrong(copied.to_string()));
    }
    writer.commit(Some(digest))?;
    Ok(())
}

/// A document as bytes, its size checked before anything is fetched.
fn small(
    store: &Store,
    source: &dyn BlobSource,
    blob: &Descriptor,
    what: &'static str,
) -> Result<Vec<u8>, IngestError> {
    if blob.size > MAX_DOCUMENT as u64 {
        return Err(IngestError::TooLarge { what, digest: blob.digest, size: blob.size });
    }
    fetch(store, source, blob)?;
    Ok(store.read_blob(&blob.digest, MAX_DOCUMENT as u64)?)
}
