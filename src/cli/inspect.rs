//! `lith image inspect`: docker's JSON shape.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::store::{ImageRecord, Store};

/// Arguments of `lith image inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names, ids or digests
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Inspect {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let shown = self
            .images
            .iter()
            .map(|text| describe(&store, &find::image(&store, text)?))
            .collect::<Result<Vec<Value>, CliError>>()?;
        let text = serde_json::to_string_pretty(&shown).expect("values serialise");
        out::print(&(text + "\n"));
        Ok(())
    }
}

/// Everything known of an image.
pub fn describe(store: &Store, record: &ImageRecord) -> Result<Value, CliError> {
    let config = find::config(store, &record.id)?;
    let names = find::names(store, &record.id)?;
    let digests: Vec<String> = match record.manifest {
        Some(manifest) => names.iter().map(|name| format!("{}@{manifest}", repository(name))).collect(),
        None => vec![],
    };
    Ok(json!({
        "Id": record.id,
        "RepoTags": names,
        "RepoDigests": digests,
        "Parent": record.parent.map_or_else(String::new, |id| id.to_string()),
        "Comment": config.history.last().and_then(|line| line.comment.clone()).unwrap_or_default(),
        "Created": config.created,
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config.config,
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Size": find::layer_sizes(store, &config).iter().sum::<u64>(),
        "GraphDriver": graph_driver(store, &config.rootfs.diff_ids),
        "RootFS": { "Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids },
    }))
}

/// The directories the layers are, or will be, unpacked in: the topmost as UpperDir, the others top first.
fn graph_driver(store: &Store, layers: &[crate::digest::DiffId]) -> Value {
    let stacks = (1..=layers.len()).rev().map(|top| &layers[..top]);
    let mut dirs = stacks.filter_map(|stack| store.diff_dir(stack).ok()).map(|dir| dir.display().to_string());
    let mut data = serde_json::Map::new();
    if let Some(upper) = dirs.next() {
        let cache = upper.strip_suffix("/diff").unwrap_or(&upper).to_owned();
        let lowers: Vec<String> = dirs.collect();
        if !lowers.is_empty() {
            data.insert("LowerDir".into(), lowers.join(":").into());
        }
        data.insert("MergedDir".into(), format!("{cache}/merged").into());
        data.insert("UpperDir".into(), upper.into());
        data.insert("WorkDir".into(), format!("{cache}/work").into());
    }
    json!({ "Name": "overlay2", "Data": data })
}

fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => name,
    }
}
