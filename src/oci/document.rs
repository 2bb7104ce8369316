//! Manifest or index: what a reference leads to, decided once and without room for two readings.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::index::Index;
use super::json::{self, JsonError, MAX_DOCUMENT};
use super::manifest::{MAX_LAYERS, Manifest};
use super::media::MediaType;

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "at most a handful exist at a time")]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Why bytes are neither.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("docker's manifest schema 1 is not supported; push the image anew with a current tool")]
    Schema1,
    #[error("schemaVersion is {0}; expected 2")]
    SchemaVersion(u32),
    #[error("it has both \"layers\" and \"manifests\", so it is a manifest and an index at once")]
    Ambiguous,
    #[error("it has neither \"layers\" nor \"manifests\", so it is neither a manifest nor an index")]
    Neither,
    #[error("its mediaType is {body}, but it was announced as {declared}")]
    TypeDiffers { declared: MediaType, body: MediaType },
    #[error("media type {0} is neither a manifest nor an index")]
    Unsupported(MediaType),
    #[error("a body of {shape} has the media type {declared}")]
    ShapeDiffers { declared: MediaType, shape: &'static str },
    #[error("{0} layers are more than the limit of {MAX_LAYERS}")]
    TooManyLayers(usize),
    #[error("key \"{0}\" differs from a field of the specification by case only")]
    CaseVariant(String),
}

impl Document {
    /// Parses a manifest or an index. `declared` is what a descriptor or a Content-Type says of it; it must agree
    /// with the body's own `mediaType`, and both with the body's shape.
    pub fn parse(bytes: &[u8], declared: Option<&MediaType>) -> Result<Self, DocumentError> {
        json::check(bytes, MAX_DOCUMENT)?;
        let shape = Shape::of(bytes)?;
        if let Some(declared) = declared {
            shape.agrees(declared)?;
        }
        let document = match shape {
            Shape::Manifest => Self::Manifest(read(bytes)?),
            Shape::Index => Self::Index(read(bytes)?),
        };
        document.check(declared, shape)?;
        Ok(document)
    }

    /// What a descriptor of this document has as its type.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type.clone().unwrap_or(MediaType::OciIndex),
        }
    }

    fn check(&self, declared: Option<&MediaType>, shape: Shape) -> Result<(), DocumentError> {
        let (version, own_type, descriptors) = match self {
            Self::Manifest(m) => (m.schema_version, &m.media_type, &m.layers),
            Self::Index(i) => (i.schema_version, &i.media_type, &i.manifests),
        };
        if version != 2 {
            return Err(DocumentError::SchemaVersion(version));
        }
        if let Some(body) = own_type {
            shape.agrees(body)?;
            if let Some(declared) = declared.filter(|d| *d != body) {
                return Err(DocumentError::TypeDiffers { declared: declared.clone(), body: body.clone() });
            }
        }
        if shape == Shape::Manifest && descriptors.len() > MAX_LAYERS {
            return Err(DocumentError::TooManyLayers(descriptors.len()));
        }
        match self.case_variant() {
            Some(key) => Err(DocumentError::CaseVariant(crate::diag::escape(key.as_bytes()))),
            None => Ok(()),
        }
    }

    fn case_variant(&self) -> Option<&String> {
        let (other, fields, descriptors, config) = match self {
            Self::Manifest(m) => (&m.other, &Manifest::FIELDS[..], &m.layers, Some(&m.config)),
            Self::Index(i) => (&i.other, &Index::FIELDS[..], &i.manifests, None),
        };
        let mut inner = descriptors.iter().chain(config);
        json::case_variant(other.keys(), fields).or_else(|| inner.find_map(|d| d.case_variant()))
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes).map_err(|e| DocumentError::Json(JsonError::Invalid(e)))
}

/// What the keys of a body make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Manifest,
    Index,
}

impl Shape {
    fn of(bytes: &[u8]) -> Result<Self, DocumentError> {
        let keys: BTreeMap<String, IgnoredAny> = read(bytes)?;
        let has = |key: &str| keys.contains_key(key);
        match (has("layers"), has("manifests")) {
            (true, true) => Err(DocumentError::Ambiguous),
            (true, false) => Ok(Self::Manifest),
            (false, true) => Ok(Self::Index),
            (false, false) if has("fsLayers") => Err(DocumentError::Schema1),
            (false, false) => Err(DocumentError::Neither),
        }
    }

    fn agrees(self, declared: &MediaType) -> Result<(), DocumentError> {
        let shape = match self {
            Self::Manifest if declared.is_manifest() => return Ok(()),
            Self::Index if declared.is_index() => return Ok(()),
            Self::Manifest => "a manifest",
            Self::Index => "an index",
        };
        if declared.is_schema1() {
            return Err(DocumentError::Schema1);
        }
        if !declared.is_manifest() && !declared.is_index() {
            return Err(DocumentError::Unsupported(declared.clone()));
        }
        Err(DocumentError::ShapeDiffers { declared: declared.clone(), shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"a/b","digest":"{}","size":0}}"#, BlobDigest::of(b""))
    }

    fn manifest(more: &str, layers: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]{more}}}"#, descriptor())
    }

    fn refused(text: &str, declared: Option<&MediaType>) -> DocumentError {
        Document::parse(text.as_bytes(), declared).unwrap_err()
    }

    #[test]
    fn reads_both() {
        let text = manifest(r#","x":1"#, &descriptor());
        let Document::Manifest(m) = Document::parse(text.as_bytes(), Some(&MediaType::OciManifest)).unwrap()
        else {
            panic!("a manifest")
        };
        assert_eq!(m.layers.len(), 1);
        assert!(m.other.contains_key("x"));
        let text =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":null}}"#, MediaType::DockerList);
        let parsed = Document::parse(text.as_bytes(), None).unwrap();
        assert_eq!(parsed.media_type(), MediaType::DockerList);
    }

    #[test]
    fn m07_one_reading_only() {
        assert!(matches!(refused(&manifest(r#","manifests":[]"#, ""), None), DocumentError::Ambiguous));
        let typed = manifest(&format!(r#","mediaType":"{}""#, MediaType::OciManifest), "");
        let error = refused(&typed, Some(&MediaType::DockerManifest));
        assert!(matches!(error, DocumentError::TypeDiffers { .. }));
        assert!(error.to_string().contains("docker.distribution.manifest.v2"));
        assert!(matches!(
            refused(&manifest("", ""), Some(&MediaType::OciIndex)),
            DocumentError::ShapeDiffers { .. }
        ));
        assert!(matches!(
            refused(&manifest(r#","mediaType":"application/vnd.oci.image.index.v1+json""#, ""), None),
            DocumentError::ShapeDiffers { .. }
        ));
        assert!(matches!(
            refused(&manifest("", ""), Some(&MediaType::from("text/html"))),
            DocumentError::Unsupported(_)
        ));
    }

    #[test]
    fn schema_1_is_named() {
        assert!(matches!(refused(r#"{"schemaVersion":1,"fsLayers":[]}"#, None), DocumentError::Schema1));
        assert!(matches!(
            refused(&manifest("", ""), Some(&MediaType::DockerSchema1Signed)),
            DocumentError::Schema1
        ));
        let three = manifest("", "").replace(":2,", ":3,");
        assert!(matches!(refused(&three, None), DocumentError::SchemaVersion(3)));
        assert!(matches!(refused("{}", None), DocumentError::Neither));
        assert!(matches!(refused("[]", None), DocumentError::Json(_)));
    }

    #[test]
    fn m08_case_variants_are_refused() {
        for text in [
            manifest(r#","LAYERS":[]"#, ""),
            manifest(r#","Config":{}"#, ""),
            manifest("", &descriptor().replace("\"size\":0", "\"size\":0,\"Size\":5")),
        ] {
            assert!(matches!(refused(&text, None), DocumentError::CaseVariant(_)), "{text}");
        }
        assert!(matches!(
            refused(&manifest("", "").replace("layers", "LAYERS"), None),
            DocumentError::Neither
        ));
    }

    #[test]
    fn m10_layers_are_counted() {
        let many = vec![descriptor(); MAX_LAYERS + 1].join(",");
        assert!(matches!(refused(&manifest("", &many), None), DocumentError::TooManyLayers(4097)));
    }
}
