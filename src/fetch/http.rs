//! Files over http and https.

use std::fs::File;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use super::client::{self, REDIRECTS, Tries, header, is_busy, is_passing, retry_after};
use super::download::{Answer, Conditions, Lost, bring};
use super::transfer::{Brought, Wanted};
use super::watch::Act;
use super::{FetchError, FetchOptions, Fetching, shown};
use crate::digest::{BlobDigest, ContentDigest};
use crate::remote::percent_decoded;
use crate::store::downloads::Download;
use crate::store::partials::download_lock;
use crate::store::{BlobWriter, Store, StoreError};

/// A file that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub blob: BlobDigest,
    pub content: ContentDigest,
    pub size: u64,
}

/// Fetches files into one store.
pub struct Fetcher<'a> {
    store: &'a Store,
    options: &'a FetchOptions,
    agent: Agent,
}

/// What a request goes on from.
struct Have<'a> {
    /// What the URL was when it was last fetched.
    known: Option<&'a Download>,
    /// Of a part that is here.
    conditions: &'a Conditions,
}

impl<'a> Fetcher<'a> {
    pub fn new(store: &'a Store, options: &'a FetchOptions) -> Self {
        let config = client::config(options.patience, &options.roots).build();
        Self { store, options, agent: config.into() }
    }

    /// What a URL was when it was last fetched, if that is in the store.
    pub fn last(&self, text: &str) -> Option<Fetched> {
        let known = self.store.download(text).filter(|known| self.store.has_blob(&known.blob))?;
        Some(fetched(&known))
    }

    /// The file a URL names. With a checksum whose file is in the store no server is asked; without one the server is
    /// asked whether the file is still what it was.
    pub fn file(&self, text: &str, checksum: Option<BlobDigest>) -> Result<Fetched, FetchError> {
        let url = Url::parse(text)
            .map_err(|source| FetchError::Url { url: crate::remote::shown_broken(text), source })?;
        let known = self.store.download(text).filter(|known| self.store.has_blob(&known.blob));
        let known = known.filter(|known| checksum.is_none_or(|wanted| wanted == known.blob));
        let is_enough = checksum.is_some() || self.options.fetching == Fetching::Offline;
        if let Some(known) = known.as_ref().filter(|_| is_enough) {
            return Ok(fetched(known));
        }
        let wanted = self.wanted(text, checksum);
        let _once = self.store.work_lock(&download_lock(&wanted.key))?;
        let download = match self.found(checksum)? {
            Some(download) => download,
            None if self.options.fetching != Fetching::Allowed => {
                return Err(FetchError::NotHere { url: shown(&url) });
            }
            None => match self.download(&url, &wanted, known.as_ref())? {
                None => return Ok(fetched(&known.expect("asked about what is known"))),
                Some(download) => download,
            },
        };
        self.store.put_download(text, &download)?;
        Ok(fetched(&download))
    }

    /// A file with a checksum that is in the store under another URL's name, or vendored.
    fn found(&self, checksum: Option<BlobDigest>) -> Result<Option<Download>, FetchError> {
        let Some(checksum) = checksum else { return Ok(None) };
        if self.store.has_blob(&checksum) {
            let (file, _) = self.store.open_blob(&checksum)?;
            // One that is damaged is no loss: it is fetched again.
            if let Ok(download) = self.take(file, checksum) {
                return Ok(Some(download));
            }
        }
        let Some(dir) = &self.options.vendored else { return Ok(None) };
        let path = dir.file(&checksum);
        let Some(file) = dir.read(&path)? else { return Ok(None) };
        match self.take(file, checksum) {
            Ok(download) => Ok(Some(download)),
            Err(StoreError::CorruptBlob { actual, .. }) => {
                Err(FetchError::Vendored { path, reason: format!("it is {actual}") })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Takes a file into the store if it is what it should be.
    fn take(&self, file: File, checksum: BlobDigest) -> Result<Download, StoreError> {
        let mut sink = Sink { blob: self.store.blob_writer()?, content: blake3::Hasher::new() };
        let size = io::copy(&mut file.take(self.options.largest), &mut sink)?;
        let content = ContentDigest::from_bytes(*sink.content.finalize().as_bytes());
        let (blob, _) = sink.blob.commit(Some(checksum))?;
        Ok(Download { blob, content, size, etag: None, last_modified: None })
    }

    fn wanted(&self, text: &str, checksum: Option<BlobDigest>) -> Wanted {
        let key = match checksum {
            Some(checksum) => format!("sha256-{}", checksum.hex()),
            None => format!("url-{}", blake3::hash(text.as_bytes()).to_hex()),
        };
        let (limit, patience) = (self.options.largest, self.options.patience);
        Wanted { key, checksum, size: None, limit, patience, is_content_asked: true }
    }

    /// Brings a file from its server. `None` if what is known is still right.
    fn download(
        &self,
        url: &Url,
        wanted: &Wanted,
        known: Option<&Download>,
    ) -> Result<Option<Download>, FetchError> {
        let task = self.options.watch.task(Act::Fetch, &shown(url));
        let mut tries = Tries::new(self.options.retries, self.options.longest_wait);
        let mut last = url.clone();
        let brought = bring(self.store, wanted, &mut tries, &task, |conditions, tries| {
            let (answer, at) = self.ask(url, &Have { known, conditions }, tries)?;
            last = at;
            Ok(answer)
        });
        let url = || shown(&last);
        let brought = brought.map_err(|lost| match lost {
            Lost::Asking(error) => error,
            Lost::Failed(reason) => FetchError::Failed { url: url(), reason },
            Lost::Part => FetchError::Status { url: url(), status: StatusCode::PARTIAL_CONTENT.as_u16() },
            Lost::TooLarge => FetchError::TooLarge { url: url(), limit: wanted.limit },
            Lost::Other { expected, actual } => FetchError::Checksum { url: url(), expected, actual },
            Lost::Store(error) => error.into(),
        })?;
        if brought.is_some() {
            task.done();
        }
        Ok(brought.map(download))
    }

    /// Follows redirects to an answer; gives the URL it came from too.
    fn ask(&self, url: &Url, have: &Have<'_>, tries: &mut Tries) -> Result<(Answer, Url), FetchError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.patiently(&at, have, tries)?;
            let status = response.status();
            if status == StatusCode::NOT_MODIFIED && have.known.is_some() {
                return Ok((Answer::Same, at));
            }
            if status == StatusCode::RANGE_NOT_SATISFIABLE && !have.conditions.is_empty() {
                return Ok((Answer::NoRest, at));
            }
            if status.is_success() {
                return Ok((Answer::New(Box::new(response)), at));
            }
            let location = header(&response, LOCATION);
            let Some(location) = location.filter(|_| status.is_redirection()) else {
                return Err(FetchError::Status { url: shown(&at), status: status.as_u16() });
            };
            at = redirected(&at, location)?;
        }
        Err(FetchError::Redirects { url: shown(url), limit: REDIRECTS })
    }

    /// One answer, asked for again while the server is busy or cannot be reached.
    fn patiently(&self, url: &Url, have: &Have<'_>, tries: &mut Tries) -> Result<Response<Body>, FetchError> {
        loop {
            let result = self.request(url, have);
            let (is_passing, wait) = match &result {
                Ok(response) => (is_busy(response.status()), retry_after(response)),
                Err(error) => (is_passing(error), None),
            };
            if !is_passing || !tries.again(wait) {
                return result
                    .map_err(|error| FetchError::Failed { url: shown(url), reason: error.to_string() });
            }
        }
    }

    fn request(&self, url: &Url, have: &Have<'_>) -> Result<Response<Body>, ureq::Error> {
        let mut bare = url.clone();
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let mut request = self.agent.get(bare.as_str());
        if !url.username().is_empty() || url.password().is_some() {
            request = request.header(AUTHORIZATION, basic(url));
        }
        match have.known {
            Some(Download { etag: Some(etag), .. }) => request = request.header(IF_NONE_MATCH, etag),
            Some(Download { last_modified: Some(date), .. }) => {
                request = request.header(IF_MODIFIED_SINCE, date);
            }
            Some(_) | None => {}
        }
        for (name, value) in have.conditions {
            request = request.header(name, value);
        }
        request.call()
    }
}

/// What is remembered of a file that came.
fn download(brought: Brought) -> Download {
    let Brought { blob, content, size, etag, last_modified } = brought;
    Download { blob, content: content.expect("asked for"), size, etag, last_modified }
}

fn fetched(download: &Download) -> Fetched {
    Fetched { blob: download.blob, content: download.content, size: download.size }
}

/// Hashes on the way.
struct Sink {
    blob: BlobWriter,
    content: blake3::Hasher,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.blob.write(bytes)?;
        self.content.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// Where a redirect leads: never from an encrypted connection to one that is not, and credentials stay with their host.
fn redirected(from: &Url, location: &str) -> Result<Url, FetchError> {
    let mut to = from.join(location).map_err(|source| FetchError::Url { url: shown(from), source })?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(FetchError::Downgrade { url: shown(from), to: shown(&to) });
    }
    if !matches!(to.scheme(), "http" | "https") {
        let reason = format!("it redirects to a URL of another kind: {}", shown(&to));
        return Err(FetchError::Failed { url: shown(from), reason });
    }
    if to.origin() == from.origin() && to.username().is_empty() && to.password().is_none() {
        let _ = to.set_username(from.username());
        let _ = to.set_password(from.password());
    }
    Ok(to)
}

/// `Authorization` of a URL's user and password.
fn basic(url: &Url) -> String {
    let user = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    format!("Basic {}", STANDARD.encode([user, password].join(&b':')))
}
