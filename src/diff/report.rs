//! What a comparison found: the one value that text, JSON and HTML are made of (spec/diff.md, "Report").
//!
//! Owns: the types and their names in JSON. Never compares anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Difference;
use super::kind::Kind;

/// The version of the format.
pub const REPORT_VERSION: u32 = 1;

/// All that is different between two images, two trees or two layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    pub a: Side,
    pub b: Side,
    /// Whether anything is left that was not to be ignored.
    pub differs: bool,
    /// Why, where both have a record of how they were built.
    pub cause: Option<Cause>,
    /// What the indexes say, where there are any.
    pub index: Vec<Field>,
    /// A pair of images for each platform; one pair for trees and for layers.
    pub images: Vec<Images>,
    /// How many differences were ignored, by kind.
    pub ignored: BTreeMap<Kind, u64>,
    pub warnings: Vec<String>,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// As it was asked for.
    pub name: String,
    pub place: PlaceKind,
    /// Of the manifest or index it is known by; of a layer its diff id.
    pub digest: Option<String>,
}

/// Where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    Store,
    Registry,
    Layout,
    LayoutArchive,
    DockerArchive,
    Directory,
    Tar,
    Container,
    Layer,
}

/// Why they differ, in one line and in parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// For a person.
    pub line: String,
    pub reason: Reason,
    /// The first step whose layer differs; none where the base alone does.
    pub step: Option<Step>,
    /// What moved: `(name, a, b)` of a file, a base, an argument.
    pub changed: Vec<Changed>,
}

/// What kind of cause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The same inputs gave other bytes.
    NotDeterministic,
    ContextFile,
    Base,
    Argument,
    Instruction,
    Epoch,
    Platform,
    /// Something else of the step's key.
    Input,
    /// What a step saw in what it stands on.
    Below,
    /// The steps are the same; only what is written about the image differs.
    Metadata,
}

/// One thing that a cause names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub name: String,
    pub a: Option<String>,
    pub b: Option<String>,
}

/// A step of a build file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `stage/number`, as progress shows it.
    pub name: String,
    /// The instruction on one line.
    pub text: String,
    pub file: Option<String>,
    pub line: usize,
}

/// Two images of one platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Images {
    pub platform: Option<String>,
    pub a: Option<ImageFacts>,
    pub b: Option<ImageFacts>,
    /// Manifest, config and history, field by field, in that order.
    pub fields: Vec<Field>,
    /// How the layers stand to each other, bottom first, those that are equal too.
    pub layers: Vec<LayerRow>,
    /// Paths that differ, sorted as layers are.
    pub entries: Vec<Entry>,
    /// Files whose contents differ and were not looked into, as there are too many.
    pub unread: u64,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    pub manifest: Option<String>,
    pub config: Option<String>,
    pub layers: usize,
    /// Bytes of the layers as they are stored, where that is known.
    pub size: Option<u64>,
}

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Index,
    Manifest,
    Config,
    History,
    Layer,
    Entry,
}

/// A value that is not the same on both sides. What a side does not have is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub level: Level,
    pub kind: Kind,
    /// A path such as `config.Env.PATH` or `history[3].created_by`; of an entry `mode`, `xattr user.x`.
    pub name: String,
    pub a: Value,
    pub b: Value,
}

/// How one or several layers of one side stand to those of the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    pub change: LayerChange,
    pub a: Vec<LayerFacts>,
    pub b: Vec<LayerFacts>,
    /// Paths that differ between them, in the layers alone.
    pub differences: u64,
}

/// What happened to a layer between A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerChange {
    Same,
    /// The same tar, packed otherwise.
    Recompressed,
    /// The same layer at another place among the others.
    Moved,
    /// The same entries in another tar: in another order.
    Reordered,
    /// The same entries in another tar: written otherwise.
    Rewritten,
    Changed,
    /// Only B has it.
    Inserted,
    /// Only A has it.
    Removed,
    /// Several layers of A are one of B.
    Merged,
    /// One layer of A is several of B.
    Split,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// From 1 at the bottom.
    pub number: usize,
    pub diff_id: Option<String>,
    /// Of the blob.
    pub digest: Option<String>,
    pub size: Option<u64>,
    pub media_type: Option<String>,
    /// What history says of it.
    pub created_by: Option<String>,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// With a leading slash; unprintable bytes escaped.
    pub path: String,
    pub change: EntryChange,
    pub a: Option<Node>,
    pub b: Option<Node>,
    /// Which of its header fields differ; none of an entry that only one side has.
    pub fields: Vec<Field>,
    /// How the bytes differ, of a regular file whose bytes do.
    pub content: Option<Difference>,
    /// The row of `layers` where it differs, of what a later layer hides: no program of the image sees that.
    pub hidden_in: Option<usize>,
}

/// What happened to a path between A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryChange {
    Added,
    Removed,
    Changed,
}

/// What a path is on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// Octal, four digits.
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Of a regular file.
    pub size: Option<u64>,
    /// blake3 of a regular file's bytes.
    pub content: Option<String>,
    /// Of a symlink its text, of a hard link the first name of the file, of a device `major:minor`.
    pub target: Option<String>,
    /// The number of the layer it comes from, from 1 at the bottom.
    pub layer: usize,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    Directory,
    File,
    Hardlink,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Whiteout,
    Opaque,
}

impl Report {
    /// The report as JSON, with a line's end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data serialises");
        text.push('\n');
        text
    }
}
