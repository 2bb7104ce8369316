//! Statements about an image as in-toto has them, and the manifests that carry them (spec/provenance.md).

use serde::Serialize;
use serde_json::{Value, json};

use super::descriptor::Descriptor;
use super::manifest::Manifest;
use super::media::{Flavor, MediaType};

/// The type of a statement, and of the artifact that carries it.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation that says what a statement is about (as BuildKit writes it).
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The config of an artifact.
pub const EMPTY: &[u8] = b"{}";

/// What is said of an image, without the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attestation {
    #[serde(rename = "predicateType")]
    pub predicate_type: &'static str,
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
        layer.annotations.insert(PREDICATE_TYPE.into(), self.predicate_type.into());
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
