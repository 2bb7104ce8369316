//! All that a name stands for at some place, as it is to be somewhere else: the documents, which are read now, and what
//! they name, which is not.
//!
//! Owns: how far one goes (spec/copy.md, "What is copied"). What is gathered keeps every digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};

use super::choose::{ChoiceError, choose};
use super::export::ExportError;
use super::ingest::{BlobSource, IngestError};
use super::pack::{Blob, Packed, Referrer};
use crate::digest::BlobDigest;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{ConfigError, Descriptor, Document, DocumentError, Manifest};
use crate::platform::Platform;
use crate::sign;
use crate::store::StoreError;

/// The most indexes on the way to a manifest.
const MAX_DEPTH: usize = 8;
/// The most documents of one image, and the most bytes of all of them.
const MAX_DOCUMENTS: usize = 4096;
const MAX_BYTES: usize = 256 << 20;
/// A signature of a statement about an image is one step farther than the statement.
const MAX_STEPS: usize = 3;

/// What of it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Extent<'a> {
    /// One image of an index; else all that the name stands for.
    pub platform: Option<&'a Platform>,
    /// Also what says that it is about any of it.
    pub referrers: bool,
}

/// Why an image cannot be gathered, or not be given to another place.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("read {digest}: {source}")]
    Read { digest: BlobDigest, source: io::Error },
    #[error("list what is said of {subject}: {source}; --no-referrers leaves it behind")]
    Referrers { subject: BlobDigest, source: io::Error },
    #[error("{digest} has {actual} bytes; its descriptor says {expected}")]
    Size { digest: BlobDigest, expected: u64, actual: String },
    #[error("{expected} is corrupt: content hashes to {actual}")]
    Digest { expected: BlobDigest, actual: BlobDigest },
    #[error("manifest {digest} of {size} bytes is larger than the limit of {MAX_DOCUMENT}")]
    TooLarge { digest: BlobDigest, size: u64 },
    #[error("{digest}: {source}")]
    Document { digest: BlobDigest, source: DocumentError },
    #[error("index {digest}: {source}")]
    Choice { digest: BlobDigest, source: ChoiceError },
    #[error("index {0} is nested deeper than {MAX_DEPTH} levels")]
    TooDeep(BlobDigest),
    #[error("it has more than {MAX_DOCUMENTS} manifests, or more than {MAX_BYTES} bytes of them")]
    TooMany,
    #[error(
        "index {index} has {entry}, which is of type {media_type} and neither a manifest nor an index; copy one image of it \
         with --platform"
    )]
    NotADocument { index: BlobDigest, entry: BlobDigest, media_type: MediaType },
    #[error("layer {layer} is of type {media_type}: it lies elsewhere, and from there lith takes nothing")]
    Foreign { layer: BlobDigest, media_type: MediaType },
    #[error("manifest {0} is no image, so it has no file system; it goes to a registry or a layout")]
    NotAnImage(BlobDigest),
    #[error(
        "{0} is an index, and a docker archive holds images for one platform; choose one with --platform, or copy to oci-archive:"
    )]
    SeveralImages(BlobDigest),
    #[error("config {digest}: {source}")]
    Config { digest: BlobDigest, source: ConfigError },
    #[error("the manifest has {layers} layers, but its config {config} has {diff_ids} diff ids")]
    LayerCount { config: BlobDigest, layers: usize, diff_ids: usize },
    #[error(transparent)]
    Export(Box<ExportError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl CopyError {
    /// Whether the store was to have something that is not in it.
    pub fn is_missing(&self) -> bool {
        let Self::Read { source, .. } = self else { return false };
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
        matches!(inner, Some(StoreError::MissingBlob(_)))
    }
}

/// What was gathered.
pub struct Gathered {
    pub(crate) packed: Packed,
    /// Signatures that are known by a tag, as cosign has them: only a registry has a place for these.
    pub(crate) signatures: Vec<(String, Packed)>,
    /// What was left behind, and why.
    pub warnings: Vec<String>,
}

impl Gathered {
    /// What it is known by: a manifest or an index.
    pub fn top(&self) -> &Descriptor {
        &self.packed.manifest
    }

    /// The bytes of the manifest or index that it is known by.
    pub fn top_bytes(&self) -> &[u8] {
        self.packed.document(&self.packed.manifest)
    }
}

/// Gathers what `top` of a place stands for.
pub fn gather(source: &dyn BlobSource, top: &Descriptor, extent: Extent<'_>) -> Result<Gathered, CopyError> {
    let top = match extent.platform {
        None => top.clone(),
        Some(platform) => descend(source, top, platform)?,
    };
    let mut gathering = Gathering::new(source);
    gathering.document(&top, 0)?;
    let mut signatures = Vec::new();
    if extent.referrers {
        gathering.referrers()?;
        signatures = gathering.signatures()?;
    }
    let warnings = std::mem::take(&mut gathering.warnings);
    Ok(Gathered { packed: gathering.packed(), signatures, warnings })
}

/// A manifest or an index of a place, checked against its descriptor.
pub fn document(source: &dyn BlobSource, of: &Descriptor) -> Result<(Document, Vec<u8>), CopyError> {
    let (digest, expected) = (of.digest, of.size);
    if expected > MAX_DOCUMENT as u64 {
        return Err(CopyError::TooLarge { digest, size: expected });
    }
    let bytes = whole(source, of)?;
    let document = Document::parse(&bytes, Some(&of.media_type));
    Ok((document.map_err(|source| CopyError::Document { digest, source })?, bytes))
}

/// The bytes of something small, checked against its descriptor. Whoever calls has looked at the size.
pub fn whole(source: &dyn BlobSource, of: &Descriptor) -> Result<Vec<u8>, CopyError> {
    let (digest, expected) = (of.digest, of.size);
    let read_error = |source| CopyError::Read { digest, source };
    let mut bytes = Vec::new();
    let reader = source.open(of).map_err(read_error)?;
    reader.take(expected.saturating_add(1)).read_to_end(&mut bytes).map_err(read_error)?;
    let actual = bytes.len() as u64;
    if actual != expected {
        let actual = if actual > expected { "more".to_owned() } else { actual.to_string() };
        return Err(CopyError::Size { digest, expected, actual });
    }
    match BlobDigest::of(&bytes) {
        actual if actual == digest => Ok(bytes),
        actual => Err(CopyError::Digest { expected: digest, actual }),
    }
}

/// The manifest that an index has for a platform.
pub fn descend(
    source: &dyn BlobSource,
    top: &Descriptor,
    platform: &Platform,
) -> Result<Descriptor, CopyError> {
    let mut current = top.clone();
    for _ in 0..=MAX_DEPTH {
        let digest = current.digest;
        match document(source, &current)?.0 {
            Document::Manifest(_) => return Ok(current),
            Document::Index(index) => {
                let next = choose(&index.manifests, platform);
                current = next.map_err(|source| CopyError::Choice { digest, source })?.clone();
            }
        }
    }
    Err(CopyError::TooDeep(current.digest))
}

struct Gathering<'a> {
    source: &'a dyn BlobSource,
    blobs: BTreeMap<BlobDigest, Blob>,
    /// What is named before what names it.
    documents: Vec<Descriptor>,
    referrers: Vec<Referrer>,
    /// Documents that were looked at.
    seen: BTreeSet<BlobDigest>,
    reads: usize,
    /// Of all that was read.
    bytes: usize,
    warnings: Vec<String>,
}

impl<'a> Gathering<'a> {
    fn new(source: &'a dyn BlobSource) -> Self {
        Self {
            source,
            blobs: BTreeMap::new(),
            documents: Vec::new(),
            referrers: Vec::new(),
            seen: BTreeSet::new(),
            reads: 0,
            bytes: 0,
            warnings: Vec::new(),
        }
    }

    fn packed(mut self) -> Packed {
        let manifest = self.documents.pop().expect("the top comes last");
        Packed { manifest, blobs: self.blobs, inner: self.documents, referrers: self.referrers }
    }

    /// What signs any of the documents and is found by a tag.
    fn signatures(&self) -> Result<Vec<(String, Packed)>, CopyError> {
        let mut all = Vec::new();
        for subject in self.documents.iter().map(|document| document.digest) {
            let tag = sign::tag(&subject);
            let tagged =
                self.source.tagged(&tag).map_err(|source| CopyError::Referrers { subject, source })?;
            if let Some(manifest) = tagged {
                let mut signature = Gathering::new(self.source);
                signature.document(&manifest, 0)?;
                all.push((tag, signature.packed()));
            }
        }
        Ok(all)
    }

    /// Takes in a document and all below it.
    fn document(&mut self, of: &Descriptor, depth: usize) -> Result<(), CopyError> {
        if !self.seen.insert(of.digest) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(CopyError::TooDeep(of.digest));
        }
        let (document, bytes) = self.read(of)?;
        match &document {
            Document::Manifest(manifest) => self.parts(manifest)?,
            Document::Index(index) => {
                for entry in &index.manifests {
                    let media_type = &entry.media_type;
                    if !media_type.is_manifest() && !media_type.is_index() && !media_type.is_schema1() {
                        let (index, media_type) = (of.digest, media_type.clone());
                        return Err(CopyError::NotADocument { index, entry: entry.digest, media_type });
                    }
                    self.document(entry, depth + 1)?;
                }
            }
        }
        self.blobs.insert(of.digest, Blob::Bytes(bytes));
        let mut entry = Descriptor::new(of.media_type.clone(), of.digest, of.size);
        entry.platform.clone_from(&of.platform);
        self.documents.push(entry);
        Ok(())
    }

    fn read(&mut self, of: &Descriptor) -> Result<(Document, Vec<u8>), CopyError> {
        let read = document(self.source, of)?;
        self.bytes += read.1.len();
        self.reads += 1;
        if self.reads > MAX_DOCUMENTS || self.bytes > MAX_BYTES {
            return Err(CopyError::TooMany);
        }
        Ok(read)
    }

    fn parts(&mut self, manifest: &Manifest) -> Result<(), CopyError> {
        for part in manifest.layers.iter().chain([&manifest.config]) {
            if part.media_type.is_foreign() {
                let media_type = part.media_type.clone();
                return Err(CopyError::Foreign { layer: part.digest, media_type });
            }
            self.blobs.entry(part.digest).or_insert(Blob::Stored(part.size));
        }
        Ok(())
    }

    /// Takes in what says that it is about any of the documents, and what is about that.
    fn referrers(&mut self) -> Result<(), CopyError> {
        let mut about: Vec<BlobDigest> = self.documents.iter().map(|document| document.digest).collect();
        for _ in 0..MAX_STEPS {
            let mut next = Vec::new();
            for subject in about {
                let listed = self.source.referrers(subject);
                for entry in listed.map_err(|source| CopyError::Referrers { subject, source })? {
                    next.extend(self.referrer(subject, &entry)?);
                }
            }
            about = next;
        }
        Ok(())
    }

    /// One that is listed as a referrer; its digest if it is one. Whoever lists it may be wrong or lie, so its own word
    /// counts.
    fn referrer(&mut self, subject: BlobDigest, entry: &Descriptor) -> Result<Option<BlobDigest>, CopyError> {
        if self.seen.contains(&entry.digest) || !entry.media_type.is_manifest() {
            return Ok(None);
        }
        let (document, bytes) = self.read(entry)?;
        let Document::Manifest(manifest) = document else { return Ok(None) };
        match &manifest.subject {
            Some(own) if own.digest == subject => {}
            other => {
                let about = other.as_ref().map_or("nothing".to_owned(), |own| own.digest.to_string());
                self.warnings.push(format!(
                    "{} is listed as being about {subject}, but says that it is about {about}; it is left behind",
                    entry.digest
                ));
                return Ok(None);
            }
        }
        self.seen.insert(entry.digest);
        self.parts(&manifest)?;
        let entry = referrer_entry(entry, &manifest);
        let digest = entry.digest;
        self.blobs.insert(digest, Blob::Bytes(bytes));
        self.referrers.push(Referrer { subject, entry });
        Ok(Some(digest))
    }
}

/// What a list of referrers says of an artifact (distribution-spec, "Listing Referrers").
pub(super) fn referrer_entry(of: &Descriptor, manifest: &Manifest) -> Descriptor {
    let mut entry = Descriptor::new(of.media_type.clone(), of.digest, of.size);
    let kind = manifest.artifact_type.clone();
    entry.artifact_type = Some(kind.unwrap_or_else(|| manifest.config.media_type.as_str().to_owned()));
    entry.annotations.clone_from(&manifest.annotations);
    entry
}
