//! A directory with everything that a build takes from elsewhere (spec/lockfile.md, "Vendoring").
//!
//! It may have come with a source tree that nobody vouches for, so no symlink in it is followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::FetchError;
use crate::digest::BlobDigest;
use crate::path::ImagePath;
use crate::store::StoreError;
use crate::sys::beneath;
use crate::sys::file::{self, unique_name};

/// What marks such a directory, and the version of its form.
const MARK: (&str, &[u8]) = ("lith-vendor", b"vendor 1\n");

/// Directories of the layout with the images, from the outside in.
const LAYOUT: [&str; 3] = ["images", "images/blobs", "images/blobs/sha256"];
/// Files of it.
const LAYOUT_FILES: [&str; 2] = ["images/index.json", "images/oci-layout"];

/// A vendored directory.
#[derive(Debug, Clone)]
pub struct Vendored {
    dir: PathBuf,
    root: Arc<OwnedFd>,
}

impl Vendored {
    /// One that is there.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let vendored = Self::at(dir)?;
        let mut found = Vec::new();
        let mark = dir.join(MARK.0);
        vendored
            .open_regular(&mark)
            .and_then(|file| file.take(64).read_to_end(&mut found))
            .map_err(|e| file::context(e, "read", &mark))?;
        if found != MARK.1 {
            let error = io::Error::new(io::ErrorKind::InvalidData, "this lith reads version 1 alone");
            return Err(file::context(error, "read", &mark));
        }
        Ok(vendored)
    }

    /// Makes one, or goes on with one that is there.
    pub fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir).map_err(|e| file::context(e, "create", dir))?;
        let vendored = Self::at(dir)?;
        for part in ["files", "git"] {
            match rustix::fs::mkdirat(&vendored.root, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(file::context(error.into(), "create", &dir.join(part))),
            }
        }
        let mark = dir.join(MARK.0);
        if vendored.open_regular(&mark).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            file::replace(&mark, MARK.1, file::Durability::Synced)?;
        }
        Self::open(dir)
    }

    /// The name may be a symlink: who named it meant what it leads to.
    fn at(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty());
        let root = root.map_err(|e| file::context(e.into(), "open", dir))?;
        let vendored = Self { dir: dir.to_owned(), root: Arc::new(root) };
        vendored.check_layout()?;
        Ok(vendored)
    }

    /// The layout is read and written by its path, so what leads elsewhere is refused beforehand.
    fn check_layout(&self) -> io::Result<()> {
        for name in LAYOUT.into_iter().chain(LAYOUT_FILES) {
            match rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    return Err(file::context(is_a_symlink(), "open", &self.dir.join(name)));
                }
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(file::context(error.into(), "open", &self.dir.join(name))),
            }
        }
        Ok(())
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
    pub(super) fn read(&self, path: &Path) -> Result<Option<File>, FetchError> {
        match self.open_regular(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::from(file::context(error, "open", path)).into()),
        }
    }

    fn open_regular(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = beneath::open(&self.root, &self.below(path), flags, Mode::empty());
        let file = File::from(opened.map_err(explained)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(file)
    }

    /// A path of this directory, from its root.
    fn below(&self, path: &Path) -> ImagePath {
        let path = path.strip_prefix(&self.dir).expect("a path that was made from the directory's");
        ImagePath::parse(path.as_os_str().as_encoded_bytes()).expect("a name of our own")
    }

    /// Writes a file, unless it is there with this digest: whole or not at all.
    pub fn put_file(&self, sha256: &BlobDigest, mut bytes: impl Read) -> Result<(), FetchError> {
        let path = self.file(sha256);
        let there = self.open_regular(&path);
        if there.is_ok_and(|there| sha256_of(there).is_ok_and(|found| found == *sha256)) {
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
        let name = self.below(path);
        let holder = beneath::open_dir(&self.root, &name.parent().expect("it is in a directory"));
        let holder = holder.map_err(|error| io(explained(error)))?;
        let temp = format!(".{}", unique_name());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&self.root, &temp, flags, Mode::from_raw_mode(0o666));
        let mut file = File::from(created.map_err(|error| io(error.into()))?);
        let written = fill(&mut file).and_then(|()| {
            file.sync_data().map_err(io)?;
            rustix::fs::renameat(&self.root, &temp, &holder, name.name()).map_err(|error| io(error.into()))
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.root, &temp, AtFlags::empty());
        }
        written
    }
}

fn is_a_symlink() -> io::Error {
    io::Error::other("it is a symlink, or lies behind one, or behind what is no directory; remove that")
}

/// Says of a path that was not followed why it was not.
fn explained(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP | Errno::NOTDIR) => is_a_symlink(),
        _ => error,
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
