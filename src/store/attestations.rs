//! What is said of images: artifacts about a manifest or an index (spec/store-layout.md, "Attestations").
//!
//! `attestations/<digest>` lists them. They are blobs, and stay as long as what they are about.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::images::{read_record, remove_file};
use super::{Store, StoreError};
use crate::digest::BlobDigest;
use crate::sys::file::{self, Durability};

/// The most artifacts that are kept about one manifest.
pub const MOST: usize = 256;

/// What is said of one manifest or index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationRecord {
    pub subject: BlobDigest,
    /// At least one, in the order in which they came.
    pub artifacts: Vec<ArtifactRecord>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Digest of its manifest, which is a blob.
    pub manifest: BlobDigest,
    /// Of a statement that a build here made: what it states. Such a one goes out again about the image in another packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
}

impl Store {
    fn attestation_path(&self, subject: &BlobDigest) -> PathBuf {
        self.root.join("attestations").join(subject.hex())
    }

    /// What is said of a manifest or an index; nothing if the record is damaged.
    pub fn attestations(&self, subject: &BlobDigest) -> Vec<ArtifactRecord> {
        let record: Option<AttestationRecord> = read_record(&self.attestation_path(subject));
        record.filter(|record| record.subject == *subject).map(|record| record.artifacts).unwrap_or_default()
    }

    /// Adds what is said of a manifest; its blobs are in the store already. What a build made takes the place of what an
    /// earlier one said of the same kind. Whether there was room.
    pub fn add_attestation(&self, subject: BlobDigest, artifact: ArtifactRecord) -> Result<bool, StoreError> {
        let _alone = self.work_lock("attestations")?;
        let known = self.attestations(&subject);
        // One that was built here is so also when it comes back from elsewhere.
        if artifact.built.is_none() && known.iter().any(|old| old.manifest == artifact.manifest) {
            return Ok(true);
        }
        let mut artifacts = known.clone();
        artifacts.retain(|old| {
            let is_older = old.built.is_some() && old.built == artifact.built;
            !is_older && old.manifest != artifact.manifest
        });
        if artifacts.len() >= MOST {
            return Ok(false);
        }
        artifacts.push(artifact);
        if artifacts == known {
            return Ok(true);
        }
        let path = self.attestation_path(&subject);
        let dir = path.parent().expect("it lies in a directory");
        // A store of an earlier version has no such directory.
        fs::create_dir_all(dir).map_err(|error| file::context(error, "create", dir))?;
        let record = AttestationRecord { subject, artifacts };
        let bytes = serde_json::to_vec(&record).expect("a plain record serialises");
        file::replace(&path, &bytes, Durability::Synced)?;
        Ok(true)
    }

    /// Forgets what is said of a manifest that is no image any more.
    pub(super) fn remove_attestations(&self, subject: &BlobDigest) -> Result<(), StoreError> {
        remove_file(&self.attestation_path(subject)).map(drop)
    }

    /// The files that cannot be read.
    pub(super) fn damaged_attestations(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut damaged = self.record_files("attestations")?;
        damaged.retain(|path| {
            read_record(path)
                .is_none_or(|record: AttestationRecord| self.attestation_path(&record.subject) != *path)
        });
        Ok(damaged)
    }
}
