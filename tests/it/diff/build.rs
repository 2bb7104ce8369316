//! Small images, made in memory from a few lines.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use lith::diff::content::World;
use lith::diff::report::{LayerFacts, PlaceKind};
use lith::diff::{Body, Bytes, Layer, Options, Report, Subject, compare};
use lith::digest::{BlobDigest, DiffId};
use lith::image::BlobSource;
use lith::layer::compress::{Codec, Compressor};
use lith::layer::read::{Limits, Purpose, index_for};
use lith::oci::{Descriptor, MediaType};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// The bytes of a tar of lines such as `file etc/x hello mode=0600 mtime=5 x:user.a=b`, in their order. A text has `_` for
/// spaces and `\n` for ends of lines.
pub fn layer(lines: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        entry(&mut tar, line);
    }
    tar.into_inner().unwrap()
}

fn entry(tar: &mut Builder<Vec<u8>>, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (kind, path) = (words[0], words[1]);
    let takes_more = matches!(kind, "file" | "link" | "hard" | "char" | "block");
    let (more, options) = if takes_more { (words[2], &words[3..]) } else { ("", &words[2..]) };
    let mut header = Header::new_ustar();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(if matches!(kind, "dir") { 0o755 } else { 0o644 });
    let mut body = Vec::new();
    let mut name = path.to_owned();
    match kind {
        "dir" => header.set_entry_type(EntryType::Directory),
        "file" => body = text(more),
        "link" => header.set_entry_type(EntryType::Symlink),
        "hard" => header.set_entry_type(EntryType::Link),
        "fifo" => header.set_entry_type(EntryType::Fifo),
        "char" | "block" => {
            let is_char = kind == "char";
            header.set_entry_type(if is_char { EntryType::Char } else { EntryType::Block });
            let (major, minor) = more.split_once(':').unwrap();
            header.set_device_major(major.parse().unwrap()).unwrap();
            header.set_device_minor(minor.parse().unwrap()).unwrap();
        }
        "gone" => {
            let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
            name = format!("{dir}/.wh.{last}").trim_start_matches('/').to_owned();
        }
        "opaque" => name = format!("{path}/.wh..wh..opq"),
        other => panic!("{other}: {line}"),
    }
    if matches!(kind, "link" | "hard") {
        header.set_link_name(more).unwrap();
    }
    let mut xattrs = Vec::new();
    for option in options {
        let (key, value) = option.split_once('=').unwrap();
        match key {
            "mode" => header.set_mode(u32::from_str_radix(value, 8).unwrap()),
            "uid" => header.set_uid(value.parse().unwrap()),
            "gid" => header.set_gid(value.parse().unwrap()),
            "mtime" => header.set_mtime(value.parse().unwrap()),
            key => xattrs.push((format!("SCHILY.xattr.{}", key.strip_prefix("x:").unwrap()), value)),
        }
    }
    if !xattrs.is_empty() {
        let records = xattrs.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
        tar.append_pax_extensions(records).unwrap();
    }
    header.set_size(body.len() as u64);
    header.set_path(&name).unwrap();
    header.set_cksum();
    tar.append(&header, Cursor::new(body)).unwrap();
}

fn text(word: &str) -> Vec<u8> {
    word.replace('_', " ").replace("\\n", "\n").into_bytes()
}

/// Whose media types an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Oci,
    Docker,
}

/// An image to be.
#[derive(Debug, Clone)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    /// None of a layer that is not packed.
    pub packing: Vec<Option<Codec>>,
    pub form: Form,
    pub config: Value,
    pub annotations: BTreeMap<String, String>,
}

impl Image {
    /// One of layers, each of lines.
    pub fn of(layers: &[&str]) -> Self {
        Self::of_bytes(layers.iter().map(|lines| layer(lines)).collect())
    }

    pub fn of_bytes(layers: Vec<Vec<u8>>) -> Self {
        let history: Vec<Value> = (1..=layers.len())
            .map(|at| json!({"created": "1970-01-01T00:00:00Z", "created_by": format!("step {at}")}))
            .collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}, "history": history,
        });
        let packing = vec![None; layers.len()];
        Self { layers, packing, form: Form::Oci, config, annotations: BTreeMap::new() }
    }

    pub fn packed(mut self, codec: Codec) -> Self {
        self.packing = vec![Some(codec); self.layers.len()];
        self
    }

    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Sets a value of the config by its JSON pointer; null removes it.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match self.config.pointer_mut(parent).unwrap() {
            Value::Object(object) if value.is_null() => drop(object.remove(name)),
            Value::Object(object) => drop(object.insert(name.to_owned(), value)),
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            other => panic!("{pointer}: {other}"),
        }
        self
    }

    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// Blobs in memory.
#[derive(Debug, Default)]
pub struct Memory {
    pub blobs: BTreeMap<BlobDigest, Vec<u8>>,
}

impl Memory {
    pub fn put(&mut self, bytes: Vec<u8>) -> BlobDigest {
        let digest = BlobDigest::of(&bytes);
        self.blobs.insert(digest, bytes);
        digest
    }

    /// Puts an image in; the descriptor of its manifest.
    pub fn image(&mut self, image: &Image) -> Descriptor {
        let docker = image.form == Form::Docker;
        let mut layers = Vec::new();
        for (tar, packing) in image.layers.iter().zip(&image.packing) {
            let (bytes, suffix) = match packing {
                None => (tar.clone(), ""),
                Some(codec) => {
                    let mut packer = Compressor::new(*codec, Vec::new()).unwrap();
                    io::Write::write_all(&mut packer, tar).unwrap();
                    let suffix = match (codec, docker) {
                        (Codec::Gzip, true) => ".gzip",
                        (Codec::Gzip, false) => "+gzip",
                        (_, _) => "+zstd",
                    };
                    (packer.finish().unwrap(), suffix)
                }
            };
            let media_type = match docker {
                true => format!("application/vnd.docker.image.rootfs.diff.tar{suffix}"),
                false => format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            };
            let size = bytes.len();
            layers.push(json!({"mediaType": media_type, "digest": self.put(bytes), "size": size}));
        }
        let diff_ids: Vec<DiffId> = image.layers.iter().map(|tar| BlobDigest::of(tar)).map(diff_of).collect();
        let mut config = image.config.clone();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = serde_json::to_vec(&config).unwrap();
        let (config_type, manifest_type) = match docker {
            true => (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.distribution.manifest.v2+json",
            ),
            false => {
                ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.manifest.v1+json")
            }
        };
        let size = config.len();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": {"mediaType": config_type, "digest": self.put(config), "size": size},
            "layers": layers,
        });
        if !image.annotations.is_empty() {
            manifest["annotations"] = json!(image.annotations);
        }
        self.document(&manifest)
    }

    /// Puts an index of images in.
    pub fn index(&mut self, images: &[(&str, &Image)], more: &Value) -> Descriptor {
        let mut entries: Vec<Value> = Vec::new();
        for (platform, image) in images {
            let mut entry = serde_json::to_value(self.image(image)).unwrap();
            let (os, architecture) = platform.split_once('/').unwrap();
            entry["platform"] = json!({"os": os, "architecture": architecture});
            entries.push(entry);
        }
        let mut index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            index[key] = value.clone();
        }
        self.document(&index)
    }

    pub fn document(&mut self, document: &Value) -> Descriptor {
        let bytes = serde_json::to_vec(document).unwrap();
        let media_type = MediaType::from(document["mediaType"].as_str().unwrap());
        let descriptor = Descriptor::of(media_type, &bytes);
        self.put(bytes);
        descriptor
    }
}

pub fn diff_of(digest: BlobDigest) -> DiffId {
    digest.to_string().parse().unwrap()
}

impl BlobSource for Memory {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.blobs.get(&blob.digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(&bytes[..])))
    }
}

/// One side of a pair.
#[derive(Debug, Clone)]
pub enum Given {
    Image(Image),
    /// Images of platforms, and further members of the index.
    Index(Vec<(&'static str, Image)>, Value),
    /// Files without documents.
    Tree(String),
}

impl From<Image> for Given {
    fn from(image: Image) -> Self {
        Self::Image(image)
    }
}

/// Compares two sides.
pub fn compared(a: &Given, b: &Given, options: &Options) -> Report {
    let (mut one, mut other) = (Memory::default(), Memory::default());
    let (left, right) = (placed(a, &mut one), placed(b, &mut other));
    let (left, right) = (subject("A", left, &one), subject("B", right, &other));
    compare(&left, &right, None, options).unwrap()
}

enum Placed {
    Top(Box<Descriptor>),
    Tree(Vec<u8>),
}

fn placed(given: &Given, memory: &mut Memory) -> Placed {
    match given {
        Given::Image(image) => Placed::Top(Box::new(memory.image(image))),
        Given::Index(images, more) => {
            let images: Vec<(&str, &Image)> = images.iter().map(|(name, image)| (*name, image)).collect();
            Placed::Top(Box::new(memory.index(&images, more)))
        }
        Given::Tree(lines) => Placed::Tree(layer(lines)),
    }
}

fn subject<'a>(name: &str, placed: Placed, memory: &'a Memory) -> Subject<'a> {
    let (place, body) = match placed {
        Placed::Top(top) => (PlaceKind::Layout, Body::Image { source: memory, top: *top }),
        Placed::Tree(tar) => (PlaceKind::Tar, Body::Tree(vec![tree(&tar)])),
    };
    Subject { name: name.to_owned(), place, body, world: World::default() }
}

fn tree<'a>(tar: &[u8]) -> Layer<'a> {
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, tar, 0).unwrap();
    let toc = index_for(tar, &Limits::default(), Purpose::Archive).unwrap().toc;
    let facts =
        LayerFacts { number: 1, diff_id: None, digest: None, size: None, media_type: None, created_by: None };
    Layer::new(facts, None, Bytes::Tar(Arc::new(file), Arc::new(toc)))
}
