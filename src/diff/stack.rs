//! The layers of one side: what is known of each without reading it, and its table once it was read.
//!
//! Owns: which layers have to be read at all (spec/diff.md, "What is read").

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use super::DiffError;
use super::report::LayerFacts;
use crate::digest::{BlobDigest, DiffId};
use crate::image::BlobSource;
use crate::layer::compress::Decompressor;
use crate::layer::read::{Limits, index};
use crate::layer::{Node, Toc};
use crate::oci::Descriptor;
use crate::path::ImagePath;
use crate::store::Store;
use crate::sys::several;

/// How many layers are read at once.
const READERS: usize = 4;

/// Where a layer's bytes are.
pub enum Bytes<'a> {
    /// A layer of the store, which has its table.
    Stored(&'a Store, DiffId),
    /// A blob that is read as a stream, packed or not; what it is said to unpack to.
    Blob(&'a dyn BlobSource, Descriptor, DiffId),
    /// A tar that is not packed, with its table.
    Tar(Arc<File>, Arc<Toc>),
    /// Files as they lie below a directory, with their table.
    Directory(Arc<OwnedFd>, Arc<Toc>),
}

/// One layer of a side.
pub struct Layer<'a> {
    pub facts: LayerFacts,
    /// None of what is no layer of an image.
    pub diff_id: Option<DiffId>,
    pub bytes: Bytes<'a>,
    table: OnceLock<Arc<Toc>>,
}

impl<'a> Layer<'a> {
    pub fn new(facts: LayerFacts, diff_id: Option<DiffId>, bytes: Bytes<'a>) -> Self {
        Self { facts, diff_id, bytes, table: OnceLock::new() }
    }

    /// A layer of the store by itself.
    pub fn stored(store: &'a Store, diff: DiffId, number: usize) -> Self {
        let facts = LayerFacts {
            number,
            diff_id: Some(diff.to_string()),
            digest: None,
            size: store.layer_size(diff).ok(),
            media_type: None,
            created_by: None,
        };
        Self::new(facts, Some(diff), Bytes::Stored(store, diff))
    }

    /// What it holds.
    ///
    /// # Panics
    /// If [`read`] was not asked for it: a bug of the caller.
    pub fn toc(&self) -> &Arc<Toc> {
        self.table.get().expect("the layer was read")
    }

    /// What it holds, if it was read.
    pub fn known(&self) -> Option<&Arc<Toc>> {
        self.table.get()
    }

    fn load(&self) -> Result<Arc<Toc>, DiffError> {
        match &self.bytes {
            Bytes::Stored(store, diff) => Ok(store.toc(*diff)?),
            Bytes::Tar(_, toc) | Bytes::Directory(_, toc) => Ok(toc.clone()),
            Bytes::Blob(source, blob, diff) => stream(*source, blob, *diff).map(Arc::new),
        }
    }
}

/// Reads a blob once, and checks that it is what it is said to be.
fn stream(source: &dyn BlobSource, blob: &Descriptor, diff: DiffId) -> Result<Toc, DiffError> {
    let digest = blob.digest;
    let plain = unpacked(source, blob).map_err(|source| DiffError::Read { digest, source })?;
    let indexed = index(plain, &Limits::default()).map_err(|source| DiffError::Layer { digest, source })?;
    if indexed.diff_id != diff {
        return Err(DiffError::DiffId { digest, expected: diff, actual: indexed.diff_id });
    }
    Ok(indexed.toc)
}

/// The bytes of a layer's tar.
pub(super) fn unpacked<'a>(
    source: &'a dyn BlobSource,
    blob: &Descriptor,
) -> io::Result<impl Read + Send + 'a> {
    Decompressor::new(source.open(blob)?, Limits::default().unpacking())
}

/// Reads the tables of layers of both sides, each layer once, several at a time.
pub(super) fn read(sides: [&[Layer<'_>]; 2]) -> Result<(), DiffError> {
    let unread: Vec<&Layer<'_>> =
        sides.into_iter().flatten().filter(|layer| layer.table.get().is_none()).collect();
    let mut groups: BTreeMap<(Option<DiffId>, usize), Vec<&Layer<'_>>> = BTreeMap::new();
    for (at, layer) in unread.into_iter().enumerate() {
        // What is no layer of an image is like no other.
        let own = if layer.diff_id.is_some() { 0 } else { at + 1 };
        groups.entry((layer.diff_id, own)).or_default().push(layer);
    }
    let groups: Vec<Vec<&Layer<'_>>> = groups.into_values().collect();
    several::each(READERS, &groups, |group| {
        let nearest = group.iter().min_by_key(|layer| matches!(layer.bytes, Bytes::Blob(..)));
        let toc = nearest.expect("a group has a layer").load()?;
        group.iter().for_each(|layer| drop(layer.table.set(toc.clone())));
        Ok(())
    })
    .map(drop)
}

/// How many layers at the bottom are the same on both sides.
pub(super) fn common_bottom(a: &[Layer<'_>], b: &[Layer<'_>]) -> usize {
    let same =
        |(one, other): &(&Layer<'_>, &Layer<'_>)| one.diff_id.is_some() && one.diff_id == other.diff_id;
    a.iter().zip(b).take_while(same).count()
}

/// Whether two stacks of layers hide and touch the same paths of whatever they stand on, so that it need not be known to
/// say how they differ.
pub(super) fn cover_alike(a: &[Layer<'_>], b: &[Layer<'_>]) -> bool {
    Cover::of(a) == Cover::of(b)
}

/// What layers do to what is below them.
#[derive(Default, PartialEq)]
struct Cover<'a> {
    touched: BTreeSet<&'a ImagePath>,
    dirs: BTreeSet<&'a ImagePath>,
    /// What hides things below a directory.
    hiding: BTreeSet<&'a ImagePath>,
}

impl<'a> Cover<'a> {
    fn of(layers: &'a [Layer<'_>]) -> Self {
        let mut cover = Self::default();
        for entry in layers.iter().flat_map(|layer| layer.toc().entries()) {
            cover.touched.insert(&entry.path);
            match &entry.node {
                Node::Dir => cover.dirs.insert(&entry.path),
                Node::Whiteout
                | Node::Opaque
                | Node::File { .. }
                | Node::Hardlink(_)
                | Node::Symlink(_)
                | Node::Char { .. }
                | Node::Block { .. }
                | Node::Fifo => cover.hiding.insert(&entry.path),
            };
        }
        cover
    }
}

/// The digest of a layer's blob as the report has it.
pub(super) fn facts(
    number: usize,
    diff: DiffId,
    blob: &Descriptor,
    created_by: Option<String>,
) -> LayerFacts {
    LayerFacts {
        number,
        diff_id: Some(diff.to_string()),
        digest: Some(BlobDigest::to_string(&blob.digest)),
        size: Some(blob.size),
        media_type: Some(blob.media_type.as_str().to_owned()),
        created_by,
    }
}
