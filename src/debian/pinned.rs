//! Packages that are pinned already, as an archive of their own: what a set of names is among them
//! (spec/packages.md, "Pinned packages").

use std::fmt::Write as _;

use rayon::prelude::*;

use super::archive::bring;
use super::control::Paragraph;
use super::deb::Deb;
use super::solve::{Request, solve};
use super::universe::{IndexError, RELATIONS, Universe};
use super::{DebianError, group};
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
    hasher.text("architecture", architecture);
    hasher.text("essential", if set.essential { "yes" } else { "no" });
    set.names.iter().for_each(|name| hasher.text("name", name));
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
    group::layers(&universe, &solution, below, &archives).map_err(bad)
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
