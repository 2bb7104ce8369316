//! Statements about an image at some place, found and read: referrers as the distribution-spec has them, and what BuildKit
//! puts into the index itself.
//!
//! Owns: when a statement is about an image (spec/provenance.md, "Reading"). Whoever may write to a registry may list anything
//! as a referrer, so what is listed counts only by what it says itself.

use std::collections::BTreeSet;

use super::attested::{embedded, is_statement};
use super::choose::is_image;
use super::gather::{CopyError, document, whole};
use super::ingest::BlobSource;
use crate::digest::BlobDigest;
use crate::oci::attest::{MAX_STATEMENT, PREDICATE_TYPE, Statement};
use crate::oci::json::{self, JsonError, MAX_DOCUMENT};
use crate::oci::{Descriptor, Document, ImageConfig, Manifest};
use crate::platform::Platform;

/// One statement as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// That of the image it is about; none for an index, and for what has none.
    pub platform: Option<Platform>,
    /// The manifest or index that it is about.
    pub subject: BlobDigest,
    /// Of which kind it is said to be.
    pub predicate_type: String,
    /// The statement itself.
    pub statement: Descriptor,
}

/// All statements of a place.
#[derive(Debug, Default)]
pub struct Statements {
    pub all: Vec<Said>,
    /// What is listed and passed over, and why.
    pub warnings: Vec<String>,
}

/// Why a statement does not count.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("statement {digest} of {size} bytes is larger than the limit of {MAX_STATEMENT}")]
    TooLarge { digest: BlobDigest, size: u64 },
    #[error("statement {digest}: {source}")]
    Json { digest: BlobDigest, source: JsonError },
    #[error("statement {digest} is no statement of in-toto")]
    Kind { digest: BlobDigest },
    #[error(
        "statement {digest} is about {about}, not about {subject}: whoever listed it there lies or is wrong"
    )]
    Subject { digest: BlobDigest, about: String, subject: BlobDigest },
    #[error("statement {digest} is listed as {listed}, and is {actual}")]
    Predicate { digest: BlobDigest, listed: String, actual: String },
}

/// Lists what is said of the manifest or index `top` of a place, and of the images of the index.
pub fn statements(source: &dyn BlobSource, top: &Descriptor) -> Result<Statements, CopyError> {
    let mut found = Statements::default();
    match document(source, top)?.0 {
        Document::Manifest(manifest) => {
            let platform = platform_of(source, &manifest)?;
            found.referrers(source, top.digest, platform.as_ref())?;
        }
        Document::Index(index) => {
            found.referrers(source, top.digest, None)?;
            let mut seen = BTreeSet::new();
            for image in index.manifests.iter().filter(|entry| is_image(entry) && seen.insert(entry.digest)) {
                let platform = image.platform.as_ref().and_then(|platform| platform.normal());
                found.referrers(source, image.digest, platform.as_ref())?;
                let about = |entry: &&Descriptor| embedded(entry) == Some(image.digest);
                for entry in index.manifests.iter().filter(about) {
                    if let Document::Manifest(manifest) = document(source, entry)?.0 {
                        found.layers(&manifest, image.digest, platform.as_ref());
                    }
                }
            }
        }
    }
    Ok(found)
}

/// What the config of an image says that it is for.
fn platform_of(source: &dyn BlobSource, manifest: &Manifest) -> Result<Option<Platform>, CopyError> {
    let config = &manifest.config;
    if !config.media_type.is_config() || config.size > MAX_DOCUMENT as u64 {
        return Ok(None);
    }
    let bytes = whole(source, config)?;
    Ok(ImageConfig::parse(&bytes).ok().and_then(|config| config.platform()))
}

impl Statements {
    fn referrers(
        &mut self,
        source: &dyn BlobSource,
        subject: BlobDigest,
        platform: Option<&Platform>,
    ) -> Result<(), CopyError> {
        let listed = source.referrers(subject);
        let listed = listed.map_err(|source| CopyError::Referrers { subject, source })?;
        for entry in listed.iter().filter(|entry| entry.media_type.is_manifest()) {
            let Document::Manifest(manifest) = document(source, entry)?.0 else { continue };
            match manifest.subject.as_ref().map(|own| own.digest) {
                Some(own) if own == subject => self.layers(&manifest, subject, platform),
                own => {
                    let own = own.map_or_else(|| "nothing".to_owned(), |own| own.to_string());
                    self.warnings.push(format!(
                        "{} is listed as being about {subject}, but says that it is about {own}; it is passed over",
                        entry.digest
                    ));
                }
            }
        }
        Ok(())
    }

    fn layers(&mut self, manifest: &Manifest, subject: BlobDigest, platform: Option<&Platform>) {
        for layer in manifest.layers.iter().filter(|layer| is_statement(layer)) {
            let said = Said {
                platform: platform.cloned(),
                subject,
                predicate_type: layer.annotations.get(PREDICATE_TYPE).cloned().unwrap_or_default(),
                statement: Descriptor::new(layer.media_type.clone(), layer.digest, layer.size),
            };
            if !self.all.contains(&said) {
                self.all.push(said);
            }
        }
    }
}

/// The bytes of a statement, which is about what it is listed for, and of the kind that it is listed as.
pub fn statement(source: &dyn BlobSource, said: &Said) -> Result<Vec<u8>, StatementError> {
    let Descriptor { digest, size, .. } = said.statement;
    if size > MAX_STATEMENT as u64 {
        return Err(StatementError::TooLarge { digest, size });
    }
    let bytes = whole(source, &said.statement)?;
    let statement: Statement =
        json::parse(&bytes, MAX_STATEMENT).map_err(|source| StatementError::Json { digest, source })?;
    if !statement.is_in_toto() {
        return Err(StatementError::Kind { digest });
    }
    if !statement.is_about(&said.subject) {
        return Err(StatementError::Subject { digest, about: statement.about(), subject: said.subject });
    }
    if statement.predicate_type != said.predicate_type {
        let shown = |text: &str| crate::diag::escape(text.as_bytes());
        let (listed, actual) = (shown(&said.predicate_type), shown(&statement.predicate_type));
        return Err(StatementError::Predicate { digest, listed, actual });
    }
    Ok(bytes)
}
