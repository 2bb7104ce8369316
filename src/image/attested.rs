//! What is said of images of the store: kept with them, given out with them (spec/provenance.md, "In the store").

use std::io;

use super::gather::referrer_entry;
use super::pack::{Blob, Packed, Referrer};
use crate::digest::BlobDigest;
use crate::oci::attest::{Attestation, EMPTY, MAX_STATEMENT, Statement};
use crate::oci::json::{self, MAX_DOCUMENT};
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document, Manifest};
use crate::store::{ArtifactRecord, Store, StoreError};
use crate::sys::file::Durability;

/// Keeps what a build says of a manifest of the store. Of what it said before of the same kind nothing is left.
pub fn keep(store: &Store, manifest: &Descriptor, said: &[Attestation]) -> Result<(), StoreError> {
    for attestation in said {
        let statement = attestation.statement(manifest);
        let (artifact, entry) = attestation.artifact(manifest, &statement);
        for bytes in [&statement[..], EMPTY, &artifact] {
            store.put_blob(bytes, Durability::Synced)?;
        }
        let built = Some(attestation.predicate_type.clone().into_owned());
        store.add_attestation(manifest.digest, ArtifactRecord { manifest: entry.digest, built })?;
    }
    Ok(())
}

/// What builds here said of a manifest, to be said of it in another packing too.
pub fn built(store: &Store, manifest: &BlobDigest) -> Result<Vec<Attestation>, StoreError> {
    let artifacts = store.attestations(manifest).into_iter().filter(|artifact| artifact.built.is_some());
    artifacts.map(|artifact| attestation(store, &artifact.manifest)).collect()
}

/// The artifacts about a manifest or an index.
pub fn referrers(store: &Store, subject: BlobDigest) -> Result<Vec<Descriptor>, StoreError> {
    let mut all = Vec::new();
    for artifact in store.attestations(&subject) {
        let (manifest, bytes) = read(store, &artifact.manifest)?;
        // BuildKit's stand in the index and say nothing of a subject themselves.
        if manifest.subject.is_some() {
            all.push(referrer_entry(&Descriptor::of(manifest.media_type(), &bytes), &manifest));
        }
    }
    Ok(all)
}

impl Packed {
    /// With what came along with the image, if it goes out as it came: nobody here can say the same of another manifest.
    pub(crate) fn with_what_came(mut self, store: &Store, image: &BlobDigest) -> Result<Self, StoreError> {
        if self.manifest.digest != *image {
            return Ok(self);
        }
        let came = store.attestations(image).into_iter().filter(|artifact| artifact.built.is_none());
        for artifact in came {
            let (manifest, bytes) = read(store, &artifact.manifest)?;
            if manifest.subject.is_none() {
                continue;
            }
            let entry = referrer_entry(&Descriptor::of(manifest.media_type(), &bytes), &manifest);
            for part in manifest.layers.iter().chain([&manifest.config]) {
                self.blobs.entry(part.digest).or_insert(Blob::Stored(part.size));
            }
            self.blobs.insert(entry.digest, Blob::Bytes(bytes));
            self.referrers.push(Referrer { subject: *image, entry });
        }
        Ok(self)
    }
}

fn read(store: &Store, digest: &BlobDigest) -> Result<(Manifest, Vec<u8>), StoreError> {
    let bytes = store.read_blob(digest, MAX_DOCUMENT as u64)?;
    match Document::parse(&bytes, None) {
        Ok(Document::Manifest(manifest)) => Ok((manifest, bytes)),
        Ok(Document::Index(_)) => Err(odd(digest, "it is an index")),
        Err(error) => Err(odd(digest, error)),
    }
}

fn attestation(store: &Store, artifact: &BlobDigest) -> Result<Attestation, StoreError> {
    let (manifest, _) = read(store, artifact)?;
    let [layer] = &manifest.layers[..] else { return Err(odd(artifact, "it is not one statement")) };
    let bytes = store.read_blob(&layer.digest, MAX_STATEMENT as u64)?;
    let statement: Statement =
        json::parse(&bytes, MAX_STATEMENT).map_err(|error| odd(&layer.digest, error))?;
    let Statement { predicate_type, predicate, .. } = statement;
    Ok(Attestation { predicate_type: predicate_type.into(), predicate })
}

fn odd(digest: &BlobDigest, why: impl std::fmt::Display) -> StoreError {
    io::Error::new(io::ErrorKind::InvalidData, format!("artifact {digest}: {why}")).into()
}

/// Whether an entry of an index is BuildKit's for what it says of another entry, and of which.
pub fn embedded(entry: &Descriptor) -> Option<BlobDigest> {
    let annotation = |name: &str| entry.annotations.get(name).map(String::as_str);
    if annotation("vnd.docker.reference.type") != Some("attestation-manifest") {
        return None;
    }
    annotation("vnd.docker.reference.digest")?.parse().ok()
}

/// The type of a statement in a layer of an artifact.
pub fn is_statement(layer: &Descriptor) -> bool {
    layer.media_type == MediaType::from(crate::oci::attest::IN_TOTO)
}
