//! An archive asked: from a set of names to pinned packages in layers, and their files in the store.

use std::fs;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::release::{KeyFile, Listed, Release, verified};
use super::solve::{Request, solve};
use super::sources::{Machine, Source, is_moment};
use super::universe::{Priority, Universe};
use super::{DebianError, group};
use crate::canon::{Hasher, Sink as _};
use crate::digest::{BlobDigest, ContentDigest};
use crate::fetch::{FetchError, FetchOptions, Fetched, Fetcher};
use crate::layer::{DecompressLimits, Decompressor};
use crate::platform::Platform;
use crate::recipe::{PackageLayer, PackageSet, Pin};
use crate::store::{Store, StoreError};
use crate::sys::file::unique_name;

/// The version of everything that decides which packages a set is.
const SELECTION_VERSION: u32 = 1;
/// The largest release that is read.
const LARGEST_RELEASE: u64 = 16 << 20;
/// The largest index, unpacked, where the release does not say.
const LARGEST_INDEX: u64 = 1 << 30;
/// How many packages are fetched at once.
const AT_ONCE: usize = 8;

/// Debian's word for a platform, where it is not the same: architecture, variant, word.
const ARCHITECTURES: [(&str, Option<&str>, &str); 12] = [
    ("amd64", None, "amd64"),
    ("386", None, "i386"),
    ("arm64", None, "arm64"),
    ("arm", Some("v5"), "armel"),
    ("arm", Some("v6"), "armel"),
    ("arm", Some("v7"), "armhf"),
    ("arm", None, "armhf"),
    ("ppc64le", None, "ppc64el"),
    ("s390x", None, "s390x"),
    ("riscv64", None, "riscv64"),
    ("mips64le", None, "mips64el"),
    ("loong64", None, "loong64"),
];

/// Archives, as this machine sees them.
pub struct Archive<'a> {
    pub store: &'a Store,
    pub options: &'a FetchOptions,
    pub machine: &'a Machine,
    pub releases: &'a dyn Releases,
}

/// Which release of a suite is taken.
pub trait Releases {
    /// Fetches an `InRelease` by its URL.
    fn fetch(&self, fetcher: &Fetcher<'_>, url: &str) -> Result<Fetched, FetchError>;

    /// Whether it is known beforehand which one that is.
    fn is_pinned(&self, url: &str) -> bool;
}

/// Whether servers may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    Allowed,
    /// What the store knows has to be enough.
    Never,
}

/// A suite and the signed list of what it holds.
struct Signed {
    source: Source,
    url: String,
    blob: BlobDigest,
}

impl Archive<'_> {
    /// The packages of a set, pinned, in layers; `None` if that is not known without asking a server.
    pub fn select(
        &self,
        set: &PackageSet,
        platform: &Platform,
        asking: Asking,
    ) -> Result<Option<Vec<PackageLayer>>, DebianError> {
        let architecture = checked(set, platform)?;
        let mut signed = Vec::new();
        for source in self.machine.sources(set, architecture)? {
            let Some(found) = self.signed(source, set, asking)? else { return Ok(None) };
            signed.push(found);
        }
        let key = key(set, architecture, &signed);
        let known = self.store.selection(key);
        if asking == Asking::Never {
            return Ok(known);
        }
        let releases =
            signed.iter().map(|signed| self.release(signed, set)).collect::<Result<Vec<_>, _>>()?;
        if known.is_some() {
            return Ok(known);
        }
        let layers = self.fresh(set, architecture, &signed, &releases)?;
        self.store.put_selection(key, &layers)?;
        Ok(Some(layers))
    }

    /// The signed lists that decide which packages a set is, by URL.
    pub fn release_urls(&self, set: &PackageSet, platform: &Platform) -> Result<Vec<String>, DebianError> {
        let sources = self.machine.sources(set, checked(set, platform)?)?;
        Ok(sources.iter().map(in_release).collect())
    }

    /// Brings the signed lists and the indices of a set, from which anybody can choose as [`Archive::select`] does.
    pub fn lists(&self, set: &PackageSet, platform: &Platform) -> Result<Vec<BlobDigest>, DebianError> {
        let architecture = checked(set, platform)?;
        let mut blobs = Vec::new();
        for source in self.machine.sources(set, architecture)? {
            let Some(signed) = self.signed(source, set, Asking::Allowed)? else { continue };
            let release = self.release(&signed, set)?;
            blobs.push(signed.blob);
            for component in &signed.source.components {
                for (packed, plain) in listed(&signed, &release, component, architecture)? {
                    self.index(&signed, &release, (packed, plain))?;
                    blobs.push(packed.sha256);
                }
            }
        }
        Ok(blobs)
    }

    /// Brings a suite's `InRelease`. A moment's does not change, so it is asked for once; where no server answers, the one
    /// that is here serves as long as it is valid.
    fn signed(
        &self,
        source: Source,
        set: &PackageSet,
        asking: Asking,
    ) -> Result<Option<Signed>, DebianError> {
        let url = in_release(&source);
        let options = FetchOptions { largest: LARGEST_RELEASE, ..self.options.clone() };
        let fetcher = Fetcher::new(self.store, &options);
        let last = fetcher.last(&url);
        let fetched = match (asking, last) {
            (Asking::Never, last) => last,
            (Asking::Allowed, Some(last)) if set.snapshot.is_some() && !self.releases.is_pinned(&url) => {
                Some(last)
            }
            (Asking::Allowed, last) => match (self.releases.fetch(&fetcher, &url), last) {
                (Err(FetchError::Failed { .. }), Some(last)) => Some(last),
                (result, _) => Some(result?),
            },
        };
        Ok(fetched.map(|fetched| Signed { source, url, blob: fetched.blob }))
    }

    /// Checks who signed a release, what it is of, and whether it is still valid.
    fn release(&self, signed: &Signed, set: &PackageSet) -> Result<Release, DebianError> {
        let bytes = self.store.read_blob(&signed.blob, LARGEST_RELEASE)?;
        let keys = KeyFile::of(&signed.source.keys, || self.machine.trusted())?;
        let place = self.store.root().join("tmp").join(unique_name());
        fs::create_dir(&place).map_err(StoreError::from)?;
        let text = verified(&signed.url, &bytes, &keys, &place);
        let _ = fs::remove_dir_all(&place);
        let url = || signed.url.clone();
        let release = Release::parse(&text?).map_err(|reason| DebianError::Release { url: url(), reason })?;
        let wanted = &signed.source.suite;
        if ![&release.suite, &release.codename].contains(&wanted) {
            let found = format!("{} ({})", release.suite, release.codename);
            return Err(DebianError::Suite { url: url(), wanted: wanted.clone(), found });
        }
        let is_pinned = self.releases.is_pinned(&signed.url);
        if set.snapshot.is_none() && !is_pinned && release.is_over(self.machine.now) {
            let until = release.valid_until.unwrap_or_default();
            return Err(DebianError::Expired { url: url(), until });
        }
        Ok(release)
    }

    /// Reads the indices and chooses.
    fn fresh(
        &self,
        set: &PackageSet,
        architecture: &str,
        signed: &[Signed],
        releases: &[Release],
    ) -> Result<Vec<PackageLayer>, DebianError> {
        let (mut texts, mut urls, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (signed, release) in signed.iter().zip(releases) {
            for component in &signed.source.components {
                for (place, text) in self.indices(signed, release, component, architecture)? {
                    texts.push(text);
                    places.push(place);
                    urls.push(signed.source.uri.clone());
                }
            }
        }
        let bad = |error: super::universe::IndexError| DebianError::BadIndex {
            url: places.join(", "),
            reason: error.to_string(),
        };
        let universe = Universe::new(&texts, architecture).map_err(bad)?;
        let essential = if set.essential { essential(&universe) } else { Vec::new() };
        let base = essential.len();
        let named = set.names.iter().map(|name| name.parse());
        let requests: Vec<Request> = essential.into_iter().map(Ok).chain(named).collect::<Result<_, _>>()?;
        let solution = solve(&universe, &requests)?;
        group::layers(&universe, &solution, base, &urls).map_err(bad)
    }

    /// The indices of a component: where each is from, and its text.
    fn indices(
        &self,
        signed: &Signed,
        release: &Release,
        component: &str,
        architecture: &str,
    ) -> Result<Vec<(String, String)>, DebianError> {
        let listed = listed(signed, release, component, architecture)?;
        listed.into_iter().map(|listed| self.index(signed, release, listed)).collect()
    }

    /// One index: fetched packed by its digest, unpacked, and held against its digest again.
    fn index(
        &self,
        signed: &Signed,
        release: &Release,
        (packed, plain): (&Listed, Option<&Listed>),
    ) -> Result<(String, String), DebianError> {
        let directory = format!("{}/dists/{}", signed.source.uri, signed.source.suite);
        let url = match (release.by_hash, packed.path.rsplit_once('/')) {
            (true, Some((holder, _))) => {
                format!("{directory}/{holder}/by-hash/SHA256/{}", packed.sha256.hex())
            }
            _ => format!("{directory}/{}", packed.path),
        };
        let shown = format!("{directory}/{}", packed.path);
        let options = FetchOptions { largest: packed.size, ..self.options.clone() };
        Fetcher::new(self.store, &options).file(&url, Some(packed.sha256))?;
        let bytes = self.store.read_blob(&packed.sha256, packed.size)?;
        let largest = plain.map_or(LARGEST_INDEX, |plain| plain.size);
        let limits = DecompressLimits { max_size: largest, ..DecompressLimits::default() };
        let mut text = Vec::new();
        let bad = |reason: String| DebianError::BadIndex { url: shown.clone(), reason };
        let read = Decompressor::new(&bytes[..], limits).and_then(|mut reader| reader.read_to_end(&mut text));
        read.map_err(|error| bad(error.to_string()))?;
        let actual = BlobDigest::of(&text);
        if let Some(plain) = plain.filter(|plain| plain.sha256 != actual) {
            return Err(DebianError::Index { url: shown, expected: plain.sha256, actual });
        }
        let text = String::from_utf8(text).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        Ok((shown, text))
    }
}

fn in_release(source: &Source) -> String {
    format!("{}/dists/{}/InRelease", source.uri, source.suite)
}

/// The indices of a component: packed, and what they are unpacked.
fn listed<'a>(
    signed: &Signed,
    release: &'a Release,
    component: &str,
    architecture: &str,
) -> Result<Vec<(&'a Listed, Option<&'a Listed>)>, DebianError> {
    let own = release.index(component, architecture).ok_or_else(|| DebianError::NoIndex {
        url: signed.url.clone(),
        component: component.to_owned(),
        architecture: architecture.to_owned(),
    })?;
    let all = release.index(component, "all").filter(|_| release.separate_all);
    Ok([own].into_iter().chain(all).collect())
}

/// What the selection depends on, besides this program (spec/packages.md, "What is hashed").
fn key(set: &PackageSet, architecture: &str, signed: &[Signed]) -> ContentDigest {
    let mut hasher = Hasher::new("lith packages", SELECTION_VERSION);
    hasher.text("architecture", architecture);
    hasher.text("essential", if set.essential { "yes" } else { "no" });
    set.names.iter().for_each(|name| hasher.text("name", name));
    for signed in signed {
        hasher.text("archive", &signed.source.uri);
        signed.source.components.iter().for_each(|component| hasher.text("component", component));
        hasher.text("release", &signed.blob.to_string());
    }
    ContentDigest::from_bytes(hasher.finish())
}

/// Refuses what cannot be done before anything is asked; gives Debian's name of the architecture.
fn checked(set: &PackageSet, platform: &Platform) -> Result<&'static str, DebianError> {
    if let Some(moment) = set.snapshot.as_ref().filter(|moment| !is_moment(moment)) {
        return Err(DebianError::Moment { text: moment.clone() });
    }
    let known = ARCHITECTURES.iter().find(|(architecture, variant, _)| {
        platform.os == "linux"
            && platform.architecture == *architecture
            && variant.is_none_or(|variant| platform.variant.as_deref() == Some(variant))
    });
    known.map(|(_, _, word)| *word).ok_or_else(|| DebianError::Platform { platform: platform.to_string() })
}

/// What no system is without, by name.
fn essential(universe: &Universe<'_>) -> Vec<Request> {
    let all = universe.ids().map(|id| universe.package(id));
    let wanted = all.filter(|package| package.essential || package.priority == Priority::Required);
    let names: std::collections::BTreeSet<&str> = wanted.map(|package| package.name).collect();
    let request = |name: &str| Request { name: name.to_owned(), version: None, architecture: None };
    names.into_iter().map(request).collect()
}

/// Makes sure that the files of packages are in the store.
pub fn bring(store: &Store, options: &FetchOptions, pins: &[Pin]) -> Result<(), DebianError> {
    let missing: Vec<&Pin> = pins.iter().filter(|pin| !store.has_blob(&pin.sha256)).collect();
    let largest = missing.iter().map(|pin| pin.size).max().unwrap_or_default();
    let options = FetchOptions { largest, ..options.clone() };
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), DebianError> {
        let fetcher = Fetcher::new(store, &options);
        while let Some(pin) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = fetcher.file(&pin.url, Some(pin.sha256)) {
                // The others need not begin another.
                next.store(missing.len(), Ordering::Relaxed);
                return Err(error.into());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(missing.len())).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("fetching does not panic"));
        done.fold(Ok(()), Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::super::sources::Keys;
    use super::*;

    const PINNED: &str = "blake3:93eed8546c4b79b675dc4543e56b614648b3f09b8046f739627608f4e3e4cac8";

    fn set() -> PackageSet {
        PackageSet {
            suite: "bookworm".into(),
            components: vec![],
            mirror: None,
            snapshot: None,
            names: vec!["a".into()],
            essential: false,
            configure: false,
        }
    }

    #[test]
    fn pinned_vector() {
        // spec/packages.md: a change of this value needs a new SELECTION_VERSION.
        let source = Source {
            uri: "http://a.invalid".into(),
            suite: "sid".into(),
            components: vec!["main".into()],
            keys: Keys::Machine,
        };
        let signed = Signed { source, url: String::new(), blob: BlobDigest::of(b"release") };
        assert_eq!(key(&set(), "amd64", &[signed]).to_string(), PINNED);
    }

    #[test]
    fn platforms_have_debians_names() {
        let set = set();
        let word = |text: &str| checked(&set, &text.parse().unwrap()).ok();
        assert_eq!(word("linux/amd64"), Some("amd64"));
        assert_eq!(word("linux/386"), Some("i386"));
        assert_eq!(word("linux/arm/v7"), Some("armhf"));
        assert_eq!(word("linux/arm/v6"), Some("armel"));
        assert_eq!(word("windows/amd64"), None);
        assert_eq!(word("linux/sparc"), None);
        let odd = PackageSet { snapshot: Some("../x".into()), ..set };
        assert!(matches!(checked(&odd, &"linux/amd64".parse().unwrap()), Err(DebianError::Moment { .. })));
    }
}
