//! Names of images: docker's reference grammar with its familiar short forms.
//!
//! Owns: `[registry[:port]/]path[:tag][@digest]`. Never resolves a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{BlobDigest, DigestError};

/// The registry of names that give none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where the default registry keeps names of a single part.
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// The longest registry and path together, in bytes.
const MAX_NAME: usize = 255;

/// The name of an image in full: `docker.io/library/alpine:latest`. Has a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
}

/// Why a text is not an image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("image name {0:?} is empty")]
    Empty(String),
    #[error("image name {0:?} must be lower-case")]
    UpperCase(String),
    #[error("image name {0:?} is not of the form [registry[:port]/]path[:tag][@digest]")]
    Grammar(String),
    #[error("image name {0:?} is longer than {MAX_NAME} bytes")]
    TooLong(String),
    #[error("image name {0:?} is 64 hex digits and could be taken for an image id")]
    LooksLikeId(String),
    #[error("image name {name:?} has an invalid registry {registry:?}")]
    Registry { name: String, registry: String },
    #[error(
        "image name {name:?} has an invalid tag {tag:?}; expected up to 128 letters, digits, '_', '.', '-', \
         the first no '.' or '-'"
    )]
    Tag { name: String, tag: String },
    #[error("image name {name:?} has an invalid digest: {source}")]
    Digest { name: String, source: DigestError },
}

impl Reference {
    /// `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `latest`; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest the name is pinned to.
    pub fn digest(&self) -> Option<BlobDigest> {
        self.digest
    }

    /// The same name pinned to a digest, its tag kept.
    pub fn with_digest(&self, digest: BlobDigest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same name with another tag, its digest kept.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !valid_tag(tag) {
            let tag = tag.chars().take(100).collect();
            return Err(ReferenceError::Tag { name: self.full_name(), tag });
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.clone() })
    }

    /// The same name without its digest; with the default tag if it had none.
    pub fn without_digest(&self) -> Self {
        let tag = self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.into());
        Self { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// Registry and repository in their short form: `alpine` for `docker.io/library/alpine`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix(DEFAULT_NAMESPACE) {
            // `library/localhost` or `library/a.b/c` would be read back as a registry.
            Some(short) if !short.contains('/') => short.to_owned(),
            Some(_) | None if is_registry(self.first_part()) => self.full_name(),
            Some(_) | None => self.repository.clone(),
        }
    }

    /// The short form as docker shows it: `alpine:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    fn first_part(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let name = || text.chars().take(300).collect::<String>();
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest =
                    digest.parse().map_err(|source| ReferenceError::Digest { name: name(), source })?;
                (rest, Some(digest))
            }
        };
        let (path, tag) = split_tag(rest);
        if path.is_empty() {
            return Err(ReferenceError::Empty(name()));
        }
        if path.len() == 64 && path.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(name()));
        }
        let (registry, repository) = split_registry(path);
        if !valid_registry(registry) {
            return Err(ReferenceError::Registry {
                name: name(),
                registry: registry.chars().take(100).collect(),
            });
        }
        if !repository.split('/').all(valid_part) {
            let lower = repository.to_ascii_lowercase();
            let by_case = lower != repository && lower.split('/').all(valid_part);
            return Err(if by_case {
                ReferenceError::UpperCase(name())
            } else {
                ReferenceError::Grammar(name())
            });
        }
        if let Some(tag) = tag.filter(|tag| !valid_tag(tag)) {
            return Err(ReferenceError::Tag { name: name(), tag: tag.chars().take(100).collect() });
        }
        let reference = normalise(registry, repository, tag, digest);
        if reference.full_name().len() > MAX_NAME {
            return Err(ReferenceError::TooLong(name()));
        }
        Ok(reference)
    }
}

/// A colon after the last slash begins a tag.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last = text.rfind('/').map_or(0, |at| at + 1);
    match text[last..].find(':') {
        None => (text, None),
        Some(at) => (&text[..last + at], Some(&text[last + at + 1..])),
    }
}

/// The first part is a registry if it could not be a part of a path that people write.
fn split_registry(path: &str) -> (&str, &str) {
    match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        Some(_) | None => (DEFAULT_REGISTRY, path),
    }
}

fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn normalise(registry: &str, repository: &str, tag: Option<&str>, digest: Option<BlobDigest>) -> Reference {
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        format!("{DEFAULT_NAMESPACE}{repository}")
    } else {
        repository.to_owned()
    };
    let tag = match (tag, digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (None, Some(_)) => None,
    };
    Reference { registry: registry.to_owned(), repository, tag, digest }
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn valid_part(part: &str) -> bool {
    let alphanumeric = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && bytes
        .split(alphanumeric)
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

fn valid_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A host name, an IPv4 address or an IPv6 address in brackets, then maybe a port.
fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if valid_ipv6(address) => ("v6", port),
            Some(_) | None => return false,
        },
        None => registry.split_at(registry.find(':').unwrap_or(registry.len())),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_is_fine = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    host.split('.').all(label) && port_is_fine
}

fn valid_ipv6(address: &str) -> bool {
    address.parse::<std::net::Ipv6Addr>().is_ok()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.full_name()))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|e| panic!("{e}")).to_string()
    }

    #[test]
    fn familiar_names_become_full() {
        let d = BlobDigest::of(b"x");
        assert_eq!(full("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("alpine:3.20"), "docker.io/library/alpine:3.20");
        assert_eq!(full("me/app"), "docker.io/me/app:latest");
        assert_eq!(full("index.docker.io/alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/app:v1"), "localhost:5000/app:v1");
        assert_eq!(full("ghcr.io/a/b/c__d-----e.f"), "ghcr.io/a/b/c__d-----e.f:latest");
        assert_eq!(full("[::1]:5000/app"), "[::1]:5000/app:latest");
        assert_eq!(full("REG/app"), "REG/app:latest");
        assert_eq!(full("test.com:5000"), "docker.io/library/test.com:5000");
        assert_eq!(full(&format!("alpine@{d}")), format!("docker.io/library/alpine@{d}"));
        assert_eq!(full(&format!("alpine:3@{d}")), format!("docker.io/library/alpine:3@{d}"));
    }

    #[test]
    fn full_names_become_familiar() {
        for text in ["alpine:latest", "me/app:1", "ghcr.io/a/b:1", "localhost:5000/a:1"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
        assert_eq!("docker.io/library/alpine".parse::<Reference>().unwrap().familiar_name(), "alpine");
        assert_eq!(
            "docker.io/localhost/a".parse::<Reference>().unwrap().familiar(),
            "docker.io/localhost/a:latest"
        );
    }

    #[test]
    fn m14_what_is_not_a_name() {
        let hex = "ab".repeat(32);
        let long = format!("a/{}", "b".repeat(300));
        let huge = "a".repeat(10_000);
        for bad in [
            "",
            ":tag",
            "@",
            "../../x",
            "a b",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "a:",
            "a:b:c",
            "a\0",
            "a\n",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a:.x",
            "a:-x",
            "a@sha256:00",
            "a@md5:00",
            "é",
            "a:é",
            "a.b:99999/x",
            "a.b:/x",
            "a_.b/c:1/d",
            "[::1/x",
            "-x.com/a",
            "http://x.com/a",
            "a@b@c",
            &hex,
            &long,
            &huge,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
        assert_eq!("Alpine".parse::<Reference>().unwrap_err(), ReferenceError::UpperCase("Alpine".into()));
        assert!(matches!(
            format!("a:{}", "t".repeat(129)).parse::<Reference>(),
            Err(ReferenceError::Tag { .. })
        ));
    }

    proptest! {
        #[test]
        fn full_and_familiar_read_back(text in "([a-zA-Z0-9.:-]{1,8}/)?[a-z0-9._/-]{1,12}(:[a-zA-Z0-9_.-]{1,5})?") {
            let Ok(reference) = text.parse::<Reference>() else { return Ok(()) };
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = text.parse::<Reference>();
        }
    }
}
