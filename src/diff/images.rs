//! The documents of one side: from what it is known by to the images in it, each with its config and its layers.

use serde_json::Value;

use super::DiffError;
use super::report::ImageFacts;
use super::stack::{self, Bytes, Layer};
use crate::digest::ImageId;
use crate::image::BlobSource;
use crate::image::attested::embedded;
use crate::image::gather::{descend, document, whole};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Document, ImageConfig, Index, Manifest};
use crate::platform::Platform;

/// The most indexes on the way to a manifest.
const MAX_DEPTH: usize = 8;

/// What a side is known by, taken apart.
pub(super) struct Top {
    /// None of a manifest.
    pub index: Option<Index>,
    pub images: Vec<Descriptor>,
    /// Manifests of an index that are about its images.
    pub attestations: Vec<Descriptor>,
}

/// One image.
pub(super) struct Image<'a> {
    pub source: &'a dyn BlobSource,
    pub entry: Descriptor,
    pub manifest: Manifest,
    pub id: ImageId,
    pub config: Value,
    pub platform: Option<Platform>,
    pub layers: Vec<Layer<'a>>,
}

/// Takes a side apart; with a platform only the image that it has for that.
pub(super) fn top(
    source: &dyn BlobSource,
    top: &Descriptor,
    platform: Option<&Platform>,
) -> Result<Top, DiffError> {
    if let Some(platform) = platform {
        let image = descend(source, top, platform)?;
        return Ok(Top { index: None, images: vec![image], attestations: Vec::new() });
    }
    let index = match document(source, top)?.0 {
        Document::Manifest(_) => {
            return Ok(Top { index: None, images: vec![top.clone()], attestations: Vec::new() });
        }
        Document::Index(index) => index,
    };
    let mut found = Top { index: None, images: Vec::new(), attestations: Vec::new() };
    let mut left: Vec<(Descriptor, usize)> = index.manifests.iter().rev().map(|d| (d.clone(), 1)).collect();
    found.index = Some(index);
    while let Some((entry, depth)) = left.pop() {
        if entry.media_type.is_index() {
            if depth > MAX_DEPTH {
                return Err(DiffError::TooDeep(entry.digest));
            }
            if let Document::Index(inner) = document(source, &entry)?.0 {
                left.extend(inner.manifests.into_iter().rev().map(|inner| (inner, depth + 1)));
            }
        } else if embedded(&entry).is_some() || !is_runnable(&entry) {
            found.attestations.push(entry);
        } else {
            found.images.push(entry);
        }
    }
    Ok(found)
}

/// What is for an unknown platform is no image: builders have statements so.
fn is_runnable(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

impl<'a> Image<'a> {
    /// Reads the documents of an image; its layers are only named.
    pub fn read(source: &'a dyn BlobSource, entry: &Descriptor) -> Result<Self, DiffError> {
        let (Document::Manifest(manifest), _) = document(source, entry)? else {
            return Err(DiffError::NotAnImage(entry.digest));
        };
        let digest = manifest.config.digest;
        if !manifest.config.media_type.is_config() {
            return Err(DiffError::NotAnImage(entry.digest));
        }
        if manifest.config.size > MAX_DOCUMENT as u64 {
            return Err(DiffError::TooLarge { digest, size: manifest.config.size });
        }
        let bytes = whole(source, &manifest.config)?;
        let parsed = ImageConfig::parse(&bytes).map_err(|source| DiffError::Config { digest, source })?;
        let config: Value = serde_json::from_slice(&bytes).expect("it was parsed before");
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(DiffError::LayerCount { manifest: entry.digest, layers, diff_ids });
        }
        let lines = parsed.history.iter().filter(|line| !line.empty_layer);
        let mut lines = lines.map(|line| line.created_by.clone());
        let store = source.store();
        let layers = manifest.layers.iter().zip(diff_ids).enumerate().map(|(at, (blob, diff))| {
            let facts = stack::facts(at + 1, *diff, blob, lines.next().flatten());
            let bytes = match store {
                Some(store) => Bytes::Stored(store, *diff),
                None => Bytes::Blob(source, blob.clone(), *diff),
            };
            Layer::new(facts, Some(*diff), bytes)
        });
        let layers = layers.collect();
        let platform = parsed.platform();
        Ok(Self { source, entry: entry.clone(), id: digest.into(), config, platform, layers, manifest })
    }

    pub fn facts(&self) -> ImageFacts {
        ImageFacts {
            manifest: Some(self.entry.digest.to_string()),
            config: Some(self.id.to_string()),
            layers: self.layers.len(),
            size: Some(self.manifest.layers.iter().map(|layer| layer.size).sum()),
        }
    }
}

/// What an image of an index is for: what tells it from the others.
pub(super) fn name(entry: &Descriptor) -> String {
    let Some(platform) = &entry.platform else { return "unknown platform".to_owned() };
    let mut name = match platform.normal() {
        Some(normal) => normal.to_string(),
        None => format!("{}/{}", platform.os, platform.architecture),
    };
    if let Some(version) = platform.other.get("os.version").and_then(Value::as_str) {
        name.push_str(&format!(":{version}"));
    }
    name
}
