//! Two images, trees or layers compared, from the index down to the bytes of files, and why they differ
//! (spec/diff.md).
//!
//! Owns: what counts as a difference, and the report. Equal digests are never read; of what differs, tables of contents
//! are compared first, and only files whose digests differ are read.

mod align;
mod bodies;
mod cause;
pub mod content;
mod directory;
mod entries;
mod fields;
pub mod html;
mod images;
mod items;
mod kind;
mod options;
mod origin;
pub mod report;
mod rows;
mod stack;
pub mod text;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use serde_json::json;

pub use kind::{KINDS, Kind, KindError};
pub use options::{MAX_CONTENTS, Only, Options};
pub use report::{REPORT_VERSION, Report};
pub use stack::{Bytes, Layer};

use crate::digest::{BlobDigest, DiffId};
use crate::image::files::FilesError;
use crate::image::{BlobSource, CopyError};
use crate::layer::ReadError;
use crate::oci::{ConfigError, Descriptor};
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::store::{Store, StoreError};
use content::{World, Worlds};
use images::{Image, Top};
use options::Sieve;
use origin::Origin;
use report::{Field, ImageFacts, Images, Level, PlaceKind, Side};
use trees::{Trees, View};

/// One of two things to compare.
pub struct Subject<'a> {
    /// As it was asked for.
    pub name: String,
    pub place: PlaceKind,
    pub body: Body<'a>,
    /// Where it was made, as far as that is known of it; of an image its record may say more.
    pub world: World,
}

/// What it is.
#[expect(clippy::large_enum_variant, reason = "a comparison has two")]
pub enum Body<'a> {
    /// What a place knows an image by.
    Image { source: &'a dyn BlobSource, top: Descriptor },
    /// Files without documents.
    Tree(Vec<Layer<'a>>),
}

/// Why two things cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error(transparent)]
    Documents(#[from] CopyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("index {0} is nested deeper than 8 levels")]
    TooDeep(BlobDigest),
    #[error("manifest {0} is no image, so there is nothing in it to compare")]
    NotAnImage(BlobDigest),
    #[error("config {digest} of {size} bytes is larger than any that is read")]
    TooLarge { digest: BlobDigest, size: u64 },
    #[error("config {digest}: {source}")]
    Config { digest: BlobDigest, source: ConfigError },
    #[error("manifest {manifest} has {layers} layers, but its config has {diff_ids} diff ids")]
    LayerCount { manifest: BlobDigest, layers: usize, diff_ids: usize },
    #[error("read layer {digest}: {source}")]
    Read { digest: BlobDigest, source: io::Error },
    #[error("layer {digest}: {source}")]
    Layer { digest: BlobDigest, source: ReadError },
    #[error("layer {digest} unpacks to {actual}; the config says {expected}")]
    DiffId { digest: BlobDigest, expected: DiffId, actual: DiffId },
    #[error("make a temporary file: {0}; TMPDIR says where")]
    Scratch(io::Error),
    #[error("read {}: {source}", .path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("compare {path}: {source}")]
    Content { path: ImagePath, source: io::Error },
}

/// Compares two things. `records` says how images were built, where it knows.
///
/// # Errors
/// What cannot be read, with its digest or path.
pub fn compare(
    a: &Subject<'_>,
    b: &Subject<'_>,
    records: Option<&Store>,
    options: &Options,
) -> Result<Report, DiffError> {
    let mut comparison = Comparison::new([side(a), side(b)], records, options);
    comparison.worlds = Worlds { a: a.world.clone(), b: b.world.clone() };
    match (&a.body, &b.body) {
        (Body::Image { source: one, top: top_a }, Body::Image { source: other, top: top_b }) => {
            comparison.places([(*one, top_a), (*other, top_b)])?;
        }
        (one, other) => {
            let (one, other) = (one.tree(options)?, other.tree(options)?);
            comparison.worlds = comparison.worlds.of_builds(&[one.origin(records), other.origin(records)]);
            comparison.trees(one.layers(), other.layers())?;
        }
    }
    Ok(comparison.finish())
}

/// Compares two layers of a store by themselves, whiteouts and all: those of one step done twice, for one, in worlds that
/// may be others.
///
/// # Errors
/// As [`compare`].
pub fn compare_layers(
    store: &Store,
    [a, b]: [DiffId; 2],
    worlds: &Worlds,
    options: &Options,
) -> Result<Report, DiffError> {
    let named = |diff: DiffId| Side {
        name: diff.to_string(),
        place: PlaceKind::Layer,
        digest: Some(diff.to_string()),
    };
    let mut comparison = Comparison::new([named(a), named(b)], None, options);
    if a != b {
        let one = [Layer::stored(store, a, 1)];
        let other = [Layer::stored(store, b, 1)];
        let trees = trees::compare(&one, &other, View::Layers, worlds, &mut comparison.sieve)?;
        comparison.add(None, [tree_facts(&one), tree_facts(&other)], Vec::new(), trees);
    }
    Ok(comparison.finish())
}

fn side(subject: &Subject<'_>) -> Side {
    let digest = match &subject.body {
        Body::Image { top, .. } => Some(top.digest.to_string()),
        Body::Tree(_) => None,
    };
    Side { name: subject.name.clone(), place: subject.place, digest }
}

/// The layers of one side, whoever holds them.
enum Held<'a, 'b> {
    Image(Box<Image<'a>>),
    Tree(&'b [Layer<'a>]),
}

impl<'a> Held<'a, '_> {
    fn layers(&self) -> &[Layer<'a>] {
        match self {
            Self::Image(image) => &image.layers,
            Self::Tree(layers) => layers,
        }
    }

    fn origin(&self, records: Option<&Store>) -> Option<Origin> {
        match self {
            Self::Image(image) => origin::of(records, image),
            Self::Tree(_) => None,
        }
    }
}

impl<'a> Body<'a> {
    /// The one tree of it: of an index that of the platform asked for, else of this machine's.
    fn tree(&self, options: &Options) -> Result<Held<'a, '_>, DiffError> {
        match self {
            Self::Tree(layers) => Ok(Held::Tree(layers)),
            Self::Image { source, top } => {
                let platform = options.platform.clone().unwrap_or_else(Platform::host);
                let entry = crate::image::gather::descend(*source, top, &platform)?;
                Ok(Held::Image(Box::new(Image::read(*source, &entry)?)))
            }
        }
    }
}

fn tree_facts(layers: &[Layer<'_>]) -> Option<ImageFacts> {
    Some(ImageFacts { manifest: None, config: None, layers: layers.len(), size: None })
}

/// A report that grows.
struct Comparison<'a> {
    report: Report,
    sieve: Sieve<'a>,
    records: Option<&'a Store>,
    worlds: Worlds,
}

/// Where an image is read from, and what it is known by there.
type Place<'a> = (&'a dyn BlobSource, &'a Descriptor);

impl Worlds {
    /// These, and what the builds of both sides say of theirs.
    fn of_builds(&self, origins: &[Option<Origin>; 2]) -> Self {
        let with = |world: &World, origin: &Option<Origin>| World {
            hostname: origin.as_ref().and_then(|origin| origin.host_name.clone()).or(world.hostname.clone()),
            ..world.clone()
        };
        Self { a: with(&self.a, &origins[0]), b: with(&self.b, &origins[1]) }
    }
}

impl<'a> Comparison<'a> {
    fn new([a, b]: [Side; 2], records: Option<&'a Store>, options: &'a Options) -> Self {
        let report = Report {
            version: REPORT_VERSION,
            a,
            b,
            differs: false,
            cause: None,
            index: Vec::new(),
            images: Vec::new(),
            ignored: BTreeMap::new(),
            warnings: Vec::new(),
        };
        Self { report, sieve: Sieve::new(options), records, worlds: Worlds::default() }
    }

    fn finish(mut self) -> Report {
        self.report.ignored = self.sieve.ignored;
        self.report
    }

    fn trees(&mut self, a: &[Layer<'_>], b: &[Layer<'_>]) -> Result<(), DiffError> {
        let trees = trees::compare(a, b, View::Merged, &self.worlds, &mut self.sieve)?;
        self.add(None, [tree_facts(a), tree_facts(b)], Vec::new(), trees);
        Ok(())
    }

    fn add(
        &mut self,
        platform: Option<String>,
        [a, b]: [Option<ImageFacts>; 2],
        fields: Vec<Field>,
        trees: Trees,
    ) {
        let Trees { layers, entries, unread, rows_differ } = trees;
        let one_alone = a.is_none() || b.is_none();
        self.report.differs |= one_alone || rows_differ || !fields.is_empty() || !entries.is_empty();
        self.report.images.push(Images { platform, a, b, fields, layers, entries, unread });
    }

    /// Whether documents are compared at all.
    fn has_documents(&self) -> bool {
        self.sieve.options().only.is_none()
    }

    fn places(&mut self, [(one, top_a), (other, top_b)]: [Place<'_>; 2]) -> Result<(), DiffError> {
        if top_a.digest == top_b.digest {
            return Ok(());
        }
        let platform = self.sieve.options().platform.as_ref();
        let (mut a, mut b) = (images::top(one, top_a, platform)?, images::top(other, top_b, platform)?);
        match (&a.index, &b.index) {
            (Some(_), None) => choose(&mut a, other, &b)?,
            (None, Some(_)) => choose(&mut b, one, &a)?,
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.index(&a, &b);
        for (name, left, right) in paired(&a.images, &b.images) {
            match (left, right) {
                (Some(left), Some(right)) if left.digest == right.digest => {}
                (Some(left), Some(right)) => {
                    let (left, right) = (Image::read(one, left)?, Image::read(other, right)?);
                    let named = a.index.is_some() || b.index.is_some();
                    self.images(named.then_some(name), &left, &right)?;
                }
                (left, right) => {
                    let left = left.map(|entry| Image::read(one, entry)).transpose()?;
                    let right = right.map(|entry| Image::read(other, entry)).transpose()?;
                    let facts = [left.map(|image| image.facts()), right.map(|image| image.facts())];
                    self.add(Some(name), facts, Vec::new(), Trees::default());
                }
            }
        }
        self.told_otherwise(Level::Index, [&top_a.digest, &top_b.digest]);
        Ok(())
    }

    fn index(&mut self, a: &Top, b: &Top) {
        if !self.has_documents() {
            return;
        }
        let shown = |top: &Top| match &top.index {
            None => "a manifest".to_owned(),
            Some(index) => format!("an index of {}", index.manifests.len()),
        };
        let mut found = match (&a.index, &b.index) {
            (None, None) => return,
            (Some(one), Some(other)) => fields::index(one, other),
            (_, _) => {
                let (level, kind) = (Level::Index, Kind::Form);
                vec![Field { level, kind, name: "document".into(), a: json!(shown(a)), b: json!(shown(b)) }]
            }
        };
        if a.index.is_some() && b.index.is_some() {
            for (name, left, right) in paired(&a.images, &b.images) {
                if let (Some(left), Some(right)) = (left, right) {
                    found.extend(fields::index_entry(&name, left, right));
                }
            }
            let order = |top: &Top| top.images.iter().map(images::name).collect::<Vec<_>>();
            let (one, other) = (order(a), order(b));
            let is_permuted = one != other && BTreeSet::from_iter(&one) == BTreeSet::from_iter(&other);
            if is_permuted {
                let (level, kind) = (Level::Index, Kind::Form);
                found.push(Field { level, kind, name: "order".into(), a: json!(one), b: json!(other) });
            }
        }
        let said = |top: &Top| json!(top.attestations.iter().map(|entry| entry.digest).collect::<Vec<_>>());
        if said(a) != said(b) {
            let (level, kind) = (Level::Index, Kind::Attestations);
            let name = "attestations".to_owned();
            found.push(Field { level, kind, name, a: said(a), b: said(b) });
        }
        found.retain(|field| self.sieve.keeps_field(field));
        self.report.differs |= !found.is_empty();
        self.report.index = found;
    }

    fn images(&mut self, name: Option<String>, a: &Image<'_>, b: &Image<'_>) -> Result<(), DiffError> {
        let ignored_before = self.sieve.ignored.clone();
        let origins = [origin::of(self.records, a), origin::of(self.records, b)];
        let worlds = self.worlds.of_builds(&origins);
        let trees = trees::compare(&a.layers, &b.layers, View::Images, &worlds, &mut self.sieve)?;
        let mut found = Vec::new();
        if self.has_documents() {
            let layers = trees.layers.iter().filter(|row| row.a.len() == 1 && row.b.len() == 1);
            let pairs: Vec<_> = layers.map(|row| (row.a[0].number - 1, row.b[0].number - 1)).collect();
            found = fields::manifest(&a.manifest, &b.manifest, &pairs);
            if a.id != b.id {
                found.extend(fields::config(&a.config, &b.config));
                found.extend(fields::history(&a.config, &b.config));
            }
            found.retain(|field| self.sieve.keeps_field(field));
            let layers_differ = trees.layers.iter().any(|row| row.change != report::LayerChange::Same);
            let said = !found.is_empty() || layers_differ || self.sieve.ignored != ignored_before;
            if !said && self.sieve.keeps(Kind::Form) {
                found.push(written([&a.entry.digest, &b.entry.digest], Level::Manifest));
            }
        }
        self.add(name, [Some(a.facts()), Some(b.facts())], found, trees);
        if self.report.cause.is_none() {
            let images = self.report.images.last().expect("just added");
            if let [Some(one), Some(other)] = &origins {
                let cause = cause::cause([one, other], images, self.records, &worlds, self.sieve.options());
                self.report.cause = cause;
            }
        }
        Ok(())
    }

    /// Digests that differ though nothing was found that does: the same, in other bytes.
    fn told_otherwise(&mut self, level: Level, digests: [&BlobDigest; 2]) {
        let said = self.report.differs || !self.sieve.ignored.is_empty();
        if !said && self.has_documents() && self.sieve.keeps(Kind::Form) {
            self.report.index.push(written(digests, level));
            self.report.differs = true;
        }
    }
}

fn written([a, b]: [&BlobDigest; 2], level: Level) -> Field {
    Field { level, kind: Kind::Form, name: "bytes".into(), a: json!(a), b: json!(b) }
}

/// Of an index only the image that a single one can be compared with: that of its platform.
fn choose(index: &mut Top, other: &dyn BlobSource, single: &Top) -> Result<(), DiffError> {
    let platform = Image::read(other, &single.images[0])?.platform;
    let fits = |entry: &&Descriptor| {
        let own = entry.platform.as_ref().and_then(|own| own.normal());
        own.is_none() || platform.is_none() || own == platform
    };
    let chosen = index.images.iter().find(fits).cloned();
    index.images = chosen.into_iter().collect();
    Ok(())
}

/// An image of each side, by what it is for.
type Paired<'a> = (String, Option<&'a Descriptor>, Option<&'a Descriptor>);

fn paired<'a>(a: &'a [Descriptor], b: &'a [Descriptor]) -> Vec<Paired<'a>> {
    if let ([one], [other]) = (a, b) {
        let name = if one.platform.is_some() { images::name(one) } else { images::name(other) };
        return vec![(name, Some(one), Some(other))];
    }
    let keyed = |side: &'a [Descriptor]| {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        let mut keys = Vec::new();
        for entry in side {
            let name = images::name(entry);
            let number = count.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
            keys.push((if *number > 1 { format!("{name} #{number}") } else { name }, entry));
        }
        keys
    };
    let (one, other) = (keyed(a), keyed(b));
    let find = |side: &[(String, &'a Descriptor)], name: &str| {
        side.iter().find(|(own, _)| own == name).map(|(_, entry)| *entry)
    };
    let names: BTreeSet<&String> = one.iter().chain(&other).map(|(name, _)| name).collect();
    names.into_iter().map(|name| (name.clone(), find(&one, name), find(&other, name))).collect()
}
