//! What names stood for: images, URLs, repositories (spec/lockfile.md).
//!
//! Owns: the pins, their names, the text they are kept in. Pure.

mod text;

use std::collections::BTreeMap;

use crate::digest::BlobDigest;
use crate::platform::Platform;
use crate::remote::{GitRepo, redact};

/// Pins by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pub git: BTreeMap<String, GitPin>,
    pub images: BTreeMap<(String, Platform), BlobDigest>,
    pub urls: BTreeMap<String, UrlPin>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitPin {
    /// 40 or 64 lower-case hex digits.
    pub commit: String,
    /// As many.
    pub tree: String,
}

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlPin {
    pub sha256: BlobDigest,
    /// Bytes.
    pub size: u64,
}

/// How a lock calls a URL: without credentials.
pub fn url_name(url: &str) -> String {
    redact(url)
}

/// How a lock calls a repository: its URL without credentials, and the ref as written.
pub fn git_name(repo: &GitRepo) -> String {
    match &repo.reference {
        Some(reference) => format!("{}#{reference}", repo.url),
        None => repo.url.clone(),
    }
}

impl Lock {
    /// The pinned manifest of an image.
    pub fn image(&self, reference: &str, platform: &Platform) -> Option<BlobDigest> {
        self.images.get(&(reference.to_owned(), platform.clone())).copied()
    }

    /// The pin of a URL.
    pub fn url(&self, url: &str) -> Option<UrlPin> {
        self.urls.get(&url_name(url)).copied()
    }

    /// The pin of a repository.
    pub fn repository(&self, repo: &GitRepo) -> Option<&GitPin> {
        self.git.get(&git_name(repo))
    }

    /// All names, each as often as it has pins.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let images = self.images.keys().map(|(reference, _)| reference.as_str());
        self.git.keys().map(String::as_str).chain(images).chain(self.urls.keys().map(String::as_str))
    }

    /// Forgets all pins of a name.
    pub fn forget(&mut self, name: &str) {
        self.git.remove(name);
        self.urls.remove(name);
        self.images.retain(|(reference, _), _| reference != name);
    }
}
