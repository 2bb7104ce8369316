//! A blob that is read and hashed at once.

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::export::ExportError;
use super::ingest::BlobSource;
use crate::digest::BlobDigest;
use crate::oci::Descriptor;
use crate::store::Store;

/// A blob whose last bytes come only if all of them have its digest.
pub(crate) struct Verified<R> {
    inner: R,
    hash: Sha256,
    left: u64,
    size: u64,
    digest: BlobDigest,
}

impl Verified<File> {
    /// A blob of the store, of the size that it has there.
    pub(crate) fn open(store: &Store, digest: BlobDigest) -> Result<Self, ExportError> {
        let (file, size) = store.open_blob(&digest)?;
        Ok(Self::new(file, digest, size))
    }
}

impl<'a> Verified<Box<dyn Read + Send + 'a>> {
    /// A blob of some place.
    pub(crate) fn of(source: &'a dyn BlobSource, blob: &Descriptor) -> io::Result<Self> {
        Ok(Self::new(source.open(blob)?, blob.digest, blob.size))
    }
}

impl<R: Read> Verified<R> {
    pub(crate) fn new(inner: R, digest: BlobDigest, size: u64) -> Self {
        Self { inner, hash: Sha256::new(), left: size, size, digest }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..want])?;
        self.hash.update(&buffer[..count]);
        self.left -= count as u64;
        let is_cut = count == 0 && want > 0;
        if self.left == 0 || is_cut {
            let actual = BlobDigest::from_bytes(self.hash.clone().finalize().into());
            if actual != self.digest {
                let message = format!("blob {} is corrupt: content hashes to {actual}", self.digest);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if is_cut {
                let message = format!(
                    "blob {} has {} bytes; its descriptor says {}",
                    self.digest,
                    self.size - self.left,
                    self.size
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest: BlobDigest, size: u64) -> Result<Vec<u8>, (Vec<u8>, String)> {
        let mut out = Vec::new();
        match io::copy(&mut Verified::new(bytes, digest, size), &mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err((out, error.to_string())),
        }
    }

    #[test]
    fn other_bytes_never_come_to_an_end() {
        let digest = BlobDigest::of(b"hello");
        assert_eq!(read(b"hello", digest, 5).unwrap(), b"hello");
        assert_eq!(read(b"hello, and more", digest, 5).unwrap(), b"hello");
        for (bytes, size, says) in [
            (&b"jello"[..], 5, "is corrupt"),
            (b"hell", 5, "is corrupt"),
            (b"hello", 4, "is corrupt"),
            (b"hello", 6, "has 5 bytes; its descriptor says 6"),
        ] {
            let (out, error) = read(bytes, digest, size).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(out.len() < usize::try_from(size).unwrap(), "{out:?}");
        }
    }
}
