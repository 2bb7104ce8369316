//! One endpoint: requests to it with who asks, again where that may help, and along redirects (spec/registry.md,
//! "Requests").

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HeaderName, LOCATION, WWW_AUTHENTICATE};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Body, SendBody};
use url::Url;

use super::auth::Auth;
use super::options::{Endpoint, Options, Scheme};
use super::stream::Passing;
use super::{Registry, RegistryError, said};
use crate::fetch::client::{REDIRECTS, Tries, header, is_busy, is_passing, retry_after};
use crate::fetch::shown;
use crate::fetch::watch::{Amount, Task};
use crate::login::Login;

/// A body that is worth asking whether it is wanted before it is sent.
const WORTH_ASKING: u64 = 1 << 20;

/// One server that answers for a registry.
pub(super) struct Host<'a> {
    registry: &'a Registry,
    base: Url,
    /// What its credentials are kept under.
    login: String,
    /// The registry it stands in for.
    mirrored: Option<String>,
    /// What its repositories are below, with a slash behind, or nothing.
    below: String,
    /// Certificates that vouch for it besides the others.
    roots: Vec<u8>,
    auth: Arc<Auth>,
}

/// One request.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Payload<'a>,
    /// What a token has to allow.
    pub scopes: &'a [String],
    pub repeat: Repeat,
    /// For messages.
    pub what: &'a str,
}

/// When a request is sent again as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// When the server is busy or gone: done twice it is as if done once.
    Always,
    /// Only when the server says that it did nothing (429).
    Refused,
}

/// What is sent.
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// So many bytes of something larger.
    Part {
        content: Content<'a>,
        from: u64,
        len: u64,
        task: &'a Task,
    },
}

/// What a blob's bytes are read from, from any of them on.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    File { file: &'a File, size: u64 },
    Bytes(&'a [u8]),
    Stream(&'a dyn Passing),
}

impl Content<'_> {
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream(stream) => stream.size(),
        }
    }

    /// Why it could not be read, if it could not.
    pub fn failure(&self) -> Option<RegistryError> {
        match self {
            Self::File { .. } | Self::Bytes(_) => None,
            Self::Stream(stream) => stream.failure(),
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.read_at(buffer, at),
            Self::Stream(stream) => stream.read_at(buffer, at),
            Self::Bytes(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

/// An answer, and where it came from.
pub(super) struct Answered {
    pub response: Response<Body>,
    pub at: Url,
}

impl<'a> Host<'a> {
    /// `mirrored`: the registry that it stands in for; nothing for a registry itself, which has its login under the
    /// name that images call it.
    pub fn new(
        registry: &'a Registry,
        name: &str,
        endpoint: &Endpoint,
        mirrored: bool,
    ) -> Result<Self, RegistryError> {
        let base = base(endpoint).ok_or_else(|| RegistryError::Endpoint {
            registry: name.to_owned(),
            host: endpoint.host.clone(),
        })?;
        let auth = registry.auth(base.as_str());
        let login = if mirrored { endpoint.host.clone() } else { name.to_owned() };
        let below = if endpoint.below.is_empty() { String::new() } else { format!("{}/", endpoint.below) };
        let (mirrored, roots) = (mirrored.then(|| name.to_owned()), endpoint.roots.clone());
        Ok(Self { registry, base, login, mirrored, below, roots, auth })
    }

    pub fn options(&self) -> &'a Options {
        &self.registry.options
    }

    /// Where its API begins.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Whether it is known to take blobs as streams alone.
    pub fn is_streamed_to(&self) -> bool {
        self.registry.streamed.lock().expect("no panic while held").contains(self.base.as_str())
    }

    /// It refused a blob in one request and took it as a stream.
    pub fn stream_from_now_on(&self) {
        self.registry.streamed.lock().expect("no panic while held").insert(self.base.as_str().to_owned());
    }

    /// Its host and port, for messages.
    pub fn shown(&self) -> String {
        authority(&self.base)
    }

    pub fn is_mirror(&self) -> bool {
        self.mirrored.is_some()
    }

    /// A URL of the API (distribution-spec, "Endpoints"); a mirror is told whose images are meant ("Registry Proxying").
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.join(&format!("{}{path}", self.below)).expect("a path of checked names");
        if let Some(registry) = &self.mirrored {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        url
    }

    pub fn login(&self, what: &str) -> Result<Option<Login>, RegistryError> {
        let found = self.registry.logins.login(&self.login);
        found.map_err(|source| RegistryError::Login { what: what.to_owned(), source: Box::new(source) })
    }

    pub fn tries(&self) -> Tries {
        Tries::new(self.options().retries, self.options().longest_wait)
    }

    /// Sends a request as who one is, and gives whatever comes of it.
    pub fn send(&self, ask: &Ask<'_>, tries: &mut Tries) -> Result<Answered, RegistryError> {
        self.follow(ask, tries, Some(&self.auth))
    }

    /// Sends a request with the headers that it has.
    pub fn send_as_it_is(&self, ask: &Ask<'_>, tries: &mut Tries) -> Result<Answered, RegistryError> {
        self.follow(ask, tries, None)
    }

    /// What a token has to allow here, where repositories may be below something.
    fn scopes(&self, of: &[String]) -> Vec<String> {
        let here = format!("repository:{}", self.below);
        of.iter().map(|scope| scope.replacen("repository:", &here, 1)).collect()
    }

    fn follow(
        &self,
        ask: &Ask<'_>,
        tries: &mut Tries,
        auth: Option<&Auth>,
    ) -> Result<Answered, RegistryError> {
        let scopes = self.scopes(ask.scopes);
        let mut at = ask.url.clone();
        let mut redirects = 0;
        let mut is_renewed = false;
        loop {
            let is_home = at.origin() == ask.url.origin();
            // Who asks is told to the server that was asked, and to none that it sends one to.
            let auth = auth.filter(|_| is_home);
            let who = auth.map(|auth| auth.header(self, &scopes, ask.what)).transpose()?.flatten();
            let response = match self.request(ask, &at, who.as_deref(), is_home) {
                Ok(response) => response,
                Err(error) => {
                    if ask.repeat == Repeat::Always && is_passing(&error) && tries.again(None) {
                        (at, redirects) = (ask.url.clone(), 0);
                        continue;
                    }
                    return Err(self.unreachable(ask, &at, &error));
                }
            };
            let status = response.status();
            if let Some(auth) = auth.filter(|_| status == StatusCode::UNAUTHORIZED && !is_renewed) {
                is_renewed = true;
                let foot = self.foot(&response, ask);
                let refusal = foot.as_ref().unwrap_or(&response);
                if auth.renew(self, &scopes, refusal, who.as_deref(), ask.what)? {
                    continue;
                }
            }
            let may_repeat = ask.repeat == Repeat::Always || status == StatusCode::TOO_MANY_REQUESTS;
            if is_busy(status) && may_repeat && tries.again(retry_after(&response)) {
                (at, redirects) = (ask.url.clone(), 0);
                continue;
            }
            match header(&response, LOCATION).filter(|_| is_redirect(status)) {
                None => return Ok(Answered { response, at }),
                Some(_) if redirects == REDIRECTS => {
                    return Err(RegistryError::Redirects { what: ask.what.to_owned(), host: self.shown() });
                }
                Some(location) => at = self.redirected(ask, &at, location)?,
            }
            redirects += 1;
        }
    }

    /// What is said at the foot of the API, where a refusal itself does not say what is wanted.
    fn foot(&self, refusal: &Response<Body>, ask: &Ask<'_>) -> Option<Response<Body>> {
        if refusal.headers().contains_key(WWW_AUTHENTICATE) || ask.url == self.base {
            return None;
        }
        let (url, body) = (self.base.clone(), Payload::Nothing);
        let (method, repeat, what) = (Method::GET, Repeat::Always, ask.what);
        let foot = Ask { method, url, headers: vec![], body, scopes: &[], repeat, what };
        let response = self.request(&foot, &foot.url, None, true).ok()?;
        (response.status() == StatusCode::UNAUTHORIZED).then_some(response)
    }

    fn request(
        &self,
        ask: &Ask<'_>,
        at: &Url,
        who: Option<&str>,
        is_home: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(ask.method.clone()).uri(at.as_str());
        for (name, value) in ask.headers.iter().filter(|(name, _)| is_home || *name != AUTHORIZATION) {
            request = request.header(name, value);
        }
        if let Some(who) = who {
            request = request.header(AUTHORIZATION, who);
        }
        let scheme = if at.scheme() == "http" { Scheme::Http } else { Scheme::Https };
        let roots = if is_home { &self.roots[..] } else { &[] };
        let agent = self.registry.agents.of(scheme, roots);
        match &ask.body {
            Payload::Nothing if matches!(ask.method, Method::POST | Method::PUT | Method::PATCH) => {
                agent.run(request.body(&[][..])?)
            }
            Payload::Nothing => agent.run(request.body(())?),
            Payload::Bytes(bytes) => agent.run(request.body(*bytes)?),
            Payload::Part { content, from, len, task } => {
                request = request.header(CONTENT_LENGTH, *len);
                if *len >= WORTH_ASKING {
                    // A server that refuses says so before all of it was sent for nothing.
                    request = request.header(EXPECT, "100-continue");
                }
                let mut part = Part { content: *content, at: *from, end: from + len, task };
                agent.run(request.body(SendBody::from_reader(&mut part))?)
            }
        }
    }

    /// Where a redirect leads: only for what is asked, and never from an encrypted connection to one that is not.
    fn redirected(&self, ask: &Ask<'_>, from: &Url, location: &str) -> Result<Url, RegistryError> {
        let (what, host) = (ask.what.to_owned(), authority(from));
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            let reason = format!("a {}, which lith follows nowhere", ask.method);
            return Err(RegistryError::Redirect { what, host, reason });
        }
        let Ok(mut to) = from.join(location) else {
            return Err(RegistryError::Redirect { what, host, reason: "to what is no URL".into() });
        };
        let _ = to.set_username("");
        let _ = to.set_password(None);
        match (from.scheme(), to.scheme()) {
            (_, "https") | ("http", "http") => Ok(to),
            ("https", "http") => Err(RegistryError::Downgrade { what, from: shown(from), to: shown(&to) }),
            (_, _) => {
                let reason = format!("to a URL of another kind: {}", shown(&to));
                Err(RegistryError::Redirect { what, host, reason })
            }
        }
    }

    fn unreachable(&self, ask: &Ask<'_>, at: &Url, error: &ureq::Error) -> RegistryError {
        let (what, host) = (ask.what.to_owned(), authority(at));
        let reason = said::shown(&error.to_string(), &[]);
        // rustls' words for bytes that are no TLS at all; a server may also just hang up on what it does not understand.
        let is_end = matches!(error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        if at.scheme() == "https" && (is_end || reason.contains("corrupt message")) {
            return RegistryError::NotTls { what, host, reason };
        }
        RegistryError::Unreachable { what, host, reason }
    }

    /// Why an answer is none that was hoped for.
    pub fn refused(&self, what: &str, answered: Answered) -> RegistryError {
        let Answered { response, at } = answered;
        let status = response.status().as_u16();
        let said = said::reason(response, self.options().patience, &self.auth.secrets());
        let (what, host) = (what.to_owned(), authority(&at));
        let is_home = at.origin() == self.base.origin();
        match status {
            401 | 403 if is_home => self.denied(&what, &host, self.auth.has_login(), said),
            404 => RegistryError::Missing { what, host, said },
            status => RegistryError::Status { what, host, status, said },
        }
    }

    /// Who asks may not have it.
    pub fn denied(&self, what: &str, by: &str, has_login: bool, said: String) -> RegistryError {
        let (what, host, registry) = (what.to_owned(), by.to_owned(), self.login.clone());
        if has_login {
            RegistryError::Denied { what, host, registry, said }
        } else {
            RegistryError::Anonymous { what, host, registry, said }
        }
    }

    /// An answer that is an answer, and makes no sense.
    pub fn broken(&self, what: &str, reason: impl Into<String>) -> RegistryError {
        RegistryError::Broken { what: what.to_owned(), host: self.shown(), reason: reason.into() }
    }

    /// A body of at most `limit` bytes.
    pub fn read(&self, what: &str, response: Response<Body>, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let read = said::read(response, limit, self.options().patience);
        let bytes = read.map_err(|error| self.broken(what, error.to_string()))?;
        bytes.ok_or_else(|| RegistryError::TooLarge { what: what.to_owned(), host: self.shown(), limit })
    }
}

fn base(endpoint: &Endpoint) -> Option<Url> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if endpoint.host.is_empty() || !endpoint.host.chars().all(is_host) {
        return None;
    }
    let url = Url::parse(&format!("{}://{}/v2/", endpoint.scheme, endpoint.host)).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some(url)
}

/// Host and port of a URL.
fn authority(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// A part of a blob on its way to a server.
struct Part<'a> {
    content: Content<'a>,
    at: u64,
    end: u64,
    task: &'a Task,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.content.read_at(&mut buffer[..want], self.at)?;
        if got == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the blob became shorter"));
        }
        self.at += got as u64;
        self.task.moved(&Amount { bytes: self.at, total: Some(self.content.size()), pieces: None });
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts() {
        let base = |host: &str| {
            let endpoint = Endpoint { host: host.into(), ..Endpoint::default() };
            super::base(&endpoint).map(String::from)
        };
        assert_eq!(base("a.invalid").as_deref(), Some("https://a.invalid/v2/"));
        assert_eq!(base("localhost:5000").as_deref(), Some("https://localhost:5000/v2/"));
        assert_eq!(base("[::1]:5000").as_deref(), Some("https://[::1]:5000/v2/"));
        for wrong in ["", "a/b", "u@h", "u:p@h", "h?x", "h#x", "h x", "h:x", ":5000", "é"] {
            assert_eq!(base(wrong), None, "{wrong}");
        }
    }
}
