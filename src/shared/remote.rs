//! A repository of a registry as a place for entries.

use std::io::{self, Read};

use super::{Form, Place, PlaceError};
use crate::image::{BlobSource, IngestError};
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Reference};
use crate::registry::{Registry, RegistryError, Repository, Target};
use crate::store::Store;

/// A repository, and how its registry is spoken to.
pub struct Remote {
    shown: String,
    address: Form,
    registry: Registry,
    name: Reference,
}

impl Remote {
    /// `insecure`: the registry is asked in the clear.
    pub fn new(registry: Registry, name: Reference, insecure: bool) -> Self {
        let address = Form::Registry { name: name.clone(), insecure };
        Self { shown: name.familiar_name(), address, registry, name }
    }

    fn repository(&self) -> Result<Repository<'_>, RegistryError> {
        self.registry.repository(&self.name)
    }
}

impl BlobSource for Remote {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        self.repository().map_err(io::Error::other)?.reader(blob)
    }

    fn bring(&self, store: &Store, blob: &Descriptor) -> Result<(), IngestError> {
        let repository = self.repository();
        let read_error = |error| IngestError::Read { digest: blob.digest, source: io::Error::other(error) };
        repository.map_err(read_error)?.bring(store, blob)
    }
}

impl Place for Remote {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn entry(&self, tag: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        match self.repository()?.manifest(Target::Tag(tag)) {
            Ok(found) => Ok(Some(found.bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_empty(&self) -> bool {
        self.repository().is_ok_and(|repository| repository.is_unknown())
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, PlaceError> {
        Ok(self.repository()?.has_blob(blob.digest)?)
    }

    fn put_stored(&self, store: &Store, blob: &Descriptor) -> Result<(), PlaceError> {
        Ok(self.repository()?.put_stored(store, blob)?)
    }

    fn put_bytes(&self, store: &Store, _: &Descriptor, bytes: &[u8]) -> Result<(), PlaceError> {
        Ok(self.repository()?.put_bytes(store, bytes)?)
    }

    fn put_entry(&self, _: &Store, tag: &str, manifest: &[u8]) -> Result<(), PlaceError> {
        self.repository()?.put_manifest(Target::Tag(tag), &MediaType::OciManifest, manifest)?;
        Ok(())
    }

    fn finish(&self) -> Result<(), PlaceError> {
        Ok(())
    }
}
