//! Blobs: bytes named by their sha256, under `blobs/sha256/<hex>`.
//!
//! A blob gets its name only after its bytes were hashed by the process that wrote them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::partials::Partial;
use super::{Store, StoreError};
use crate::digest::BlobDigest;
use crate::sys::file::{self, Durability, Unnamed, unique_name};

/// Bytes on their way to becoming a blob. Dropping it leaves nothing, or what [`Store::resume_blob`] goes on with.
pub struct BlobWriter {
    place: Place,
    hash: Sha256,
    size: u64,
    blobs: PathBuf,
}

/// Where the bytes are until they are whole.
enum Place {
    Unnamed(Unnamed),
    Partial(Partial),
}

impl Place {
    fn file(&self) -> &File {
        match self {
            Self::Unnamed(unnamed) => unnamed.file(),
            Self::Partial(partial) => &partial.file,
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.place.file().write(bytes)?;
        self.hash_again(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    fn new(place: Place, blobs: PathBuf) -> Self {
        Self { place, hash: Sha256::new(), size: 0, blobs }
    }

    pub(super) fn kept(partial: Partial, blobs: PathBuf) -> Self {
        Self::new(Place::Partial(partial), blobs)
    }

    /// Takes in bytes that the file has already.
    pub(super) fn hash_again(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Syncs the bytes and gives them their name. With `expected`, anything else is an error and leaves nothing.
    pub fn commit(self, expected: Option<BlobDigest>) -> Result<(BlobDigest, u64), StoreError> {
        let digest = BlobDigest::from_bytes(self.hash.finalize().into());
        if let Some(expected) = expected.filter(|e| *e != digest) {
            return Err(StoreError::CorruptBlob { expected, actual: digest });
        }
        self.place.file().sync_data()?;
        let name = self.blobs.join(digest.hex());
        match self.place {
            Place::Unnamed(unnamed) => publish(unnamed, &name)?,
            Place::Partial(partial) => partial.publish(&name)?,
        }
        Ok((digest, self.size))
    }
}

/// The sink of a layer writer, which hashes the bytes itself.
#[derive(Debug)]
pub struct LayerSink {
    file: Unnamed,
}

impl LayerSink {
    pub(super) fn publish(self, dest: &Path) -> io::Result<()> {
        self.file.file().sync_data()?;
        publish(self.file, dest)
    }
}

impl Write for LayerSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a blob its name. What has the name already may have rotted, so bytes that were just hashed take its place;
/// whoever reads the old file keeps it.
fn publish(file: Unnamed, dest: &Path) -> io::Result<()> {
    if !dest.exists() {
        return file.publish(dest).map(drop);
    }
    let hidden = dest.with_file_name(format!(".{}", unique_name()));
    file.publish(&hidden)?;
    fs::rename(&hidden, dest).map_err(|e| file::context(e, "replace", dest))
}

impl Store {
    pub(super) fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Starts a blob of unknown digest.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter::new(Place::Unnamed(Unnamed::new(&self.tmp())?), self.root.join("blobs/sha256")))
    }

    /// Starts the tar of a new layer; [`Store::commit_layer`] ends it.
    pub fn layer_sink(&self) -> Result<LayerSink, StoreError> {
        Ok(LayerSink { file: Unnamed::new(&self.tmp())? })
    }

    /// Stores small bytes, or makes sure they are there undamaged.
    pub fn put_blob(&self, bytes: &[u8], durability: Durability) -> Result<BlobDigest, StoreError> {
        let digest = BlobDigest::of(bytes);
        let path = self.blob_path(&digest);
        if fs::read(&path).is_ok_and(|found| found == bytes) {
            return Ok(digest);
        }
        file::replace(&path, bytes, durability)?;
        Ok(digest)
    }

    /// Whether a blob of this name exists.
    pub fn has_blob(&self, digest: &BlobDigest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob; its size in bytes comes with it. The content is not hashed. One that is elsewhere is brought.
    pub fn open_blob(&self, digest: &BlobDigest) -> Result<(File, u64), StoreError> {
        match self.open_here(digest) {
            Err(StoreError::MissingBlob(_)) if self.bring(digest)? => self.open_here(digest),
            opened => opened,
        }
    }

    /// Opens a blob that is here.
    pub(super) fn open_here(&self, digest: &BlobDigest) -> Result<(File, u64), StoreError> {
        let path = self.blob_path(digest);
        match file::open_regular(&path) {
            Ok(file) => {
                let size = file.metadata()?.len();
                Ok((file, size))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::MissingBlob(*digest)),
            Err(error) => Err(file::context(error, "open", &path).into()),
        }
    }

    /// Reads a whole blob of at most `limit` bytes and checks its digest.
    pub fn read_blob(&self, digest: &BlobDigest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open_blob(digest)?;
        if size > limit {
            return Err(StoreError::TooLarge { digest: *digest, size, limit });
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        let actual = BlobDigest::of(&bytes);
        if actual != *digest {
            return Err(StoreError::CorruptBlob { expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Hashes a blob again, whatever its size.
    pub fn verify_blob(&self, digest: &BlobDigest) -> Result<(), StoreError> {
        let (file, _) = self.open_blob(digest)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let got = file.read_at(&mut buffer, at)?;
            if got == 0 {
                break;
            }
            hash.update(&buffer[..got]);
            at += got as u64;
        }
        let actual = BlobDigest::from_bytes(hash.finalize().into());
        if actual == *digest { Ok(()) } else { Err(StoreError::CorruptBlob { expected: *digest, actual }) }
    }
}
