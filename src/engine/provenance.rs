//! What an image was made of, as SLSA has it (spec/provenance.md).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::pins::{Taken, taken};
use super::progress::{Done, Steps};
use super::{BuildError, Prepared};
use crate::digest::BlobDigest;
use crate::exec::ExecError;
use crate::fetch::{Commits, FetchOptions, Fetcher, Fetching};
use crate::lock::{git_name, url_name};
use crate::oci::attest::Attestation;
use crate::plan;
use crate::recipe::{CopySource, FilesFrom, Label, Network, Op, Pin, Stage, Step};
use crate::remote::{Remote, without_credentials};

const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE: &str = "urn:lith:build:1";

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing that an argument might hide.
    Min,
    Max,
}

/// One thing that went into an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Dependency {
    uri: String,
    algorithm: &'static str,
    digest: String,
    name: Option<String>,
}

/// What the image of a target was made of.
pub(super) fn provenance(
    prepared: &Prepared<'_>,
    steps: &Steps,
    target: usize,
    detail: Detail,
) -> Result<Attestation, BuildError> {
    let needed = plan::needed(&prepared.recipe, &[prepared.recipe.targets[target]]);
    let done: Vec<&Done> =
        steps.done.iter().filter(|(id, _)| needed[id.stage]).map(|(_, done)| done).collect();
    let stages: Vec<&Stage> = prepared
        .recipe
        .stages
        .iter()
        .zip(&needed)
        .filter(|(_, needed)| **needed)
        .map(|(stage, _)| stage)
        .collect();
    let is_pinned = prepared.pinned.iter().zip(&needed).all(|(pinned, needed)| *pinned || !needed);
    let is_hermetic = is_pinned && done.iter().all(|done| is_closed(done));
    let mut dependencies = images(prepared, &stages);
    for taken in &taken(prepared.options, stages.iter().copied()) {
        dependencies.insert(fetched(prepared, taken)?);
    }
    dependencies.extend(done.iter().flat_map(|done| files(prepared, done)));
    dependencies.extend(stages.iter().flat_map(|stage| &stage.steps).flat_map(packages));
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters(prepared, target, detail),
            "internalParameters": internals(prepared, &done, detail, is_hermetic),
            "resolvedDependencies": dependencies.iter().map(Dependency::value).collect::<Vec<_>>(),
        },
        "runDetails": {
            "builder": { "id": "urn:lith" },
        },
    });
    Ok(Attestation { predicate_type: PREDICATE_TYPE.into(), predicate })
}

/// What the build was asked for.
fn parameters(prepared: &Prepared<'_>, target: usize, detail: Detail) -> Value {
    let options = prepared.options;
    let source = &options.dockerfile;
    let network = match options.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    };
    let mut parameters = json!({
        "file": { "name": source.name, "sha256": BlobDigest::of(source.text.as_bytes()).hex() },
        "target": prepared.plain_name(prepared.recipe.targets[target]),
        "platform": prepared.platform(target).to_string(),
        "epoch": options.epoch.seconds(),
        "hermetic": options.told.hermetic,
        "network": network,
    });
    if detail == Detail::Max {
        let pairs = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect()
        };
        parameters["args"] = pairs(&options.frontend.build_args).into();
        parameters["labels"] = pairs(&options.frontend.labels).into();
    }
    parameters
}

/// How it was done.
fn internals(prepared: &Prepared<'_>, done: &[&Done], detail: Detail, hermetic: bool) -> Value {
    let steps: Vec<String> = done.iter().map(|done| prepared.plain_step(done.info.id)).collect();
    let effects = done.iter().zip(&steps);
    let label =
        Label::of(effects.map(|(done, step)| (step.as_str(), done.info.line, &done.info.effects[..])));
    let mut internals =
        json!({ "lith": env!("CARGO_PKG_VERSION"), "hermetic": hermetic, "reproducibility": label });
    if detail == Detail::Max {
        let step = |done: &&Done| {
            let mut step = json!({
                "name": prepared.plain_step(done.info.id),
                "line": done.info.line,
                "text": done.info.text,
                "key": done.record.key.to_string(),
                "layer": done.record.layer.diff_id.to_string(),
                "effects": done.info.effects,
            });
            if let Some(network) = field(done, "run.network") {
                step["network"] = network.into();
            }
            step
        };
        internals["steps"] = done.iter().map(step).collect();
    }
    internals
}

/// Images that stages stand on or take files from.
fn images(prepared: &Prepared<'_>, stages: &[&Stage]) -> BTreeSet<Dependency> {
    let mut all = BTreeSet::new();
    for stage in stages {
        for reference in stage.images() {
            let image = prepared.image(reference, &stage.platform);
            let bare = reference.strip_prefix("docker-image://").unwrap_or(reference);
            all.insert(Dependency {
                uri: format!("docker-image:{bare}?platform={}", stage.platform),
                algorithm: "sha256",
                digest: image.manifest.hex(),
                name: Some(reference.to_owned()),
            });
        }
    }
    all
}

/// The packages of a layer.
fn packages(step: &Step) -> Vec<Dependency> {
    let Op::Packages(layer) = &step.op else { return Vec::new() };
    let dependency = |pin: &Pin| Dependency {
        uri: without_credentials(&pin.url),
        algorithm: "sha256",
        digest: pin.sha256.hex(),
        name: Some(format!("{} {} {}", pin.name, pin.version, pin.architecture)),
    };
    layer.pins().iter().map(dependency).collect()
}

/// What came from another machine: the store knows what it was in this build.
fn fetched(prepared: &Prepared<'_>, taken: &Taken) -> Result<Dependency, BuildError> {
    let options = prepared.options;
    let store = prepared.store;
    let fetch = FetchOptions { fetching: Fetching::Offline, ..options.fetch.clone() };
    let (uri, algorithm, digest) = match &taken.remote {
        Remote::File(url) => {
            let file = options.pins.file(&Fetcher::new(store, &fetch), url, taken.checksum);
            (url_name(url), "sha256", file.map_err(ExecError::from)?.blob.hex())
        }
        Remote::Git(repo) => {
            let commits = Commits::new(store, &fetch, options.git_access());
            let commit = options.pins.commit(&commits, repo).map_err(ExecError::from)?;
            (format!("git+{}", git_name(repo).replacen('#', "@", 1)), "gitCommit", commit.id)
        }
    };
    Ok(Dependency { uri, algorithm, digest, name: None })
}

/// The paths of contexts that a step took.
fn files(prepared: &Prepared<'_>, done: &Done) -> Vec<Dependency> {
    let step = &prepared.recipe.stages[done.info.id.stage].steps[done.info.id.step];
    let Op::Copy(copy) = &step.op else { return Vec::new() };
    let context = match &copy.from {
        FilesFrom::Context => "context:".to_owned(),
        FilesFrom::NamedContext(name) => format!("context:{name}:"),
        FilesFrom::Stage(_) | FilesFrom::Image(_) | FilesFrom::Scratch => return Vec::new(),
    };
    let fetched: BTreeSet<String> = copy.sources.iter().filter_map(shown).collect();
    let of = |wanted: &'static str| {
        done.fields.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value)
    };
    let sources: Vec<(&String, &String)> = of("copy.source.name").zip(of("copy.source.content")).collect();
    // What stands in the file itself comes last.
    let written_out = sources.len().saturating_sub(copy.inline.len());
    let dependency = |(path, content): &(&String, &String)| Dependency {
        uri: format!("{context}{path}"),
        algorithm: "blake3",
        digest: content.trim_start_matches("blake3:").to_owned(),
        name: None,
    };
    sources[..written_out].iter().filter(|(name, _)| !fetched.contains(*name)).map(dependency).collect()
}

/// How a step calls a source that it fetches.
fn shown(source: &CopySource) -> Option<String> {
    match source {
        CopySource::Url { url, .. } => url::Url::parse(url).ok().map(|url| crate::fetch::shown(&url)),
        CopySource::Git(repo) => Some(repo.shown()),
        CopySource::Path(_) | CopySource::Below { .. } => None,
    }
}

/// Whether nothing but what is named here can have had a part in a step.
fn is_closed(done: &Done) -> bool {
    !done.info.effects.iter().any(|effect| effect.is_open())
        && field(done, "run.network").is_none_or(|network| network == "none")
}

fn field<'a>(done: &'a Done, wanted: &str) -> Option<&'a str> {
    done.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

impl Dependency {
    fn value(&self) -> Value {
        let mut value =
            BTreeMap::from([("uri", json!(self.uri)), ("digest", json!({ self.algorithm: self.digest }))]);
        if let Some(name) = &self.name {
            value.insert("name", json!(name));
        }
        json!(value)
    }
}
