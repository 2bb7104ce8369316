//! A base of packages becomes layers: which packages it is gets settled, and each layer is a step like any other.

use super::{BuildError, Options, configure};
use crate::debian::{Archive, Asking, DebianError};
use crate::epoch::Epoch;
use crate::oci::{History, RunConfig};
use crate::recipe::{Base, Op, Origin, PackageLayer, PackageSet, Recipe, Stage, Step};
use crate::store::Store;

/// What a line of the history begins with.
const INSTRUCTION: &str = "PACKAGES";
/// The longest list of names that a line shows.
const SHOWN: usize = 120;

/// Puts steps in the place of every base of packages that a target needs. Where that cannot be known without asking a
/// server, and none may be asked, the base stays.
pub fn settle(
    store: &Store,
    options: &Options,
    recipe: &mut Recipe,
    asking: Asking,
) -> Result<(), BuildError> {
    let archive = archive(store, options);
    let wanted = crate::plan::needed(recipe, &recipe.targets);
    for (stage, _) in recipe.stages.iter_mut().zip(wanted).filter(|(_, wanted)| *wanted) {
        let Base::Packages(set) = &stage.base else { continue };
        let layers = archive.select(set, &stage.platform, asking);
        let layers = layers.map_err(|source| failed(options, stage, set, source))?;
        if let Some(layers) = layers {
            stand_on(stage, layers, options.epoch);
        }
    }
    Ok(())
}

/// Where packages come from in a build.
pub(super) fn archive<'a>(store: &'a Store, options: &'a Options) -> Archive<'a> {
    Archive { store, options: &options.fetch, machine: &options.machine, releases: &options.pins }
}

/// The error of a base of packages.
pub(super) fn failed(options: &Options, stage: &Stage, set: &PackageSet, source: DebianError) -> BuildError {
    BuildError::Packages {
        file: options.dockerfile.name.clone(),
        line: stage.origin.line,
        suite: set.suite.clone(),
        source: Box::new(source),
    }
}

/// The signed lists that decide about the base of a stage, by URL; none if it stands on no packages.
pub(super) fn release_urls(
    store: &Store,
    options: &Options,
    stage: &Stage,
) -> Result<Vec<String>, BuildError> {
    let Base::Packages(set) = &stage.base else { return Ok(Vec::new()) };
    let urls = archive(store, options).release_urls(set, &stage.platform);
    urls.map_err(|source| failed(options, stage, set, source))
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
