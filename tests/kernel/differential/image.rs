//! Images out of `docker save` archives, which all builders can write, and what two of them differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::tree::{Layer, Node, Tree};

/// An image as far as builders can be compared.
#[derive(Debug)]
pub struct Image {
    tree: BTreeMap<Vec<u8>, Node>,
    config: BTreeMap<&'static str, Value>,
}

/// What one image has otherwise than another.
#[derive(Debug)]
pub struct Difference {
    /// `/path aspect` or `config.Key`, as the list of known differences has it.
    pub field: String,
    /// Ours and theirs.
    pub values: String,
}

/// Keys of an image's config that the language sets.
const KEYS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "Labels",
    "Volumes",
    "ExposedPorts",
    "Healthcheck",
    "StopSignal",
    "Shell",
    "OnBuild",
];

/// Layers read so far, by diff id.
#[derive(Default)]
pub struct Layers(Mutex<BTreeMap<String, Arc<Layer>>>);

/// One archive in memory.
struct Archive {
    bytes: Vec<u8>,
    files: BTreeMap<String, std::ops::Range<usize>>,
    /// Layers that occur twice are links in docker's archives.
    links: BTreeMap<String, String>,
}

/// All images of an archive, by their names; one image may have several.
pub fn read_archive(path: &Path, layers: &Layers) -> BTreeMap<String, Arc<Image>> {
    let archive = Archive::open(path);
    let manifest: Value = serde_json::from_slice(archive.file("manifest.json")).unwrap();
    let mut images = BTreeMap::new();
    for item in manifest.as_array().unwrap() {
        let image = Arc::new(Image::read(&archive, item, layers));
        for name in item["RepoTags"].as_array().unwrap() {
            images.insert(name.as_str().unwrap().to_owned(), image.clone());
        }
    }
    images
}

impl Archive {
    fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            match entry.link_name().unwrap() {
                Some(to) => {
                    links.insert(name, to.to_str().unwrap().trim_start_matches("../").to_owned());
                }
                None => {
                    let start = usize::try_from(entry.raw_file_position()).unwrap();
                    files.insert(name, start..start + usize::try_from(entry.size()).unwrap());
                }
            }
        }
        Self { bytes, files, links }
    }

    fn file(&self, name: &str) -> &[u8] {
        let name = self.links.get(name).map_or(name, String::as_str);
        &self.bytes[self.files.get(name).unwrap_or_else(|| panic!("no {name}")).clone()]
    }
}

impl Image {
    fn read(archive: &Archive, item: &Value, known: &Layers) -> Self {
        let whole: Value = serde_json::from_slice(archive.file(item["Config"].as_str().unwrap())).unwrap();
        let diff_ids = whole["rootfs"]["diff_ids"].as_array().into_iter().flatten();
        let files = item["Layers"].as_array().into_iter().flatten();
        let layers: Vec<Arc<Layer>> = diff_ids
            .zip(files)
            .map(|(id, file)| known.get(id.as_str().unwrap(), || archive.file(file.as_str().unwrap())))
            .collect();
        let mut config: BTreeMap<&str, Value> =
            KEYS.iter().map(|key| (*key, normal(&whole["config"][*key]))).collect();
        config.insert("author", normal(&whole["author"]));
        Self { tree: Tree::of(layers.iter().map(|layer| &**layer)), config }
    }

    /// Everything the other image has otherwise.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (key, ours) in &self.config {
            found.extend(differs(format!("config.{key}"), ours, &other.config[key]));
        }
        let paths: BTreeSet<&Vec<u8>> = self.tree.keys().chain(other.tree.keys()).collect();
        let mut alone: Option<&[u8]> = None;
        for path in paths {
            let inside = |dir: &[u8]| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"));
            if alone.is_some_and(inside) {
                continue;
            }
            let shown = format!("/{}", shown(path));
            match (self.tree.get(path), other.tree.get(path)) {
                (Some(ours), Some(theirs)) => found.extend(nodes_differ(&shown, ours, theirs)),
                (ours, theirs) => {
                    alone = Some(path);
                    let aspect = if ours.is_some() { "missing" } else { "extra" };
                    found.extend(differs(format!("{shown} {aspect}"), &ours, &theirs));
                }
            }
        }
        found
    }
}

impl Layers {
    fn get<'a>(&self, diff_id: &str, tar: impl FnOnce() -> &'a [u8]) -> Arc<Layer> {
        let mut layers = self.0.lock().unwrap();
        let layer = layers.entry(diff_id.to_owned());
        layer.or_insert_with(|| Arc::new(Layer::read(tar()))).clone()
    }
}

/// What is empty and what is absent is the same to whoever reads a config.
fn normal(value: &Value) -> Value {
    let empty = match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if empty { Value::Null } else { value.clone() }
}

/// A path as one word of ASCII.
fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string().replace(' ', "\\x20")
}

fn nodes_differ(path: &str, ours: &Node, theirs: &Node) -> Vec<Difference> {
    if ours.kind != theirs.kind {
        return differs(format!("{path} type"), ours, theirs).into_iter().collect();
    }
    let octal = |node: &Node| format!("{:o}", node.mode);
    let aspects = [
        differs(format!("{path} mode"), &octal(ours), &octal(theirs)),
        differs(format!("{path} owner"), &ours.owner, &theirs.owner),
        differs(format!("{path} content"), &ours.content, &theirs.content),
        differs(format!("{path} xattrs"), &ours.xattrs, &theirs.xattrs),
        differs(format!("{path} links"), &ours.names, &theirs.names),
    ];
    aspects.into_iter().flatten().collect()
}

fn differs<T: PartialEq + std::fmt::Debug>(field: String, ours: &T, theirs: &T) -> Option<Difference> {
    (ours != theirs).then(|| Difference { field, values: format!("{ours:?} | {theirs:?}") })
}
