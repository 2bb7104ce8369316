//! Descriptors: image-spec `descriptor.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::json::or_default;
use super::media::MediaType;
use crate::digest::BlobDigest;
use crate::platform::Platform;

/// Names a blob by type, digest and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    pub digest: BlobDigest,
    /// In bytes, at most `i64::MAX`.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Fields this type does not know, kept as they came, sorted. `urls` and `data` are among them and never used.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The platform an index gives to one of its manifests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `os.version`, `os.features` and whatever else, sorted.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Descriptor {
    /// A descriptor without platform or annotations.
    pub fn new(media_type: MediaType, digest: BlobDigest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
            other: BTreeMap::new(),
        }
    }

    /// The descriptor of bytes in memory.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, BlobDigest::of(bytes), bytes.len() as u64)
    }

    /// A key that a reader ignoring case would take for a field of a descriptor.
    pub(super) fn case_variant(&self) -> Option<&String> {
        const FIELDS: [&str; 8] =
            ["mediaType", "digest", "size", "platform", "annotations", "artifactType", "urls", "data"];
        const PLATFORM: [&str; 5] = ["architecture", "os", "variant", "os.version", "os.features"];
        let platform = self.platform.as_ref();
        super::json::case_variant(self.other.keys(), &FIELDS)
            .or_else(|| platform.and_then(|p| super::json::case_variant(p.other.keys(), &PLATFORM)))
    }
}

impl DescriptorPlatform {
    /// The platform in its normal form; `None` if it names none, as indexes do for attestations
    /// (`unknown/unknown`).
    pub fn normal(&self) -> Option<Platform> {
        if self.os == "unknown" || self.architecture == "unknown" {
            return None;
        }
        let variant = self.variant.iter().filter(|v| !v.is_empty()).map(|v| format!("/{v}"));
        let text: String =
            [format!("{}/{}", self.os, self.architecture)].into_iter().chain(variant).collect();
        text.parse().ok()
    }
}

impl From<&Platform> for DescriptorPlatform {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            other: BTreeMap::new(),
        }
    }
}

/// A size is an `int64` that is not negative.
fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(d)?;
    if i64::try_from(size).is_err() {
        return Err(serde::de::Error::custom(format_args!("size {size} is larger than 2^63-1")));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(size: &str, digest: &str) -> Result<Descriptor, super::super::JsonError> {
        let text = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size},"urls":["http://x"]}}"#);
        super::super::json::parse(text.as_bytes(), 1000)
    }

    #[test]
    fn m02_sizes_are_non_negative_integers() {
        let digest = BlobDigest::of(b"").to_string();
        assert_eq!(parse("12", &digest).unwrap().size, 12);
        assert_eq!(parse("9223372036854775807", &digest).unwrap().size, i64::MAX as u64);
        for bad in [
            "-1",
            "1.5",
            "\"12\"",
            "9223372036854775808",
            "18446744073709551616",
            "1e3",
            "null",
            "-0",
            "true",
        ] {
            assert!(parse(bad, &digest).is_err(), "{bad}");
        }
    }

    #[test]
    fn m03_m04_digests_are_sha256() {
        let error = parse("1", &format!("sha512:{}", "ab".repeat(64))).unwrap_err().to_string();
        assert!(error.contains("sha512") && error.contains("not supported"), "{error}");
        let hex = "ab".repeat(32);
        for bad in [
            format!("md5:{}", "ab".repeat(16)),
            format!("sha256:{}", hex.to_uppercase()),
            "sha256:ab".into(),
            format!("sha256:../{}", &hex[3..]),
            hex.clone(),
        ] {
            assert!(parse("1", &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn m13_urls_are_carried_and_nothing_else() {
        let descriptor = parse("1", &BlobDigest::of(b"").to_string()).unwrap();
        assert!(descriptor.other.contains_key("urls"));
        let bytes = super::super::json::to_bytes(&descriptor);
        assert_eq!(super::super::json::parse::<Descriptor>(&bytes, 1000).unwrap(), descriptor);
    }

    #[test]
    fn attestations_have_no_platform() {
        let of = |os: &str, architecture: &str, variant: Option<&str>| DescriptorPlatform {
            architecture: architecture.into(),
            os: os.into(),
            variant: variant.map(Into::into),
            other: BTreeMap::new(),
        };
        assert_eq!(of("unknown", "unknown", None).normal(), None);
        assert_eq!(of("linux", "arm64", Some("v8")).normal(), Some("linux/arm64".parse().unwrap()));
        assert_eq!(of("", "", None).normal(), None);
    }
}
