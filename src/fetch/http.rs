//! Files over http and https.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{
    AUTHORIZATION, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use url::Url;

use super::pace::Paced;
use super::{FetchError, FetchOptions, Fetching, Vendored, shown};
use crate::digest::{BlobDigest, ContentDigest};
use crate::remote::percent_decoded;
use crate::store::downloads::Download;
use crate::store::{BlobWriter, Store, StoreError};

/// How many redirects are followed.
const REDIRECTS: usize = 10;

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

/// What came of one request.
enum Answer {
    /// What the store has is still right.
    Same,
    New(Box<Response<Body>>),
}

impl<'a> Fetcher<'a> {
    pub fn new(store: &'a Store, options: &'a FetchOptions) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here, where it is known what may go where.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("lith/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(options.patience))
            .timeout_connect(Some(options.patience))
            .timeout_recv_response(Some(options.patience))
            .timeout_per_read(Some(options.patience))
            .tls_config(TlsConfig::builder().root_certs(roots(&options.roots)).build())
            .build();
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
        let _once = self.store.work_lock(&format!("fetch-{}", blake3::hash(text.as_bytes()).to_hex()))?;
        let download = match self.found(checksum)? {
            Some(download) => download,
            None if self.options.fetching != Fetching::Allowed => {
                return Err(FetchError::NotHere { url: shown(&url) });
            }
            None => match self.ask(&url, known.as_ref())? {
                (Answer::Same, _) => return Ok(fetched(&known.expect("asked about what is known"))),
                (Answer::New(response), at) => self.receive(&at, *response, checksum)?,
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
        let Some(file) = Vendored::read(&path)? else { return Ok(None) };
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

    /// Follows redirects to an answer; gives the URL it came from too.
    fn ask(&self, url: &Url, known: Option<&Download>) -> Result<(Answer, Url), FetchError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.patiently(&at, known)?;
            let status = response.status();
            if status == StatusCode::NOT_MODIFIED && known.is_some() {
                return Ok((Answer::Same, at));
            }
            if status.is_success() {
                return Ok((Answer::New(Box::new(response)), at));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| status.is_redirection()) else {
                return Err(FetchError::Status { url: shown(&at), status: status.as_u16() });
            };
            at = redirected(&at, location)?;
        }
        Err(FetchError::Redirects { url: shown(url), limit: REDIRECTS })
    }

    /// One answer, asked for again while the server is busy or cannot be reached.
    fn patiently(&self, url: &Url, known: Option<&Download>) -> Result<Response<Body>, FetchError> {
        let mut tries = 0;
        loop {
            let result = self.request(url, known);
            let wait = match &result {
                Ok(response) if is_busy(response.status()) => retry_after(response),
                Ok(_) => None,
                Err(error) if is_passing(error) => Some(Duration::from_secs(1 << tries.min(5))),
                Err(_) => None,
            };
            let Some(wait) = wait.filter(|_| tries < self.options.retries) else {
                return result
                    .map_err(|error| FetchError::Failed { url: shown(url), reason: error.to_string() });
            };
            std::thread::sleep(wait.min(self.options.longest_wait));
            tries += 1;
        }
    }

    fn request(&self, url: &Url, known: Option<&Download>) -> Result<Response<Body>, ureq::Error> {
        let mut bare = url.clone();
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let mut request = self.agent.get(bare.as_str());
        if !url.username().is_empty() || url.password().is_some() {
            request = request.header(AUTHORIZATION, basic(url));
        }
        match known {
            Some(Download { etag: Some(etag), .. }) => request = request.header(IF_NONE_MATCH, etag),
            Some(Download { last_modified: Some(date), .. }) => {
                request = request.header(IF_MODIFIED_SINCE, date);
            }
            Some(_) | None => {}
        }
        request.call()
    }

    /// Streams a body into the store; it gets its name only if it is what it should be.
    fn receive(
        &self,
        url: &Url,
        response: Response<Body>,
        checksum: Option<BlobDigest>,
    ) -> Result<Download, FetchError> {
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
        let limit = self.options.largest;
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut body = Paced::new(body, self.options.patience).take(limit + 1);
        let mut sink = Sink { blob: self.store.blob_writer()?, content: blake3::Hasher::new() };
        let size = io::copy(&mut body, &mut sink)
            .map_err(|error| FetchError::Failed { url: shown(url), reason: error.to_string() })?;
        if size > limit {
            return Err(FetchError::TooLarge { url: shown(url), limit });
        }
        let content = ContentDigest::from_bytes(*sink.content.finalize().as_bytes());
        let blob = sink.blob.commit(checksum).map(|(blob, _)| blob).map_err(|error| match error {
            StoreError::CorruptBlob { expected, actual } => {
                FetchError::Checksum { url: shown(url), expected, actual }
            }
            other => other.into(),
        })?;
        Ok(Download { blob, content, size, etag, last_modified })
    }
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

fn roots(pem: &[u8]) -> RootCerts {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate.to_owned()),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&certificates) }
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

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Whether trying again may help.
fn is_passing(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::Timeout(_))
}

/// What a busy server asks for: seconds, else one.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = asked.and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    Some(Duration::from_secs(seconds))
}

/// `Authorization` of a URL's user and password.
fn basic(url: &Url) -> String {
    let user = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    format!("Basic {}", STANDARD.encode([user, password].join(&b':')))
}
