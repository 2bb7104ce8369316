//! Manifests and indexes: fetched by name, known by the digest of their bytes (distribution-spec, "Pulling manifests",
//! "Pushing Manifests", "Deleting Manifests").

use std::fmt;

use ureq::http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use ureq::http::{Method, StatusCode};

use super::host::{Answered, Ask, Host, Payload, Repeat};
use super::{RegistryError, Repository};
use crate::digest::BlobDigest;
use crate::fetch::client::header;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document, DocumentError, Reference};

/// What a registry says a digest is. Never believed: it only tells when to look again.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Says that a registry knows what a manifest is about.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// What lith reads. A registry that has nothing but schema 1 sends that anyway.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// By what a manifest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    Tag(&'a str),
    Digest(BlobDigest),
}

impl<'a> Target<'a> {
    /// What a name asks for: a digest goes before a tag, and the usual tag is `latest`.
    pub fn of(name: &'a Reference) -> Self {
        match (name.digest(), name.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, tag) => Self::Tag(tag.unwrap_or("latest")),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// What a name stood for when it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Type, digest and size of the bytes.
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub document: Document,
}

impl Repository<'_> {
    /// A manifest or an index. Its digest is that of its bytes, whatever the server says.
    pub fn manifest(&self, target: Target<'_>) -> Result<Resolved, RegistryError> {
        self.first(|host| self.manifest_at(host, target))
    }

    pub(super) fn manifest_at(&self, host: &Host<'_>, target: Target<'_>) -> Result<Resolved, RegistryError> {
        let what = self.named(&target);
        let scopes = self.pulling();
        let answered = self.ask_manifest(host, Method::GET, target, &what, &scopes)?;
        if answered.response.status() != StatusCode::OK {
            return Err(host.refused(&what, answered));
        }
        let declared = content_type(&answered);
        let bytes = host.read(&what, answered.response, MAX_DOCUMENT as u64)?;
        let digest = BlobDigest::of(&bytes);
        if let Target::Digest(wanted) = target
            && wanted != digest
        {
            return Err(RegistryError::Digest { what, host: host.shown(), actual: digest });
        }
        resolved(host, what, declared, bytes)
    }

    /// What a name stands for, as whoever answers for it says: nobody can check that without the bytes.
    pub fn digest(&self, target: Target<'_>) -> Result<BlobDigest, RegistryError> {
        self.first(|host| {
            let what = self.named(&target);
            let answered = self.ask_manifest(host, Method::HEAD, target, &what, &self.pulling())?;
            if answered.response.status() != StatusCode::OK {
                return Err(host.refused(&what, answered));
            }
            let told = header(&answered.response, CONTENT_DIGEST).and_then(|told| told.trim().parse().ok());
            match (target, told) {
                (Target::Digest(digest), _) => Ok(digest),
                (Target::Tag(_), Some(told)) => Ok(told),
                // Not all say it.
                (Target::Tag(_), None) => Ok(self.manifest_at(host, target)?.descriptor.digest),
            }
        })
    }

    /// Whether the registry has a manifest.
    pub fn has_manifest(&self, target: Target<'_>) -> Result<bool, RegistryError> {
        self.has_manifest_for(target, &self.pulling())
    }

    fn has_manifest_for(&self, target: Target<'_>, scopes: &[String]) -> Result<bool, RegistryError> {
        let what = self.named(&target);
        let answered = self.ask_manifest(self.own(), Method::HEAD, target, &what, scopes)?;
        match answered.response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.own().refused(&what, answered)),
        }
    }

    fn ask_manifest(
        &self,
        host: &Host<'_>,
        method: Method,
        target: Target<'_>,
        what: &str,
        scopes: &[String],
    ) -> Result<Answered, RegistryError> {
        let ask = Ask {
            method,
            url: host.url(&format!("{}/manifests/{target}", self.path())),
            headers: vec![(ACCEPT, ACCEPTED.to_owned())],
            body: Payload::Nothing,
            scopes,
            repeat: Repeat::Always,
            what,
        };
        host.send(&ask, &mut host.tries())
    }

    /// Gives the registry a manifest. True if it takes note of what the manifest is about.
    pub fn put_manifest(
        &self,
        target: Target<'_>,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let (what, host, scopes) = (self.named(&target), self.own(), self.pushing());
        let ask = Ask {
            method: Method::PUT,
            url: host.url(&format!("{}/manifests/{target}", self.path())),
            headers: vec![(CONTENT_TYPE, media_type.as_str().to_owned())],
            body: Payload::Bytes(bytes),
            scopes: &scopes,
            repeat: Repeat::Always,
            what: &what,
        };
        let answered = host.send(&ask, &mut host.tries())?;
        if !answered.response.status().is_success() {
            return Err(host.refused(&what, answered));
        }
        let digest = BlobDigest::of(bytes);
        let is_subject_known = header(&answered.response, OCI_SUBJECT).is_some();
        if let Some(told) = other_digest(&answered, digest)
            && !self.has_manifest_for(Target::Digest(digest), &scopes)?
        {
            return Err(RegistryError::NotKept { what, host: host.shown(), told });
        }
        Ok(is_subject_known)
    }

    /// Removes a manifest. What it names stays until the registry itself cleans up.
    pub fn delete_manifest(&self, digest: BlobDigest) -> Result<(), RegistryError> {
        let target = Target::Digest(digest);
        let (what, host, scopes) = (self.named(&target), self.own(), self.deleting());
        let ask = Ask {
            method: Method::DELETE,
            url: host.url(&format!("{}/manifests/{target}", self.path())),
            headers: Vec::new(),
            body: Payload::Nothing,
            scopes: &scopes,
            repeat: Repeat::Always,
            what: &what,
        };
        let answered = host.send(&ask, &mut host.tries())?;
        match answered.response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::METHOD_NOT_ALLOWED => match host.refused(&what, answered) {
                RegistryError::Status { what, host, said, .. } => {
                    Err(RegistryError::NoDeletes { what, host, said })
                }
                other => Err(other),
            },
            _ => Err(host.refused(&what, answered)),
        }
    }
}

/// What an answer says its body is, if that is a type of a manifest.
fn content_type(answered: &Answered) -> Option<MediaType> {
    let text = header(&answered.response, CONTENT_TYPE)?;
    let text = text.split(';').next().unwrap_or_default().trim();
    // Servers that hold files and know no registries say this of everything.
    let is_vague = matches!(text, "" | "application/json" | "text/plain" | "application/octet-stream");
    (!is_vague).then(|| MediaType::from(text))
}

fn resolved(
    host: &Host<'_>,
    what: String,
    declared: Option<MediaType>,
    bytes: Vec<u8>,
) -> Result<Resolved, RegistryError> {
    if let Some(media_type) = declared.as_ref().filter(|kind| !kind.is_manifest() && !kind.is_index()) {
        if media_type.is_schema1() {
            return Err(RegistryError::Document { what, source: DocumentError::Schema1 });
        }
        return Err(RegistryError::MediaType { what, host: host.shown(), media_type: media_type.clone() });
    }
    let document = Document::parse(&bytes, declared.as_ref());
    let document = document.map_err(|source| RegistryError::Document { what, source })?;
    let media_type = declared.unwrap_or_else(|| document.media_type());
    Ok(Resolved { descriptor: Descriptor::of(media_type, &bytes), bytes, document })
}

/// What a server says it took, if that is something else than it was given.
pub(super) fn other_digest(answered: &Answered, given: BlobDigest) -> Option<String> {
    let told = header(&answered.response, CONTENT_DIGEST)?;
    let is_other = told.trim() != given.to_string();
    is_other.then(|| crate::diag::escape(told.chars().take(100).collect::<String>().as_bytes()))
}
