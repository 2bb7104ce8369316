//! What names point to after a build: the manifest of a target's image, or the index of its images for several platforms.

use super::{BuildError, Prepared};
use crate::digest::BlobDigest;
use crate::image::{Assembled, index};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::store::{IndexRecord, IndexedImage};
use crate::sys::file::Durability;

/// Points names to the images of the targets, or to the indexes of several, which are given back.
pub(super) fn name(
    prepared: &Prepared<'_>,
    made: &[Assembled],
) -> Result<Vec<Option<BlobDigest>>, BuildError> {
    let store = prepared.store;
    let mut indexes = Vec::new();
    for target in 0..prepared.targets() {
        let names = names_of(prepared, target).map(Reference::to_string);
        if prepared.options.is_for_several() {
            let record = store_index(prepared, target, made)?;
            names
                .into_iter()
                .try_for_each(|name| store.set_index_ref(&name, &record, index::of_host(&record)))?;
            indexes.push(Some(record.digest));
        } else {
            let image = &made[target];
            names.into_iter().try_for_each(|name| store.set_ref(&name, image.digest, image.id))?;
            indexes.push(None);
        }
    }
    Ok(indexes)
}

/// The index of a target's images, which are in the store.
fn store_index(
    prepared: &Prepared<'_>,
    target: usize,
    made: &[Assembled],
) -> Result<IndexRecord, BuildError> {
    let options = prepared.options;
    let images = made.iter().skip(target).step_by(prepared.targets());
    let images: Vec<(Platform, &Assembled)> = options
        .platforms
        .iter()
        .zip(images)
        .map(|(wanted, image)| {
            let own = index::platform_of(&image.config, wanted);
            (own.unwrap_or_else(|| wanted.clone()), image)
        })
        .collect();
    let entries = images.iter().map(|(platform, image)| index::entry(&image.manifest_bytes, platform));
    let index = index::index(entries.collect(), &options.index_annotations);
    let digest = prepared.store.put_blob(&index.to_bytes(), Durability::Synced)?;
    let indexed = |(platform, image): (Platform, &Assembled)| IndexedImage {
        platform,
        manifest: image.digest,
        image: image.id,
    };
    let record = IndexRecord { digest, images: images.into_iter().map(indexed).collect() };
    prepared.store.put_index(&record)?;
    Ok(record)
}

/// The names of a target, by its number among those that were asked for.
pub(super) fn names_of<'a>(prepared: &'a Prepared<'_>, target: usize) -> impl Iterator<Item = &'a Reference> {
    prepared.options.names.iter().filter(move |name| name.target == target).map(|name| &name.name)
}
