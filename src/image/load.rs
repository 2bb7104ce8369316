//! Images from files: OCI layouts, as directory or tar, and what `docker save` wrote, old and new.
//!
//! Owns: which form an archive has, which of its images are meant, and what they are called.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::assemble::AssembleError;
use super::choose::{ChoiceError, choose};
use super::docker_archive;
use super::files::{Files, FilesError};
use super::ingest::{BlobSource, IngestError, Ingested, ingest};
use super::ingest_index::ingest_index;
use crate::diag::escape;
use crate::oci::json::{self, JsonError, MAX_DOCUMENT};
use crate::oci::{Descriptor, Document, DocumentError, Index, Reference, ReferenceError};
use crate::platform::Platform;
use crate::store::{IndexRecord, Store, StoreError};

/// The tag of an image in a layout (image-spec, "Pre-Defined Annotation Keys").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name of an image in a layout, as containerd, docker and BuildKit write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// Which images of an archive are wanted, and for which platform.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub platforms: Platforms,
    /// A tag or a full name; `None` for all.
    pub name: Option<String>,
}

/// What becomes of an image for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platforms {
    /// The image for this one is taken.
    One(Platform),
    /// All of them are, with their index.
    All,
}

/// One image of an archive, now in the store. It has no name there yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Of an index its first.
    pub image: Ingested,
    /// The index, if all of its images were wanted.
    pub index: Option<IndexRecord>,
    /// The full names the archive gives it.
    pub names: Vec<Reference>,
    /// The bare tag the archive gives it, if it gives no full name.
    pub tag: Option<String>,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{archive}: {source}")]
    Ingest { archive: String, source: Box<IngestError> },
    #[error("{archive}: {file}: {source}")]
    Json { archive: String, file: &'static str, source: JsonError },
    #[error("{archive}: index.json: {source}")]
    Index { archive: String, source: DocumentError },
    #[error("{archive}: index.json is a manifest, not an index")]
    NotAnIndex { archive: String },
    #[error("{archive}: imageLayoutVersion is {version:?}; expected \"1.0.0\"")]
    LayoutVersion { archive: String, version: String },
    #[error(
        "{archive} is neither an OCI layout (oci-layout, index.json) nor a docker archive (manifest.json)"
    )]
    UnknownForm { archive: String },
    #[error("{archive} was written by a docker before 1.10; save the image anew with a current one")]
    AncientDocker { archive: String },
    #[error("{archive} has several images: {available}; say which, with a colon behind the path")]
    Several { archive: String, available: String },
    #[error("{archive}: {source}")]
    Choice { archive: String, source: ChoiceError },
    #[error("{archive} has no image {wanted:?}; it has {available}")]
    NoSuchName { archive: String, wanted: String, available: String },
    #[error("{archive}: {annotation}: {source}")]
    Name { archive: String, annotation: &'static str, source: Box<ReferenceError> },
    #[error("{archive}: config {file} names itself {expected}, but its bytes hash to {actual}")]
    ConfigName { archive: String, file: String, expected: String, actual: String },
    #[error("{archive}: config {file}: {source}")]
    Config { archive: String, file: String, source: crate::oci::ConfigError },
    #[error("{archive}: image {image} has {layers} layers, but its config has {diff_ids} diff ids")]
    LayerCount { archive: String, image: String, layers: usize, diff_ids: usize },
    #[error("{archive}: {source}")]
    Assemble { archive: String, source: AssembleError },
}

/// Loads from a directory or a file, packed or not.
pub fn load_path(store: &Store, path: &Path, options: &LoadOptions) -> Result<Vec<Loaded>, LoadError> {
    if path.is_dir() {
        return load_files(store, &Files::directory(path)?, options);
    }
    load_files(store, &Files::tar_file(&store.root().join("tmp"), path)?, options)
}

/// Loads from a stream, packed or not; `shown` names it in messages.
pub fn load_stream(
    store: &Store,
    shown: &str,
    input: impl Read + Send,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, LoadError> {
    load_files(store, &Files::tar(&store.root().join("tmp"), shown, input)?, options)
}

fn load_files(store: &Store, files: &Files, options: &LoadOptions) -> Result<Vec<Loaded>, LoadError> {
    // An archive of a current docker is both; the layout says more.
    if let Some(index) = files.read("index.json", MAX_DOCUMENT as u64)? {
        check_layout_version(files)?;
        return load_layout(store, files, &index, options);
    }
    if let Some(manifest) = files.read("manifest.json", MAX_DOCUMENT as u64)? {
        return docker_archive::load(store, files, &manifest, options);
    }
    let archive = files.shown().to_owned();
    match files.read("repositories", MAX_DOCUMENT as u64)? {
        Some(_) => Err(LoadError::AncientDocker { archive }),
        None => Err(LoadError::UnknownForm { archive }),
    }
}

#[derive(Deserialize)]
struct LayoutVersion {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

pub(super) fn check_layout_version(files: &Files) -> Result<(), LoadError> {
    let archive = || files.shown().to_owned();
    let Some(bytes) = files.read("oci-layout", MAX_DOCUMENT as u64)? else {
        return Err(LoadError::UnknownForm { archive: archive() });
    };
    let layout: LayoutVersion = json::parse(&bytes, MAX_DOCUMENT).map_err(|source| LoadError::Json {
        archive: archive(),
        file: "oci-layout",
        source,
    })?;
    if layout.version != "1.0.0" {
        return Err(LoadError::LayoutVersion { archive: archive(), version: layout.version });
    }
    Ok(())
}

/// What `index.json` says.
pub(super) fn index_of(files: &Files, bytes: &[u8]) -> Result<Index, LoadError> {
    let archive = || files.shown().to_owned();
    let document =
        Document::parse(bytes, None).map_err(|source| LoadError::Index { archive: archive(), source })?;
    match document {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(LoadError::NotAnIndex { archive: archive() }),
    }
}

fn load_layout(
    store: &Store,
    files: &Files,
    index: &[u8],
    options: &LoadOptions,
) -> Result<Vec<Loaded>, LoadError> {
    let archive = || files.shown().to_owned();
    let index = index_of(files, index)?;
    let images = group(files, &index.manifests)?;
    let images = pick(files, images, options.name.as_deref())?;
    if images.is_empty() {
        return Err(LoadError::Choice { archive: archive(), source: ChoiceError::Empty });
    }
    let mut loaded: Vec<Loaded> = Vec::new();
    for (name, candidates) in images {
        let refused = |source| LoadError::Ingest { archive: archive(), source: Box::new(source) };
        let (image, index) = match &options.platforms {
            Platforms::All => ingest_index(store, files, &candidates).map_err(refused)?,
            Platforms::One(platform) => {
                let top = choose(&candidates, platform)
                    .map_err(|source| LoadError::Choice { archive: archive(), source })?;
                (ingest(store, files, top, platform).map_err(refused)?, None)
            }
        };
        add(&mut loaded, image, index, name);
    }
    Ok(loaded)
}

/// What a layout calls an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Unnamed,
    Tag(String),
    Full(Reference),
}

impl Name {
    fn of(files: &Files, descriptor: &Descriptor) -> Result<Self, LoadError> {
        let wrong = |annotation: &'static str, source| LoadError::Name {
            archive: files.shown().to_owned(),
            annotation,
            source: Box::new(source),
        };
        let parse = |annotation: &'static str, name: &str| {
            name.parse::<Reference>().map_err(|source| wrong(annotation, source))
        };
        let full = descriptor.annotations.get(IMAGE_NAME).map(|name| parse(IMAGE_NAME, name)).transpose()?;
        match (full, descriptor.annotations.get(REF_NAME)) {
            (None, None) => Ok(Self::Unnamed),
            (Some(full), None) => Ok(Self::Full(full)),
            // skopeo and podman write full names here, umoci and the specification tags.
            (_, Some(name)) if name.contains(['/', ':', '@']) => Ok(Self::Full(parse(REF_NAME, name)?)),
            // A tool that tags anew, as umoci does, leaves the full name as it was: the tag is the later word.
            (Some(full), Some(tag)) => full.with_tag(tag).map(Self::Full).map_err(|e| wrong(REF_NAME, e)),
            (None, Some(tag)) => {
                // A tag is what may follow a colon; the same grammar decides.
                parse(REF_NAME, &format!("x:{tag}"))?;
                Ok(Self::Tag(tag.clone()))
            }
        }
    }

    fn matches(&self, wanted: &str) -> bool {
        match self {
            Self::Unnamed => false,
            Self::Tag(tag) => tag == wanted,
            Self::Full(reference) => {
                reference.tag() == Some(wanted)
                    || wanted.parse::<Reference>().is_ok_and(|wanted| wanted == *reference)
            }
        }
    }
}

/// Descriptors of the same name are one image for several platforms.
pub(super) fn group(
    files: &Files,
    manifests: &[Descriptor],
) -> Result<BTreeMap<Name, Vec<Descriptor>>, LoadError> {
    let mut groups: BTreeMap<Name, Vec<Descriptor>> = BTreeMap::new();
    // What is said of an image is none.
    for descriptor in manifests.iter().filter(|descriptor| descriptor.artifact_type.is_none()) {
        groups.entry(Name::of(files, descriptor)?).or_default().push(descriptor.clone());
    }
    // A layout may list things that are no images, such as signatures, beside those that are.
    groups.retain(|_, members| {
        members
            .iter()
            .any(|d| d.media_type.is_manifest() || d.media_type.is_index() || d.media_type.is_schema1())
    });
    Ok(groups)
}

/// The images that a name means; all of them without one.
pub(super) fn pick(
    files: &Files,
    mut images: BTreeMap<Name, Vec<Descriptor>>,
    wanted: Option<&str>,
) -> Result<BTreeMap<Name, Vec<Descriptor>>, LoadError> {
    let Some(wanted) = wanted else { return Ok(images) };
    let available: Vec<String> = images.keys().map(shown).collect();
    images.retain(|name, _| name.matches(wanted));
    if images.is_empty() {
        return Err(no_such_name(files, wanted, &available));
    }
    Ok(images)
}

pub(super) fn no_such_name(files: &Files, wanted: &str, available: &[String]) -> LoadError {
    LoadError::NoSuchName {
        archive: files.shown().to_owned(),
        wanted: wanted.to_owned(),
        available: if available.is_empty() { "none".into() } else { available.join(", ") },
    }
}

pub(super) fn shown(name: &Name) -> String {
    match name {
        Name::Unnamed => "one without a name".into(),
        Name::Tag(tag) => escape(tag.as_bytes()),
        Name::Full(reference) => reference.familiar(),
    }
}

/// One line an image, however many names it has.
fn add(loaded: &mut Vec<Loaded>, image: Ingested, index: Option<IndexRecord>, name: Name) {
    let is_same = |l: &Loaded| l.image.digest == image.digest && l.index == index;
    let at = loaded.iter().position(is_same).unwrap_or_else(|| {
        loaded.push(Loaded { image, index, names: Vec::new(), tag: None });
        loaded.len() - 1
    });
    match name {
        Name::Unnamed => {}
        Name::Tag(tag) => loaded[at].tag = Some(tag),
        Name::Full(reference) => loaded[at].names.push(reference),
    }
}

impl BlobSource for Files {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        let name = format!("blobs/sha256/{}", blob.digest.hex());
        Files::open(self, &name).map(|(reader, _)| reader).map_err(io::Error::other)
    }
}
