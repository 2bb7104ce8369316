//! Blobs: streamed into the store, gone on with where they broke off, and never more of them than their descriptor
//! says (distribution-spec, "Pulling blobs"; spec/registry.md, "Pull").

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use ureq::http::header::{CONTENT_LENGTH, HeaderName};
use ureq::http::{Method, StatusCode};

use super::host::{Answered, Ask, Host, Payload, Repeat};
use super::{RegistryError, Repository, Target};
use crate::digest::BlobDigest;
use crate::fetch::client::{Tries, header};
use crate::fetch::download::{self, Answer, Lost};
use crate::fetch::pace::Paced;
use crate::fetch::transfer::Wanted;
use crate::fetch::watch::Act;
use crate::image::{BlobSource, IngestError};
use crate::oci::Descriptor;
use crate::store::Store;
use crate::store::partials::download_lock;

impl Repository<'_> {
    /// Whether the registry has a blob in this repository.
    pub fn has_blob(&self, digest: BlobDigest) -> Result<bool, RegistryError> {
        self.has_blob_for(digest, &self.pulling(), &mut self.own().tries())
    }

    pub(super) fn has_blob_for(
        &self,
        digest: BlobDigest,
        scopes: &[String],
        tries: &mut Tries,
    ) -> Result<bool, RegistryError> {
        let (what, host) = (self.named(&Target::Digest(digest)), self.own());
        let answered = self.ask_blob(host, Method::HEAD, digest, Vec::new(), &what, scopes, tries)?;
        match answered.response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(host.refused(&what, answered)),
        }
    }

    /// Brings a blob, or a manifest, into the store.
    pub fn fetch(&self, store: &Store, blob: &Descriptor) -> Result<(), RegistryError> {
        if blob.media_type.is_manifest() || blob.media_type.is_index() {
            return self.fetch_manifest(store, blob);
        }
        let what = self.named(&Target::Digest(blob.digest));
        check(blob, &what)?;
        let options = &self.registry().options;
        if blob.size > options.largest {
            let (host, limit) = (self.own().shown(), options.largest);
            return Err(RegistryError::TooLarge { what, host, limit });
        }
        let wanted = Wanted {
            key: format!("sha256-{}", blob.digest.hex()),
            checksum: Some(blob.digest),
            size: Some(blob.size),
            limit: blob.size,
            patience: options.patience,
            is_content_asked: false,
        };
        // Whoever waited for another to bring it finds it there.
        let _once = store.work_lock(&download_lock(&wanted.key))?;
        if store.has_blob(&blob.digest) {
            return Ok(());
        }
        let task = options.watch.task(Act::Fetch, &what);
        self.first(|host| {
            let mut tries = host.tries();
            let brought = download::bring(store, &wanted, &mut tries, &task, |conditions, tries| {
                self.part(host, blob, conditions, &what, tries)
            });
            brought.map(drop).map_err(|lost| explained(lost, host, blob, &what))
        })?;
        task.done();
        Ok(())
    }

    fn fetch_manifest(&self, store: &Store, blob: &Descriptor) -> Result<(), RegistryError> {
        let resolved = self.manifest(Target::Digest(blob.digest))?;
        let actual = resolved.bytes.len() as u64;
        if actual != blob.size {
            let (what, host) = (self.named(&Target::Digest(blob.digest)), self.own().shown());
            return Err(RegistryError::Size { what, host, expected: blob.size, actual: actual.to_string() });
        }
        store.put_blob(&resolved.bytes, crate::sys::file::Durability::Synced)?;
        Ok(())
    }

    /// One request for a blob, or for the rest of it.
    fn part(
        &self,
        host: &Host<'_>,
        blob: &Descriptor,
        conditions: &[(HeaderName, String)],
        what: &str,
        tries: &mut Tries,
    ) -> Result<Answer, RegistryError> {
        let scopes = self.pulling();
        let headers = conditions.to_vec();
        let answered = self.ask_blob(host, Method::GET, blob.digest, headers, what, &scopes, tries)?;
        match answered.response.status() {
            StatusCode::OK => {
                check_length(host, blob, what, &answered)?;
                Ok(Answer::New(Box::new(answered.response)))
            }
            StatusCode::PARTIAL_CONTENT => Ok(Answer::New(Box::new(answered.response))),
            StatusCode::RANGE_NOT_SATISFIABLE if !conditions.is_empty() => Ok(Answer::NoRest),
            _ => Err(host.refused(what, answered)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a request for a blob is made of")]
    pub(super) fn ask_blob(
        &self,
        host: &Host<'_>,
        method: Method,
        digest: BlobDigest,
        headers: Vec<(HeaderName, String)>,
        what: &str,
        scopes: &[String],
        tries: &mut Tries,
    ) -> Result<Answered, RegistryError> {
        let url = host.url(&format!("{}/blobs/{digest}", self.path()));
        let (body, repeat) = (Payload::Nothing, Repeat::Always);
        host.send(&Ask { method, url, headers, body, scopes, repeat, what }, tries)
    }
}

/// Refuses what no registry holds: only its URLs would, and they are anybody's.
pub(super) fn check(blob: &Descriptor, what: &str) -> Result<(), RegistryError> {
    match blob.media_type.is_foreign() {
        true => Err(RegistryError::Foreign { what: what.to_owned(), media_type: blob.media_type.clone() }),
        false => Ok(()),
    }
}

/// A whole body is as long as the descriptor says.
pub(super) fn check_length(
    host: &Host<'_>,
    blob: &Descriptor,
    what: &str,
    answered: &Answered,
) -> Result<(), RegistryError> {
    let told: Option<u64> = header(&answered.response, CONTENT_LENGTH).and_then(|told| told.parse().ok());
    match told.filter(|told| *told != blob.size) {
        None => Ok(()),
        Some(actual) => Err(RegistryError::Size {
            what: what.to_owned(),
            host: host.shown(),
            expected: blob.size,
            actual: actual.to_string(),
        }),
    }
}

fn explained(lost: Lost<RegistryError>, host: &Host<'_>, blob: &Descriptor, what: &str) -> RegistryError {
    let (what, shown) = (what.to_owned(), host.shown());
    match lost {
        Lost::Asking(error) => error,
        Lost::Failed(reason) => RegistryError::Broken { what, host: shown, reason },
        Lost::Part => host.broken(&what, "it sent a part of what it was asked for as a whole"),
        Lost::TooLarge => {
            RegistryError::Size { what, host: shown, expected: blob.size, actual: "more".into() }
        }
        Lost::Other { actual, .. } => RegistryError::Digest { what, host: shown, actual },
        Lost::Store(error) => error.into(),
    }
}

impl Repository<'_> {
    /// The bytes as they come from the registry itself, in one go. An error stands at the end of bytes that are not
    /// the blob's.
    pub fn reader(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let what = self.named(&Target::Digest(blob.digest));
        let open = || {
            check(blob, &what)?;
            let (host, scopes) = (self.own(), self.pulling());
            let mut tries = host.tries();
            let answered =
                self.ask_blob(host, Method::GET, blob.digest, Vec::new(), &what, &scopes, &mut tries)?;
            if answered.response.status() != StatusCode::OK {
                return Err(host.refused(&what, answered));
            }
            check_length(host, blob, &what, &answered)?;
            Ok(answered.response)
        };
        let response = open().map_err(io::Error::other)?;
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let body = Paced::new(body, self.registry().options.patience);
        let host = self.own().shown();
        Ok(Box::new(Verified { body, hash: Sha256::new(), got: 0, blob: blob.clone(), what, host }))
    }
}

impl BlobSource for Repository<'_> {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        self.open_from(blob, 0)
    }

    fn open_from(&self, blob: &Descriptor, at: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        if blob.media_type.is_manifest() || blob.media_type.is_index() {
            let resolved = self.manifest(Target::Digest(blob.digest)).map_err(io::Error::other)?;
            let rest = usize::try_from(at).ok().and_then(|at| resolved.bytes.get(at..)).unwrap_or_default();
            return Ok(Box::new(io::Cursor::new(rest.to_vec())));
        }
        Ok(Box::new(self.body(blob, at).map_err(io::Error::other)?))
    }

    fn tagged(&self, tag: &str) -> io::Result<Option<Descriptor>> {
        match self.manifest(Target::Tag(tag)) {
            Ok(resolved) => Ok(Some(resolved.descriptor)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn referrers(&self, subject: BlobDigest) -> io::Result<Vec<Descriptor>> {
        self.referrers(subject, None).map_err(io::Error::other)
    }

    fn bring(&self, store: &Store, blob: &Descriptor) -> Result<(), IngestError> {
        self.fetch(store, blob)
            .map_err(|error| IngestError::Read { digest: blob.digest, source: io::Error::other(error) })
    }

    fn waiting(&self) -> usize {
        self.registry().options.at_once.max(1)
    }
}

/// A body whose end comes only if all of it was the blob.
struct Verified<R> {
    body: R,
    hash: Sha256,
    got: u64,
    blob: Descriptor,
    what: String,
    host: String,
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.body.read(buffer)?;
        self.hash.update(&buffer[..got]);
        self.got += got as u64;
        let (what, host, expected) = (&self.what, &self.host, self.blob.size);
        let size = |actual: String| {
            let (what, host) = (what.clone(), host.clone());
            io::Error::other(RegistryError::Size { what, host, expected, actual })
        };
        if self.got > expected {
            return Err(size("more".into()));
        }
        if got > 0 || buffer.is_empty() {
            return Ok(got);
        }
        if self.got < expected {
            return Err(size(self.got.to_string()));
        }
        let actual = BlobDigest::from_bytes(self.hash.clone().finalize().into());
        if actual != self.blob.digest {
            let (what, host) = (what.clone(), host.clone());
            return Err(io::Error::other(RegistryError::Digest { what, host, actual }));
        }
        Ok(0)
    }
}
