//! Images by what a person calls them: a name, a digest, an id or the beginning of one.

use super::CliError;
use crate::digest::{BlobDigest, ImageId};
use crate::oci::{ImageConfig, Reference};
use crate::store::builds::{BuildRecord, StepRecord};
use crate::store::{ImageRecord, Store, StoreError};

/// The largest config or manifest that is read.
pub const DOCUMENT: u64 = 4 << 20;

/// The image a text means.
pub fn image(store: &Store, text: &str) -> Result<ImageRecord, CliError> {
    let missing = || StoreError::MissingImage(text.to_owned());
    if let Ok(reference) = text.parse::<Reference>() {
        if let Some(found) = store.get_ref(&reference.to_string()) {
            return Ok(store.image(&found.image).ok_or_else(missing)?);
        }
        if let Some(digest) = reference.digest()
            && let Some(record) = by_manifest(store, digest)?
        {
            return Ok(record);
        }
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        return Err(missing().into());
    }
    let begins = |record: &ImageRecord| record.id.hex().starts_with(digits);
    let matching: Vec<ImageRecord> = store.images()?.into_iter().filter(begins).collect();
    match matching.as_slice() {
        [] => match BlobDigest::from_hex(digits).ok().map(|d| by_manifest(store, d)).transpose()?.flatten() {
            Some(record) => Ok(record),
            None => Err(missing().into()),
        },
        [one] => Ok(one.clone()),
        several => {
            let ids: Vec<String> = several.iter().map(|record| record.id.short()).collect();
            Err(StoreError::Ambiguous(text.to_owned(), ids.join(", ")).into())
        }
    }
}

fn by_manifest(store: &Store, digest: BlobDigest) -> Result<Option<ImageRecord>, CliError> {
    Ok(store.images()?.into_iter().find(|record| record.manifest == Some(digest)))
}

/// An image's config.
pub fn config(store: &Store, id: &ImageId) -> Result<ImageConfig, CliError> {
    let bytes = store.read_blob(&BlobDigest::from(*id), DOCUMENT)?;
    ImageConfig::parse(&bytes).map_err(|error| CliError::Failed(format!("config of image {id}: {error}")))
}

/// Familiar names of an image, sorted.
pub fn names(store: &Store, id: &ImageId) -> Result<Vec<String>, CliError> {
    let refs = store.refs()?;
    let own = refs.into_iter().filter(|r| r.image == *id);
    Ok(own.map(|r| familiar(&r.name)).collect())
}

/// A stored name as people write it.
pub fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Sizes of an image's layers, bottom first: bytes of the uncompressed tars.
pub fn layer_sizes(store: &Store, config: &ImageConfig) -> Vec<u64> {
    config.rootfs.diff_ids.iter().map(|diff| store.layer_size(*diff).unwrap_or(0)).collect()
}

/// The steps a text means, with their builds: those of its name, else those of the image it names.
pub fn steps<'a>(
    store: &Store,
    builds: &'a [BuildRecord],
    text: &str,
) -> Result<Vec<(&'a BuildRecord, &'a StepRecord)>, CliError> {
    let all = builds.iter().flat_map(|build| build.steps.iter().map(move |step| (build, step)));
    let named: Vec<_> = all.clone().filter(|(_, step)| step.name == text).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let image = image(store, text)?;
    let of_image: Vec<_> = all.clone().filter(|(build, _)| build.image == image.id).collect();
    if !of_image.is_empty() {
        return Ok(of_image);
    }
    let after_step: Vec<_> = all.filter(|(_, step)| step.image == Some(image.id)).collect();
    if after_step.is_empty() {
        return Err(CliError::Usage(format!("{text} was not built here, so nothing is known of its steps")));
    }
    Ok(after_step)
}
