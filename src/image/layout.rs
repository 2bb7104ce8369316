//! OCI image layouts as lith writes them: in a tar, or in a directory that others read meanwhile.
//!
//! Owns: spec/archives.md, "Layout". In a directory a blob gets its name when it is whole, and `index.json` is
//! replaced last, at once: a reader, a kill or a power cut sees the old layout or the new.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::export::ExportError;
use super::ingest::BlobSource;
use super::load::{IMAGE_NAME, REF_NAME};
use super::pack::{Blob, Packed};
use super::tarball::Tarball;
use super::verified::Verified;
use crate::digest::BlobDigest;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::media::MediaType;
use crate::oci::{Descriptor, Document, Index, Reference};
use crate::store::Store;
use crate::sys::file::{self, Durability, Lock, Unnamed};
use crate::sys::several::each;

/// The file that marks a layout.
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// What an entry of `index.json` is called: its annotations.
pub type Label = BTreeMap<String, String>;

/// Writes a layout into a tar.
pub(super) fn write_tar<W: Write>(
    source: &dyn BlobSource,
    packed: &Packed,
    labels: &[Label],
    sink: W,
) -> Result<W, ExportError> {
    let mut tarball = Tarball::new(sink);
    tarball.directory("blobs")?;
    tarball.directory("blobs/sha256")?;
    for (digest, blob) in &packed.blobs {
        let name = format!("blobs/sha256/{}", digest.hex());
        match blob {
            Blob::Bytes(bytes) => tarball.file(&name, bytes)?,
            Blob::Stored(size) => {
                tarball.stream(&name, *size, Verified::of(source, &bare(*digest, *size))?)?;
            }
        }
    }
    tarball.file("index.json", &Index::new(entries(packed, labels)).to_bytes())?;
    tarball.file("oci-layout", OCI_LAYOUT)?;
    Ok(tarball.finish()?)
}

/// Adds an image to the layout in a directory, which is made if it is missing. An image of the same name there
/// loses the name.
pub(super) fn write_directory(
    source: &dyn BlobSource,
    packed: &Packed,
    labels: &[Label],
    dest: &Path,
) -> Result<(), ExportError> {
    let layout = Growing::open(dest)?;
    // Others that add to this layout wait: what they read and what they write belong together.
    let _alone = layout.lock()?;
    let index = merge(read_index(dest)?, entries(packed, labels));
    let blobs: Vec<(&BlobDigest, &Blob)> = packed.blobs.iter().collect();
    each(source.waiting(), &blobs, |(digest, blob)| layout.write_blob(source, **digest, blob))?;
    layout.publish(&index)
}

/// A layout in a directory that blobs are added to one by one, and names at the end.
#[derive(Debug)]
pub struct Growing {
    dir: PathBuf,
    blobs: PathBuf,
}

impl Growing {
    /// Makes the directory if it is missing.
    pub fn open(dir: &Path) -> Result<Self, ExportError> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|e| file::context(e, "create", &blobs))?;
        Ok(Self { dir: dir.to_owned(), blobs })
    }

    /// Whether something has the name of a blob, and its size.
    pub fn has(&self, blob: &Descriptor) -> bool {
        let there = fs::symlink_metadata(self.blobs.join(blob.digest.hex()));
        there.is_ok_and(|meta| meta.is_file() && meta.len() == blob.size)
    }

    /// Adds a blob of the store.
    pub fn put_stored(&self, store: &Store, blob: &Descriptor) -> Result<(), ExportError> {
        self.write_blob(store, blob.digest, &Blob::Stored(blob.size))
    }

    /// Adds a document.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.blobs.join(BlobDigest::of(bytes).hex());
        Ok(file::replace(&path, bytes, Durability::Synced)?)
    }

    /// Gives manifests that were added the tags of their annotations; what had these loses them.
    pub fn tag(&self, manifests: Vec<Descriptor>) -> Result<(), ExportError> {
        let _alone = self.lock()?;
        self.publish(&merge(read_index(&self.dir)?, manifests))
    }

    fn lock(&self) -> Result<Lock, ExportError> {
        Ok(Lock::directory(&self.dir).map_err(|e| file::context(e, "lock", &self.dir))?)
    }

    fn publish(&self, index: &Index) -> Result<(), ExportError> {
        file::sync_dir(&self.blobs)?;
        file::replace(&self.dir.join("oci-layout"), OCI_LAYOUT, Durability::Synced)?;
        file::replace(&self.dir.join("index.json"), &index.to_bytes(), Durability::Synced)?;
        Ok(())
    }

    fn write_blob(
        &self,
        source: &dyn BlobSource,
        digest: BlobDigest,
        blob: &Blob,
    ) -> Result<(), ExportError> {
        let path = self.blobs.join(digest.hex());
        if is_whole(&path, digest)? {
            return Ok(());
        }
        match blob {
            Blob::Bytes(bytes) => file::replace(&path, bytes, Durability::Synced)?,
            Blob::Stored(size) => {
                // What is there under this name is damaged.
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(file::context(error, "remove", &path).into());
                    }
                    Ok(()) | Err(_) => {}
                }
                let mut temp = Unnamed::new(&self.blobs)?;
                io::copy(&mut Verified::of(source, &bare(digest, *size))?, &mut temp)?;
                temp.file().sync_data()?;
                temp.publish(&path)?;
            }
        }
        Ok(())
    }
}

/// A blob whose type does not matter here.
fn bare(digest: BlobDigest, size: u64) -> Descriptor {
    Descriptor::new(MediaType::Unknown("application/octet-stream".into()), digest, size)
}

/// The full name and the tag as BuildKit writes them.
pub(super) fn labels(names: &BTreeSet<Reference>) -> Vec<Label> {
    let of = |name: &Reference| {
        let tag = name.tag().unwrap_or_default().to_owned();
        BTreeMap::from([(IMAGE_NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), tag)])
    };
    names.iter().map(of).collect()
}

/// One entry a name; without a name one bare entry.
fn entries(packed: &Packed, labels: &[Label]) -> Vec<Descriptor> {
    let bare = |entry: &Descriptor| {
        let mut entry = entry.clone();
        // What an artifact says of itself does not name it here.
        entry.annotations.retain(|name, _| name != IMAGE_NAME && name != REF_NAME);
        entry
    };
    let referrers = packed.referrers.iter().map(|referrer| bare(&referrer.entry));
    if labels.is_empty() {
        return std::iter::once(packed.manifest.clone()).chain(referrers).collect();
    }
    let named = |label: &Label| {
        let mut entry = packed.manifest.clone();
        entry.annotations.extend(label.clone());
        entry
    };
    labels.iter().map(named).chain(referrers).collect()
}

fn read_index(dest: &Path) -> Result<Option<Index>, ExportError> {
    let path = dest.join("index.json");
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file::context(error, "open", &path).into()),
    };
    match Document::parse(&bytes, None) {
        Ok(Document::Index(index)) => Ok(Some(index)),
        Ok(Document::Manifest(_)) => Err(ExportError::NotAnIndex { path }),
        Err(source) => Err(ExportError::ExistingIndex { path, source }),
    }
}

fn merge(old: Option<Index>, new: Vec<Descriptor>) -> Index {
    let Some(mut index) = old else { return Index::new(new) };
    let name =
        |d: &Descriptor| (d.annotations.get(IMAGE_NAME).cloned(), d.annotations.get(REF_NAME).cloned());
    for entry in new {
        // A tag names one image of a layout, whatever its full name: that is how most tools look images up.
        index.manifests.retain(|old| {
            let is_same_tag = name(old).1.is_some() && name(old).1 == name(&entry).1;
            let is_same_unnamed = name(old) == name(&entry) && old.digest == entry.digest;
            !is_same_tag && !is_same_unnamed
        });
        index.manifests.push(entry);
    }
    index
}

fn is_whole(path: &Path, digest: BlobDigest) -> Result<bool, ExportError> {
    // A symlink is no blob, wherever it leads.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut existing = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(existing) => File::from(existing),
        Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(file::context(error.into(), "open", path).into()),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match existing.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(BlobDigest::from_bytes(hash.finalize().into()) == digest)
}
