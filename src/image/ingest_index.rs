//! All images of an index taken in, and the index with them: all of them or none.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{ChoiceError, is_image};
use super::index::index;
use super::ingest::{BlobSource, IngestError, Ingested, document, record, take};
use crate::digest::BlobDigest;
use crate::oci::{Descriptor, DescriptorPlatform, Document};
use crate::platform::Platform;
use crate::store::{IndexRecord, IndexedImage, Store};
use crate::sys::file::Durability;

/// Takes in all images that an index has, or several manifests as one; a manifest alone is an image without an index. Gives
/// the first image. Of two for the same platform the first counts, as where one is chosen.
pub fn ingest_index(
    store: &Store,
    source: &dyn BlobSource,
    tops: &[Descriptor],
) -> Result<(Ingested, Option<IndexRecord>), IngestError> {
    let (digest, entries) = match tops {
        [top] => match document(store, source, top)? {
            Document::Index(index) => (top.digest, index.manifests),
            Document::Manifest(manifest) => {
                let image = take(store, source, top, &manifest)?;
                record(store, &image)?;
                return Ok((image, None));
            }
        },
        several => together(store, several)?,
    };
    let images = take_all(store, source, digest, &entries)?;
    images.iter().try_for_each(|(_, image)| record(store, image))?;
    let one = |(platform, image): &(Platform, Ingested)| IndexedImage {
        platform: platform.clone(),
        manifest: image.digest,
        image: image.id,
    };
    let index = IndexRecord { digest, images: images.iter().map(one).collect() };
    let Some((_, first)) = images.into_iter().next() else {
        return Err(IngestError::Choice { digest, source: ChoiceError::Empty });
    };
    store.put_index(&index)?;
    Ok((first, Some(index)))
}

/// The index of manifests that an archive has side by side. What it calls each of them is no part of it.
fn together(store: &Store, several: &[Descriptor]) -> Result<(BlobDigest, Vec<Descriptor>), IngestError> {
    let bare = |top: &Descriptor| Descriptor { annotations: BTreeMap::new(), ..top.clone() };
    let entries: Vec<Descriptor> = several.iter().map(bare).collect();
    let bytes = index(entries.clone(), &BTreeMap::new()).to_bytes();
    Ok((store.put_blob(&bytes, Durability::Synced)?, entries))
}

fn take_all(
    store: &Store,
    source: &dyn BlobSource,
    index: BlobDigest,
    entries: &[Descriptor],
) -> Result<Vec<(Platform, Ingested)>, IngestError> {
    let mut images: Vec<(Platform, Ingested)> = Vec::new();
    // However often an index names an image, its layers are read once.
    let mut seen = BTreeSet::new();
    for entry in entries.iter().filter(|entry| is_image(entry) && seen.insert(entry.digest)) {
        let Document::Manifest(manifest) = document(store, source, entry)? else {
            return Err(IngestError::Nested { outer: index, inner: entry.digest });
        };
        let image = take(store, source, entry, &manifest)?;
        let claimed = entry.platform.as_ref().and_then(DescriptorPlatform::normal);
        let platform = claimed.or_else(|| image.config.platform());
        images.extend(
            platform
                .filter(|platform| images.iter().all(|(known, _)| known != platform))
                .map(|platform| (platform, image)),
        );
    }
    Ok(images)
}
