//! An OCI layout in a directory as a place for entries.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use super::{Form, Place, PlaceError};
use crate::image::files::{Files, FilesError};
use crate::image::load::REF_NAME;
use crate::image::{BlobSource, Growing};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document};
use crate::store::Store;

/// A layout that is read, and written to if that was asked for.
pub struct Layout {
    shown: String,
    address: Form,
    /// None if there is no such directory yet.
    files: Option<Files>,
    /// The manifests of the index, by tag.
    tags: BTreeMap<String, Descriptor>,
    growing: Option<Growing>,
    /// What gets its tag at the end.
    new: Mutex<BTreeMap<String, Descriptor>>,
}

impl Layout {
    /// One to read.
    pub fn read(dir: &Path) -> Result<Self, PlaceError> {
        let files = match Files::directory(dir) {
            Ok(files) => Some(files),
            Err(FilesError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let index = match &files {
            Some(files) => files.read("index.json", MAX_DOCUMENT as u64)?,
            None => None,
        };
        let tags = index.map_or(Ok(BTreeMap::new()), |bytes| tags(&bytes))?;
        let shown = crate::diag::escape(dir.as_os_str().as_encoded_bytes());
        let address = Form::Layout(std::path::absolute(dir)?);
        Ok(Self { shown, address, files, tags, growing: None, new: Mutex::default() })
    }

    /// One to write to, which may hold entries already.
    pub fn write(dir: &Path) -> Result<Self, PlaceError> {
        let growing = Growing::open(dir)?;
        Ok(Self { growing: Some(growing), ..Self::read(dir)? })
    }

    fn growing(&self) -> &Growing {
        self.growing.as_ref().expect("only what was opened to be written is written to")
    }
}

fn tags(index: &[u8]) -> Result<BTreeMap<String, Descriptor>, PlaceError> {
    let Document::Index(index) = Document::parse(index, None)? else {
        return Err("index.json is a manifest, not an index".into());
    };
    let tagged = |entry: Descriptor| Some((entry.annotations.get(REF_NAME)?.clone(), entry));
    Ok(index.manifests.into_iter().filter_map(tagged).collect())
}

fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest.hex())
}

impl BlobSource for Layout {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        let files = self.files.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let (reader, _) = files.open(&blob_path(blob)).map_err(io::Error::other)?;
        Ok(reader)
    }
}

impl Place for Layout {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn entry(&self, tag: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        let (Some(files), Some(manifest)) = (&self.files, self.tags.get(tag)) else { return Ok(None) };
        let bytes = files.read(&blob_path(manifest), MAX_DOCUMENT as u64)?;
        let bytes = bytes.ok_or_else(|| format!("blob {} is missing", manifest.digest))?;
        if crate::digest::BlobDigest::of(&bytes) != manifest.digest {
            return Err(format!("blob {} is damaged", manifest.digest).into());
        }
        Ok(Some(bytes))
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, PlaceError> {
        if let Some(growing) = &self.growing {
            return Ok(growing.has(blob));
        }
        let Some(files) = &self.files else { return Ok(false) };
        Ok(files.open(&blob_path(blob)).is_ok_and(|(_, size)| size == blob.size))
    }

    fn put_stored(&self, store: &Store, blob: &Descriptor) -> Result<(), PlaceError> {
        Ok(self.growing().put_stored(store, blob)?)
    }

    fn put_bytes(&self, _: &Store, blob: &Descriptor, bytes: &[u8]) -> Result<(), PlaceError> {
        match self.growing().has(blob) {
            true => Ok(()),
            false => Ok(self.growing().put_bytes(bytes)?),
        }
    }

    fn put_entry(&self, store: &Store, tag: &str, manifest: &[u8]) -> Result<(), PlaceError> {
        let mut entry = Descriptor::of(MediaType::OciManifest, manifest);
        self.put_bytes(store, &entry, manifest)?;
        entry.annotations.insert(REF_NAME.into(), tag.into());
        entry.artifact_type = Some(super::entry::TYPE.into());
        self.new.lock().expect("no panic while held").insert(tag.to_owned(), entry);
        Ok(())
    }

    fn finish(&self) -> Result<(), PlaceError> {
        let new = std::mem::take(&mut *self.new.lock().expect("no panic while held"));
        if new.is_empty() {
            return Ok(());
        }
        Ok(self.growing().tag(new.into_values().collect())?)
    }
}
