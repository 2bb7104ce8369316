//! docker's archive format, versions 1.0 to 1.2: `manifest.json`, configs, one tar a layer.
//!
//! Owns: reading it. Such an archive has no OCI manifest, so one is made, with uncompressed layers: the same image
//! has the same manifest digest whoever saved it.

use serde::Deserialize;

use super::files::Files;
use super::ingest::{Ingested, take_layer};
use super::load::{LoadError, LoadOptions, Loaded, no_such_name};
use crate::digest::{BlobDigest, DiffId};
use crate::oci::json::{self, MAX_DOCUMENT};
use crate::oci::media::{Flavor, MediaType};
use crate::oci::{Descriptor, ImageConfig, Manifest, Reference};
use crate::store::{ImageRecord, Store};
use crate::sys::file::Durability;

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Loads the images of `manifest.json`.
pub(super) fn load(
    store: &Store,
    files: &Files,
    manifest: &[u8],
    options: &LoadOptions,
) -> Result<Vec<Loaded>, LoadError> {
    pick(files, manifest, options.name.as_deref())?
        .into_iter()
        .map(|(names, item)| Ok(Loaded { image: take(store, files, &item)?, index: None, names, tag: None }))
        .collect()
}

/// The images of `manifest.json` that a name means, with their names; all of them without one.
pub(super) fn pick(
    files: &Files,
    manifest: &[u8],
    wanted: Option<&str>,
) -> Result<Vec<(Vec<Reference>, Item)>, LoadError> {
    let items: Vec<Item> = json::parse(manifest, MAX_DOCUMENT).map_err(|source| LoadError::Json {
        archive: files.shown().to_owned(),
        file: "manifest.json",
        source,
    })?;
    let mut named = Vec::new();
    for item in items {
        named.push((names(files, &item)?, item));
    }
    if let Some(wanted) = wanted {
        let available: Vec<String> =
            named.iter().flat_map(|(names, _)| names).map(Reference::familiar).collect();
        named.retain(|(names, _)| names.iter().any(|name| matches(name, wanted)));
        if named.is_empty() {
            return Err(no_such_name(files, wanted, &available));
        }
    }
    Ok(named)
}

fn names(files: &Files, item: &Item) -> Result<Vec<Reference>, LoadError> {
    let parse = |name: &String| {
        name.parse().map_err(|source| LoadError::Name {
            archive: files.shown().to_owned(),
            annotation: "RepoTags",
            source: Box::new(source),
        })
    };
    item.repo_tags.iter().flatten().map(parse).collect()
}

fn matches(name: &Reference, wanted: &str) -> bool {
    name.tag() == Some(wanted) || wanted.parse::<Reference>().is_ok_and(|wanted| wanted == *name)
}

/// The config of an image, and the files of its layers, bottom first: as many as it has diff ids.
pub(super) fn parts<'a>(
    files: &Files,
    item: &'a Item,
) -> Result<(ImageConfig, Vec<u8>, Vec<&'a String>), LoadError> {
    let archive = || files.shown().to_owned();
    let (config, bytes) = read_config(files, item)?;
    let paths: Vec<&String> = item.layers.iter().flatten().collect();
    if paths.len() != config.rootfs.diff_ids.len() {
        return Err(LoadError::LayerCount {
            archive: archive(),
            image: crate::diag::escape(item.config.as_bytes()),
            layers: paths.len(),
            diff_ids: config.rootfs.diff_ids.len(),
        });
    }
    Ok((config, bytes, paths))
}

/// The manifest of an image that has none: with uncompressed layers, of these sizes.
pub(super) fn manifest_of(config: &[u8], layers: impl Iterator<Item = (DiffId, u64)>) -> Manifest {
    let layer = |(diff, size): (DiffId, u64)| Descriptor::new(MediaType::OciLayer, diff.into(), size);
    Manifest::new(Flavor::Oci, Descriptor::of(MediaType::OciConfig, config), layers.map(layer).collect())
}

fn take(store: &Store, files: &Files, item: &Item) -> Result<Ingested, LoadError> {
    let (config, bytes, paths) = parts(files, item)?;
    let mut layers = Vec::new();
    let mut warnings = Vec::new();
    for (path, diff) in paths.iter().zip(&config.rootfs.diff_ids) {
        let odd = take_file(store, files, path, *diff)?;
        warnings.extend(odd);
        layers.push((*diff, store.layer_size(*diff)?));
    }
    let id = store.put_blob(&bytes, Durability::Synced)?.into();
    let manifest = manifest_of(&bytes, layers.into_iter());
    let digest = store.put_blob(&manifest.to_bytes(), Durability::Synced)?;
    store.register_chain(&config.rootfs.diff_ids)?;
    store.put_image(&ImageRecord { id, manifest: Some(digest), parent: None })?;
    Ok(Ingested { id, digest, config, warnings })
}

/// A config that is called by a digest must have it: `<hex>.json`, `sha256:<hex>`, or `blobs/sha256/<hex>`.
fn read_config(files: &Files, item: &Item) -> Result<(ImageConfig, Vec<u8>), LoadError> {
    let archive = || files.shown().to_owned();
    let file = || crate::diag::escape(item.config.as_bytes());
    let Some(bytes) = files.read(&item.config, MAX_DOCUMENT as u64)? else {
        return Err(super::files::FilesError::Missing { archive: archive(), name: file() }.into());
    };
    let last = item.config.rsplit('/').next().unwrap_or_default();
    let last = last.strip_prefix("sha256:").unwrap_or(last);
    let actual = BlobDigest::of(&bytes);
    if let Ok(expected) = BlobDigest::from_hex(last.strip_suffix(".json").unwrap_or(last))
        && expected != actual
    {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        return Err(LoadError::ConfigName { archive: archive(), file: file(), expected, actual });
    }
    let config = ImageConfig::parse(&bytes).map_err(|source| LoadError::Config {
        archive: archive(),
        file: file(),
        source,
    })?;
    Ok((config, bytes))
}

/// A layer's file, packed or not, into the store.
fn take_file(store: &Store, files: &Files, path: &str, diff: DiffId) -> Result<Vec<String>, LoadError> {
    let ingest_error =
        |source| LoadError::Ingest { archive: files.shown().to_owned(), source: Box::new(source) };
    let (mut reader, _) = files.open(path)?;
    let mut writer = store.blob_writer()?;
    let copied = std::io::copy(&mut reader, &mut writer);
    copied.map_err(|source| super::files::FilesError::Read { archive: files.shown().to_owned(), source })?;
    let (blob, _) = writer.commit(None)?;
    take_layer(store, blob, None, diff).map_err(ingest_error)
}
