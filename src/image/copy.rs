//! Gathered images given to places that are files, or to a store. What a registry is given, `registry` gives it.
//!
//! Owns: spec/copy.md, "Where to". Nothing here decides what is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

use super::attested::embedded;
use super::export::{ExportError, Item, to, to_file, write_docker_archive};
use super::gather::{CopyError, Gathered, document, whole};
use super::ingest::{BlobSource, Ingested, fetch};
use super::ingest_index::ingest_index;
use super::layout;
use super::load::{IMAGE_NAME, REF_NAME};
use super::output::Dest;
use super::verified::Verified;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::layer::compress::{Decompressor, Format};
use crate::layer::read::Limits;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Document, ImageConfig, Manifest, Reference};
use crate::store::{ArtifactRecord, IndexRecord, Store};
use crate::sys::file::{Durability, Unnamed};

/// What a layout is to call an image: as it is written, which is how it is looked up again; a full name also as containerd
/// has it.
fn label(name: &str) -> layout::Label {
    let mut label = BTreeMap::from([(REF_NAME.to_owned(), name.to_owned())]);
    if name.contains(['/', ':', '@'])
        && let Ok(reference) = name.parse::<Reference>()
    {
        label.insert(IMAGE_NAME.to_owned(), reference.to_string());
    }
    label
}

/// Adds it to the layout in a directory.
pub fn to_layout(
    source: &dyn BlobSource,
    gathered: &Gathered,
    name: Option<&str>,
    dest: &Path,
) -> Result<(), ExportError> {
    let labels: Vec<layout::Label> = name.into_iter().map(label).collect();
    layout::write_directory(source, &gathered.packed, &labels, dest)
}

/// Writes it as a layout in a tar.
pub fn to_layout_archive(
    source: &dyn BlobSource,
    gathered: &Gathered,
    name: Option<&str>,
    dest: &Path,
) -> Result<(), ExportError> {
    let labels: Vec<layout::Label> = name.into_iter().map(label).collect();
    to_file(dest, |sink| layout::write_tar(source, &gathered.packed, &labels, sink).map(drop))
}

/// Writes it as a layout in a tar, under names of the store.
pub fn save_layout(
    store: &Store,
    gathered: &Gathered,
    names: &BTreeSet<Reference>,
    dest: &Dest,
    stdout: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    to(dest, stdout, |sink| {
        layout::write_tar(store, &gathered.packed, &layout::labels(names), sink).map(drop)
    })
}

/// Writes it as `docker save` would. Layers are unpacked on the way, one at a time in a file without a name beside the
/// archive, since a tar says the size of what follows first.
pub fn to_docker_archive(
    source: &dyn BlobSource,
    gathered: &Gathered,
    name: Option<&Reference>,
    dest: &Path,
) -> Result<ImageId, CopyError> {
    let (manifest, config, config_bytes) = image(source, gathered)?;
    let names: BTreeSet<&Reference> = name.into_iter().collect();
    let id = ImageId::from(manifest.config.digest);
    let layers = &config.rootfs.diff_ids;
    let item = Item { id, config: &config_bytes, layers, names };
    let by_diff: BTreeMap<DiffId, &Descriptor> = layers.iter().copied().zip(&manifest.layers).collect();
    let dir = dest.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let open = |diff: DiffId| layer(source, by_diff[&diff], diff, dir);
    let written = to_file(dest, |sink| write_docker_archive(&[item], open, sink));
    written.map_err(|source| CopyError::Export(Box::new(source)))?;
    Ok(id)
}

/// The one image of what was gathered, with its config.
fn image(
    source: &dyn BlobSource,
    gathered: &Gathered,
) -> Result<(Manifest, ImageConfig, Vec<u8>), CopyError> {
    let digest = gathered.top().digest;
    let document = Document::parse(gathered.top_bytes(), None);
    let manifest = match document.map_err(|source| CopyError::Document { digest, source })? {
        Document::Manifest(manifest) if manifest.config.media_type.is_config() => manifest,
        Document::Manifest(_) => return Err(CopyError::NotAnImage(digest)),
        Document::Index(_) => return Err(CopyError::SeveralImages(digest)),
    };
    if manifest.config.size > MAX_DOCUMENT as u64 {
        return Err(CopyError::TooLarge { digest: manifest.config.digest, size: manifest.config.size });
    }
    let bytes = whole(source, &manifest.config)?;
    let digest = manifest.config.digest;
    let config = ImageConfig::parse(&bytes).map_err(|source| CopyError::Config { digest, source })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    match layers == diff_ids {
        true => Ok((manifest, config, bytes)),
        false => Err(CopyError::LayerCount { config: digest, layers, diff_ids }),
    }
}

/// A layer's tar, checked against its diff id, and its size.
fn layer<'a>(
    source: &'a dyn BlobSource,
    blob: &Descriptor,
    diff: DiffId,
    dir: &Path,
) -> Result<(Box<dyn Read + 'a>, u64), ExportError> {
    let packed = Verified::of(source, blob)?;
    let mut plain = Decompressor::new(packed, Limits::default().unpacking())?;
    if plain.format() == Format::Plain {
        return Ok((Box::new(Verified::new(plain, diff.into(), blob.size)), blob.size));
    }
    let mut spool = Unnamed::new(dir)?;
    let size = io::copy(&mut plain, &mut spool)?;
    let mut file = spool.file().try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok((Box::new(Verified::new(Spooled { file, _spool: spool }, diff.into(), size)), size))
}

/// A file without a name, for as long as it is read.
struct Spooled {
    file: std::fs::File,
    _spool: Unnamed,
}

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// What a store has taken in.
pub struct Taken {
    /// Of an index its first image.
    pub image: Ingested,
    pub index: Option<IndexRecord>,
    /// What was left behind, and why.
    pub warnings: Vec<String>,
}

/// Takes it into a store, by the same rules as what is pulled or loaded, and what is said of it with it. It has no name there
/// yet.
pub fn to_store(store: &Store, source: &dyn BlobSource, gathered: &Gathered) -> Result<Taken, CopyError> {
    let packed = &gathered.packed;
    for of in packed.inner.iter().chain([&packed.manifest]) {
        store.put_blob(packed.document(of), Durability::Synced)?;
    }
    let (image, index) = ingest_index(store, source, std::slice::from_ref(&packed.manifest))?;
    let mut warnings = Vec::new();
    let mut keep = |subject: BlobDigest, entry: &Descriptor| -> Result<(), CopyError> {
        let (document, bytes) = document(source, entry)?;
        let Document::Manifest(manifest) = document else { return Ok(()) };
        for part in manifest.layers.iter().chain([&manifest.config]) {
            fetch(store, source, part)?;
        }
        store.put_blob(&bytes, Durability::Synced)?;
        let artifact = ArtifactRecord { manifest: entry.digest, built: None };
        if !store.add_attestation(subject, artifact)? {
            warnings.push(format!("{} is left behind: too much is said of {subject}", entry.digest));
        }
        Ok(())
    };
    if let Ok(Document::Index(index)) = Document::parse(gathered.top_bytes(), None) {
        for entry in &index.manifests {
            if let Some(subject) = embedded(entry) {
                keep(subject, entry)?;
            }
        }
    }
    for referrer in &packed.referrers {
        keep(referrer.subject, &referrer.entry)?;
    }
    Ok(Taken { image, index, warnings })
}
