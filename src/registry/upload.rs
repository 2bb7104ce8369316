//! One blob on its way to a registry: there already, mounted from another repository, sent whole or in parts
//! (distribution-spec, "Pushing blobs"; spec/registry.md, "Push").
//!
//! A request that moves bytes is not sent twice: after a loss the registry is asked how far it came, and where it does
//! not know, the blob begins anew.

use std::cell::Cell;
use std::time::Duration;

use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use ureq::http::{Method, StatusCode};
use url::Url;

use super::host::{Answered, Ask, Content, Host, Payload, Repeat};
use super::manifests::other_digest;
use super::repository::scope;
use super::{RegistryError, Repository, Target};
use crate::digest::BlobDigest;
use crate::fetch::client::{Tries, header, is_busy, retry_after};
use crate::fetch::watch::Task;

/// The least that a registry takes as a part, where it says so.
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

pub(super) const BYTES: &str = "application/octet-stream";

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was there.
    There,
    Mounted,
    Uploaded,
}

/// A blob to be sent.
pub(super) struct Upload<'a> {
    repository: &'a Repository<'a>,
    digest: BlobDigest,
    content: Content<'a>,
    size: u64,
    /// Another repository of the registry that may have it.
    mount: Option<&'a str>,
    task: &'a Task,
    what: String,
    scopes: Vec<String>,
    /// Whether all of it in one `PUT` was refused.
    is_whole_refused: Cell<bool>,
}

/// An upload that the registry waits for.
struct Session {
    url: Url,
    /// Bytes that the registry has.
    at: u64,
    /// The least it takes as a part; it takes parts if it says so.
    least: Option<u64>,
    manner: Manner,
}

/// How bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// All in one `PUT`.
    Whole,
    /// All in one `PATCH`, and a `PUT` without any: what docker's own clients do, and all that some registries know.
    Streamed,
    Parts,
}

enum Begun {
    Session(Session),
    Mounted,
}

/// When the next request of an upload is sent.
enum Next {
    Now,
    /// After what the registry asks for, or the usual wait; or not at all, and that is why.
    After(Option<Duration>, RegistryError),
}

/// Why an upload does not go on.
enum Stop {
    Failed(RegistryError),
    /// There is nothing left to go on with: from the beginning.
    Anew(RegistryError, Option<Duration>),
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unreachable { .. } => Self::Anew(error, None),
            error => Self::Failed(error),
        }
    }
}

impl<'a> Upload<'a> {
    pub fn new(
        repository: &'a Repository<'a>,
        digest: BlobDigest,
        content: Content<'a>,
        mount: Option<&'a str>,
        task: &'a Task,
    ) -> Self {
        let what = repository.named(&Target::Digest(digest));
        let (size, scopes) = (content.size(), repository.pushing());
        let is_whole_refused = Cell::new(false);
        Self { repository, digest, content, size, mount, task, what, scopes, is_whole_refused }
    }

    /// Sends it, with one number of tries for all that it takes.
    pub fn send(&self) -> Result<Sent, RegistryError> {
        let mut tries = self.host().tries();
        loop {
            match self.attempt(&mut tries) {
                Ok(sent) => return Ok(sent),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Anew(error, wait)) if !tries.again(wait) => return Err(error),
                Err(Stop::Anew(..)) => {}
            }
        }
    }

    /// What there is to it without its bytes: it is there, or another repository has it. `None`: it has to be sent.
    pub fn spare(&self) -> Result<Option<Sent>, RegistryError> {
        let mut tries = self.host().tries();
        if self.repository.has_blob_for(self.digest, &self.scopes, &mut tries)? {
            return Ok(Some(Sent::There));
        }
        if self.mount.is_none() {
            return Ok(None);
        }
        match self.begin(&mut tries) {
            Ok(Begun::Mounted) => Ok(Some(Sent::Mounted)),
            // An upload that nothing is sent to is forgotten by the registry.
            Ok(Begun::Session(_)) | Err(Stop::Anew(..)) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn attempt(&self, tries: &mut Tries) -> Result<Sent, Stop> {
        if self.repository.has_blob_for(self.digest, &self.scopes, tries)? {
            return Ok(Sent::There);
        }
        let session = match self.begin(tries)? {
            Begun::Mounted => return Ok(Sent::Mounted),
            Begun::Session(session) => session,
        };
        self.fill(session, tries)?;
        Ok(Sent::Uploaded)
    }

    fn host(&self) -> &Host<'a> {
        self.repository.own()
    }

    /// Mounts the blob, or opens an upload. A mount that is refused as a whole was worth the question.
    fn begin(&self, tries: &mut Tries) -> Result<Begun, Stop> {
        let path = format!("{}/blobs/uploads/", self.repository.path());
        if let Some(from) = self.mount {
            let mut url = self.host().url(&path);
            url.query_pairs_mut().append_pair("mount", &self.digest.to_string()).append_pair("from", from);
            let scopes = [&self.scopes[..], &[scope(from, "pull")]].concat();
            match self.open(url, &scopes, tries) {
                Ok(answered) if answered.response.status() == StatusCode::CREATED => {
                    self.check_kept(&answered)?;
                    return Ok(Begun::Mounted);
                }
                Ok(answered) if answered.response.status() == StatusCode::ACCEPTED => {
                    return self.session(&answered);
                }
                Ok(_) | Err(RegistryError::Anonymous { .. } | RegistryError::Denied { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let answered = self.open(self.host().url(&path), &self.scopes, tries)?;
        match answered.response.status() {
            StatusCode::ACCEPTED => self.session(&answered),
            _ => Err(self.stop(answered)),
        }
    }

    fn open(&self, url: Url, scopes: &[String], tries: &mut Tries) -> Result<Answered, RegistryError> {
        let ask = self.ask(Method::POST, url, Vec::new(), Payload::Nothing, scopes);
        self.host().send(&ask, tries)
    }

    fn session(&self, answered: &Answered) -> Result<Begun, Stop> {
        let least = header(&answered.response, CHUNK_MIN_LENGTH).and_then(|least| least.parse().ok());
        let url = self.location(answered, None)?;
        let manner = match least {
            Some(_) => Manner::Parts,
            None if self.is_whole_refused.get() || self.host().is_streamed_to() => Manner::Streamed,
            None => Manner::Whole,
        };
        Ok(Begun::Session(Session { url, at: 0, least, manner }))
    }

    /// Sends what the registry does not have yet.
    fn fill(&self, mut session: Session, tries: &mut Tries) -> Result<(), Stop> {
        loop {
            let (before, left, chunk) = (session.at, self.size - session.at, self.chunk(&session));
            let is_last = left == 0
                || match session.manner {
                    Manner::Whole => true,
                    Manner::Streamed => false,
                    Manner::Parts => session.at == 0 && left <= chunk,
                };
            let len = if is_last { left } else { left.min(chunk) };
            let answered =
                if is_last { self.put(&session, len, tries) } else { self.patch(&session, len, tries) };
            let next = match answered {
                Ok(answered) if is_last && answered.response.status() == StatusCode::CREATED => {
                    self.check_kept(&answered)?;
                    if self.is_whole_refused.get() && session.manner == Manner::Streamed {
                        self.host().stream_from_now_on();
                    }
                    return Ok(());
                }
                Ok(answered) => self.go_on(&mut session, answered, (is_last, len), tries)?,
                Err(error) if let Some(failure) = self.content.failure() => {
                    drop(error);
                    return Err(Stop::Failed(failure));
                }
                Err(error @ RegistryError::Unreachable { .. }) => {
                    Next::After(None, self.look_again(&mut session, error, tries)?)
                }
                Err(error) => return Err(error.into()),
            };
            // What does not get ahead is not tried for ever.
            match next {
                Next::Now if session.at > before || tries.again(Some(Duration::ZERO)) => {}
                Next::Now => {
                    let reason = format!("it has {} of {} bytes, and takes no more", session.at, self.size);
                    return Err(Stop::Failed(self.failed(reason)));
                }
                Next::After(wait, error) => {
                    if !tries.again(wait) {
                        return Err(Stop::Failed(error));
                    }
                }
            }
        }
    }

    fn chunk(&self, session: &Session) -> u64 {
        if session.manner == Manner::Streamed {
            return u64::MAX;
        }
        self.repository.registry().options.chunk.max(session.least.unwrap_or(1)).max(1)
    }

    /// All of it, or the end of what went in parts.
    fn put(&self, session: &Session, left: u64, tries: &mut Tries) -> Result<Answered, RegistryError> {
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        let headers = vec![(CONTENT_TYPE, BYTES.to_owned())];
        self.move_bytes(Method::PUT, url, headers, (session.at, left), tries)
    }

    fn patch(&self, session: &Session, len: u64, tries: &mut Tries) -> Result<Answered, RegistryError> {
        let range = format!("{}-{}", session.at, session.at + len - 1);
        let headers = vec![(CONTENT_TYPE, BYTES.to_owned()), (CONTENT_RANGE, range)];
        self.move_bytes(Method::PATCH, session.url.clone(), headers, (session.at, len), tries)
    }

    fn move_bytes(
        &self,
        method: Method,
        url: Url,
        headers: Vec<(HeaderName, String)>,
        (from, len): (u64, u64),
        tries: &mut Tries,
    ) -> Result<Answered, RegistryError> {
        let body = if len == 0 {
            Payload::Nothing
        } else {
            Payload::Part { content: self.content, from, len, task: self.task }
        };
        let ask = self.ask(method, url, headers, body, &self.scopes);
        self.host().send(&ask, tries)
    }

    /// Takes up what an answer says of how far the upload is.
    fn go_on(
        &self,
        session: &mut Session,
        answered: Answered,
        (is_last, sent): (bool, u64),
        tries: &mut Tries,
    ) -> Result<Next, Stop> {
        let status = answered.response.status();
        let is_refused = status.is_server_error() || status == StatusCode::METHOD_NOT_ALLOWED;
        if is_refused && is_last && session.manner == Manner::Whole {
            self.is_whole_refused.set(true);
        }
        match status {
            StatusCode::ACCEPTED if !is_last => {
                session.url = self.location(&answered, Some(&session.url))?;
                session.at = self.has(&answered).unwrap_or(session.at + sent);
                Ok(Next::Now)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                match (self.has(&answered), header(&answered.response, LOCATION)) {
                    (Some(at), Some(_)) => {
                        session.url = self.location(&answered, None)?;
                        (session.at, session.manner) = (at, Manner::Parts);
                    }
                    (_, _) => {
                        let error = self.host().refused(&self.what, answered);
                        self.look_again(session, error, tries)?;
                    }
                }
                Ok(Next::Now)
            }
            // Too much for one request, for the registry or for a proxy before it.
            StatusCode::PAYLOAD_TOO_LARGE
                if session.manner == Manner::Whole && self.size > self.chunk(session) =>
            {
                session.manner = Manner::Parts;
                Ok(Next::Now)
            }
            StatusCode::NOT_FOUND => Err(self.anew(answered)),
            // It says that it has no such request.
            StatusCode::METHOD_NOT_ALLOWED if is_last && session.manner == Manner::Whole => {
                Err(self.anew(answered))
            }
            // Bytes joined of two attempts: whichever was wrong, none of them is used again.
            StatusCode::BAD_REQUEST if is_last && session.manner == Manner::Parts => Err(self.anew(answered)),
            status if is_busy(status) => {
                let wait = retry_after(&answered.response);
                let error = self.host().refused(&self.what, answered);
                Ok(Next::After(wait, self.look_again(session, error, tries)?))
            }
            _ => Err(self.stop(answered)),
        }
    }

    /// Asks how far an upload came that broke off; gives back why it did.
    fn look_again(
        &self,
        session: &mut Session,
        error: RegistryError,
        tries: &mut Tries,
    ) -> Result<RegistryError, Stop> {
        let mut ask = self.ask(Method::GET, session.url.clone(), Vec::new(), Payload::Nothing, &self.scopes);
        ask.repeat = Repeat::Always;
        let Ok(answered) = self.host().send(&ask, tries) else {
            return Err(Stop::Anew(error, None));
        };
        let has = self.has(&answered).filter(|_| answered.response.status().is_success());
        let Some(at) = has else { return Err(Stop::Anew(error, None)) };
        session.url = self.location(&answered, Some(&session.url))?;
        (session.at, session.manner) = (at, Manner::Parts);
        Ok(error)
    }

    /// How many bytes the registry says that it has; `0-0` is said of none.
    fn has(&self, answered: &Answered) -> Option<u64> {
        let range = header(&answered.response, RANGE)?.trim();
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?;
        let last: u64 = last.parse().ok()?;
        let at = if last == 0 { 0 } else { last.checked_add(1)? };
        (at <= self.size).then_some(at)
    }

    /// Where an upload goes on: at the same server, in the same way (R2).
    fn location(&self, answered: &Answered, current: Option<&Url>) -> Result<Url, RegistryError> {
        let (what, host) = (self.what.clone(), self.host().shown());
        let Some(location) = header(&answered.response, LOCATION) else {
            let missing = || self.host().broken(&self.what, "it does not say where to upload to");
            return current.cloned().ok_or_else(missing);
        };
        let joined = answered.at.join(location);
        let url =
            joined.map_err(|_| self.host().broken(&self.what, "it wants an upload to what is no URL"))?;
        if url.origin() != self.host().base().origin()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(RegistryError::UploadElsewhere { what, host, to: crate::fetch::shown(&url) });
        }
        Ok(url)
    }

    /// A registry that says it took something else is asked whether it has the blob (R16).
    fn check_kept(&self, answered: &Answered) -> Result<(), RegistryError> {
        let Some(told) = other_digest(answered, self.digest) else { return Ok(()) };
        if self.repository.has_blob_for(self.digest, &self.scopes, &mut self.host().tries())? {
            return Ok(());
        }
        Err(RegistryError::NotKept { what: self.what.clone(), host: self.host().shown(), told })
    }

    fn ask<'b>(
        &'b self,
        method: Method,
        url: Url,
        headers: Vec<(HeaderName, String)>,
        body: Payload<'b>,
        scopes: &'b [String],
    ) -> Ask<'b> {
        Ask { method, url, headers, body, scopes, repeat: Repeat::Refused, what: &self.what }
    }

    fn anew(&self, answered: Answered) -> Stop {
        Stop::Anew(self.host().refused(&self.what, answered), None)
    }

    fn stop(&self, answered: Answered) -> Stop {
        let wait = retry_after(&answered.response);
        let is_passing = is_busy(answered.response.status());
        let error = self.host().refused(&self.what, answered);
        if is_passing { Stop::Anew(error, wait) } else { Stop::Failed(error) }
    }

    fn failed(&self, reason: String) -> RegistryError {
        RegistryError::Upload { what: self.what.clone(), host: self.host().shown(), reason }
    }
}
