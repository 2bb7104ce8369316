//! What names stood for: images, packages, URLs, repositories (spec/lockfile.md).
//!
//! Owns: the pins, their names, the text they are kept in. Pure.

mod text;

pub use text::LARGEST;

use std::collections::BTreeMap;

use crate::digest::BlobDigest;
use crate::platform::Platform;
use crate::remote::{GitRepo, without_credentials};

/// Pins by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pub git: BTreeMap<String, GitPin>,
    pub images: BTreeMap<(String, Platform), BlobDigest>,
    pub packages: BTreeMap<PackageName, PackagePin>,
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

/// Which package is pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageName {
    pub name: String,
    /// The archive and the suite as the build file has them ([`crate::recipe::PackageSet::place`]).
    pub suite: String,
    pub platform: Platform,
}

impl PackageName {
    /// What it shares with those that are chosen among together.
    pub fn place(&self) -> (String, Platform) {
        (self.suite.clone(), self.platform.clone())
    }
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePin {
    pub version: String,
    pub architecture: String,
    pub sha256: BlobDigest,
    /// Bytes.
    pub size: u64,
    /// The list that had it: suite and component.
    pub index: String,
    /// Where it can be had, without user and password.
    pub url: String,
    /// Whether the list counts it among what no system is without.
    pub required: bool,
}

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlPin {
    pub sha256: BlobDigest,
    /// Bytes.
    pub size: u64,
}

/// How a lock calls a URL: without credentials, and with a short hash for each value of its query, since that is where
/// tokens stand.
pub fn url_name(url: &str) -> String {
    let bare = without_credentials(url);
    let Some((path, query)) = bare.split_once('?') else { return bare };
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, rest)| (query, Some(rest)));
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => format!("{name}=~{}", &blake3::hash(value.as_bytes()).to_hex()[..12]),
        None => pair.to_owned(),
    };
    let query = query.split('&').map(hide).collect::<Vec<_>>().join("&");
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    format!("{path}?{query}{fragment}")
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

    /// The pinned packages of a suite for a platform, by name.
    pub fn packages<'a>(
        &'a self,
        suite: &str,
        platform: &Platform,
    ) -> impl Iterator<Item = (&'a str, &'a PackagePin)> {
        let of = move |name: &PackageName| name.suite == suite && name.platform == *platform;
        self.packages.iter().filter(move |(name, _)| of(name)).map(|(name, pin)| (name.name.as_str(), pin))
    }

    /// The pin of a repository.
    pub fn repository(&self, repo: &GitRepo) -> Option<&GitPin> {
        self.git.get(&git_name(repo))
    }

    /// All names, each as often as it has pins; a suite stands for all its packages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let images = self.images.keys().map(|(reference, _)| reference.as_str());
        let packages = self.packages.keys().map(|package| package.name.as_str());
        let suites = self.packages.keys().map(|package| package.suite.as_str());
        let (git, urls) = (self.git.keys().map(String::as_str), self.urls.keys().map(String::as_str));
        git.chain(images).chain(packages).chain(suites).chain(urls)
    }

    /// Takes the pins of another lock; where both have one, the other's.
    pub fn extend(&mut self, other: Self) {
        let Self { git, images, packages, urls } = other;
        self.git.extend(git);
        self.images.extend(images);
        self.packages.extend(packages);
        self.urls.extend(urls);
    }

    /// How many pins there are.
    pub fn len(&self) -> usize {
        self.git.len() + self.images.len() + self.packages.len() + self.urls.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all pins of a name.
    pub fn forget(&mut self, name: &str) {
        self.git.remove(name);
        self.urls.remove(name);
        self.images.retain(|(reference, _), _| reference != name);
        self.packages.retain(|package, _| package.name != name && package.suite != name);
    }
}
