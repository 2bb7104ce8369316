//! Images by what a person calls them: a name, a digest, an id or the beginning of one.

use super::CliError;
use crate::digest::{BlobDigest, ImageId};
use crate::image::index::{indexed, of_host};
use crate::oci::{ImageConfig, Reference};
use crate::platform::Platform;
use crate::store::builds::{BuildRecord, Recorded, StepRecord};
use crate::store::{ImageRecord, IndexRecord, IndexedImage, RefRecord, Store, StoreError};

/// The largest config or manifest that is read.
pub const DOCUMENT: u64 = 4 << 20;

/// What a text means.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image; of one for several platforms that of this machine's, else the first.
    pub record: ImageRecord,
    pub index: Option<IndexRecord>,
}

impl Found {
    /// All of its images.
    pub fn images(&self, store: &Store) -> Vec<ImageRecord> {
        match &self.index {
            None => vec![self.record.clone()],
            Some(index) => index.images.iter().filter_map(|one| store.image(&one.image)).collect(),
        }
    }

    /// The names that point to it.
    pub fn names(&self, store: &Store) -> Result<Vec<RefRecord>, CliError> {
        let index = self.index.as_ref().map(|index| index.digest);
        let mut refs = store.refs()?;
        refs.retain(|named| match index {
            Some(_) => named.index == index,
            None => named.index.is_none() && named.image == self.record.id,
        });
        Ok(refs)
    }

    fn of_index(store: &Store, index: IndexRecord, text: &str) -> Result<Self, CliError> {
        let missing = || StoreError::MissingImage(text.to_owned());
        let record = store.image(&of_host(&index).image).ok_or_else(missing)?;
        Ok(Self { record, index: Some(index) })
    }
}

/// The image a text means.
pub fn image(store: &Store, text: &str) -> Result<ImageRecord, CliError> {
    Ok(found(store, text)?.record)
}

/// The image a text means for a platform; without one that of this machine, else the first.
pub fn image_for(store: &Store, text: &str, platform: Option<&Platform>) -> Result<ImageRecord, CliError> {
    let found = found(store, text)?;
    let Some(wanted) = platform else { return Ok(found.record) };
    let index = match found.index {
        Some(index) => index,
        None => {
            let Some(manifest) = found.record.manifest else { return Ok(found.record) };
            let Some(platform) = config(store, &found.record.id)?.platform() else { return Ok(found.record) };
            let alone = IndexedImage { platform, manifest, image: found.record.id };
            IndexRecord { digest: manifest, images: vec![alone] }
        }
    };
    let chosen = indexed(&index, wanted).map_err(|error| CliError::Usage(format!("{text}: {error}")))?;
    Ok(store.image(&chosen.image).ok_or_else(|| StoreError::MissingImage(text.to_owned()))?)
}

/// The image a text means, or the images for several platforms.
pub fn found(store: &Store, text: &str) -> Result<Found, CliError> {
    let missing = || StoreError::MissingImage(text.to_owned());
    let alone = |record| Found { record, index: None };
    if let Ok(reference) = text.parse::<Reference>() {
        if let Some(named) = store.get_ref(&reference.to_string()) {
            return match named.index.and_then(|index| store.index(&index)) {
                Some(index) => Found::of_index(store, index, text),
                None => Ok(alone(store.image(&named.image).ok_or_else(missing)?)),
            };
        }
        if let Some(digest) = reference.digest()
            && let Some(found) = by_digest(store, digest, text)?
        {
            return Ok(found);
        }
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        return Err(missing().into());
    }
    let images = store.images()?.into_iter().filter(|record| record.id.hex().starts_with(digits));
    let mut matching: Vec<Found> = images.map(alone).collect();
    for index in store.indexes()?.into_iter().filter(|index| index.digest.hex().starts_with(digits)) {
        matching.push(Found::of_index(store, index, text)?);
    }
    match matching.as_slice() {
        [] => {
            match BlobDigest::from_hex(digits).ok().map(|d| by_digest(store, d, text)).transpose()?.flatten()
            {
                Some(found) => Ok(found),
                None => Err(missing().into()),
            }
        }
        [one] => Ok(one.clone()),
        several => {
            let id = |found: &Found| match &found.index {
                Some(index) => short(&index.digest),
                None => found.record.id.short(),
            };
            let ids: Vec<String> = several.iter().map(id).collect();
            Err(StoreError::Ambiguous(text.to_owned(), ids.join(", ")).into())
        }
    }
}

/// A digest as listings show it.
pub fn short(digest: &BlobDigest) -> String {
    digest.hex()[..12].to_owned()
}

/// What a manifest or an index of this digest is.
fn by_digest(store: &Store, digest: BlobDigest, text: &str) -> Result<Option<Found>, CliError> {
    if let Some(index) = store.index(&digest) {
        return Found::of_index(store, index, text).map(Some);
    }
    let record = store.images()?.into_iter().find(|record| record.manifest == Some(digest));
    Ok(record.map(|record| Found { record, index: None }))
}

/// An image's config.
pub fn config(store: &Store, id: &ImageId) -> Result<ImageConfig, CliError> {
    let bytes = store.read_blob(&BlobDigest::from(*id), DOCUMENT)?;
    ImageConfig::parse(&bytes).map_err(|error| CliError::Failed(format!("config of image {id}: {error}")))
}

/// Familiar names of an image, sorted.
pub fn names(store: &Store, id: &ImageId) -> Result<Vec<String>, CliError> {
    let refs = store.refs()?;
    let own = refs.into_iter().filter(|named| leads_to(store, named, id));
    Ok(own.map(|r| familiar(&r.name)).collect())
}

/// Whether a name points to an image, or to an index that has it.
pub fn leads_to(store: &Store, named: &RefRecord, image: &ImageId) -> bool {
    named.image == *image
        || named.index.and_then(|index| store.index(&index)).is_some_and(|index| index.has(image))
}

/// A stored name as people write it.
pub fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Sizes of an image's layers, bottom first: bytes of the uncompressed tars.
pub fn layer_sizes(store: &Store, config: &ImageConfig) -> Vec<u64> {
    config.rootfs.diff_ids.iter().map(|diff| store.layer_size(*diff).unwrap_or(0)).collect()
}

/// A step and its build.
pub type Known<'a> = (&'a BuildRecord, &'a StepRecord);

/// The steps a text means, with their builds: those of its name in the last builds, else in any, else those of the image it
/// names.
pub fn steps<'a>(store: &Store, builds: &'a Recorded, text: &str) -> Result<Vec<Known<'a>>, CliError> {
    let names = |(_, step): &Known<'_>| step.name == text || step.shown() == text;
    for builds in [builds.last(), builds.all()] {
        let named: Vec<_> = all_steps(builds).filter(names).collect();
        if !named.is_empty() {
            return Ok(named);
        }
    }
    steps_of(store, builds, text)
}

/// The steps of the image that a text names, with their builds; of an image between two steps those that made it.
pub fn steps_of<'a>(store: &Store, builds: &'a Recorded, text: &str) -> Result<Vec<Known<'a>>, CliError> {
    let images: Vec<ImageId> = found(store, text)?.images(store).iter().map(|image| image.id).collect();
    let all = || all_steps(builds.all());
    let of_image: Vec<_> = all().filter(|(build, _)| images.contains(&build.image)).collect();
    if !of_image.is_empty() {
        return Ok(of_image);
    }
    let after_step: Vec<_> =
        all().filter(|(_, step)| step.image.is_some_and(|image| images.contains(&image))).collect();
    if after_step.is_empty() {
        return Err(CliError::Usage(format!("{text} was not built here, so nothing is known of its steps")));
    }
    Ok(after_step)
}

fn all_steps(builds: &[BuildRecord]) -> impl Iterator<Item = Known<'_>> {
    builds.iter().flat_map(|build| build.steps.iter().map(move |step| (build, step)))
}
