//! An image of a container: its image, and a layer of what its programs changed.

use super::ContainerError;
use super::changes;
use super::life::Container;
use crate::digest::ImageId;
use crate::epoch::Epoch;
use crate::image::{Assembled, Assembly, Base, StoredImage, assemble, store_image};
use crate::oci::media::{Flavor, MediaType};
use crate::oci::{Descriptor, History, ImageConfig, Manifest};
use crate::store::snapshots::EMPTY_LAYER;
use crate::store::{Store, StoreError};

/// What is said of the new image.
#[derive(Debug, Clone)]
pub struct Commit {
    /// No time in the image is later.
    pub epoch: Epoch,
    pub author: Option<String>,
    pub message: Option<String>,
}

/// An image that was made, and what its layer lacks.
#[derive(Debug)]
pub struct Committed {
    pub image: Assembled,
    /// Things left out, one line each.
    pub warnings: Vec<String>,
}

/// The config of a container's image, to be changed.
pub fn image_config(store: &Store, container: &Container) -> Result<ImageConfig, ContainerError> {
    Ok(base(store, container)?.config)
}

/// Makes an image of a container. Equal files give equal images: `config` is the image's, with changes.
pub fn commit(
    store: &Store,
    container: &Container,
    config: &ImageConfig,
    how: &Commit,
) -> Result<Committed, ContainerError> {
    let base = base(store, container)?;
    let (layer, warnings) = changes::layer(store, container, how.epoch)?;
    // A layer without files is none, as in docker.
    let empty_layer = layer.size <= EMPTY_LAYER;
    let line = History {
        created: None,
        created_by: Some(container.config.program.argv.join(" ")),
        author: how.author.clone(),
        comment: how.message.clone(),
        empty_layer,
    };
    let config = ImageConfig { author: how.author.clone().or(config.author.clone()), ..config.clone() };
    let layers = [(layer.diff_id, layer.size)];
    let image = assemble(&Assembly {
        base: Some(&base),
        config: &config,
        layers: if empty_layer { &[] } else { &layers },
        history: &[line],
        epoch: how.epoch,
    })?;
    store_image(store, &image, Some(container.config.image))?;
    Ok(Committed { image, warnings })
}

fn base(store: &Store, container: &Container) -> Result<Base, ContainerError> {
    let id = container.config.image;
    let record = store.image(&id).ok_or_else(|| StoreError::MissingImage(id.to_string()))?;
    match record.manifest {
        Some(manifest) => Ok(StoredImage::open(store, manifest)?.into_base()),
        None => intermediate(store, container, id),
    }
}

/// An image that a build left on its way has no manifest; its layers are the store's own.
fn intermediate(store: &Store, container: &Container, id: ImageId) -> Result<Base, ContainerError> {
    let bytes = store.read_blob(&id.into(), crate::oci::json::MAX_DOCUMENT as u64)?;
    let config = ImageConfig::parse(&bytes)
        .map_err(|error| ContainerError::Image { id, reason: error.to_string() })?;
    let layers = container.config.layers.iter();
    let layers =
        layers.map(|layer| Descriptor::new(MediaType::OciLayer, layer.diff_id.into(), layer.size)).collect();
    let own = Descriptor::of(MediaType::OciConfig, &bytes);
    Ok(Base { manifest: Manifest::new(Flavor::Oci, own, layers), config })
}
