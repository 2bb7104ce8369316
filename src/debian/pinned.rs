//! Packages that are pinned already, as an archive of their own: what a set of names is among them
//! (spec/packages.md, "Pinned packages").

use std::fmt::Write as _;

use rayon::prelude::*;

use super::DebianError;
use super::archive::{bring, wanted};
use super::control::Paragraph;
use super::deb::Deb;
use super::group::{self, Shape};
use super::solve::{Request, solve};
use super::universe::{IndexError, RELATIONS, Universe};
use crate::canon::{Hasher, Sink as _};
use crate::digest::ContentDigest;
use crate::fetch::FetchOptions;
use crate::recipe::{PackageLayer, PackageSet, Pin};
use crate::store::Store;

/// The version of everything that decides which of some pinned packages a set is.
const VERSION: u32 = 1;

/// A package that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    pub pin: Pin,
    /// The list that had it: suite and component.
    pub index: String,
    /// Whether that list counts it among what no system is without.
    pub required: bool,
}

/// What a choice among pinned packages depends on, besides this program.
pub fn key(set: &PackageSet, architecture: &str, pinned: &[Pinned]) -> ContentDigest {
    let mut hasher = Hasher::new("lith pinned packages", VERSION);
    wanted(set, architecture, &mut hasher);
    for Pinned { pin, required, .. } in pinned {
        hasher.text("package", &pin.name);
        hasher.text("version", &pin.version);
        hasher.text("architecture", &pin.architecture);
        hasher.text("sha256", &pin.sha256.hex());
        hasher.text("required", if *required { "yes" } else { "no" });
    }
    ContentDigest::from_bytes(hasher.finish())
}

/// Chooses among pinned packages; `entries` says of each what an index would.
pub fn choose(
    set: &PackageSet,
    architecture: &str,
    pinned: &[Pinned],
    entries: &[String],
) -> Result<Vec<PackageLayer>, DebianError> {
    let bad = |error: IndexError| DebianError::BadPin { reason: error.to_string() };
    let universe = Universe::new(entries, architecture).map_err(bad)?;
    let required = pinned.iter().filter(|pinned| set.essential && pinned.required);
    let base: Vec<Request> = required.map(|pinned| Request::of(&pinned.pin.name)).collect();
    let below = base.len();
    let named = set.names.iter().map(|name| name.parse());
    let requests: Vec<Request> = base.into_iter().map(Ok).chain(named).collect::<Result<_, _>>()?;
    let solution = solve(&universe, &requests)?;
    let archives: Vec<String> = pinned.iter().map(|pinned| place(&pinned.pin).0.to_owned()).collect();
    group::layers(&universe, &solution, &Shape { base: below, layers: &set.layers }, &archives).map_err(bad)
}

/// What an index would say of pinned packages, from their own control files. Brings them.
pub fn read(store: &Store, options: &FetchOptions, pinned: &[Pinned]) -> Result<Vec<String>, DebianError> {
    let pins: Vec<Pin> = pinned.iter().map(|pinned| pinned.pin.clone()).collect();
    bring(store, options, &pins)?;
    pins.par_iter()
        .map(|pin| {
            let failed = |source| DebianError::Deb { package: pin.to_string(), source };
            let (file, _) = store.open_blob(&pin.sha256)?;
            let control = Deb::open(&file).and_then(|deb| deb.control(pin)).map_err(failed)?;
            let paragraph = control.paragraph().map_err(failed)?;
            Ok(entry(&paragraph, pin))
        })
        .collect()
}

/// What an index would say of a package, so far as it counts: its priority there is left out, since the package itself may
/// say another.
pub fn entry(control: &Paragraph<'_>, pin: &Pin) -> String {
    let (_, filename) = place(pin);
    let mut text = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nFilename: {filename}\nSize: {}\nSHA256: {}\n",
        pin.name,
        pin.version,
        pin.architecture,
        pin.size,
        pin.sha256.hex()
    );
    for field in ["Essential", "Protected", "Important", "Multi-Arch"].iter().chain(&RELATIONS) {
        if let Some(value) = control.get(field) {
            let _ = writeln!(text, "{field}: {value}");
        }
    }
    text
}

/// The directory of a package's URL, and its name there.
fn place(pin: &Pin) -> (&str, &str) {
    pin.url.rsplit_once('/').unwrap_or(("", &pin.url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    const KEY: &str = "blake3:cd0cde2971cc5baa57456facd3f41122a42caa59107101aece6b02d4804710e6";

    fn pinned(name: &str, required: bool) -> Pinned {
        let pin = Pin {
            name: name.into(),
            version: "1:2-3".into(),
            architecture: "all".into(),
            sha256: BlobDigest::of(name.as_bytes()),
            size: 7,
            url: format!("http://a.invalid/pool/{name}.deb"),
        };
        Pinned { pin, index: "sid/main".into(), required }
    }

    fn set() -> PackageSet {
        PackageSet {
            suite: "sid".into(),
            components: vec![],
            mirror: None,
            snapshot: None,
            names: vec!["a".into()],
            layers: vec![],
            essential: true,
            configure: false,
        }
    }

    #[test]
    fn the_key_is_a_known_one_and_holds_all_that_decides() {
        let pins = [pinned("a", false), pinned("b", true)];
        let own = key(&set(), "amd64", &pins);
        assert_eq!(own.to_string(), KEY);
        let elsewhere = Pin { url: "http://b.invalid/x.deb".into(), ..pins[0].pin.clone() };
        let elsewhere = Pinned { pin: elsewhere, index: "other".into(), required: false };
        assert_eq!(key(&set(), "amd64", &[elsewhere, pins[1].clone()]), own);
        assert_ne!(key(&set(), "arm64", &pins), own);
        assert_ne!(key(&set(), "amd64", &pins[..1]), own);
        assert_ne!(key(&set(), "amd64", &[pinned("a", true), pinned("b", true)]), own);
        assert_ne!(key(&PackageSet { essential: false, ..set() }, "amd64", &pins), own);
        assert_ne!(key(&PackageSet { names: vec![], ..set() }, "amd64", &pins), own);
        assert_ne!(
            key(&PackageSet { layers: std::iter::once(0..1).collect(), ..set() }, "amd64", &pins),
            own
        );
    }

    #[test]
    fn an_entry_is_what_an_index_would_say_without_the_priority() {
        let text = "Package: a\nVersion: 1:2-3\nArchitecture: all\nPriority: required\nEssential: yes\nDepends: b,\n c\nDescription: x\n";
        let paragraphs = crate::debian::control::paragraphs(text).unwrap();
        let pin = pinned("a", false).pin;
        let entry = entry(&paragraphs[0], &pin);
        let entries = [entry.clone()];
        let universe = Universe::new(&entries, "amd64").unwrap();
        let package = universe.package(0);
        assert_eq!(
            (package.name, package.filename, package.size, package.essential),
            ("a", "a.deb", 7, true)
        );
        assert_eq!(package.sha256, pin.sha256);
        assert_eq!(package.needs().unwrap().len(), 2);
        assert!(!entry.contains("Priority") && !entry.contains("Description"), "{entry}");
    }

    #[test]
    fn essential_is_what_was_required_when_it_was_pinned() {
        let pins = [pinned("a", false), pinned("b", true), pinned("c", true)];
        let entries: Vec<String> = pins
            .iter()
            .map(|pinned| entry(&crate::debian::control::paragraphs("X: y").unwrap()[0], &pinned.pin))
            .collect();
        let layers = choose(&set(), "amd64", &pins, &entries).unwrap();
        let names = |layer: &PackageLayer| {
            layer.pins().iter().map(|pin| pin.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(layers.iter().map(names).collect::<Vec<_>>(), ["b c", "a", "a b c"]);
        assert_eq!(layers[1].pins()[0].url, "http://a.invalid/pool/a.deb");
        let some = choose(&PackageSet { essential: false, ..set() }, "amd64", &pins, &entries).unwrap();
        assert_eq!(some.iter().map(names).collect::<Vec<_>>(), ["a", "a"]);
    }
}
