//! The image config: image-spec `config.md` with docker's additions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::json::{self, JsonError, MAX_DOCUMENT, or_default};
use super::manifest::MAX_LAYERS;
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::platform::Platform;

/// An image config. Top-level keys are written in alphabetical order, as BuildKit does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ImageConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default)]
    pub author: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    /// RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<History>,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    pub rootfs: RootFs,
    #[serde(default)]
    pub variant: Option<String>,
    /// Fields this type does not know, kept as they came, sorted.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The `rootfs` of an image config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bottom first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True if the line made no layer.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How a container of the image runs: the `config` object, in docker's field order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `"80/tcp": {}`; sorted.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value` in order.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "none_or_empty")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "none_or_empty")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(default, skip_serializing_if = "none_or_empty")]
    pub shell: Option<Vec<String>>,
    /// Fields this type does not know, kept as they came, sorted.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The empty object that is the value of a set's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Empty {}

/// docker's health check; durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go leaves out an empty list as it does a missing one.
#[expect(clippy::ref_option, reason = "serde hands over references")]
fn none_or_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// Why bytes are not an image's config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("rootfs.type is {0:?}; expected \"layers\"")]
    RootFsType(String),
    #[error("{0} diff ids are more than the limit of {MAX_LAYERS}")]
    TooManyLayers(usize),
    #[error("key \"{0}\" differs from a field of the specification by case only")]
    CaseVariant(String),
}

impl ImageConfig {
    /// The config of `scratch` for a platform.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            author: None,
            config: RunConfig::default(),
            created: None,
            history: Vec::new(),
            os: platform.os.clone(),
            rootfs: RootFs::default(),
            variant: platform.variant.clone(),
            other: BTreeMap::new(),
        }
    }

    /// Parses a config of at most 4 MiB. A history that does not fit the layers is data, not an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = json::parse(bytes, MAX_DOCUMENT)?;
        if config.rootfs.kind != "layers" {
            return Err(ConfigError::RootFsType(config.rootfs.kind.chars().take(100).collect()));
        }
        if config.rootfs.diff_ids.len() > MAX_LAYERS {
            return Err(ConfigError::TooManyLayers(config.rootfs.diff_ids.len()));
        }
        match config.case_variant() {
            Some(key) => Err(ConfigError::CaseVariant(crate::diag::escape(key.as_bytes()))),
            None => Ok(config),
        }
    }

    /// The bytes of the config blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_bytes(self)
    }

    /// What docker calls the image id: the digest of the config blob.
    pub fn image_id(&self) -> ImageId {
        BlobDigest::of(&self.to_bytes()).into()
    }

    /// The platform in its normal form; `None` if the config names none.
    pub fn platform(&self) -> Option<Platform> {
        let variant = self.variant.iter().filter(|v| !v.is_empty()).map(|v| format!("/{v}"));
        let text: String =
            [format!("{}/{}", self.os, self.architecture)].into_iter().chain(variant).collect();
        text.parse().ok()
    }

    fn case_variant(&self) -> Option<&String> {
        const FIELDS: [&str; 10] = [
            "architecture",
            "author",
            "config",
            "created",
            "history",
            "os",
            "os.version",
            "os.features",
            "rootfs",
            "variant",
        ];
        const RUN: [&str; 13] = [
            "User",
            "ExposedPorts",
            "Env",
            "Entrypoint",
            "Cmd",
            "Volumes",
            "WorkingDir",
            "Labels",
            "StopSignal",
            "ArgsEscaped",
            "Healthcheck",
            "OnBuild",
            "Shell",
        ];
        json::case_variant(self.other.keys(), &FIELDS)
            .or_else(|| json::case_variant(self.config.other.keys(), &RUN))
    }
}

impl Serialize for ImageConfig {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let text = |text: &'_ Option<String>| text.clone().map(Field::Text);
        let fields = [
            ("architecture", Some(Field::Text(self.architecture.clone()))),
            ("author", text(&self.author)),
            ("config", Some(Field::Run(&self.config))),
            ("created", text(&self.created)),
            ("history", (!self.history.is_empty()).then_some(Field::History(&self.history))),
            ("os", Some(Field::Text(self.os.clone()))),
            ("rootfs", Some(Field::RootFs(&self.rootfs))),
            ("variant", text(&self.variant)),
        ];
        let own = fields.into_iter().filter_map(|(key, field)| Some((key, field?)));
        let other = self.other.iter().map(|(key, value)| (key.as_str(), Field::Other(value)));
        // Unknown keys find their place among the known ones, so the map is sorted as a whole.
        other.chain(own).collect::<BTreeMap<_, _>>().serialize(s)
    }
}

/// The value of one top-level key.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Text(String),
    Run(&'a RunConfig),
    History(&'a [History]),
    RootFs(&'a RootFs),
    Other(&'a Value),
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILDKIT: &str = include_str!("../../tests/data/oci/buildkit-config.json");

    fn parse(text: &str) -> Result<ImageConfig, ConfigError> {
        ImageConfig::parse(text.as_bytes())
    }

    fn with_rootfs(more: &str) -> String {
        format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[]}}{more}}}"#)
    }

    /// BuildKit's own bytes: compact, top-level keys sorted, Go's escapes.
    fn buildkit_bytes() -> String {
        let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{}"]}}"#, BlobDigest::of(b"1"));
        let lines: String = BUILDKIT.lines().map(|l| l.trim_start().replacen("\": ", "\":", 1)).collect();
        let compact = lines.replace('&', "\\u0026").replace("> ", "\\u003e ");
        format!("{},{rootfs}}}", compact.strip_suffix('}').unwrap())
    }

    #[test]
    fn buildkit_bytes_survive() {
        let text = buildkit_bytes();
        let config = parse(&text).unwrap();
        assert_eq!(config.history.len(), 10);
        assert!(config.history[9].empty_layer && config.config.args_escaped);
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), text);
        assert_eq!(BlobDigest::from(config.image_id()), BlobDigest::of(text.as_bytes()));
    }

    #[test]
    fn pinned_vector() {
        // spec/image-config.md: a change of this value is a change of every image's id.
        let mut config = ImageConfig::scratch(&"linux/arm/v7".parse().unwrap());
        config.created = Some("1970-01-01T00:00:00Z".into());
        config.config.env = vec!["A=<b>".into()];
        config.config.labels.insert("z".into(), "1".into());
        config.config.labels.insert("a".into(), "2".into());
        config.config.cmd = Some(vec!["sh".into()]);
        config.config.entrypoint = Some(vec![]);
        config.other.insert("os.version".into(), "5".into());
        config.other.insert("aaa".into(), 1.into());
        assert_eq!(
            String::from_utf8(config.to_bytes()).unwrap(),
            concat!(
                r#"{"aaa":1,"architecture":"arm","config":{"Env":["A=\u003cb\u003e"],"Cmd":["sh"],"#,
                r#""Labels":{"a":"2","z":"1"}},"created":"1970-01-01T00:00:00Z","os":"linux","#,
                r#""os.version":"5","rootfs":{"type":"layers","diff_ids":[]},"variant":"v7"}"#
            )
        );
    }

    #[test]
    fn null_is_the_default() {
        let nulls = ["architecture", "author", "config", "created", "history", "os", "variant"]
            .map(|key| format!(r#","{key}":null"#))
            .concat();
        assert_eq!(parse(&with_rootfs(&nulls)).unwrap(), parse(&with_rootfs("")).unwrap());
        let nulls = [
            "User",
            "ExposedPorts",
            "Env",
            "Entrypoint",
            "Cmd",
            "Volumes",
            "WorkingDir",
            "Labels",
            "StopSignal",
            "ArgsEscaped",
            "Healthcheck",
            "OnBuild",
            "Shell",
        ]
        .map(|key| format!(r#""{key}":null"#))
        .join(",");
        let config = parse(&with_rootfs(&format!(r#","config":{{{nulls}}}"#))).unwrap();
        assert_eq!(config.config, RunConfig::default());
        assert!(parse(r#"{"rootfs":{"type":"layers","diff_ids":null}}"#).unwrap().rootfs.diff_ids.is_empty());
    }

    #[test]
    fn m20_a_history_that_lies_is_data() {
        let config =
            parse(&with_rootfs(r#","history":[{},{"empty_layer":false},{"created_by":null}]"#)).unwrap();
        assert_eq!(config.history.len(), 3);
    }

    #[test]
    fn m21_an_artifact_is_not_an_image() {
        assert!(parse("{}").unwrap_err().to_string().contains("rootfs"));
        let error = parse(r#"{"rootfs":{"type":"tree","diff_ids":[]}}"#).unwrap_err();
        assert!(matches!(error, ConfigError::RootFsType(_)));
    }

    #[test]
    fn m08_m10_strictness() {
        for key in ["Config", "ROOTFS", "Os"] {
            let error = parse(&with_rootfs(&format!(r#","{key}":null"#))).unwrap_err();
            assert!(matches!(error, ConfigError::CaseVariant(_)), "{key}");
        }
        let error = parse(&with_rootfs(r#","config":{"env":[]}"#)).unwrap_err();
        assert!(matches!(error, ConfigError::CaseVariant(_)));
        assert!(parse(&with_rootfs(r#","config":{"Labels":{"a":"","A":""},"Hostname":"x"}"#)).is_ok());
        let many = vec![format!("\"{}\"", BlobDigest::of(b"")); 4097].join(",");
        let error = parse(&format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{many}]}}}}"#)).unwrap_err();
        assert!(matches!(error, ConfigError::TooManyLayers(4097)));
    }
}
