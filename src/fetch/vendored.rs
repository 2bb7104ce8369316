//! A directory with everything that a build takes from elsewhere (spec/lockfile.md, "Vendoring").

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::FetchError;
use crate::digest::BlobDigest;
use crate::store::StoreError;
use crate::sys::file::{self, unique_name};

/// What marks such a directory, and the version of its form.
const MARK: (&str, &[u8]) = ("lith-vendor", b"vendor 1\n");

/// A vendored directory.
#[derive(Debug, Clone)]
pub struct Vendored {
    dir: PathBuf,
}

impl Vendored {
    /// One that is there.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let mark = dir.join(MARK.0);
        let mut found = Vec::new();
        file::open_regular(&mark)
            .and_then(|file| file.take(64).read_to_end(&mut found))
            .map_err(|e| file::context(e, "read", &mark))?;
        if found != MARK.1 {
            let error = io::Error::new(io::ErrorKind::InvalidData, "this lith reads version 1 alone");
            return Err(file::context(error, "read", &mark));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Makes one, or goes on with one that is there.
    pub fn create(dir: &Path) -> io::Result<Self> {
        for part in ["files", "git"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(|e| file::context(e, "create", &part))?;
        }
        let mark = dir.join(MARK.0);
        if !mark.exists() {
            file::replace(&mark, MARK.1, file::Durability::Synced)?;
        }
        Self::open(dir)
    }

    /// The OCI layout with the images.
    pub fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// How an image is called in there.
    pub fn image_name(manifest: &BlobDigest) -> String {
        format!("pinned:{}", manifest.hex())
    }

    /// Where a file is.
    pub fn file(&self, sha256: &BlobDigest) -> PathBuf {
        self.dir.join("files").join(sha256.hex())
    }

    /// Where the objects of a commit are.
    pub fn pack(&self, commit: &str) -> PathBuf {
        self.dir.join("git").join(format!("{commit}.pack"))
    }

    /// Opens one of them; `None` if it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<File>, FetchError> {
        match file::open_regular(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::from(file::context(error, "open", path)).into()),
        }
    }

    /// Writes a file, unless it is there with this digest: whole or not at all.
    pub fn put_file(&self, sha256: &BlobDigest, mut bytes: impl Read) -> Result<(), FetchError> {
        let path = self.file(sha256);
        if file::open_regular(&path).is_ok_and(|there| sha256_of(there).is_ok_and(|found| found == *sha256)) {
            return Ok(());
        }
        self.replace(&path, |to| Ok(io::copy(&mut bytes, to).map(drop).map_err(StoreError::from)?))
    }

    /// Writes the objects of a commit.
    pub fn put_pack(
        &self,
        commit: &str,
        fill: impl FnOnce(&mut File) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        self.replace(&self.pack(commit), fill)
    }

    fn replace(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut File) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let io = |error| FetchError::from(StoreError::from(file::context(error, "write", path)));
        let temp = self.dir.join(format!(".{}", unique_name()));
        let mut file = File::create_new(&temp).map_err(io)?;
        let written = fill(&mut file)
            .and_then(|()| file.sync_data().and_then(|()| fs::rename(&temp, path)).map_err(io));
        if written.is_err() {
            let _ = fs::remove_file(&temp);
        }
        written
    }
}

fn sha256_of(mut bytes: impl Read) -> io::Result<BlobDigest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(BlobDigest::from_bytes(hash.finalize().into())),
            count => hash.update(&buffer[..count]),
        }
    }
}
