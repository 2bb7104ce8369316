//! How an image was made, as far as a cause needs it: from the store's record of its build, else from its provenance.

use std::collections::BTreeMap;

use serde_json::Value;

use super::images::Image;
use crate::action::Observation;
use crate::digest::DiffId;
use crate::image::statements::{statement, statements};
use crate::store::Store;
use crate::store::builds::BuildRecord;

/// The predicate that has it.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// How an image was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Origin {
    pub file: Option<String>,
    pub platform: Option<String>,
    pub epoch: Option<i64>,
    /// What the machine was called to its steps.
    pub host_name: Option<String>,
    pub args: BTreeMap<String, String>,
    /// Digest by the name that the file has.
    pub bases: BTreeMap<String, String>,
    /// Digest by path; only where steps have no fields of their own.
    pub files: BTreeMap<String, String>,
    pub steps: Vec<Made>,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    pub name: String,
    pub text: String,
    pub line: usize,
    pub layer: Option<DiffId>,
    pub key: String,
    /// The printed form of the action; empty where only the key is known.
    pub fields: Vec<(String, String)>,
    pub observations: Vec<Observation>,
}

/// What is known of an image.
pub(super) fn of(records: Option<&Store>, image: &Image<'_>) -> Option<Origin> {
    let recorded = records.and_then(|store| store.build_of(image.id));
    recorded.map(|build| Origin::of_build(&build)).or_else(|| attached(image))
}

/// From the provenance that is attached; one that does not count is none.
fn attached(image: &Image<'_>) -> Option<Origin> {
    let said = statements(image.source, &image.entry).ok()?.all;
    let provenance = said.iter().find(|said| said.predicate_type == PREDICATE)?;
    let bytes = statement(image.source, provenance).ok()?;
    let whole: Value = serde_json::from_slice(&bytes).ok()?;
    Origin::of_provenance(&whole["predicate"])
}

impl Origin {
    pub fn of_build(build: &BuildRecord) -> Self {
        let steps = build.steps.iter().map(|step| Made {
            name: step.name.clone(),
            text: step.text.clone(),
            line: step.line,
            layer: Some(step.layer.diff_id),
            key: step.key.to_string(),
            fields: step.fields.clone(),
            observations: step.observations.clone(),
        });
        Self {
            file: Some(build.file.clone()),
            platform: Some(build.platform.to_string()),
            epoch: Some(build.epoch),
            host_name: build.host_name.clone(),
            args: build.args.clone(),
            bases: build.bases.iter().map(|base| (base.name.clone(), base.manifest.to_string())).collect(),
            files: BTreeMap::new(),
            steps: steps.collect(),
        }
    }

    /// Of provenance as lith writes it with all detail; of any other there are no steps.
    pub fn of_provenance(predicate: &Value) -> Option<Self> {
        let definition = &predicate["buildDefinition"];
        if definition["buildType"] != "urn:lith:build:1" {
            return None;
        }
        let outer = &definition["externalParameters"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let args = outer["args"].as_object().into_iter().flatten();
        let mut origin = Self {
            file: text(&outer["file"]["name"]),
            platform: text(&outer["platform"]),
            epoch: outer["epoch"].as_i64(),
            args: args.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect(),
            ..Self::default()
        };
        for dependency in definition["resolvedDependencies"].as_array().into_iter().flatten() {
            origin.dependency(dependency);
        }
        let steps = definition["internalParameters"]["steps"].as_array().into_iter().flatten();
        origin.steps = steps.filter_map(made).collect();
        Some(origin)
    }

    fn dependency(&mut self, dependency: &Value) -> Option<()> {
        let uri = dependency["uri"].as_str()?;
        let (algorithm, digest) = dependency["digest"].as_object()?.iter().next()?;
        let digest = format!("{algorithm}:{}", digest.as_str()?);
        if uri.starts_with("docker-image:") {
            self.bases.insert(dependency["name"].as_str()?.to_owned(), digest);
        } else if let Some(path) = uri.strip_prefix("context:") {
            self.files.insert(path.to_owned(), digest);
        }
        Some(())
    }
}

fn made(step: &Value) -> Option<Made> {
    Some(Made {
        name: step["name"].as_str()?.to_owned(),
        text: step["text"].as_str()?.to_owned(),
        line: usize::try_from(step["line"].as_u64()?).ok()?,
        layer: step["layer"].as_str()?.parse().ok(),
        key: step["key"].as_str()?.to_owned(),
        fields: Vec::new(),
        observations: Vec::new(),
    })
}
