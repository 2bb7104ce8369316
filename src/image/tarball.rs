//! The tar around an image: what `type=oci` and `type=docker` put their files into.
//!
//! Owns: spec/archives.md, "Archive". Plain ustar, names as given, no time but 1970, no owner but root. Layers are
//! not written here.

use std::io::{self, Read, Write};

/// Writes an archive. Dropping it leaves the archive unfinished.
pub struct Tarball<W: Write> {
    builder: tar::Builder<W>,
}

impl<W: Write> Tarball<W> {
    /// Starts an archive.
    pub fn new(sink: W) -> Self {
        Self { builder: tar::Builder::new(sink) }
    }

    /// A directory, mode 0755; `name` without a trailing slash.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.builder.append_data(&mut header, format!("{name}/"), io::empty())
    }

    /// A file in memory, mode 0644.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.stream(name, bytes.len() as u64, bytes)
    }

    /// A file of exactly `size` bytes, mode 0644. An error if the reader holds less; what it holds beyond is not
    /// read.
    pub fn stream(&mut self, name: &str, size: u64, reader: impl Read) -> io::Result<()> {
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        let mut exact = Exact { inner: reader.take(size), left: size };
        self.builder.append_data(&mut header, name, &mut exact)?;
        match exact.left {
            0 => Ok(()),
            left => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} ended {left} bytes before its size of {size}"),
            )),
        }
    }

    /// Writes the two zero blocks and gives back the sink, flushed.
    pub fn finish(self) -> io::Result<W> {
        let mut sink = self.builder.into_inner()?;
        sink.flush()?;
        Ok(sink)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// Counts down, because the tar crate does not look whether a body has the size of its header.
struct Exact<R> {
    inner: io::Take<R>,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;

    #[test]
    fn pinned_vector() {
        // spec/archives.md, "Archive".
        let mut tarball = Tarball::new(Vec::new());
        tarball.directory("blobs").unwrap();
        tarball.file("blobs/x", b"hello").unwrap();
        let bytes = tarball.finish().unwrap();
        assert_eq!(bytes.len(), 512 * 5);
        assert_eq!(BlobDigest::of(&bytes).to_string(), PINNED);
    }

    const PINNED: &str = "sha256:94a0552485353dfa82deacfd6c7fff1a05ed29149d97a0f4abe0877e712fdbfa";

    #[test]
    fn a_body_must_have_its_size() {
        let mut tarball = Tarball::new(Vec::new());
        assert!(tarball.stream("x", 6, &b"hello"[..]).unwrap_err().to_string().contains("x ended 1 bytes"));
    }
}
