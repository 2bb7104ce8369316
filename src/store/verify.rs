//! Whether everything is what it was made as: every blob hashed again, every table read from its tar again, every
//! record, note and unpacked layer held against what it should be.
//!
//! Looks only; what can be mended `repair` mends.

mod chains;
mod finding;
mod memos;
mod unpacked;

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::gc::Reach;
use super::{ImageRecord, RefRecord, Store, StoreError};
use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::layer::read::{Limits, index};
use crate::oci::ImageConfig;

pub use finding::Finding;

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Extent<'a> {
    /// Everything.
    Store,
    /// What these images need.
    Images(&'a [ImageRecord]),
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many blobs were hashed.
    pub blobs: usize,
    /// How many unpacked layers were held against their tables.
    pub unpacked: usize,
    /// In the order in which they can be mended.
    pub findings: Vec<Finding>,
}

/// The largest config that is read.
const DOCUMENT: u64 = 4 << 20;

/// The objects to look at.
struct Objects {
    blobs: Vec<BlobDigest>,
    /// Layers: those with a table, and those that an image needs.
    diffs: BTreeSet<DiffId>,
    /// Images and the names they have, with their manifests.
    images: Vec<(String, ImageId, BlobDigest)>,
    /// Indexes by the names they have.
    indexes: Vec<(String, BlobDigest)>,
    /// The layers of all images, bottom first.
    stacks: BTreeSet<Vec<DiffId>>,
}

impl Store {
    /// Looks at everything, in parallel. Damage is reported, not mended. A table is what its tar says, whatever the
    /// file says: a forged one is found, and hides nothing else.
    ///
    /// # Errors
    /// Of reading the store's own directories, and [`StoreError::Mapping`] where unpacked layers were made by others.
    pub fn verify(&self, extent: Extent<'_>) -> Result<Report, StoreError> {
        let objects = self.objects(extent)?;
        let mut findings: Vec<Finding> = objects
            .blobs
            .par_iter()
            .flat_map_iter(|digest| self.check_blob(digest, objects.diffs.contains(&(*digest).into())))
            .collect();
        findings.sort_by_key(Finding::rank);
        findings.extend(self.tables_without_tars(&objects));
        findings.extend(self.missing(&objects));
        if matches!(extent, Extent::Store) {
            findings.extend(
                self.damaged_records()?.into_iter().map(|(path, help)| Finding::Record { path, help }),
            );
            findings.extend(self.damaged_seals()?);
        }
        findings.extend(self.damaged_packings(&objects.diffs)?);
        findings.extend(self.damaged_chains(&objects, extent)?);
        let stacks = self.unpacked_stacks(&objects)?;
        findings.extend(self.changed_layers(&stacks)?);
        Ok(Report { blobs: objects.blobs.len(), unpacked: stacks.len(), findings })
    }

    fn objects(&self, extent: Extent<'_>) -> Result<Objects, StoreError> {
        let mut objects = Objects {
            blobs: Vec::new(),
            diffs: BTreeSet::new(),
            images: Vec::new(),
            indexes: Vec::new(),
            stacks: BTreeSet::new(),
        };
        let names = self.refs()?;
        let records = match extent {
            Extent::Store => self.images()?,
            Extent::Images(records) => records.to_vec(),
        };
        let wanted: BTreeSet<ImageId> = records.iter().map(|record| record.id).collect();
        let is_wanted = |image: &ImageId| matches!(extent, Extent::Store) || wanted.contains(image);
        for RefRecord { name, manifest, image, index } in names.into_iter().filter(|r| is_wanted(&r.image)) {
            let others = index.iter().filter_map(|index| self.index(index)).flat_map(|index| index.images);
            for one in others.filter(|one| one.image != image) {
                objects.images.push((format!("{name} for {}", one.platform), one.image, one.manifest));
            }
            objects.indexes.extend(index.map(|index| (name.clone(), index)));
            objects.images.push((name, image, manifest));
        }
        if matches!(extent, Extent::Store) {
            let unnamed = self.indexes()?.into_iter().map(|index| index.digest);
            let unnamed = unnamed.filter(|digest| !objects.indexes.iter().any(|(_, named)| named == digest));
            let unnamed: Vec<_> = unnamed.map(|digest| (format!("index {digest}"), digest)).collect();
            objects.indexes.extend(unnamed);
        }
        let whole = records.iter().filter_map(|record| Some((record.id, record.manifest?)));
        objects.images.extend(whole.map(|(id, manifest)| (format!("image {id}"), id, manifest)));
        let mut reach = Reach::default();
        for record in &records {
            self.reach_image(&mut reach, record.id, record.manifest);
        }
        for (_, image, manifest) in &objects.images {
            self.reach_image(&mut reach, *image, Some(*manifest));
        }
        for (_, index) in &objects.indexes {
            reach.blobs.insert(*index);
            self.reach_attestations(&mut reach, *index);
        }
        objects.stacks = reach.stacks;
        objects.diffs = reach.diffs;
        match extent {
            Extent::Store => {
                objects.diffs.extend(self.names_in("tocs", |hex| DiffId::from_hex(hex).ok())?);
                objects.blobs = self.names_in("blobs/sha256", |hex| BlobDigest::from_hex(hex).ok())?;
            }
            Extent::Images(_) => {
                let layers = objects.diffs.iter().map(|diff| BlobDigest::from(*diff));
                let all: BTreeSet<BlobDigest> = reach.blobs.iter().copied().chain(layers).collect();
                objects.blobs = all.into_iter().filter(|digest| self.has_blob(digest)).collect();
            }
        }
        Ok(objects)
    }

    /// The layers of an image, if its config can be read.
    fn stack(&self, image: ImageId) -> Option<Vec<DiffId>> {
        let bytes = self.read_blob(&image.into(), DOCUMENT).ok()?;
        Some(serde_json::from_slice::<ImageConfig>(&bytes).ok()?.rootfs.diff_ids)
    }

    /// Hashes a blob. A layer's tar is read for what it holds at the same time, and its table held against that.
    fn check_blob(&self, digest: &BlobDigest, is_layer: bool) -> Vec<Finding> {
        if is_layer && let Some(found) = self.check_layer((*digest).into()) {
            return found;
        }
        let rotten = |error: StoreError| Finding::Blob { digest: *digest, why: error.to_string() };
        self.verify_blob(digest).err().map(rotten).into_iter().collect()
    }

    /// `None` if the tar is not that of the layer, or not one that can be read.
    fn check_layer(&self, diff: DiffId) -> Option<Vec<Finding>> {
        let indexed = index(self.layer_tar(diff).ok()?, &Limits::default()).ok()?;
        if indexed.diff_id != diff {
            return None;
        }
        let toc = Arc::new(indexed.toc);
        let why = match self.toc_on_disk(diff) {
            Ok(found) if found == *toc => None,
            Ok(_) => Some("it is not what the layer's tar says".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        self.know_toc(diff, toc.clone());
        Some(why.map(|why| Finding::Table { diff, why, toc: Some(toc) }).into_iter().collect())
    }

    /// A table whose tar is gone or rotten can be held against its own checksum alone.
    fn tables_without_tars(&self, objects: &Objects) -> Vec<Finding> {
        let known = |diff: &DiffId| self.tocs.lock().expect("no panic while held").contains_key(diff);
        let damaged = |diff: &DiffId| {
            let why = self.toc_on_disk(*diff).err()?.to_string();
            Some(Finding::Table { diff: *diff, why, toc: None })
        };
        objects
            .diffs
            .iter()
            .filter(|diff| !known(diff) && self.toc_path(**diff).exists())
            .filter_map(damaged)
            .collect()
    }

    /// What a name or an image with a manifest needs and that is not here.
    fn missing(&self, objects: &Objects) -> Vec<Finding> {
        let mut missing = Vec::new();
        for (who, image, manifest) in &objects.images {
            let mut reach = Reach::default();
            self.reach_image(&mut reach, *image, Some(*manifest));
            reach.blobs.extend(reach.diffs.iter().map(|diff| BlobDigest::from(*diff)).collect::<Vec<_>>());
            let is_gone = |digest: &BlobDigest| !self.has_blob(digest) && self.promised(digest).is_none();
            let gone = reach.blobs.into_iter().filter(is_gone);
            missing.extend(gone.map(|digest| Finding::MissingBlob { digest, needed_by: who.clone() }));
            if self.image(image).is_none() {
                let record = ImageRecord { id: *image, manifest: Some(*manifest), parent: None };
                missing.push(Finding::MissingImage { record, needed_by: who.clone() });
            }
        }
        let gone = objects.indexes.iter().filter(|(_, digest)| !self.has_blob(digest));
        missing.extend(
            gone.map(|(who, digest)| Finding::MissingBlob { digest: *digest, needed_by: who.clone() }),
        );
        missing
    }

    fn names_in<T>(&self, dir: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
        let entries = crate::sys::dir::list_path(&self.root.join(dir))?;
        Ok(entries
            .iter()
            .filter_map(|entry| std::str::from_utf8(&entry.name).ok().and_then(&parse))
            .collect())
    }
}
