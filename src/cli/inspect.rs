//! `lith image inspect`: docker's JSON shape.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::find::Found;
use super::session::{self, Need};
use super::{CliError, find, out};
use crate::engine::label;
use crate::oci::DescriptorPlatform;
use crate::oci::media::MediaType;
use crate::platform::Platform;
use crate::store::{IndexedImage, Store};

/// Arguments of `lith image inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names, ids or digests
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

impl Inspect {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let one = |text: &String| -> Result<Value, CliError> {
            let found = match &self.platform {
                None => find::found(&store, text)?,
                Some(_) => {
                    let record = find::image_for(&store, text, self.platform.as_ref())?;
                    Found { record, index: None }
                }
            };
            describe(&store, &found)
        };
        let shown = self.images.iter().map(one).collect::<Result<Vec<Value>, CliError>>()?;
        let text = serde_json::to_string_pretty(&shown).expect("values serialise");
        out::print(&(text + "\n"));
        Ok(())
    }
}

/// Everything known of an image; of one for several platforms also which there are.
pub fn describe(store: &Store, found: &Found) -> Result<Value, CliError> {
    let record = &found.record;
    let config = find::config(store, &record.id)?;
    let names: Vec<String> = match &found.index {
        Some(_) => found.names(store)?.iter().map(|named| find::familiar(&named.name)).collect(),
        None => find::names(store, &record.id)?,
    };
    let top = found.index.as_ref().map(|index| index.digest).or(record.manifest);
    let digests: Vec<String> = match top {
        Some(digest) => names.iter().map(|name| format!("{}@{digest}", repository(name))).collect(),
        None => vec![],
    };
    let mut value = json!({
        "Id": found.index.as_ref().map_or_else(|| record.id.to_string(), |index| index.digest.to_string()),
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
    });
    if let Some(label) = label::of_image(store, record.id) {
        value["Reproducibility"] = json!(label);
    }
    if let Some(index) = &found.index {
        value["Manifests"] = index.images.iter().map(|one| manifest(store, one)).collect();
    }
    Ok(value)
}

/// One image of an index, as docker's containerd image store shows it; `Image` is its id here.
fn manifest(store: &Store, one: &IndexedImage) -> Value {
    let platform = DescriptorPlatform::from(&one.platform);
    let size = store.open_blob(&one.manifest).ok().map(|(_, size)| size);
    json!({
        "ID": one.manifest,
        "Descriptor": {
            "mediaType": MediaType::OciManifest, "digest": one.manifest, "size": size, "platform": platform,
        },
        "Available": store.image(&one.image).is_some() && size.is_some(),
        "Kind": "image",
        "Image": one.image,
        "ImageData": { "Platform": platform },
    })
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
