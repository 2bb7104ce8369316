//! An image pulled into the store (spec/registry.md, "Pull"): its name is asked about once, digests lead from there.

use super::{Registry, RegistryError, Repository, Target};
use crate::image::{IngestError, Ingested, ingest};
use crate::oci::{Descriptor, Reference};
use crate::platform::Platform;
use crate::store::Store;
use crate::sys::file::Durability;

/// An image that came from a registry. It has no name in the store yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// What the name stood for: an index, or the image's own manifest.
    pub top: Descriptor,
    pub image: Ingested,
}

impl Registry {
    /// Pulls the image that a name has for a platform; a digest in the name goes before its tag.
    pub fn pull(
        &self,
        store: &Store,
        name: &Reference,
        platform: &Platform,
    ) -> Result<Pulled, RegistryError> {
        pull(store, &self.repository(name)?, name, platform)
    }
}

/// Pulls the image that a name of a repository has for a platform.
pub fn pull(
    store: &Store,
    repository: &Repository<'_>,
    name: &Reference,
    platform: &Platform,
) -> Result<Pulled, RegistryError> {
    let target = match (name.digest(), name.tag()) {
        (Some(digest), _) => Target::Digest(digest),
        (None, tag) => Target::Tag(tag.unwrap_or("latest")),
    };
    let resolved = repository.manifest(target)?;
    store.put_blob(&resolved.bytes, Durability::Synced)?;
    let image = ingest(store, repository, &resolved.descriptor, platform);
    let image = image.map_err(|error| explained(error, repository.named(&target)))?;
    Ok(Pulled { top: resolved.descriptor, image })
}

/// What the registry's side said, where it was that side.
fn explained(error: IngestError, what: String) -> RegistryError {
    let error = match error {
        IngestError::Read { digest, source } => match source.downcast::<RegistryError>() {
            Ok(ours) => return ours,
            Err(source) => IngestError::Read { digest, source },
        },
        other => other,
    };
    RegistryError::Ingest { what, source: Box::new(error) }
}
