//! Platforms: `linux/amd64`, `linux/arm/v7`, as the OCI image-spec names them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant, normalised as containerd does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// What `os` alone, and `architecture` alone, can be; a full platform may name any other one.
const SYSTEMS: [&str; 7] = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "windows"];
const ARCHITECTURES: [&str; 12] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",
    "wasm",
];

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform {0:?} is not of the form os/architecture[/variant], for example linux/amd64")]
pub struct PlatformError(String);

impl Platform {
    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    /// Reads a platform as containerd does: beside the full form also an operating system or an architecture alone,
    /// the rest being that of `host`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse_on(text: &str, host: &Self) -> Result<Self, PlatformError> {
        if SYSTEMS.contains(&text.to_ascii_lowercase().as_str()) {
            return Ok(Self { os: text.to_ascii_lowercase(), ..host.clone() });
        }
        match format!("{}/{text}", host.os).parse::<Self>() {
            Ok(platform)
                if !text.contains('/') && ARCHITECTURES.contains(&platform.architecture.as_str()) =>
            {
                Ok(platform)
            }
            _ => text.parse(),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.chars().take(100).collect());
        let valid = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(|p| valid(p)) {
            return Err(error());
        }
        let os = parts[0].to_ascii_lowercase();
        let given = parts.get(2).map(|v| v.to_ascii_lowercase());
        let (architecture, variant) = match (parts[1].to_ascii_lowercase().as_str(), given.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".to_owned(), None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64".to_owned(), None),
            ("arm", None) => ("arm".to_owned(), Some("v7".to_owned())),
            ("armhf", None) => ("arm".to_owned(), Some("v7".to_owned())),
            ("armel", None) => ("arm".to_owned(), Some("v6".to_owned())),
            ("i386", None) => ("386".to_owned(), None),
            (other, variant) => (other.to_owned(), variant.map(str::to_owned)),
        };
        Ok(Self { os, architecture, variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|v| write!(f, "/{v}"))
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;
    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        let of = |t: &str| t.parse::<Platform>().unwrap().to_string();
        assert_eq!(of("linux/x86_64"), "linux/amd64");
        assert_eq!(of("linux/arm64/v8"), "linux/arm64");
        assert_eq!(of("linux/arm"), "linux/arm/v7");
        for bad in ["", "linux", "linux/", "a/b/c/d", "linux/../x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_half_alone() {
        let host = "linux/arm/v6".parse().unwrap();
        let of = |t: &str| Platform::parse_on(t, &host).map(|platform| platform.to_string());
        for (half, whole) in [
            ("amd64", "linux/amd64"),
            ("AArch64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
            ("Linux", "linux/arm/v6"),
            ("windows", "windows/arm/v6"),
            ("linux/vax", "linux/vax"),
            ("arm/v7", "arm/v7"),
        ] {
            assert_eq!(of(half).unwrap(), whole, "{half}");
        }
        for bad in ["", "vax", "..", "x86/64/v1/x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
