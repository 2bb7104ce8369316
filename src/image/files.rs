//! The files of an image that is not in the store yet: a directory or a tar, read by name and never outside.
//!
//! Owns: how a name in a layout becomes bytes. A tar may be packed (gzip, zstd, xz, bzip2) and may come from a
//! pipe; then it is laid down once, in the store's own temporary space, and read there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::diag::escape;
use crate::layer::compress::Decompressor;
use crate::layer::read::{self, Limits, Purpose, ReadError};
use crate::layer::{Node, Toc};
use crate::path::{ImagePath, PathError};
use crate::sys::file::Unnamed;

/// The most symlinks on the way to one file of an archive.
const MAX_LINKS: usize = 8;

/// The files of a layout or an archive.
pub struct Files {
    shown: String,
    form: Form,
}

enum Form {
    Directory(OwnedFd),
    Tar { tar: Tar, toc: Toc },
}

/// Where an unpacked tar lies.
enum Tar {
    Spooled(Unnamed),
    InPlace(File),
}

impl Tar {
    fn file(&self) -> &File {
        match self {
            Self::Spooled(spool) => spool.file(),
            Self::InPlace(file) => file,
        }
    }
}

/// Why a file of an archive cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("read {archive}: {source}")]
    Read { archive: String, source: io::Error },
    #[error("{archive} is not a sound tar: {source}")]
    Tar { archive: String, source: ReadError },
    #[error("{archive} has no file {name}")]
    Missing { archive: String, name: String },
    #[error("{archive}: {name} is not a regular file")]
    NotAFile { archive: String, name: String },
    #[error("{archive}: {name} has {size} bytes, more than the {limit} allowed here")]
    TooLarge { archive: String, name: String, size: u64, limit: u64 },
    #[error("{archive}: too many symlinks on the way to {name}")]
    Links { archive: String, name: String },
    #[error("{archive}: {source}")]
    Path { archive: String, source: PathError },
}

impl Files {
    /// The files of a directory. Symlinks in it are followed as long as they stay in it.
    pub fn directory(path: &Path) -> Result<Self, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| FilesError::Open { path: path.to_owned(), source: e.into() })?;
        Ok(Self { shown: escape(path.as_os_str().as_encoded_bytes()), form: Form::Directory(dir) })
    }

    /// The files of a tar that is read to its end, packed or not, by way of a file without a name in `spool`. `shown` names
    /// it in messages.
    pub fn tar(spool: &Path, shown: &str, input: impl Read + Send) -> Result<Self, FilesError> {
        let shown = escape(shown.as_bytes());
        let read_error = |source| FilesError::Read { archive: shown.clone(), source };
        let limits = Limits::default();
        let mut spool = Unnamed::new(spool).map_err(read_error)?;
        let plain = Decompressor::new(input, limits.unpacking()).map_err(read_error)?;
        let indexed = read::index_for(Tee { from: plain, to: &mut spool }, &limits, Purpose::Archive)
            .map_err(|source| FilesError::Tar { archive: shown.clone(), source })?;
        Ok(Self { shown, form: Form::Tar { tar: Tar::Spooled(spool), toc: indexed.toc } })
    }

    /// The files of a tar file, packed or not. A tar that is not packed is read where it lies, any other from `spool`.
    pub fn tar_file(spool: &Path, path: &Path) -> Result<Self, FilesError> {
        let file = File::open(path).map_err(|source| FilesError::Open { path: path.to_owned(), source })?;
        let shown = path.to_string_lossy();
        if !is_plain_tar(&file) {
            return Self::tar(spool, &shown, file);
        }
        let shown = escape(shown.as_bytes());
        let size = file.metadata().map_or(0, |meta| meta.len());
        let indexed = read::index_for(Slice::new(&file, 0, size), &Limits::default(), Purpose::Archive)
            .map_err(|source| FilesError::Tar { archive: shown.clone(), source })?;
        Ok(Self { shown, form: Form::Tar { tar: Tar::InPlace(file), toc: indexed.toc } })
    }

    /// A tar as one layer: its bytes, not packed, and its table. `None` for a directory.
    pub fn into_tar(self) -> Option<io::Result<(File, Toc)>> {
        match self.form {
            Form::Directory(_) => None,
            Form::Tar { tar, toc } => Some(tar.file().try_clone().map(|file| (file, toc))),
        }
    }

    /// How messages call the whole.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Opens a file: its bytes and how many there are. A name that leads out is an error.
    pub fn open(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64), FilesError> {
        let path = ImagePath::parse(name.as_bytes()).map_err(|source| self.path_error(source))?;
        match &self.form {
            Form::Directory(dir) => self.open_in_directory(dir, &path),
            Form::Tar { tar, toc } => {
                let (offset, size) = self.find_in_tar(toc, &path)?;
                Ok((Box::new(Slice::new(tar.file(), offset, size)), size))
            }
        }
    }

    /// A small file as a whole; `None` if there is none of that name.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FilesError> {
        let (mut reader, size) = match self.open(name) {
            Ok(opened) => opened,
            Err(FilesError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if size > limit {
            let (archive, name) = (self.shown.clone(), escape(name.as_bytes()));
            return Err(FilesError::TooLarge { archive, name, size, limit });
        }
        let mut bytes = Vec::new();
        reader.by_ref().take(size).read_to_end(&mut bytes).map_err(|source| self.read_error(source))?;
        Ok(Some(bytes))
    }

    fn open_in_directory(
        &self,
        dir: &OwnedFd,
        path: &ImagePath,
    ) -> Result<(Box<dyn Read + Send + '_>, u64), FilesError> {
        // Without NONBLOCK a FIFO planted in a layout would hold the program forever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(dir.as_fd(), path.as_os_str(), flags, Mode::empty(), resolve);
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Err(self.missing(path)),
            Err(error) => return Err(self.read_error(named(error.into(), path))),
        };
        let meta = file.metadata().map_err(|source| self.read_error(source))?;
        if !meta.is_file() {
            return Err(self.not_a_file(path));
        }
        Ok((Box::new(file), meta.len()))
    }

    /// Offset and size of a file's bytes, symlinks resolved inside the archive by text.
    fn find_in_tar(&self, toc: &Toc, path: &ImagePath) -> Result<(u64, u64), FilesError> {
        let mut at = path.clone();
        for _ in 0..=MAX_LINKS {
            let entry = toc.get(&at).ok_or_else(|| self.missing(path))?;
            match &entry.node {
                Node::File { size, offset, .. } => return Ok((*offset, *size)),
                Node::Hardlink(target) => at = target.clone(),
                Node::Symlink(target) => {
                    let dir = at.parent().unwrap_or_default();
                    at = dir.join_clamped(target).map_err(|source| self.path_error(source))?;
                }
                Node::Dir
                | Node::Char { .. }
                | Node::Block { .. }
                | Node::Fifo
                | Node::Whiteout
                | Node::Opaque => return Err(self.not_a_file(path)),
            }
        }
        Err(FilesError::Links { archive: self.shown.clone(), name: relative(path) })
    }

    fn missing(&self, path: &ImagePath) -> FilesError {
        FilesError::Missing { archive: self.shown.clone(), name: relative(path) }
    }

    fn not_a_file(&self, path: &ImagePath) -> FilesError {
        FilesError::NotAFile { archive: self.shown.clone(), name: relative(path) }
    }

    fn read_error(&self, source: io::Error) -> FilesError {
        FilesError::Read { archive: self.shown.clone(), source }
    }

    fn path_error(&self, source: PathError) -> FilesError {
        FilesError::Path { archive: self.shown.clone(), source }
    }
}

fn relative(path: &ImagePath) -> String {
    escape(path.as_bytes())
}

fn named(error: io::Error, path: &ImagePath) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", relative(path)))
}

/// Reads and keeps what was read.
pub(super) struct Tee<R, W> {
    pub from: R,
    pub to: W,
}

impl<R: Read, W: io::Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// A part of a file, read without moving the file's own position.
pub(super) struct Slice<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl<'a> Slice<'a> {
    pub(super) fn new(file: &'a File, offset: u64, size: u64) -> Self {
        Self { file, offset, left: size }
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..want], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Whether a regular file begins with a tar header as POSIX has it.
fn is_plain_tar(file: &File) -> bool {
    let mut magic = [0; 5];
    file.metadata().is_ok_and(|meta| meta.is_file())
        && file.read_exact_at(&mut magic, 257).is_ok()
        && magic == *b"ustar"
}
