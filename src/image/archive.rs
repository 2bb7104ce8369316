//! Layouts and docker archives as places that images are copied from: nothing of them goes by way of a store.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use super::choose::ChoiceError;
use super::docker_archive::{self, manifest_of};
use super::files::Files;
use super::gather::document;
use super::index::index;
use super::ingest::BlobSource;
use super::load::{LoadError, check_layout_version, group, index_of, pick, shown};
use crate::digest::{BlobDigest, DiffId};
use crate::layer::compress::{Decompressor, Format};
use crate::layer::read::Limits;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document, Reference};

/// An image of a layout or of a docker archive.
pub struct Archive {
    files: Files,
    /// What the place is known by.
    top: Descriptor,
    /// Documents that had to be made, and configs that have other names here.
    made: BTreeMap<BlobDigest, Vec<u8>>,
    /// Files of a docker archive, packed or not, by what they unpack to.
    layers: BTreeMap<BlobDigest, String>,
    /// All that a layout's `index.json` lists.
    entries: Vec<Descriptor>,
}

impl Archive {
    /// The image that a layout has by a tag or a full name; without one the only one it has.
    pub fn of_layout(files: Files, name: Option<&str>) -> Result<Self, LoadError> {
        let archive = || files.shown().to_owned();
        let Some(bytes) = files.read("index.json", MAX_DOCUMENT as u64)? else {
            return Err(LoadError::UnknownForm { archive: archive() });
        };
        check_layout_version(&files)?;
        let all = index_of(&files, &bytes)?.manifests;
        let mut images: Vec<_> = pick(&files, group(&files, &all)?, name)?.into_iter().collect();
        // The same image under several names is one.
        images.dedup_by(|a, b| a.1.iter().map(|d| d.digest).eq(b.1.iter().map(|d| d.digest)));
        let members = match images.len() {
            0 => return Err(LoadError::Choice { archive: archive(), source: ChoiceError::Empty }),
            1 => images.remove(0).1,
            _ => {
                let available: Vec<String> = images.iter().map(|(name, _)| shown(name)).collect();
                return Err(LoadError::Several { archive: archive(), available: available.join(", ") });
            }
        };
        let bare = |of: &Descriptor| Descriptor { annotations: BTreeMap::new(), ..of.clone() };
        let mut made = BTreeMap::new();
        let top = match &members[..] {
            [lone] => bare(lone),
            several => {
                let bytes = index(several.iter().map(bare).collect(), &BTreeMap::new()).to_bytes();
                let top = Descriptor::of(MediaType::OciIndex, &bytes);
                made.insert(top.digest, bytes);
                top
            }
        };
        Ok(Self { files, top, made, layers: BTreeMap::new(), entries: all })
    }

    /// The image that a docker archive has by a name; without one the only one it has. Its manifest is the one that `load`
    /// makes of it.
    pub fn of_docker(files: Files, name: Option<&str>) -> Result<Self, LoadError> {
        let archive = || files.shown().to_owned();
        let Some(bytes) = files.read("manifest.json", MAX_DOCUMENT as u64)? else {
            return Err(LoadError::UnknownForm { archive: archive() });
        };
        let items = docker_archive::pick(&files, &bytes, name)?;
        let item = match &items[..] {
            [(_, item)] => item,
            [] => return Err(LoadError::Choice { archive: archive(), source: ChoiceError::Empty }),
            several => {
                let names = several.iter().flat_map(|(names, _)| names).map(Reference::familiar);
                let available = names.collect::<Vec<_>>().join(", ");
                return Err(LoadError::Several { archive: archive(), available });
            }
        };
        let (config, config_bytes, paths) = docker_archive::parts(&files, item)?;
        let mut layers = BTreeMap::new();
        let mut sizes: Vec<(DiffId, u64)> = Vec::new();
        for (diff, path) in config.rootfs.diff_ids.iter().zip(paths) {
            sizes.push((*diff, unpacked_size(&files, path)?));
            layers.insert(BlobDigest::from(*diff), path.clone());
        }
        let bytes = manifest_of(&config_bytes, sizes.into_iter()).to_bytes();
        let top = Descriptor::of(MediaType::OciManifest, &bytes);
        let made = BTreeMap::from([(top.digest, bytes), (BlobDigest::of(&config_bytes), config_bytes)]);
        Ok(Self { files, top, made, layers, entries: Vec::new() })
    }

    /// What the image is known by: a manifest or an index.
    pub fn top(&self) -> &Descriptor {
        &self.top
    }

    fn try_open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, LoadError> {
        if let Some(bytes) = self.made.get(&blob.digest) {
            return Ok(Box::new(Cursor::new(&bytes[..])));
        }
        match self.layers.get(&blob.digest) {
            Some(path) => Ok(Box::new(unpacked(&self.files, path)?)),
            None => Ok(self.files.open(&format!("blobs/sha256/{}", blob.digest.hex()))?.0),
        }
    }
}

/// The bytes of a layer's file, unpacked.
fn unpacked<'a>(files: &'a Files, path: &str) -> Result<Decompressor<Box<dyn Read + Send + 'a>>, LoadError> {
    let (reader, _) = files.open(path)?;
    let limits = Limits::default().unpacking();
    Decompressor::new(reader, limits).map_err(|source| read_error(files, source))
}

/// How many bytes a layer's file unpacks to: all of it is unpacked for that, unless it is not packed.
fn unpacked_size(files: &Files, path: &str) -> Result<u64, LoadError> {
    let mut plain = unpacked(files, path)?;
    if plain.format() == Format::Plain {
        return Ok(files.open(path)?.1);
    }
    io::copy(&mut plain, &mut io::sink()).map_err(|source| read_error(files, source))
}

fn read_error(files: &Files, source: io::Error) -> LoadError {
    super::files::FilesError::Read { archive: files.shown().to_owned(), source }.into()
}

impl BlobSource for Archive {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        self.try_open(blob).map_err(io::Error::other)
    }

    /// A layout lists artifacts beside images, each of which says what it is about.
    fn referrers(&self, subject: BlobDigest) -> io::Result<Vec<Descriptor>> {
        let mut all = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.media_type.is_manifest()) {
            let (document, _) = document(self, entry).map_err(io::Error::other)?;
            let Document::Manifest(manifest) = document else { continue };
            if manifest.subject.is_some_and(|own| own.digest == subject) {
                all.push(entry.clone());
            }
        }
        Ok(all)
    }
}
