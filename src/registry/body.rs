//! The bytes of a blob as they come from a registry or one of its mirrors, gone on with where a connection breaks off. For
//! what is passed on: what comes into the store has its own way (`blobs`), which survives the process too.

use std::io::{self, Read};

use ureq::http::header::{CONTENT_RANGE, HeaderName, RANGE};
use ureq::http::{Method, StatusCode};

use super::host::{Answered, Host};
use super::{RegistryError, Repository, Target, blobs};
use crate::fetch::client::{Tries, header};
use crate::fetch::pace::{Paced, Trickle};
use crate::fetch::watch::{Act, Amount, Task};
use crate::oci::Descriptor;

/// A blob from some byte on. Whether it is what its digest says is for whoever reads it to see.
pub(super) struct Body<'a> {
    repository: &'a Repository<'a>,
    host: &'a Host<'a>,
    blob: Descriptor,
    what: String,
    /// Of the blob, where the next byte is.
    at: u64,
    reader: Box<dyn Read + Send>,
    tries: Tries,
    task: Task,
}

impl<'a> Repository<'a> {
    /// A blob from a byte on: from the first mirror that has it, else from the registry itself.
    pub(super) fn body<'s>(&'s self, blob: &Descriptor, at: u64) -> Result<Body<'s>, RegistryError>
    where
        'a: 's,
    {
        let what = self.named(&Target::Digest(blob.digest));
        blobs::check(blob, &what)?;
        self.first(|host: &'s Host<'a>| {
            let mut tries = host.tries();
            let reader = ask(self, host, blob, at, &what, &mut tries)?;
            let task = self.registry().options.watch.task(Act::Fetch, &what);
            Ok(Body {
                repository: self,
                host,
                blob: blob.clone(),
                what: what.clone(),
                at,
                reader,
                tries,
                task,
            })
        })
    }
}

/// Asks for the bytes from one on. A server that knows no parts is listened to until there.
fn ask(
    repository: &Repository<'_>,
    host: &Host<'_>,
    blob: &Descriptor,
    at: u64,
    what: &str,
    tries: &mut Tries,
) -> Result<Box<dyn Read + Send>, RegistryError> {
    let headers: Vec<(HeaderName, String)> =
        (at > 0).then(|| (RANGE, format!("bytes={at}-"))).into_iter().collect();
    let scopes = repository.pulling();
    let answered = repository.ask_blob(host, Method::GET, blob.digest, headers, what, &scopes, tries)?;
    let skip = match answered.response.status() {
        StatusCode::OK => {
            blobs::check_length(host, blob, what, &answered)?;
            at
        }
        StatusCode::PARTIAL_CONTENT if at > 0 && begins_at(&answered, at) => 0,
        StatusCode::PARTIAL_CONTENT => {
            return Err(host.broken(what, "it sent another part than was asked for"));
        }
        _ => return Err(host.refused(what, answered)),
    };
    let body = answered.response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut body = Paced::new(body, repository.registry().options.patience);
    io::copy(&mut body.by_ref().take(skip), &mut io::sink())
        .map_err(|error| host.broken(what, error.to_string()))?;
    Ok(Box::new(body))
}

fn begins_at(answered: &Answered, at: u64) -> bool {
    let range = header(&answered.response, CONTENT_RANGE).unwrap_or_default();
    range.trim().strip_prefix("bytes ").and_then(|range| range.split('-').next()) == Some(&at.to_string())
}

impl Body<'_> {
    /// Goes on where the connection broke off, or says why it broke.
    fn reopen(&mut self, reason: &io::Error) -> io::Result<()> {
        let is_over = reason.get_ref().is_some_and(|inner| inner.is::<Trickle>());
        if is_over || !self.tries.again(None) {
            return Err(io::Error::other(self.host.broken(&self.what, reason.to_string())));
        }
        let opened = ask(self.repository, self.host, &self.blob, self.at, &self.what, &mut self.tries);
        self.reader = opened.map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(0) if self.at < self.blob.size && !buffer.is_empty() => {
                    let reason = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("it sent {} bytes of {}", self.at, self.blob.size),
                    );
                    self.reopen(&reason)?;
                }
                Ok(got) => {
                    self.at += got as u64;
                    self.task.moved(&Amount { bytes: self.at, total: Some(self.blob.size), pieces: None });
                    if self.at == self.blob.size {
                        self.task.done();
                    }
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.reopen(&error)?,
            }
        }
    }
}
