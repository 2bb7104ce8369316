//! What a build takes from other machines: files by URL, commits of git repositories. Everything lands in the store,
//! named by its digest, before anybody uses it (spec/fetch.md).
//!
//! Credentials in a URL reach the server they are for and nothing else: no other host, no message, no record.

pub(crate) mod client;
pub(crate) mod download;
pub mod git;
pub mod http;
pub(crate) mod pace;
pub(crate) mod transfer;
mod vendored;
pub mod watch;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::digest::BlobDigest;
use crate::remote::percent_decoded;
use crate::store::StoreError;

pub use git::{Access, Commit, Commits, GitTree};
pub use http::{Fetched, Fetcher};
pub use vendored::Vendored;
pub use watch::Watcher;

/// Why something could not be fetched. No message holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{url} is not a URL: {source}")]
    Url { url: String, source: url::ParseError },
    #[error("{url}: {reason}")]
    Failed { url: String, reason: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url} is {actual}, not {expected} as it is pinned")]
    Checksum { url: String, expected: BlobDigest, actual: BlobDigest },
    #[error("{url} redirects to {to}, which is not encrypted")]
    Downgrade { url: String, to: String },
    #[error("{url} redirects more than {limit} times")]
    Redirects { url: String, limit: usize },
    #[error("{url} is larger than the limit of {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} is not pinned, and a hermetic build takes nothing that is not")]
    NotPinned { url: String },
    #[error("{url}: {reason}")]
    Git { url: String, reason: String },
    #[error("{url} is at commit {actual}, not at {expected} as it is pinned")]
    Commit { url: String, expected: String, actual: String },
    #[error("{url} is not what it should be: {reason}")]
    Other { url: String, reason: String },
    #[error("{url} needs git, which is not installed")]
    NoGit { url: String },
    #[error(
        "{url} is not in the store, and nothing is fetched now: leave --offline out, or name a directory with --vendored"
    )]
    NotHere { url: String },
    #[error(
        "{source}; {lock} pins it: if what comes now is right, renew the pin with `lith lock --update='{name}'`"
    )]
    Locked { lock: String, name: String, source: Box<FetchError> },
    #[error("{path} is damaged: {reason}; write it anew with `lith vendor`")]
    Vendored { path: PathBuf, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether other machines may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetching {
    Allowed,
    /// What the store has is taken as it is; what it has not is [`FetchError::NotHere`].
    Offline,
    /// As offline, and what a server might have changed since is not here either.
    Never,
}

/// How patient and how trusting fetching is.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    pub fetching: Fetching,
    /// What `lith vendor` wrote: looked into for everything that is pinned, before any server is asked.
    pub vendored: Option<Vendored>,
    /// Certificates of those who may vouch for servers, as PEM; the built-in list if there are none.
    pub roots: Vec<u8>,
    /// The file they came from, for git.
    pub roots_file: Option<PathBuf>,
    /// Variables that say which proxies git uses, `https_proxy` and kin.
    pub proxies: Vec<(String, String)>,
    /// For finding a server and for each answer of it.
    pub patience: Duration,
    /// How often a server that is busy or gone is asked again.
    pub retries: u32,
    /// The longest wait before it is.
    pub longest_wait: Duration,
    /// Of a file, and of all files of a repository, in bytes.
    pub largest: u64,
    /// Files, directories and symlinks of a repository, with its submodules. A few objects can say that there are billions.
    pub most_files: usize,
    /// Who is told how it goes.
    pub watch: Watcher,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            fetching: Fetching::Allowed,
            vendored: None,
            roots: Vec::new(),
            roots_file: None,
            proxies: Vec::new(),
            patience: Duration::from_secs(60),
            retries: 3,
            longest_wait: Duration::from_secs(30),
            largest: 16 << 30,
            most_files: 1_000_000,
            watch: Watcher::default(),
        }
    }
}

/// A URL as it may be shown: without user, password and the values of its query.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    url.set_fragment(None);
    crate::diag::escape(url.as_str().replace("%E2%80%A6", "…").as_bytes())
}

/// The last name of a URL's path: what its file is called.
pub fn file_name(url: &Url) -> Option<String> {
    let name = url.path_segments()?.next_back()?;
    let bytes = percent_decoded(name);
    let text = String::from_utf8(bytes).ok()?;
    crate::path::is_name(text.as_bytes()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn credentials_are_not_shown() {
        let text = shown(&url("https://me:secret@h.invalid:8443/a/b?token=x&y=z#frag"));
        assert_eq!(text, "https://h.invalid:8443/a/b?…");
        assert_eq!(shown(&url("http://h.invalid/a")), "http://h.invalid/a");
    }

    #[test]
    fn a_file_is_called_as_the_path_ends() {
        let name = |text: &str| file_name(&url(text));
        assert_eq!(name("http://h.invalid/a/b.tar.gz?x=/c").as_deref(), Some("b.tar.gz"));
        assert_eq!(name("http://h.invalid/a%20b").as_deref(), Some("a b"));
        for nameless in [
            "http://h.invalid",
            "http://h.invalid/",
            "http://h.invalid/a/",
            "http://h.invalid/%2f",
            "http://h.invalid/..%2fx",
        ] {
            assert_eq!(name(nameless), None, "{nameless}");
        }
    }
}
