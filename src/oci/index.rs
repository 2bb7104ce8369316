//! Indexes: image-spec `image-index.md`, docker's manifest list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::Descriptor;
use super::json::or_default;
use super::media::MediaType;

/// Several manifests, usually one a platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// In the order of preference.
    #[serde(deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// What this index is about; carried, never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields this type does not know, kept as they came, sorted.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Index {
    /// The keys of an index.
    pub(super) const FIELDS: [&str; 6] =
        ["schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"];

    /// An OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciIndex),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// The bytes of an index that lith makes.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::json::to_bytes(self)
    }
}
