//! Documents of images compared field by field: index, manifest, config and history.
//!
//! Owns: which kind each field is of (spec/diff.md, "Fields"). Layers and what they hold are not looked at here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::report::{Field, Level};
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Index, Manifest};

/// The names that places give images, kept beside them.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
/// What a builder leaves in a config about itself.
const BUILDER: [&str; 4] = ["container", "container_config", "docker_version", "moby.buildkit.buildinfo.v1"];

/// The fields in which two configs differ, history and layers left out.
pub(super) fn config(a: &Value, b: &Value) -> Vec<Field> {
    let (a, b) = (members(a), members(b));
    let mut fields = Vec::new();
    for name in names(&a, &b).into_iter().filter(|name| !matches!(*name, "history" | "rootfs")) {
        match name {
            "config" => run_config(&member(&a, name), &member(&b, name), &mut fields),
            "created" => push(&mut fields, Kind::Created, name, &a, &b),
            "author" => push(&mut fields, Kind::Author, name, &a, &b),
            name if BUILDER.contains(&name) => push(&mut fields, Kind::History, name, &a, &b),
            name => push(&mut fields, Kind::Config, name, &a, &b),
        }
    }
    fields
}

/// What containers of the image are started with.
fn run_config(a: &Value, b: &Value, fields: &mut Vec<Field>) {
    let (a, b) = (members(a), members(b));
    for name in names(&a, &b) {
        let (one, other) = (member(&a, name), member(&b, name));
        let path = format!("config.{name}");
        match name {
            "Env" => environment(&one, &other, fields),
            "Labels" => each(fields, Kind::Labels, &path, &one, &other),
            "ExposedPorts" | "Volumes" | "Healthcheck" => each(fields, Kind::Config, &path, &one, &other),
            _ => value(fields, Level::Config, Kind::Config, path, one, other),
        }
    }
}

/// Variables by name; their order only if nothing else differs.
fn environment(a: &Value, b: &Value, fields: &mut Vec<Field>) {
    if a == b {
        return;
    }
    let before = fields.len();
    let (one, other) = (variables(a), variables(b));
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let of = |all: &BTreeMap<String, String>| all.get(key).map_or(Value::Null, |value| json!(value));
        value(fields, Level::Config, Kind::Config, format!("config.Env.{key}"), of(&one), of(&other));
    }
    if fields.len() == before {
        value(fields, Level::Config, Kind::Config, "config.Env".into(), a.clone(), b.clone());
    }
}

fn variables(list: &Value) -> BTreeMap<String, String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.map(pair).collect()
}

/// The lines of history, matched so that one more does not shift the rest.
pub(super) fn history(a: &Value, b: &Value) -> Vec<Field> {
    let lines = |config: &Value| config["history"].as_array().cloned().unwrap_or_default();
    let (a, b) = (lines(a), lines(b));
    let made = |line: &Value| (line["created_by"].clone(), line["empty_layer"].as_bool().unwrap_or(false));
    let keys = |lines: &[Value]| lines.iter().map(made).collect::<Vec<_>>();
    let mut fields = Vec::new();
    for (one, other) in super::align::aligned(&keys(&a), &keys(&b)) {
        let number = other.or(one).map_or(0, |at| at + 1);
        let path = format!("history[{number}]");
        match (one, other) {
            (Some(one), Some(other)) => line(&path, &a[one], &b[other], &mut fields),
            (one, other) => {
                let whole = |side: &[Value], at: Option<usize>| at.map_or(Value::Null, |at| side[at].clone());
                value(&mut fields, Level::History, Kind::History, path, whole(&a, one), whole(&b, other));
            }
        }
    }
    fields
}

fn line(path: &str, a: &Value, b: &Value, fields: &mut Vec<Field>) {
    let (a, b) = (members(a), members(b));
    for name in names(&a, &b) {
        let kind = match name {
            "created" => Kind::Created,
            "author" => Kind::Author,
            _ => Kind::History,
        };
        let path = format!("{path}.{name}");
        value(fields, Level::History, kind, path, member(&a, name), member(&b, name));
    }
}

/// The fields in which two manifests differ; of the layers only what is written beside them.
pub(super) fn manifest(a: &Manifest, b: &Manifest, pairs: &[(usize, usize)]) -> Vec<Field> {
    let mut fields = Vec::new();
    let level = Level::Manifest;
    let (one, other) = (form(a), form(b));
    value(&mut fields, level, Kind::Form, "form".into(), json!(one), json!(other));
    if one == other {
        // Of one form, and yet not of the same types: an artifact's config, for one.
        let kinds = |m: &Manifest| json!([m.media_type().as_str(), m.config.media_type.as_str()]);
        value(&mut fields, level, Kind::Form, "mediaTypes".into(), kinds(a), kinds(b));
    }
    artifact_type(&mut fields, level, [json!(a.artifact_type), json!(b.artifact_type)]);
    annotations(&mut fields, level, "annotations", &a.annotations, &b.annotations);
    annotations(&mut fields, level, "config.annotations", &a.config.annotations, &b.config.annotations);
    for (one, other) in pairs {
        let (left, right) = (&a.layers[*one].annotations, &b.layers[*other].annotations);
        annotations(&mut fields, level, &format!("layers[{}].annotations", other + 1), left, right);
    }
    let subject = |m: &Manifest| json!(m.subject.as_ref().map(|subject| subject.digest));
    value(&mut fields, level, Kind::Attestations, "subject".into(), subject(a), subject(b));
    others(&mut fields, level, &a.other, &b.other);
    fields
}

/// Whose media types a manifest and its parts have.
fn form(manifest: &Manifest) -> &'static str {
    let types = manifest.layers.iter().chain([&manifest.config]).map(|part| part.media_type.clone());
    let all: BTreeSet<bool> = types.chain([manifest.media_type()]).map(|kind| is_docker(&kind)).collect();
    match (all.contains(&true), all.contains(&false)) {
        (true, true) => "docker and OCI",
        (true, false) => "docker",
        (false, _) => "OCI",
    }
}

pub(super) fn is_docker(kind: &MediaType) -> bool {
    kind.as_str().starts_with("application/vnd.docker.")
}

/// The fields of two indexes; which images they have is for whoever pairs them.
pub(super) fn index(a: &Index, b: &Index) -> Vec<Field> {
    let mut fields = Vec::new();
    let level = Level::Index;
    let form = |index: &Index| match index.media_type.as_ref().is_some_and(is_docker) {
        true => "docker",
        false => "OCI",
    };
    value(&mut fields, level, Kind::Form, "form".into(), json!(form(a)), json!(form(b)));
    artifact_type(&mut fields, level, [json!(a.artifact_type), json!(b.artifact_type)]);
    annotations(&mut fields, level, "annotations", &a.annotations, &b.annotations);
    others(&mut fields, level, &a.other, &b.other);
    fields
}

/// What an index says of one of its images, beside what the image is.
pub(super) fn index_entry(name: &str, a: &Descriptor, b: &Descriptor) -> Vec<Field> {
    let mut fields = Vec::new();
    annotations(&mut fields, Level::Index, &format!("{name}.annotations"), &a.annotations, &b.annotations);
    let platform = |entry: &Descriptor| json!(entry.platform);
    let path = format!("{name}.platform");
    value(&mut fields, Level::Index, Kind::Config, path, platform(a), platform(b));
    fields
}

fn artifact_type(fields: &mut Vec<Field>, level: Level, [a, b]: [Value; 2]) {
    value(fields, level, Kind::Form, "artifactType".into(), a, b);
}

fn annotations(
    fields: &mut Vec<Field>,
    level: Level,
    path: &str,
    a: &BTreeMap<String, String>,
    b: &BTreeMap<String, String>,
) {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let kind = if NAMES.contains(&key.as_str()) { Kind::Name } else { Kind::Annotations };
        let of = |all: &BTreeMap<String, String>| json!(all.get(key));
        value(fields, level, kind, format!("{path}.{key}"), of(a), of(b));
    }
}

fn others(fields: &mut Vec<Field>, level: Level, a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let of = |all: &BTreeMap<String, Value>| all.get(key).cloned().unwrap_or_default();
        value(fields, level, Kind::Form, key.clone(), of(a), of(b));
    }
}

/// Members of an object that say something: Go leaves out what is empty as it does what is missing.
fn members(object: &Value) -> Map<String, Value> {
    let says_something = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    };
    let all = object.as_object().into_iter().flatten();
    all.filter(|(_, value)| says_something(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn names<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    a.keys().chain(b.keys()).map(String::as_str).collect()
}

fn member(object: &Map<String, Value>, name: &str) -> Value {
    object.get(name).cloned().unwrap_or_default()
}

fn each(fields: &mut Vec<Field>, kind: Kind, path: &str, a: &Value, b: &Value) {
    let empty = Map::new();
    let (a, b) = (a.as_object().unwrap_or(&empty), b.as_object().unwrap_or(&empty));
    for name in names(a, b) {
        value(fields, Level::Config, kind, format!("{path}.{name}"), member(a, name), member(b, name));
    }
}

fn push(fields: &mut Vec<Field>, kind: Kind, name: &str, a: &Map<String, Value>, b: &Map<String, Value>) {
    value(fields, Level::Config, kind, name.to_owned(), member(a, name), member(b, name));
}

fn value(fields: &mut Vec<Field>, level: Level, kind: Kind, name: String, a: Value, b: Value) {
    if a != b {
        fields.push(Field { level, kind, name, a, b });
    }
}
