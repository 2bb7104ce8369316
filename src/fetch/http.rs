//! Files over http and https.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use url::Url;

use super::transfer::{Broken, Transfer, Wanted};
use super::watch::Act;
use super::{FetchError, FetchOptions, Fetching, shown};
use crate::digest::{BlobDigest, ContentDigest};
use crate::remote::percent_decoded;
use crate::store::downloads::Download;
use crate::store::partials::download_lock;
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
    /// There is no rest of what is here: it is no part of what the server has.
    NoRest,
}

/// What a request goes on from.
struct Have<'a> {
    wanted: &'a Wanted,
    /// What the URL was when it was last fetched.
    known: Option<&'a Download>,
    begun: Option<&'a Transfer>,
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
        Wanted { key, checksum, limit: self.options.largest, patience: self.options.patience }
    }

    /// Brings a file from its server, what broke off from where it was. `None` if what is known is still right.
    fn download(
        &self,
        url: &Url,
        wanted: &Wanted,
        known: Option<&Download>,
    ) -> Result<Option<Download>, FetchError> {
        let task = self.options.watch.task(Act::Fetch, &shown(url));
        let mut tries = 0;
        let mut begun = Transfer::resume(self.store, wanted)?;
        // Killed between the last byte and the name.
        if let Some(whole) = begun.take_if(|begun| begun.is_whole() && wanted.checksum.is_some())
            && let Some(download) = self.finish(whole, wanted, url)?
        {
            return Ok(Some(download));
        }
        loop {
            begun = begun.filter(|begun| begun.can_go_on(wanted));
            let have = Have { wanted, known, begun: begun.as_ref() };
            let (response, at) = match self.ask(url, &have, &mut tries)? {
                (Answer::New(response), at) => (*response, at),
                (Answer::NoRest, _) => {
                    begun = None;
                    continue;
                }
                (Answer::Same, _) => {
                    self.store.drop_partial(&wanted.key);
                    return Ok(None);
                }
            };
            let Some(mut transfer) = self.take_up(begun.take(), wanted, &response, &at)? else { continue };
            match transfer.fill(wanted, response, &task) {
                Ok(()) => match self.finish(transfer, wanted, &at)? {
                    Some(download) => {
                        task.done();
                        return Ok(Some(download));
                    }
                    None => continue,
                },
                Err(Broken::Off(_)) if self.again(&mut tries, None) => begun = Some(transfer),
                Err(Broken::Off(reason) | Broken::Failed(reason)) => {
                    return Err(FetchError::Failed { url: shown(&at), reason });
                }
                Err(Broken::TooLarge) => {
                    self.store.drop_partial(&wanted.key);
                    return Err(FetchError::TooLarge { url: shown(&at), limit: wanted.limit });
                }
                Err(Broken::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// What the body of an answer is added to; `None` if it is a part of something else than what is here.
    fn take_up(
        &self,
        begun: Option<Transfer>,
        wanted: &Wanted,
        response: &Response<Body>,
        at: &Url,
    ) -> Result<Option<Transfer>, FetchError> {
        let status = response.status();
        match begun {
            Some(begun) if status == StatusCode::PARTIAL_CONTENT => Ok(begun.going_on_with(wanted, response)),
            None if status == StatusCode::PARTIAL_CONTENT => {
                Err(FetchError::Status { url: shown(at), status: status.as_u16() })
            }
            Some(_) | None => Ok(Some(Transfer::start(self.store, wanted, response)?)),
        }
    }

    /// Names what came; `None` if it is not what it should be, and the fault may lie with what was here before.
    fn finish(&self, transfer: Transfer, wanted: &Wanted, at: &Url) -> Result<Option<Download>, FetchError> {
        let is_joined = transfer.is_joined();
        match transfer.finish(wanted) {
            Ok(download) => Ok(Some(download)),
            Err(StoreError::CorruptBlob { expected, actual }) => {
                self.store.drop_partial(&wanted.key);
                match is_joined {
                    true => Ok(None),
                    false => Err(FetchError::Checksum { url: shown(at), expected, actual }),
                }
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Follows redirects to an answer; gives the URL it came from too.
    fn ask(&self, url: &Url, have: &Have<'_>, tries: &mut u32) -> Result<(Answer, Url), FetchError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.patiently(&at, have, tries)?;
            let status = response.status();
            if status == StatusCode::NOT_MODIFIED && have.known.is_some() {
                return Ok((Answer::Same, at));
            }
            if status == StatusCode::RANGE_NOT_SATISFIABLE && have.begun.is_some() {
                return Ok((Answer::NoRest, at));
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
    fn patiently(&self, url: &Url, have: &Have<'_>, tries: &mut u32) -> Result<Response<Body>, FetchError> {
        loop {
            let result = self.request(url, have);
            let (is_passing, wait) = match &result {
                Ok(response) => (is_busy(response.status()), Some(retry_after(response))),
                Err(error) => (is_passing(error), None),
            };
            if !is_passing || !self.again(tries, wait) {
                return result
                    .map_err(|error| FetchError::Failed { url: shown(url), reason: error.to_string() });
            }
        }
    }

    /// Waits before a server is asked again, twice as long each time if it names no time itself; false if it was asked
    /// often enough.
    fn again(&self, tries: &mut u32, wait: Option<Duration>) -> bool {
        if *tries >= self.options.retries {
            return false;
        }
        let wait = wait.unwrap_or(Duration::from_secs(1 << (*tries).min(5)));
        std::thread::sleep(wait.min(self.options.longest_wait));
        *tries += 1;
        true
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
        for (name, value) in have.begun.iter().flat_map(|begun| begun.conditions(have.wanted)) {
            request = request.header(name, value);
        }
        request.call()
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
fn retry_after(response: &Response<Body>) -> Duration {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(asked.and_then(|text| text.trim().parse().ok()).unwrap_or(1))
}

/// `Authorization` of a URL's user and password.
fn basic(url: &Url) -> String {
    let user = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    format!("Basic {}", STANDARD.encode([user, password].join(&b':')))
}
