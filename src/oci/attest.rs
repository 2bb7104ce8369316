//! Statements about an image as in-toto has them, and the manifests that carry them (spec/provenance.md).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::descriptor::Descriptor;
use super::manifest::Manifest;
use super::media::{Flavor, MediaType};
use crate::digest::BlobDigest;

/// The type of a statement, and of the artifact that carries it.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation that says what a statement is about (as BuildKit writes it).
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The largest statement that is read, in bytes: bills of materials are long.
pub const MAX_STATEMENT: usize = 64 << 20;
/// The config of an artifact.
pub const EMPTY: &[u8] = b"{}";

/// A statement as it is read: what it is about and of which kind it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub kind: String,
    #[serde(default)]
    pub subject: Vec<StatementSubject>,
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    #[serde(default)]
    pub predicate: Value,
}

/// One thing that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatementSubject {
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// Whether it is a statement of in-toto, of any version.
    pub fn is_in_toto(&self) -> bool {
        self.kind.starts_with("https://in-toto.io/Statement/")
    }

    /// Whether a manifest is among what it is about.
    pub fn is_about(&self, manifest: &BlobDigest) -> bool {
        let hex = manifest.hex();
        self.subject.iter().any(|subject| subject.digest.get("sha256") == Some(&hex))
    }

    /// What it is about, for people.
    pub fn about(&self) -> String {
        let one = |subject: &StatementSubject| match subject.digest.get("sha256") {
            Some(hex) => format!("sha256:{}", crate::diag::escape(hex.as_bytes())),
            None => "something without a sha256".to_owned(),
        };
        match self.subject.as_slice() {
            [] => "nothing".to_owned(),
            [first] => one(first),
            [first, rest @ ..] => format!("{} and {} more", one(first), rest.len()),
        }
    }
}

/// What is said of an image, without the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attestation {
    #[serde(rename = "predicateType")]
    pub predicate_type: Cow<'static, str>,
    pub predicate: Value,
}

impl Attestation {
    /// The statement about one manifest.
    pub fn statement(&self, subject: &Descriptor) -> Vec<u8> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "_", "digest": { "sha256": subject.digest.hex() } }],
            "predicateType": self.predicate_type,
            "predicate": self.predicate,
        });
        serde_json::to_vec(&statement).expect("values serialise")
    }

    /// The artifact with a statement about one manifest: its bytes, and what an index says of them.
    pub fn artifact(&self, subject: &Descriptor, statement: &[u8]) -> (Vec<u8>, Descriptor) {
        let mut layer = Descriptor::of(MediaType::from(IN_TOTO), statement);
        layer.annotations.insert(PREDICATE_TYPE.into(), self.predicate_type.clone().into_owned());
        let config = Descriptor::of(MediaType::OciEmpty, EMPTY);
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        let manifest = Manifest {
            artifact_type: Some(IN_TOTO.into()),
            subject: Some(subject),
            ..Manifest::new(Flavor::Oci, config, vec![layer])
        };
        let bytes = manifest.to_bytes();
        let mut entry = Descriptor::of(MediaType::OciManifest, &bytes);
        entry.artifact_type = Some(IN_TOTO.into());
        (bytes, entry)
    }
}
