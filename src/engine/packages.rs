//! A base of packages becomes layers: which packages it is gets settled, and each layer is a step like any other.

use std::collections::{BTreeMap, BTreeSet};

use super::{BuildError, Options, configure};
use crate::debian::{Archive, Asking, DebianError, Pinned};
use crate::epoch::Epoch;
use crate::lock::{PackageName, PackagePin};
use crate::oci::{History, RunConfig};
use crate::recipe::{Base, Op, Origin, PackageLayer, PackageSet, Pin, Recipe, Stage, Step};
use crate::remote::without_credentials;
use crate::store::Store;

/// What a line of the history begins with.
const INSTRUCTION: &str = "PACKAGES";
/// The longest list of names that a line shows.
const SHOWN: usize = 120;

/// Puts steps in the place of every base of packages that a target needs; says of each stage whether all that it is made
/// of was pinned. Where that cannot be known without asking a server, and none may be asked, the base stays.
pub fn settle(
    store: &Store,
    options: &Options,
    recipe: &mut Recipe,
    asking: Asking,
) -> Result<Vec<bool>, BuildError> {
    let wanted = crate::plan::needed(recipe, &recipe.targets);
    let mut as_pinned = vec![true; recipe.stages.len()];
    for (at, stage) in recipe.stages.iter_mut().enumerate().filter(|(at, _)| wanted[*at]) {
        let Base::Packages(set) = &stage.base else { continue };
        let layers = match pinned_layers(store, options, stage, set, asking)? {
            Pinning::Whole(layers) => layers,
            Pinning::Partial(pinned) => {
                as_pinned[at] = false;
                today(store, options, stage, set, &pinned, asking)?
            }
        };
        if let Some(layers) = layers {
            stand_on(stage, layers, options.epoch);
        }
    }
    Ok(as_pinned)
}

/// What the lock says of a set.
enum Pinning {
    /// Which packages it is; `None` if that cannot be known now.
    Whole(Option<Vec<PackageLayer>>),
    /// Not all of them; these are pinned for its place.
    Partial(Vec<Pinned>),
}

fn pinned_layers(
    store: &Store,
    options: &Options,
    stage: &Stage,
    set: &PackageSet,
    asking: Asking,
) -> Result<Pinning, BuildError> {
    let pinned = pinned(options, stage, set);
    let fail = |source| Err(failed(options, stage, set, source));
    let lock = || options.pins.file.clone();
    if pinned.is_empty() {
        return Ok(Pinning::Partial(pinned));
    }
    match archive(store, options).among(set, &stage.platform, &pinned, asking) {
        Ok(layers) => Ok(Pinning::Whole(layers)),
        Err(DebianError::Solve(source)) if options.pins.locked => {
            fail(DebianError::NotPinned { lock: lock(), source })
        }
        Err(DebianError::Solve(_)) => Ok(Pinning::Partial(pinned)),
        Err(source @ (DebianError::File { .. } | DebianError::Deb { .. })) => {
            fail(DebianError::Pinned { lock: lock(), source: Box::new(source) })
        }
        Err(source) => fail(source),
    }
}

/// The layers of a set whose packages are not all pinned.
fn today(
    store: &Store,
    options: &Options,
    stage: &Stage,
    set: &PackageSet,
    pinned: &[Pinned],
    asking: Asking,
) -> Result<Option<Vec<PackageLayer>>, BuildError> {
    let archive = archive(store, options);
    let platform = &stage.platform;
    let layers = match (pinned.is_empty(), asking) {
        (true, _) => archive.select(set, platform, asking),
        (false, Asking::Never) => Ok(None),
        (false, Asking::Allowed) => archive
            .pin(set, platform, pinned)
            .and_then(|chosen| archive.among(set, platform, &chosen, asking)),
    };
    layers.map_err(|source| failed(options, stage, set, source))
}

/// What a lock needs for the bases of stages, by name: what it has where that is enough, else what the packages are today.
pub(super) fn pins(
    store: &Store,
    options: &Options,
    stages: &[Stage],
) -> Result<BTreeMap<PackageName, PackagePin>, BuildError> {
    // What one stage pinned, the next of the same place keeps.
    let mut options = options.clone();
    let mut all = BTreeMap::new();
    for stage in stages {
        let Base::Packages(set) = &stage.base else { continue };
        let own = stage_pins(store, &options, stage, set)?;
        options.pins.lock.packages.extend(own.clone());
        all.extend(own);
    }
    Ok(all)
}

fn stage_pins(
    store: &Store,
    options: &Options,
    stage: &Stage,
    set: &PackageSet,
) -> Result<BTreeMap<PackageName, PackagePin>, BuildError> {
    let chosen = match pinned_layers(store, options, stage, set, Asking::Allowed)? {
        Pinning::Whole(layers) => {
            let layers = layers.unwrap_or_default();
            let names: BTreeSet<&str> =
                layers.iter().flat_map(PackageLayer::pins).map(|pin| pin.name.as_str()).collect();
            let mut all = pinned(options, stage, set);
            all.retain(|pinned| names.contains(pinned.pin.name.as_str()));
            all
        }
        Pinning::Partial(pinned) => archive(store, options)
            .pin(set, &stage.platform, &pinned)
            .map_err(|source| failed(options, stage, set, source))?,
    };
    let (suite, platform) = (set.place(), &stage.platform);
    let line = |Pinned { pin, index, required }: Pinned| {
        let url = without_credentials(&pin.url);
        let Pin { name, version, architecture, sha256, size, .. } = pin;
        let name = PackageName { name, suite: suite.clone(), platform: platform.clone() };
        (name, PackagePin { version, architecture, sha256, size, index, url, required })
    };
    Ok(chosen.into_iter().map(line).collect())
}

/// The packages that the lock has for the place of a base, by name.
pub(super) fn pinned(options: &Options, stage: &Stage, set: &PackageSet) -> Vec<Pinned> {
    let of = |(name, pin): (&str, &PackagePin)| Pinned {
        pin: Pin {
            name: name.to_owned(),
            version: pin.version.clone(),
            architecture: pin.architecture.clone(),
            sha256: pin.sha256,
            size: pin.size,
            url: pin.url.clone(),
        },
        index: pin.index.clone(),
        required: pin.required,
    };
    options.pins.lock.packages(&set.place(), &stage.platform).map(of).collect()
}

/// Where packages come from in a build.
fn archive<'a>(store: &'a Store, options: &'a Options) -> Archive<'a> {
    Archive { store, options: &options.fetch, machine: &options.machine }
}

/// The error of a base of packages.
fn failed(options: &Options, stage: &Stage, set: &PackageSet, source: DebianError) -> BuildError {
    BuildError::Packages {
        file: options.dockerfile.name.clone(),
        line: stage.origin.line,
        suite: set.suite.clone(),
        source: Box::new(source),
    }
}

/// How a base of packages is shown.
pub fn shown(set: &PackageSet) -> String {
    line(&set.suite, set.names.iter().map(String::as_str))
}

fn line<'a>(suite: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut text = format!("{INSTRUCTION} {suite}");
    for (at, name) in names.enumerate() {
        if text.len() + name.len() > SHOWN && at > 0 {
            text.push_str(" …");
            break;
        }
        text.push(' ');
        text.push_str(name);
    }
    text
}

fn stand_on(stage: &mut Stage, layers: Vec<PackageLayer>, epoch: Epoch) {
    let Base::Packages(set) = std::mem::replace(&mut stage.base, Base::Scratch) else {
        unreachable!("only bases of packages are settled")
    };
    let mut steps: Vec<Step> = layers.into_iter().map(|layer| unpacked(&set, layer, &stage.origin)).collect();
    if set.configure {
        let text = format!("{INSTRUCTION} {} (configure)", set.suite);
        steps.push(step(Op::Run(configure::run(epoch)), text, &stage.origin));
    }
    for group in &mut stage.layers {
        group.steps = group.steps.start + steps.len()..group.steps.end + steps.len();
    }
    stage.steps.splice(0..0, steps);
}

fn unpacked(set: &PackageSet, layer: PackageLayer, origin: &Origin) -> Step {
    let text = match &layer {
        // Those that were asked for say more than what they bring.
        PackageLayer::Files { pins, .. } => {
            let asked = |name: &str| set.names.iter().any(|text| text.split(['=', ':']).next() == Some(name));
            let (first, rest): (Vec<&str>, Vec<&str>) =
                pins.iter().map(|pin| pin.name.as_str()).partition(|name| asked(name));
            line(&set.suite, first.into_iter().chain(rest))
        }
        PackageLayer::Database { .. } => format!("{INSTRUCTION} {} (database)", set.suite),
    };
    step(Op::Packages(layer), text, origin)
}

fn step(op: Op, text: String, origin: &Origin) -> Step {
    let history = History { created_by: Some(text.clone()), ..History::default() };
    Step { op, origin: Origin { text, ..origin.clone() }, history, config: RunConfig::default() }
}
