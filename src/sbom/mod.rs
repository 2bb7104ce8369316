//! Which packages an image holds, and documents that say so (spec/sbom.md). Pure.

mod cyclonedx;
mod databases;
mod spdx;

use std::collections::BTreeSet;

use crate::digest::ImageId;
use crate::epoch::Epoch;
use crate::oci::attest::Attestation;

pub use databases::{Distribution, SbomError, apk, dpkg};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Spdx,
    CycloneDx,
}

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Apk,
    Deb,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Name and version of what it was built from, where one of them is another.
    pub source: Option<(String, String)>,
}

/// What is listed of an image.
#[derive(Debug, Clone)]
pub struct Contents {
    pub image: ImageId,
    pub epoch: Epoch,
    pub distribution: Distribution,
    pub packages: BTreeSet<Package>,
}

impl Contents {
    /// The document, as a statement about the image.
    pub fn attestation(&self, form: Form) -> Attestation {
        match form {
            Form::Spdx => Attestation {
                predicate_type: "https://spdx.dev/Document".into(),
                predicate: spdx::document(self),
            },
            Form::CycloneDx => Attestation {
                predicate_type: "https://cyclonedx.org/bom".into(),
                predicate: cyclonedx::document(self),
            },
        }
    }

    /// The package URL: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12`.
    fn url(&self, package: &Package) -> String {
        let (kind, vendor) = match package.kind {
            Kind::Apk => ("apk", "alpine"),
            Kind::Deb => ("deb", "debian"),
        };
        let vendor = self.distribution.id.as_deref().unwrap_or(vendor);
        let mut url = format!(
            "pkg:{kind}/{}/{}@{}?arch={}",
            encoded(vendor),
            encoded(&package.name),
            encoded(&package.version),
            encoded(&package.architecture)
        );
        if let Some(version) = &self.distribution.version {
            url.push_str(&format!("&distro={}-{}", encoded(vendor), encoded(version)));
        }
        url
    }
}

/// Percent-encoded as package URLs have it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                out.push(byte.into())
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let status = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u1\nDescription: x\n more\n\n\
            Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
            Package: g++\nStatus: install ok unpacked\nArchitecture: all\nVersion: 4:12\nSource: gcc-defaults (1.203)\n";
        let installed = b"C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\nP:sh\nV:1\nA:noarch\no:busybox\n";
        let mut packages = dpkg(status).unwrap();
        packages.extend(apk(installed).unwrap());
        Contents {
            image: ImageId::from_bytes([7; 32]),
            epoch: Epoch::from_seconds(86_400).unwrap(),
            distribution: Distribution::parse("NAME=x\nID=debian\nVERSION_ID=\"12\"\n"),
            packages: packages.into_iter().collect(),
        }
    }

    #[test]
    fn packages_have_urls() {
        let contents = contents();
        let urls: Vec<String> = contents.packages.iter().map(|package| contents.url(package)).collect();
        assert_eq!(
            urls,
            [
                "pkg:apk/debian/musl@1.2.4-r2?arch=x86_64&distro=debian-12",
                "pkg:apk/debian/sh@1?arch=noarch&distro=debian-12",
                "pkg:deb/debian/g%2B%2B@4:12?arch=all&distro=debian-12",
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12",
            ]
        );
        let sources: Vec<_> = contents.packages.iter().map(|package| package.source.clone()).collect();
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(
            sources,
            [None, pair("busybox", "1"), pair("gcc-defaults", "1.203"), pair("glibc", "2.36-9+deb12u1")]
        );
    }

    #[test]
    fn documents_are_a_function_of_the_image() {
        for form in [Form::Spdx, Form::CycloneDx] {
            assert_eq!(contents().attestation(form), contents().attestation(form));
        }
        let spdx = contents().attestation(Form::Spdx).predicate;
        assert_eq!(spdx["creationInfo"]["created"], "1970-01-02T00:00:00Z");
        assert_eq!(spdx["packages"].as_array().unwrap().len(), 5);
        assert_eq!(spdx["relationships"].as_array().unwrap().len(), 5);
        let cyclonedx = contents().attestation(Form::CycloneDx).predicate;
        assert_eq!(cyclonedx["components"].as_array().unwrap().len(), 4);
    }
}
