//! An archive asked: from a set of names to pinned packages in layers, and their files in the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::DebianError;
use super::group::{self, Shape};
use super::lists::Signed;
use super::pinned::{self, Pinned};
use super::release::Release;
use super::solve::{Request, solve, solve_keeping};
use super::sources::{Machine, is_moment};
use super::universe::{IndexError, Priority, Universe};
use crate::canon::{Hasher, Sink as _};
use crate::digest::ContentDigest;
use crate::fetch::watch::{Act, Set};
use crate::fetch::{FetchOptions, Fetcher, Watcher};
use crate::platform::Platform;
use crate::recipe::{PackageLayer, PackageSet, Pin};
use crate::remote::without_credentials;
use crate::store::Store;

/// The version of everything that decides which packages a set is.
const SELECTION_VERSION: u32 = 1;
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
}

/// Whether servers may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    Allowed,
    /// What the store knows has to be enough.
    Never,
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

    /// The packages of a set among those that are pinned for its place, in layers; `None` if that is not known without
    /// asking a server. [`DebianError::Solve`] says that something is not pinned.
    pub fn among(
        &self,
        set: &PackageSet,
        platform: &Platform,
        pinned: &[Pinned],
        asking: Asking,
    ) -> Result<Option<Vec<PackageLayer>>, DebianError> {
        let architecture = checked(set, platform)?;
        let key = pinned::key(set, architecture, pinned);
        let known = self.store.selection(key);
        if known.is_some() || asking == Asking::Never {
            return Ok(known);
        }
        let pinned = self.with_passwords(set, architecture, pinned);
        let entries = pinned::read(self.store, self.options, &pinned)?;
        let layers = pinned::choose(set, architecture, &pinned, &entries)?;
        self.store.put_selection(key, &layers)?;
        Ok(Some(layers))
    }

    /// What to pin for a set, by name: the packages that it is today. Those that are pinned already stay as they are unless
    /// something needs another version.
    pub fn pin(
        &self,
        set: &PackageSet,
        platform: &Platform,
        pinned: &[Pinned],
    ) -> Result<Vec<Pinned>, DebianError> {
        let architecture = checked(set, platform)?;
        let task = self.options.watch.task(Act::Choose, &packages_of(set));
        let pinned = self.with_passwords(set, architecture, pinned);
        let (mut texts, mut lists) = (Vec::new(), Vec::new());
        for list in self.lists(set, architecture)? {
            texts.push(list.text);
            lists.push((list.archive, list.name));
        }
        let bad = |error: IndexError| DebianError::BadIndex {
            url: lists
                .iter()
                .map(|(archive, name)| format!("{archive} {name}"))
                .collect::<Vec<_>>()
                .join(", "),
            reason: error.to_string(),
        };
        let listed = Universe::new(&texts, architecture).map_err(bad)?;
        let is_listed = |pinned: &&Pinned| {
            let sha256 = |id| listed.package(id).sha256;
            listed.named(&pinned.pin.name).any(|id| sha256(id) == pinned.pin.sha256)
        };
        // What is pinned and no longer listed says itself what it is.
        let gone: Vec<Pinned> = pinned.iter().filter(|pinned| !is_listed(pinned)).cloned().collect();
        let entries = pinned::read(self.store, self.options, &gone)?;
        let universe = match gone.is_empty() {
            true => listed,
            false => Universe::new(entries.iter().chain(&texts), architecture).map_err(bad)?,
        };
        let kept = pinned.iter().filter_map(|pinned| {
            let version = pinned.pin.version.parse().ok()?;
            Some((pinned.pin.name.clone(), version))
        });
        let solution = solve_keeping(&universe, &requests(set, &universe)?.1, kept.collect())?;
        let chosen = solution.packages.iter().map(|id| {
            let package = universe.package(*id);
            let required = package.essential || package.priority == Priority::Required;
            match package.index.checked_sub(gone.len()) {
                None => Pinned { required, ..gone[package.index].clone() },
                Some(at) => {
                    let (archive, name) = &lists[at];
                    Pinned { pin: group::pin(package, archive), index: name.clone(), required }
                }
            }
        });
        let chosen: Vec<Pinned> = chosen.collect();
        self.remember(set, &universe, &pinned, &chosen)?;
        task.done();
        Ok(chosen)
    }

    /// Remembers which of the packages that are pinned from now on a set is: [`Self::among`] would find the same.
    fn remember(
        &self,
        set: &PackageSet,
        universe: &Universe<'_>,
        before: &[Pinned],
        chosen: &[Pinned],
    ) -> Result<(), DebianError> {
        let by_name = before.iter().chain(chosen).map(|pinned| (pinned.pin.name.as_str(), pinned.clone()));
        let by_name: BTreeMap<&str, Pinned> = by_name.collect();
        let pinned: Vec<Pinned> = by_name.into_values().collect();
        let entries = pinned.iter().filter_map(|pinned| {
            let mut versions = universe.named(&pinned.pin.name).map(|id| universe.package(id));
            let own = versions.find(|package| package.sha256 == pinned.pin.sha256)?;
            Some(pinned::entry(&own.fields, &pinned.pin))
        });
        let entries: Vec<String> = entries.collect();
        let architecture = universe.architecture;
        let layers = pinned::choose(set, architecture, &pinned, &entries)?;
        Ok(self.store.put_selection(pinned::key(set, architecture, &pinned), &layers)?)
    }

    /// Puts user and password of the set's own archives back into URLs, which a lock keeps without.
    fn with_passwords(&self, set: &PackageSet, architecture: &str, pinned: &[Pinned]) -> Vec<Pinned> {
        let sources = self.machine.sources(set, architecture).unwrap_or_default();
        let whole = |url: &str| {
            sources.iter().find_map(|source| {
                let rest = url.strip_prefix(&without_credentials(&source.uri))?;
                rest.starts_with('/').then(|| format!("{}{rest}", source.uri))
            })
        };
        let restored = |pinned: &Pinned| {
            let url = whole(&pinned.pin.url).unwrap_or_else(|| pinned.pin.url.clone());
            Pinned { pin: Pin { url, ..pinned.pin.clone() }, ..pinned.clone() }
        };
        pinned.iter().map(restored).collect()
    }

    /// Reads the indices and chooses.
    fn fresh(
        &self,
        set: &PackageSet,
        architecture: &str,
        signed: &[Signed],
        releases: &[Release],
    ) -> Result<Vec<PackageLayer>, DebianError> {
        let task = self.options.watch.task(Act::Choose, &packages_of(set));
        let lists = self.read_lists(architecture, signed, releases)?;
        let (mut texts, mut archives, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for list in lists {
            texts.push(list.text);
            names.push(list.shown);
            archives.push(list.archive);
        }
        let bad =
            |error: IndexError| DebianError::BadIndex { url: names.join(", "), reason: error.to_string() };
        let universe = Universe::new(&texts, architecture).map_err(bad)?;
        let (base, requests) = requests(set, &universe)?;
        let solution = solve(&universe, &requests)?;
        task.done();
        group::layers(&universe, &solution, &Shape { base, layers: &set.layers }, &archives).map_err(bad)
    }
}

/// What is chosen, for people.
fn packages_of(set: &PackageSet) -> String {
    format!("packages of {}", set.suite)
}

/// What the selection depends on, besides this program (spec/packages.md, "What is hashed").
fn key(set: &PackageSet, architecture: &str, signed: &[Signed]) -> ContentDigest {
    let mut hasher = Hasher::new("lith packages", SELECTION_VERSION);
    wanted(set, architecture, &mut hasher);
    for signed in signed {
        hasher.text("archive", &signed.source.uri);
        signed.source.components.iter().for_each(|component| hasher.text("component", component));
        hasher.text("release", &signed.blob.to_string());
    }
    ContentDigest::from_bytes(hasher.finish())
}

/// What is asked for.
pub(super) fn wanted(set: &PackageSet, architecture: &str, hasher: &mut Hasher) {
    hasher.text("architecture", architecture);
    hasher.text("essential", if set.essential { "yes" } else { "no" });
    set.names.iter().for_each(|name| hasher.text("name", name));
    for layer in &set.layers {
        hasher.text("layer", &format!("{}..{}", layer.start, layer.end));
    }
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

/// How many of the requests are the base of the rest, and all of them.
fn requests(set: &PackageSet, universe: &Universe<'_>) -> Result<(usize, Vec<Request>), DebianError> {
    let essential = if set.essential { essential(universe) } else { Vec::new() };
    let base = essential.len();
    let named = set.names.iter().map(|name| name.parse());
    Ok((base, essential.into_iter().map(Ok).chain(named).collect::<Result<_, _>>()?))
}

/// What no system is without, by name.
fn essential(universe: &Universe<'_>) -> Vec<Request> {
    let all = universe.ids().map(|id| universe.package(id));
    let wanted = all.filter(|package| package.essential || package.priority == Priority::Required);
    let names: std::collections::BTreeSet<&str> = wanted.map(|package| package.name).collect();
    names.into_iter().map(Request::of).collect()
}

/// Makes sure that the files of packages are in the store.
pub fn bring(store: &Store, options: &FetchOptions, pins: &[Pin]) -> Result<(), DebianError> {
    let missing: Vec<&Pin> = pins.iter().filter(|pin| !store.has_blob(&pin.sha256)).collect();
    let largest = missing.iter().map(|pin| pin.size).max().unwrap_or_default();
    let bytes = missing.iter().map(|pin| pin.size).sum();
    let set =
        (!missing.is_empty()).then(|| Set::new(&options.watch, "packages", missing.len() as u64, bytes));
    let watch = set.clone().map_or_else(Watcher::default, |set| Watcher::new(set));
    let options = FetchOptions { largest, watch, ..options.clone() };
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), DebianError> {
        let fetcher = Fetcher::new(store, &options);
        while let Some(pin) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = fetcher.file(&pin.url, Some(pin.sha256)) {
                // The others need not begin another.
                next.store(missing.len(), Ordering::Relaxed);
                return Err(DebianError::File { package: pin.to_string(), source: error });
            }
            set.iter().for_each(|set| set.has(pin.size));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(missing.len())).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("fetching does not panic"));
        done.fold(Ok(()), Result::and)
    })?;
    set.iter().for_each(|set| set.done());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Keys, Source};
    use super::super::validity::Validity;
    use super::*;
    use crate::digest::BlobDigest;

    const PINNED: &str = "blake3:93eed8546c4b79b675dc4543e56b614648b3f09b8046f739627608f4e3e4cac8";

    fn set() -> PackageSet {
        PackageSet {
            suite: "bookworm".into(),
            components: vec![],
            mirror: None,
            snapshot: None,
            names: vec!["a".into()],
            layers: vec![],
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
            validity: Validity::default(),
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
