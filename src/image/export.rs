//! Images given out: one function for every `--output`, and what `save` needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::flatten;
use super::gather::CopyError;
use super::index;
use super::layout::{self, labels};
use super::local::{self, LocalError};
use super::output::{Dest, Layers, OutputKind, OutputSpec};
use super::pack::{Packed, Told, as_it_is, pack};
use super::stored::StoredImage;
use super::tarball::Tarball;
use super::verified::Verified;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::layer::write::WriteError;
use crate::oci::attest::Attestation;
use crate::oci::{Descriptor, DocumentError, Reference, json};
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::store::{Store, StoreError};
use crate::sys::file;

/// Why an image was not given out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("write output: {0}")]
    Io(#[from] io::Error),
    #[error("write output: {0}")]
    Write(#[from] WriteError),
    #[error("compress layer {layer}: {source}")]
    Pack { layer: DiffId, source: io::Error },
    #[error("layer {layer} is corrupt: its file {path} does not have the bytes of its table of contents")]
    Corrupt { layer: DiffId, path: ImagePath },
    #[error("{path} is not an index; choose an empty directory for the layout")]
    NotAnIndex { path: PathBuf },
    #[error("{path} is damaged: {source}; choose an empty directory for the layout")]
    ExistingIndex { path: PathBuf, source: DocumentError },
    #[error("index {digest}: {source}")]
    Index { digest: BlobDigest, source: DocumentError },
    #[error("{0} is not an index")]
    NoIndex(BlobDigest),
    #[error(transparent)]
    Gather(Box<CopyError>),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(
        "a docker archive holds images for one platform, and this one is for {0}; write an output of type oci"
    )]
    SeveralPlatforms(String),
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The manifest or index of an OCI output; its digest differs from the image's if layers were packed.
    pub manifest: Option<Descriptor>,
    /// Devices, which a local output leaves out.
    pub skipped: Vec<ImagePath>,
}

/// Writes an image. `names` are those it has; OCI outputs take in what is said of it; `stdout` takes what `dest=-` asks for.
pub fn export(
    store: &Store,
    image: &StoredImage,
    names: &[Reference],
    spec: &OutputSpec,
    attestations: &[Attestation],
    told: Told<'_>,
    stdout: &mut (dyn Write + Send),
) -> Result<Exported, ExportError> {
    let packed = |layers: &Layers| Ok(pack(store, image, *layers, told)?.attested(attestations));
    let names = tagged(names, spec);
    let mut manifest = None;
    let mut skipped = Vec::new();
    match &spec.kind {
        OutputKind::OciArchive { .. } | OutputKind::OciLayout { .. } => {
            manifest = write_layout(store, &names, spec, packed, stdout)?;
        }
        OutputKind::DockerArchive { dest } => {
            to(dest, stdout, |sink| docker_archive(store, &[(image, &names)], sink))?;
        }
        OutputKind::RootFsTar { dest } => {
            let root = [(ImagePath::root(), image)];
            to(dest, stdout, |sink| flatten::flatten(store, &root, sink).map(drop))?;
        }
        OutputKind::Local { dest } => skipped = local::write(store, image, dest, &ImagePath::root())?,
    }
    Ok(Exported { manifest, skipped })
}

/// An image for one of several platforms, and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlatformImage {
    pub platform: Platform,
    pub image: StoredImage,
    pub attestations: Vec<Attestation>,
}

/// Writes an image for several platforms: an index, or a directory for each. `annotations` are those of the index.
pub fn export_index(
    store: &Store,
    images: &[PlatformImage],
    annotations: &BTreeMap<String, String>,
    names: &[Reference],
    spec: &OutputSpec,
    told: Told<'_>,
    stdout: &mut (dyn Write + Send),
) -> Result<Exported, ExportError> {
    let packed = |layers: &Layers| {
        let one = |one: &PlatformImage| {
            let platform = index::platform_of(&one.image.config, &one.platform);
            let packed = pack(store, &one.image, *layers, told)?.attested(&one.attestations);
            Ok((platform.unwrap_or_else(|| one.platform.clone()), packed))
        };
        let images = images.iter().map(one).collect::<Result<Vec<_>, ExportError>>()?;
        Ok(Packed::together(images, annotations))
    };
    let below = |one: &PlatformImage| ImagePath::root().child(index::directory(&one.platform).as_bytes());
    let mut manifest = None;
    let mut skipped = Vec::new();
    match &spec.kind {
        OutputKind::OciArchive { .. } | OutputKind::OciLayout { .. } => {
            manifest = write_layout(store, &tagged(names, spec), spec, packed, stdout)?;
        }
        OutputKind::DockerArchive { .. } => {
            let all: Vec<String> = images.iter().map(|one| one.platform.to_string()).collect();
            return Err(ExportError::SeveralPlatforms(all.join(", ")));
        }
        OutputKind::RootFsTar { dest } => {
            let mut roots: Vec<_> = images.iter().map(|one| (below(one), &one.image)).collect();
            roots.sort_by(|a, b| a.0.cmp(&b.0));
            to(dest, stdout, |sink| flatten::flatten(store, &roots, sink).map(drop))?;
        }
        OutputKind::Local { dest } => {
            for one in images {
                skipped.extend(local::write(store, &one.image, dest, &below(one))?);
            }
        }
    }
    Ok(Exported { manifest, skipped })
}

/// Names that can stand in an output.
fn tagged(names: &[Reference], spec: &OutputSpec) -> BTreeSet<Reference> {
    names.iter().chain(&spec.names).filter(|name| name.tag().is_some()).cloned().collect()
}

/// Writes a layout, if that is what is asked for; the manifest or index in it.
fn write_layout(
    store: &Store,
    names: &BTreeSet<Reference>,
    spec: &OutputSpec,
    packed: impl FnOnce(&Layers) -> Result<Packed, ExportError>,
    stdout: &mut (dyn Write + Send),
) -> Result<Option<Descriptor>, ExportError> {
    Ok(match &spec.kind {
        OutputKind::OciArchive { dest, layers } => {
            let packed = packed(layers)?;
            to(dest, stdout, |sink| layout::write_tar(store, &packed, &labels(names), sink).map(drop))?;
            Some(packed.manifest)
        }
        OutputKind::OciLayout { dest, layers } => {
            let packed = packed(layers)?;
            layout::write_directory(store, &packed, &labels(names), dest)?;
            Some(packed.manifest)
        }
        OutputKind::DockerArchive { .. } | OutputKind::RootFsTar { .. } | OutputKind::Local { .. } => None,
    })
}

/// Adds an image to the layout in a directory under one name, manifest and blobs byte for byte as the store has them.
pub fn add_to_layout(
    store: &Store,
    image: &StoredImage,
    name: Reference,
    dest: &Path,
) -> Result<(), ExportError> {
    layout::write_directory(store, &as_it_is(image), &labels(&BTreeSet::from([name])), dest)
}

/// Writes several images into one docker archive. An image given twice gets both lists of names, a layer that
/// several have is written once, and a name without a tag is left out.
pub fn docker_archive<W: Write>(
    store: &Store,
    images: &[(&StoredImage, &BTreeSet<Reference>)],
    sink: W,
) -> Result<(), ExportError> {
    let open = |diff: DiffId| {
        let tar = Verified::open(store, diff.into())?;
        let size = tar.size();
        Ok((Box::new(tar) as Box<dyn Read>, size))
    };
    write_docker_archive(&merge(images), open, sink)
}

/// One image of a docker archive with its tagged names.
pub(super) struct Item<'a> {
    pub id: ImageId,
    pub config: &'a [u8],
    /// Bottom first.
    pub layers: &'a [DiffId],
    pub names: BTreeSet<&'a Reference>,
}

/// Writes a docker archive; `open` gives the tar of a layer and its size.
pub(super) fn write_docker_archive<'a, W: Write>(
    images: &[Item<'_>],
    mut open: impl FnMut(DiffId) -> Result<(Box<dyn Read + 'a>, u64), ExportError>,
    sink: W,
) -> Result<(), ExportError> {
    let mut members = BTreeMap::new();
    for image in images {
        members.insert(format!("{}.json", image.id.hex()), Member::Bytes(image.config.to_vec()));
        for diff in image.layers {
            members.insert(diff.hex(), Member::Directory);
            members.insert(format!("{}/layer.tar", diff.hex()), Member::Layer(*diff));
        }
    }
    members.insert("manifest.json".into(), Member::Bytes(manifest_json(images)));
    if let Some(bytes) = repositories(images) {
        members.insert("repositories".into(), Member::Bytes(bytes));
    }
    let mut tarball = Tarball::new(sink);
    for (name, member) in &members {
        match member {
            Member::Directory => tarball.directory(name)?,
            Member::Bytes(bytes) => tarball.file(name, bytes)?,
            Member::Layer(diff) => {
                let (tar, size) = open(*diff)?;
                tarball.stream(name, size, tar)?;
            }
        }
    }
    tarball.finish()?;
    Ok(())
}

/// Each image once, with its tagged names.
fn merge<'a>(images: &[(&'a StoredImage, &'a BTreeSet<Reference>)]) -> Vec<Item<'a>> {
    let mut merged: Vec<Item<'a>> = Vec::new();
    for (image, names) in images {
        let tagged = names.iter().filter(|name| name.tag().is_some());
        match merged.iter_mut().find(|known| known.id == image.id) {
            Some(known) => known.names.extend(tagged),
            None => {
                let (id, config, layers) = (image.id, &image.config_bytes[..], image.layers());
                merged.push(Item { id, config, layers, names: tagged.collect() });
            }
        }
    }
    merged
}

/// One name of a docker archive.
enum Member {
    Directory,
    Bytes(Vec<u8>),
    Layer(DiffId),
}

/// One image of `manifest.json`, version 1.2.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestItem {
    config: String,
    /// `null` if there are none, as docker writes it.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn manifest_json(images: &[Item<'_>]) -> Vec<u8> {
    let item = |image: &Item<'_>| ManifestItem {
        config: format!("{}.json", image.id.hex()),
        repo_tags: (!image.names.is_empty())
            .then(|| image.names.iter().map(|name| name.without_digest().familiar()).collect()),
        layers: image.layers.iter().map(|diff| format!("{}/layer.tar", diff.hex())).collect(),
    };
    json::to_bytes(&images.iter().map(item).collect::<Vec<_>>())
}

/// Name to tag to top layer, for readers of version 1.0; nothing without a name.
fn repositories(images: &[Item<'_>]) -> Option<Vec<u8>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in images {
        let Some(top) = image.layers.last() else { continue };
        for name in &image.names {
            let tag = name.tag().unwrap_or_default().to_owned();
            all.entry(name.familiar_name()).or_default().insert(tag, top.hex());
        }
    }
    (!all.is_empty()).then(|| json::to_bytes(&all))
}

/// Runs `write` on a stream. A file appears under its name only when it is whole.
pub(super) fn to(
    dest: &Dest,
    stdout: &mut (dyn Write + Send),
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    match dest {
        Dest::Stdout => {
            let mut sink = BufWriter::with_capacity(1 << 18, stdout);
            write(&mut sink)?;
            Ok(sink.flush()?)
        }
        Dest::File(path) => to_file(path, write),
    }
}

pub(super) fn to_file(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    // A pipe or a device is written to, not replaced.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        let device = OpenOptions::new().write(true).open(path).map_err(|e| file::context(e, "open", path))?;
        return write_through(device, write);
    }
    let is_a_directory = || file::context(io::Error::from(io::ErrorKind::IsADirectory), "write", path);
    let name = path.file_name().filter(|_| !path.is_dir()).ok_or_else(is_a_directory)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temp = file::Unnamed::new(dir)?;
    write_through(&mut temp, write)?;
    // A name cannot be taken over by a link, only by a rename, so the file gets a hidden name for a moment.
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", file::unique_name()));
    let hidden = dir.join(hidden);
    temp.publish(&hidden)?;
    fs::rename(&hidden, path).map_err(|error| {
        let _ = fs::remove_file(&hidden);
        file::context(error, "write", path).into()
    })
}

fn write_through(
    file: impl Write + Send,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut sink = BufWriter::with_capacity(1 << 18, file);
    write(&mut sink)?;
    Ok(sink.flush()?)
}
