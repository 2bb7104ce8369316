//! Layers, a config and a history made into one image. Pure.
//!
//! Owns: the rules of spec/image-config.md. The image is always an OCI image; the layers of the base keep their
//! digests and sizes, our own are uncompressed.

use std::collections::BTreeMap;

use crate::digest::{BlobDigest, DiffId, ImageId};
use crate::epoch::Epoch;
use crate::oci::manifest::MAX_LAYERS;
use crate::oci::media::{Flavor, MediaType};
use crate::oci::{Descriptor, History, ImageConfig, Manifest, RootFs};

/// The image below: what its own manifest and config say.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    pub manifest: Manifest,
    pub config: ImageConfig,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembly<'a> {
    /// `None` for `scratch`.
    pub base: Option<&'a Base>,
    /// Platform, author and run config of the result; its `created`, `history` and `rootfs` are not read.
    pub config: &'a ImageConfig,
    /// Our layers on top of the base, bottom first: diff id and size of the uncompressed tar.
    pub layers: &'a [(DiffId, u64)],
    /// Our lines of the history, oldest first; `created` is not read.
    pub history: &'a [History],
    pub epoch: Epoch,
}

/// An image, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    pub id: ImageId,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
    pub digest: BlobDigest,
    pub manifest: Manifest,
    pub manifest_bytes: Vec<u8>,
}

/// Why parts do not make an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    #[error("the base's manifest has {layers} layers, but its config has {diff_ids} diff ids")]
    Base { layers: usize, diff_ids: usize },
    #[error("the history has {lines} lines that make a layer, but there are {layers} layers")]
    History { lines: usize, layers: usize },
    #[error("an image of {0} layers is over the limit of {MAX_LAYERS}")]
    TooManyLayers(usize),
}

/// Makes an image. Equal parts give equal bytes.
pub fn assemble(parts: &Assembly<'_>) -> Result<Assembled, AssembleError> {
    check(parts)?;
    let config = config(parts);
    let config_bytes = config.to_bytes();
    let manifest = Manifest::new(
        Flavor::Oci,
        Descriptor::of(MediaType::OciConfig, &config_bytes),
        base_layers(parts.base).chain(own_layers(parts.layers)).collect(),
    );
    let manifest_bytes = manifest.to_bytes();
    Ok(Assembled {
        id: BlobDigest::of(&config_bytes).into(),
        config,
        config_bytes,
        digest: BlobDigest::of(&manifest_bytes),
        manifest,
        manifest_bytes,
    })
}

impl Assembled {
    /// The same image with annotations in its manifest: another digest, the same image id.
    pub fn annotated(mut self, annotations: &BTreeMap<String, String>) -> Self {
        self.manifest.annotations.clone_from(annotations);
        self.manifest_bytes = self.manifest.to_bytes();
        self.digest = BlobDigest::of(&self.manifest_bytes);
        self
    }
}

fn check(parts: &Assembly<'_>) -> Result<(), AssembleError> {
    let mut count = parts.layers.len();
    if let Some(base) = parts.base {
        let (layers, diff_ids) = (base.manifest.layers.len(), base.config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(AssembleError::Base { layers, diff_ids });
        }
        count += layers;
    }
    if count > MAX_LAYERS {
        return Err(AssembleError::TooManyLayers(count));
    }
    let lines = parts.history.iter().filter(|line| !line.empty_layer).count();
    if lines != parts.layers.len() {
        return Err(AssembleError::History { lines, layers: parts.layers.len() });
    }
    Ok(())
}

fn config(parts: &Assembly<'_>) -> ImageConfig {
    let created = parts.epoch.rfc3339();
    let (mut history, mut diff_ids) = match parts.base {
        Some(base) => (base.config.history.clone(), base.config.rootfs.diff_ids.clone()),
        None => (Vec::new(), Vec::new()),
    };
    history
        .extend(parts.history.iter().map(|line| History { created: Some(created.clone()), ..line.clone() }));
    diff_ids.extend(parts.layers.iter().map(|(diff, _)| *diff));
    ImageConfig {
        created: Some(created),
        history,
        rootfs: RootFs { diff_ids, ..RootFs::default() },
        ..parts.config.clone()
    }
}

/// The base's descriptors as they are, but for docker's media types: the bytes are the same, and an OCI manifest
/// holds OCI types.
fn base_layers(base: Option<&Base>) -> impl Iterator<Item = Descriptor> + '_ {
    base.into_iter()
        .flat_map(|base| &base.manifest.layers)
        .map(|layer| Descriptor { media_type: layer.media_type.to_oci(), ..layer.clone() })
}

fn own_layers(layers: &[(DiffId, u64)]) -> impl Iterator<Item = Descriptor> + '_ {
    layers.iter().map(|(diff, size)| Descriptor::new(MediaType::OciLayer, (*diff).into(), *size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Document;

    fn diff(text: &str) -> DiffId {
        BlobDigest::of(text.as_bytes()).into()
    }

    fn line(text: &str, empty_layer: bool) -> History {
        History { created_by: Some(text.into()), empty_layer, ..History::default() }
    }

    fn base() -> Base {
        let platform = "linux/amd64".parse().unwrap();
        let mut config = ImageConfig::scratch(&platform);
        config.created = Some("2001-01-01T01:01:01.5Z".into());
        config.history =
            vec![History { created: Some("2001-01-01T01:01:01.5Z".into()), ..line("base", false) }];
        config.rootfs.diff_ids = vec![diff("base")];
        let mut layer = Descriptor::new(MediaType::DockerLayerGzip, BlobDigest::of(b"gzip"), 4);
        layer.annotations.insert("a".into(), "b".into());
        let own = Descriptor::of(MediaType::DockerConfig, &config.to_bytes());
        Base { manifest: Manifest::new(Flavor::Docker, own, vec![layer]), config }
    }

    #[test]
    fn base_is_kept_and_ours_is_at_the_epoch() {
        let base = base();
        let config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
        let history = [line("RUN x", false), line("CMD y", true)];
        let parts = Assembly {
            base: Some(&base),
            config: &config,
            layers: &[(diff("run"), 1024)],
            history: &history,
            epoch: Epoch::ZERO,
        };
        let image = assemble(&parts).unwrap();
        assert_eq!(image.config.created.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(image.config.history[0], base.config.history[0]);
        assert_eq!(image.config.history[2].created.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(image.config.rootfs.diff_ids, [diff("base"), diff("run")]);
        assert_eq!(image.manifest.layers[0].digest, BlobDigest::of(b"gzip"));
        assert_eq!(image.manifest.layers[0].media_type, MediaType::OciLayerGzip);
        assert_eq!(image.manifest.layers[0].annotations.len(), 1);
        assert_eq!(image.manifest.layers[1].digest, diff("run").into());
        assert_eq!(image.manifest.layers[1].media_type, MediaType::OciLayer);
        let read = Document::parse(&image.manifest_bytes, Some(&MediaType::OciManifest)).unwrap();
        assert_eq!(read, Document::Manifest(image.manifest));
    }

    #[test]
    fn pinned_vector() {
        // spec/image-config.md: a change of this value is a change of every image's digest.
        let config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
        let history = [line("COPY a b", false)];
        let parts = Assembly {
            base: None,
            config: &config,
            layers: &[(diff("copy"), 1024)],
            history: &history,
            epoch: Epoch::from_seconds(1_700_000_000).unwrap(),
        };
        assert_eq!(assemble(&parts).unwrap().digest.to_string(), PINNED);
    }

    const PINNED: &str = "sha256:f9389dc6d1a979d91df7fcf7aec2fb5ac7a1bada71efd3618e61a033cc4d749b";

    #[test]
    fn parts_must_fit() {
        fn parts(base: Option<&Base>, layers: &[(DiffId, u64)], history: &[History]) -> AssembleError {
            let config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
            assemble(&Assembly { base, config: &config, layers, history, epoch: Epoch::ZERO }).unwrap_err()
        }
        let mut base = base();
        assert_eq!(parts(None, &[], &[line("RUN", false)]), AssembleError::History { lines: 1, layers: 0 });
        let many = vec![(diff("x"), 1); MAX_LAYERS];
        let lines = vec![line("RUN", false); MAX_LAYERS];
        assert_eq!(parts(Some(&base), &many, &lines), AssembleError::TooManyLayers(MAX_LAYERS + 1));
        base.config.rootfs.diff_ids.clear();
        assert_eq!(parts(Some(&base), &[], &[]), AssembleError::Base { layers: 1, diff_ids: 0 });
    }
}
