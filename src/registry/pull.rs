//! An image pulled into the store (spec/registry.md, "Pull"): its name is asked about once, digests lead from there.

use super::{Registry, RegistryError, Repository, Target, Wanted};
use crate::image::{IngestError, Ingested, ingest, ingest_promised};
use crate::oci::{Descriptor, Reference};
use crate::platform::Platform;
use crate::sign::Trusted;
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
        pull(store, &self.repository(name)?, name, platform, None)
    }

    /// The same of an image that has a signature that holds. Else nothing of it is taken.
    pub fn pull_signed(
        &self,
        store: &Store,
        name: &Reference,
        platform: &Platform,
        wanted: Wanted<'_>,
    ) -> Result<Pulled, RegistryError> {
        pull(store, &self.repository(name)?, name, platform, Some(wanted))
    }

    /// Finds a signature that holds of what a name stands for, and takes nothing.
    pub fn verify(
        &self,
        name: &Reference,
        wanted: Wanted<'_>,
    ) -> Result<(Descriptor, Trusted), RegistryError> {
        let repository = self.repository(name)?;
        let top = repository.manifest(Target::of(name))?.descriptor;
        let trusted = repository.verify(wanted, name, top.digest)?;
        Ok((top, trusted))
    }

    /// The same, but that layers stay where they are until something reads them; `place` is what is to be found there.
    pub fn pull_promised(
        &self,
        store: &Store,
        name: &Reference,
        platform: &Platform,
        place: &str,
    ) -> Result<Pulled, RegistryError> {
        let repository = self.repository(name)?;
        let take = |top: &Descriptor| ingest_promised(store, &repository, (top, platform), place);
        pull_with(store, &repository, (name, None), &take)
    }
}

/// Pulls the image that a name of a repository has for a platform, if it is signed as is wanted.
fn pull(
    store: &Store,
    repository: &Repository<'_>,
    name: &Reference,
    platform: &Platform,
    signed: Option<Wanted<'_>>,
) -> Result<Pulled, RegistryError> {
    let take = |top: &Descriptor| ingest(store, repository, top, platform);
    pull_with(store, repository, (name, signed), &take)
}

fn pull_with(
    store: &Store,
    repository: &Repository<'_>,
    (name, signed): (&Reference, Option<Wanted<'_>>),
    take: &dyn Fn(&Descriptor) -> Result<Ingested, IngestError>,
) -> Result<Pulled, RegistryError> {
    let target = Target::of(name);
    let resolved = repository.manifest(target)?;
    if let Some(wanted) = signed {
        repository.verify(wanted, name, resolved.descriptor.digest)?;
    }
    store.put_blob(&resolved.bytes, Durability::Synced)?;
    let image = take(&resolved.descriptor).map_err(|error| explained(error, repository.named(&target)))?;
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
