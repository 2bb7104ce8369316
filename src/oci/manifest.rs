//! Image manifests: image-spec `manifest.md`, docker's schema 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::Descriptor;
use super::json::or_default;
use super::media::{Flavor, MediaType};

/// The most layers an image may have.
pub const MAX_LAYERS: usize = 4096;

/// One image: its config and its layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    /// Bottom first.
    #[serde(deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// What this manifest is about; carried, never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields this type does not know, kept as they came, sorted.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Manifest {
    /// The keys of a manifest.
    pub(super) const FIELDS: [&str; 7] =
        ["schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"];

    /// A manifest of an image.
    pub fn new(flavor: Flavor, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = match flavor {
            Flavor::Oci => MediaType::OciManifest,
            Flavor::Docker => MediaType::DockerManifest,
        };
        Self {
            schema_version: 2,
            media_type: Some(media_type),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// The type a descriptor of this manifest has. OCI allows a manifest to leave it out.
    pub fn media_type(&self) -> MediaType {
        self.media_type.clone().unwrap_or(MediaType::OciManifest)
    }

    /// The bytes of a manifest that lith makes. One that came from elsewhere is kept as bytes, never written anew.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::json::to_bytes(self)
    }
}
