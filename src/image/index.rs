//! An image for several platforms: the index over its manifests, and which of its images is meant.
//!
//! Owns: spec/archives.md, "Several platforms".

use std::collections::BTreeMap;

use super::choose::{ChoiceError, choose};
use super::stored::StoredError;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, DescriptorPlatform, Document, ImageConfig, Index};
use crate::platform::Platform;
use crate::store::{IndexRecord, IndexedImage, Store};
use crate::sys::file::Durability;

/// The index of manifests, in their order. Equal parts give equal bytes.
pub fn index(manifests: Vec<Descriptor>, annotations: &BTreeMap<String, String>) -> Index {
    Index { annotations: annotations.clone(), ..Index::new(manifests) }
}

/// What an index says that an image of a config is for; `wanted` is what it was asked for, and says the variant if the
/// config says none. `None` if the config has no platform.
pub fn platform_of(config: &ImageConfig, wanted: &Platform) -> Option<Platform> {
    let own = config.platform()?;
    let is_silent = config.variant.as_deref().unwrap_or_default().is_empty();
    let is_kin = own.os == wanted.os && own.architecture == wanted.architecture;
    Some(if is_silent && is_kin { wanted.clone() } else { own })
}

/// The descriptor of a manifest in an index.
pub fn entry(manifest: &[u8], platform: &Platform) -> Descriptor {
    let mut entry = Descriptor::of(MediaType::OciManifest, manifest);
    entry.platform = Some(DescriptorPlatform::from(platform));
    entry
}

/// The image of an index for `wanted`, by the rules of [`choose`].
///
/// # Errors
/// There is none for it: says which there are.
pub fn indexed<'a>(record: &'a IndexRecord, wanted: &Platform) -> Result<&'a IndexedImage, ChoiceError> {
    let descriptors: Vec<Descriptor> = record
        .images
        .iter()
        .map(|one| Descriptor {
            platform: Some(DescriptorPlatform::from(&one.platform)),
            ..Descriptor::new(MediaType::OciManifest, one.manifest, 0)
        })
        .collect();
    let chosen = choose(&descriptors, wanted)?;
    let at = descriptors.iter().position(|descriptor| descriptor == chosen).expect("it is one of them");
    Ok(&record.images[at])
}

/// The image that an index stands for where one is needed: the host's, else the first.
pub fn of_host(record: &IndexRecord) -> &IndexedImage {
    indexed(record, &Platform::host()).unwrap_or(&record.images[0])
}

/// What an index of the store is known by as it goes elsewhere: the index itself, if all that it names is here. Of what was
/// taken in without that, a new index of its images, which says otherwise the same; then true.
pub fn top(store: &Store, record: &IndexRecord) -> Result<(Descriptor, bool), StoredError> {
    let digest = record.digest;
    let bytes = store.read_blob(&digest, MAX_DOCUMENT as u64)?;
    let document = Document::parse(&bytes, None);
    let document = document.map_err(|source| StoredError::Manifest { digest, source })?;
    let media_type = document.media_type();
    let Document::Index(old) = document else { return Err(StoredError::Single(digest)) };
    let is_here = |entry: &Descriptor| store.has_blob(&entry.digest);
    if old.manifests.iter().all(is_here) {
        return Ok((Descriptor::of(media_type, &bytes), false));
    }
    let manifests = old.manifests.iter().filter(|entry| is_here(entry)).cloned().collect();
    let bytes = Index { manifests, ..old }.to_bytes();
    store.put_blob(&bytes, Durability::Synced)?;
    Ok((Descriptor::of(media_type, &bytes), true))
}

/// The name of the directory that holds the files of one of several platforms: `linux_arm_v7`, as in buildx.
pub fn directory(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    fn record(platforms: &[&str]) -> IndexRecord {
        let one = |text: &&str| IndexedImage {
            platform: text.parse().unwrap(),
            manifest: BlobDigest::of(text.as_bytes()),
            image: BlobDigest::of(text.as_bytes()).into(),
        };
        IndexRecord { digest: BlobDigest::of(b"index"), images: platforms.iter().map(one).collect() }
    }

    #[test]
    fn the_hosts_image_else_the_first() {
        let host = Platform::host();
        let both = record(&["linux/mips64le", &host.to_string()]);
        assert_eq!(of_host(&both).platform, host);
        assert_eq!(of_host(&record(&["linux/mips64le", "windows/wasm"])).platform.architecture, "mips64le");
        let error = indexed(&both, &"linux/s390x".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("available: linux/mips64le, {host}")), "{error}");
        let arms = record(&["linux/arm/v6", "linux/arm64"]);
        assert_eq!(indexed(&arms, &"linux/arm/v7".parse().unwrap()).unwrap(), &arms.images[0]);
    }

    #[test]
    fn a_config_without_a_variant_is_for_what_was_asked() {
        let of = |config: &str, wanted: &str| {
            let config = ImageConfig::scratch(&config.parse().unwrap());
            platform_of(&config, &wanted.parse().unwrap()).unwrap().to_string()
        };
        assert_eq!(of("linux/arm/v6", "linux/arm/v7"), "linux/arm/v6");
        assert_eq!(of("linux/amd64", "linux/amd64/v3"), "linux/amd64/v3");
        assert_eq!(of("linux/amd64", "linux/arm64"), "linux/amd64");
    }
}
