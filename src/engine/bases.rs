//! Images a recipe names: found in the named contexts, the store, a layout, an archive or a tarball.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contexts::NamedContext;
use crate::digest::BlobDigest;
use crate::epoch::Epoch;
use crate::exec::observe::Rootfs;
use crate::frontend::NamedContexts;
use crate::image::index::indexed;
use crate::image::{
    Base, ChoiceError, ImportError, ImportOptions, LoadError, LoadOptions, Platforms, StoredError,
    StoredImage,
};
use crate::image::{import, load_path};
use crate::oci::{Reference, ReferenceError};
use crate::platform::Platform;
use crate::store::{IndexRecord, LayerRef, Store, StoreError};

/// An image that a stage stands on or copies from.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub base: Base,
    pub manifest: BlobDigest,
    pub rootfs: Arc<Rootfs>,
}

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error("{0}")]
    Reference(#[from] ReferenceError),
    #[error(
        "image {name} is not in the store{}; bring it with `lith load FILE` or `lith import TARBALL {name}`",
        .similar.as_ref().map_or_else(String::new, |similar| format!(" (did you mean {similar}?)"))
    )]
    Missing { name: String, similar: Option<String> },
    #[error(
        "image {name} is not in the store{}, and cannot be pulled ({source}); \
         bring it with `lith load FILE` or `lith import TARBALL {name}`",
        .similar.as_ref().map_or_else(String::new, |similar| format!(" (did you mean {similar}?)"))
    )]
    Pull { name: String, similar: Option<String>, source: Cause },
    #[error(
        "image {name} is not in the store, and a hermetic build pulls only what is known beforehand: \
         pin it with `lith lock`, or name its digest"
    )]
    NotPinned { name: String },
    #[error("image {name}: {source}")]
    Platform { name: String, source: ChoiceError },
    #[error(transparent)]
    Pinned(Box<Moved>),
    #[error("{path} is damaged: it does not give the image {manifest}; write it anew with `lith vendor`")]
    Vendored { path: PathBuf, manifest: BlobDigest },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{archive} holds {count} images; say which with {archive}:TAG")]
    Several { archive: String, count: usize },
    #[error("open {path}: {source}")]
    Open { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image that is not what its pin says.
#[derive(Debug, thiserror::Error)]
#[error(
    "{lock} pins it to {pinned}, {}; if the new one is right, renew the pin with `lith lock --update={reference}`",
    match .found {
        None => format!("which is not in {places}"),
        Some(Found::Other(found)) => format!("and now it is {found}"),
        Some(Found::Unpullable(why)) => format!("which is not in {places}, and cannot be pulled ({why})"),
    }
)]
pub struct Moved {
    pub lock: String,
    pub reference: String,
    pub pinned: BlobDigest,
    pub found: Option<Found>,
    /// Where it was looked for.
    pub places: String,
}

/// What there is in place of what was pinned.
#[derive(Debug)]
pub enum Found {
    Other(BlobDigest),
    /// Nothing: that is why.
    Unpullable(Cause),
}

impl BaseError {
    /// The same, with the stage of the file that may have been meant if nothing in the store is like the name.
    pub fn or_stage<'a>(self, stages: impl Iterator<Item = &'a str>) -> Self {
        match self {
            Self::Missing { name, similar: None } => {
                Self::Missing { similar: similar_stage(&name, stages), name }
            }
            Self::Pull { name, similar: None, source } => {
                Self::Pull { similar: similar_stage(&name, stages), name, source }
            }
            other => other,
        }
    }
}

fn similar_stage<'a>(name: &str, stages: impl Iterator<Item = &'a str>) -> Option<String> {
    let similar = crate::diag::suggest(name.trim_end_matches(":latest"), stages.take(1000));
    similar.map(|stage| format!("stage {stage}"))
}

/// A file or directory that holds an image.
enum Archive {
    Layout { path: PathBuf, tag: Option<String> },
    Docker { path: PathBuf },
    Rootfs { path: PathBuf },
}

pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Brings images of registries into the store.
pub trait Puller: Send + Sync {
    /// Pulls what a name, or a digest of its repository, is for a platform; gives the image's manifest. Layers may stay
    /// where they are until something reads them.
    fn pull(
        &self,
        store: &Store,
        name: &str,
        digest: Option<BlobDigest>,
        platform: &Platform,
    ) -> Result<BlobDigest, Cause>;
}

/// Which images are pulled.
#[derive(Clone, Default)]
pub struct Pulls {
    /// Nothing is, without one.
    pub puller: Option<Arc<dyn Puller>>,
    pub when: When,
    /// Only what cannot be another image tomorrow.
    pub only_pinned: bool,
}

/// When a registry is asked for a name; for a digest it is if that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// If the store has nothing of that name.
    #[default]
    Missing,
    /// Also if what it has came by a build.
    Again,
    Always,
}

impl std::fmt::Debug for Pulls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulls").field("when", &self.when).finish_non_exhaustive()
    }
}

/// Where images are looked for.
pub struct Bases<'a> {
    pub store: &'a Store,
    pub pulls: &'a Pulls,
    pub names: &'a NamedContexts,
    pub contexts: &'a BTreeMap<String, NamedContext>,
    pub epoch: Epoch,
}

impl Bases<'_> {
    /// Resolves one reference as a Dockerfile has it, for one platform.
    pub fn resolve(&self, reference: &str, platform: &Platform) -> Result<Resolved, BaseError> {
        let named = self.names.find(reference, platform).and_then(|(key, _)| self.contexts.get(key));
        let reference = match named {
            Some(NamedContext::Image(image)) => image,
            Some(NamedContext::Directory(_) | NamedContext::Remote(_)) | None => reference,
        };
        let reference = reference.strip_prefix("docker-image://").unwrap_or(reference);
        let manifest = match source(reference) {
            Some(archive) => self.bring(archive, platform)?,
            None => self.named(reference, platform)?,
        };
        self.open(manifest)
    }

    /// Whether a reference names a file or a directory that is there.
    pub fn is_file(&self, reference: &str) -> bool {
        match source(reference) {
            Some(Archive::Layout { path, .. } | Archive::Docker { path } | Archive::Rootfs { path }) => {
                path.exists()
            }
            None => false,
        }
    }

    fn bring(&self, archive: Archive, platform: &Platform) -> Result<BlobDigest, BaseError> {
        let (path, name) = match archive {
            Archive::Rootfs { path } => return self.import(&path, platform),
            Archive::Layout { path, tag } => (path, tag),
            Archive::Docker { path } => (path, None),
        };
        let loaded =
            load_path(self.store, &path, &LoadOptions { platforms: Platforms::One(platform.clone()), name })?;
        match loaded.as_slice() {
            [one] => Ok(one.image.digest),
            several => Err(BaseError::Several { archive: path.display().to_string(), count: several.len() }),
        }
    }

    fn import(&self, path: &Path, platform: &Platform) -> Result<BlobDigest, BaseError> {
        let file =
            std::fs::File::open(path).map_err(|source| BaseError::Open { path: path.to_owned(), source })?;
        let options = ImportOptions { platform: platform.clone(), epoch: self.epoch, comment: None };
        let (image, _) = import(self.store, &path.to_string_lossy(), file, &options)?;
        Ok(image.digest)
    }

    /// An image by its name: of the store, else of its registry.
    fn named(&self, text: &str, platform: &Platform) -> Result<BlobDigest, BaseError> {
        let reference: Reference = text.parse()?;
        let (digest, full) = (reference.digest(), reference.to_string());
        let when = match (&self.pulls.puller, digest) {
            (Some(_), None) => self.pulls.when,
            (None, _) | (_, Some(_)) => When::Missing,
        };
        let missing = match self.in_store(text, &reference, platform) {
            Ok(found) if when != When::Always => return Ok(found),
            Ok(_) => BaseError::Missing { name: text.to_owned(), similar: None },
            Err(missing @ BaseError::Missing { .. }) => missing,
            Err(error) => return Err(error),
        };
        if when == When::Missing
            && let Some(pulled) = self.store.pull(&full, platform)
            && self.is_known(pulled)
        {
            return Ok(pulled);
        }
        match (&self.pulls.puller, missing) {
            (Some(_), BaseError::Missing { name, .. }) if self.pulls.only_pinned && digest.is_none() => {
                Err(BaseError::NotPinned { name })
            }
            (Some(puller), BaseError::Missing { name, similar }) => {
                let pulled = puller.pull(self.store, text, digest, platform);
                let pulled = pulled.map_err(|source| BaseError::Pull { name, similar, source })?;
                self.store.put_pull(&full, platform, pulled)?;
                Ok(pulled)
            }
            (_, missing) => Err(missing),
        }
    }

    /// Brings an image of a name's repository by its digest; `false` if nobody can.
    pub fn pull_pinned(
        &self,
        reference: &str,
        manifest: BlobDigest,
        platform: &Platform,
    ) -> Result<bool, Cause> {
        let text = reference.strip_prefix("docker-image://").unwrap_or(reference);
        let Some(puller) = &self.pulls.puller else { return Ok(false) };
        Ok(puller.pull(self.store, text, Some(manifest), platform)? == manifest)
    }

    /// Whether an image and all of its layers can be had.
    pub fn is_known(&self, manifest: BlobDigest) -> bool {
        let has_all =
            |image: StoredImage| image.layers().iter().all(|layer| self.store.layer_size(*layer).is_ok());
        StoredImage::open(self.store, manifest).is_ok_and(has_all)
    }

    fn in_store(
        &self,
        text: &str,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<BlobDigest, BaseError> {
        if let Some(digest) = reference.digest() {
            let missing = || BaseError::Missing { name: text.to_owned(), similar: None };
            return match self.store.index(&digest) {
                Some(index) => indexed_for(text, &index, platform),
                None if self.is_known(digest) => Ok(digest),
                None => Err(missing()),
            };
        }
        if let Some(named) = self.store.get_ref(&reference.to_string()) {
            return match named.index.and_then(|index| self.store.index(&index)) {
                Some(index) => indexed_for(text, &index, platform),
                None => Ok(named.manifest),
            };
        }
        let known = self.store.refs()?;
        let known: Vec<String> =
            known.iter().filter_map(|r| r.name.parse::<Reference>().ok()).map(|r| r.familiar()).collect();
        let name = reference.familiar();
        let similar = crate::diag::suggest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        Err(BaseError::Missing { name, similar })
    }

    /// An image of the store.
    pub fn open(&self, manifest: BlobDigest) -> Result<Resolved, BaseError> {
        let base = StoredImage::open(self.store, manifest)?.into_base();
        let rootfs = base
            .config
            .rootfs
            .diff_ids
            .iter()
            .map(|diff_id| Ok(LayerRef { diff_id: *diff_id, size: self.store.layer_size(*diff_id)? }))
            .collect::<Result<Rootfs, StoreError>>()?;
        Ok(Resolved { base, manifest, rootfs: Arc::new(rootfs) })
    }
}

/// The image of an index for a platform.
fn indexed_for(name: &str, index: &IndexRecord, platform: &Platform) -> Result<BlobDigest, BaseError> {
    match indexed(index, platform) {
        Ok(one) => Ok(one.manifest),
        Err(source) => Err(BaseError::Platform { name: name.to_owned(), source }),
    }
}

/// The forms that name a file or directory instead of an image of the store.
fn source(reference: &str) -> Option<Archive> {
    let (scheme, rest) = reference.split_once(':')?;
    let path = |text: &str| PathBuf::from(text.strip_prefix("//").unwrap_or(text));
    match scheme {
        "oci-layout" => {
            let (dir, tag) = layout_tag(rest);
            Some(Archive::Layout { path: path(dir), tag: tag.map(str::to_owned) })
        }
        "docker-archive" => Some(Archive::Docker { path: path(rest) }),
        "rootfs" => Some(Archive::Rootfs { path: path(rest) }),
        _ => None,
    }
}

/// `PATH[:tag]`; the path may hold colons if it exists as it is.
fn layout_tag(text: &str) -> (&str, Option<&str>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        Some(_) | None => (text, None),
    }
}
