//! What cosign signs of an image: a "simple signing" payload (containers-signature(5)), byte for byte as cosign writes it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{KeyError, PublicKey, Signer};
use crate::diag::escape;
use crate::digest::BlobDigest;
use crate::oci::{Reference, json};

/// The media type of the layer that is a payload.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of that layer that holds its signature, in base64.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What such a payload says that it is.
const KIND: &str = "cosign container image signature";
/// The largest payload that is read.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// docker's registry as cosign names it.
const DOCKER: (&str, &str) = ("docker.io", "index.docker.io");

/// The tag at which the signatures of a manifest are, in its own repository.
pub fn tag(manifest: &BlobDigest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload<O> {
    critical: Critical,
    optional: Option<O>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    manifest: String,
}

/// The bytes to be signed for a manifest of an image's repository, with annotations of the signer's own.
pub fn payload(name: &Reference, manifest: &BlobDigest, annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let registry = if name.registry() == DOCKER.0 { DOCKER.1 } else { name.registry() };
    json::to_bytes(&Payload {
        critical: Critical {
            identity: Identity { reference: format!("{registry}/{}", name.repository()) },
            image: Image { manifest: manifest.to_string() },
            kind: KIND.to_owned(),
        },
        optional: (!annotations.is_empty()).then_some(annotations),
    })
}

/// A signature as it lies beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub payload: Vec<u8>,
    /// base64.
    pub signature: String,
}

impl Attached {
    /// Signs a payload.
    pub fn make(payload: Vec<u8>, signer: &Signer) -> Result<Self, KeyError> {
        let signature = STANDARD.encode(signer.sign(&payload)?);
        Ok(Self { payload, signature })
    }

    /// Whether a key made it, whatever the payload says.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        STANDARD.decode(&self.signature).is_ok_and(|bytes| key.verifies(&self.payload, &bytes))
    }
}

/// Why a payload, whoever signed it, is not one for an image. Nothing of it is "as good as".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadFault {
    #[error("its payload has more than {MAX_PAYLOAD} bytes")]
    TooLarge,
    #[error("its payload is not of cosign's form")]
    Form,
    #[error("it is a {}, not a signature of an image", escape(.0.as_bytes()))]
    Kind(String),
    #[error("it is for the manifest {}", escape(.0.as_bytes()))]
    Manifest(String),
    #[error("it is for the image {}", escape(.0.as_bytes()))]
    Identity(String),
}

/// What the signer added to a payload.
pub type Annotations = BTreeMap<String, serde_json::Value>;

/// Checks that a payload is too long to be read, before anything else.
pub fn bounded(payload: &[u8]) -> Result<(), PayloadFault> {
    if payload.len() > MAX_PAYLOAD { Err(PayloadFault::TooLarge) } else { Ok(()) }
}

/// Checks that a payload is for this manifest and for this name of it.
pub fn check(payload: &[u8], name: &Reference, manifest: &BlobDigest) -> Result<Annotations, PayloadFault> {
    let said: Payload<Annotations> = json::parse(payload, MAX_PAYLOAD).map_err(|_| PayloadFault::Form)?;
    let short = |text: String| text.chars().take(300).collect::<String>();
    let Critical { identity, image, kind } = said.critical;
    if kind != KIND {
        return Err(PayloadFault::Kind(short(kind)));
    }
    if image.manifest.parse() != Ok(*manifest) {
        return Err(PayloadFault::Manifest(short(image.manifest)));
    }
    if !is_of(&identity.reference, name) {
        return Err(PayloadFault::Identity(short(identity.reference)));
    }
    Ok(said.optional.unwrap_or_default())
}

/// Whether an identity is that of a name: the same repository in full, and the same tag if both have one. A name with a
/// digest is for that, whatever its tag was.
fn is_of(identity: &str, name: &Reference) -> bool {
    let Ok(signed) = identity.parse::<Reference>() else { return false };
    let same = signed.registry() == name.registry() && signed.repository() == name.repository();
    let (place, rest) = identity.split_at(identity.rfind('/').map_or(0, |at| at + 1));
    let tag = rest.split_once(':').map(|(_, tag)| tag);
    let tags = name.digest().is_some() || tag.is_none_or(|tag| name.tag() == Some(tag));
    // Short forms are for people: who signs `alpine` may mean another registry's.
    same && tags && !place.is_empty() && is_full(identity, &signed) && signed.digest().is_none()
}

fn is_full(identity: &str, signed: &Reference) -> bool {
    let of = |registry: &str| identity.starts_with(&format!("{registry}/{}", signed.repository()));
    of(signed.registry()) || signed.registry() == DOCKER.0 && of(DOCKER.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn manifest() -> BlobDigest {
        BlobDigest::of(b"manifest")
    }

    const DIGEST: &str = "sha256:ed6f2dd1eb0e1e9a52d9ed5e8e12ad3b85c63a5ab6a5e94eb5e0c4fd5d3b2d57";

    #[test]
    fn bytes_are_cosigns() {
        let digest: BlobDigest = DIGEST.parse().unwrap();
        let text = |name: &str, annotations: &[(&str, &str)]| {
            let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            String::from_utf8(payload(&name.parse().unwrap(), &digest, &annotations)).unwrap()
        };
        assert_eq!(
            text("a.example:5000/team/app:1", &[]),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"a.example:5000/team/app"}},"image":{{"docker-manifest-digest":"{DIGEST}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        let annotated = text("alpine", &[("b", "<&>"), ("a", "é\"")]);
        assert!(annotated.contains(r#""docker-reference":"index.docker.io/library/alpine""#), "{annotated}");
        assert!(annotated.ends_with(r#""optional":{"a":"é\"","b":"\u003c\u0026\u003e"}}"#), "{annotated}");
        assert_eq!(tag(&digest), format!("{}.sig", DIGEST.replace(':', "-")));
    }

    #[test]
    fn what_is_made_passes() {
        for text in ["alpine", "a.example/app:2", "a.example:5000/team/app"] {
            let made = payload(&name(text), &manifest(), &BTreeMap::from([("k".into(), "v".into())]));
            let found = check(&made, &name(text), &manifest()).unwrap();
            assert_eq!(found, Annotations::from([("k".into(), "v".into())]));
        }
    }

    #[test]
    fn c07_identities_match_exactly() {
        let is = |identity: &str, asked: &str| is_of(identity, &name(asked));
        assert!(is("a.example/app", "a.example/app:1") && is("a.example/app:1", "a.example/app:1"));
        assert!(is("index.docker.io/library/alpine", "alpine") && is("docker.io/library/alpine", "alpine:3"));
        let pinned = format!("a.example/app:2@{DIGEST}");
        assert!(is("a.example/app:1", &pinned), "what is pinned is asked for by its digest");
        for other in [
            "a.example/app:2",
            "a.example/app2",
            "a.example/app/x",
            "a.example/ap",
            "a.example:443/app",
            "b.example/app",
            "a.example/App",
            "https://a.example/app",
            "a.example/app:",
            "app",
            "",
            &format!("a.example/app@{DIGEST}"),
        ] {
            assert!(!is(other, "a.example/app:1"), "{other}");
        }
        assert!(
            !is("alpine", "alpine") && !is("library/alpine", "alpine") && !is("docker.io/alpine", "alpine")
        );
    }

    #[test]
    fn c07_other_payloads_are_refused() {
        let good = String::from_utf8(payload(&name("a.example/app"), &manifest(), &BTreeMap::new())).unwrap();
        let said = |text: &str| check(text.as_bytes(), &name("a.example/app"), &manifest()).unwrap_err();
        assert!(check(good.as_bytes(), &name("a.example/app"), &manifest()).is_ok());
        assert!(check(format!(" {good}\n").as_bytes(), &name("a.example/app"), &manifest()).is_ok());
        for (from, to) in [
            ("null}", "null,\"x\":1}"),
            ("\"identity\"", "\"Identity\""),
            ("\"optional\"", "\"critical\":{},\"optional\""),
            ("{\"docker-reference\"", "{\"x\":1,\"docker-reference\""),
            (":null", ":[]"),
            ("\"type\":\"cosign container image signature\"", "\"type\":null"),
            ("null}", "null}{}"),
            ("{\"critical\"", ""),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(said(&good.replace(from, to)), PayloadFault::Form, "{to}");
        }
        assert_eq!(
            said(&good.replace("cosign container", "atomic container")),
            PayloadFault::Kind("atomic container image signature".into())
        );
        assert_eq!(said(&good.replace("sha256:", "sha512:")), {
            PayloadFault::Manifest(manifest().to_string().replace("sha256:", "sha512:"))
        });
        assert_eq!(said(&good.replace("/app", "/apps")), PayloadFault::Identity("a.example/apps".into()));
        let other = BlobDigest::of(b"other");
        let fault = check(good.as_bytes(), &name("a.example/app"), &other).unwrap_err();
        assert_eq!(fault, PayloadFault::Manifest(manifest().to_string()));
        assert_eq!(bounded(&vec![b' '; MAX_PAYLOAD + 1]), Err(PayloadFault::TooLarge));
    }
}
