//! The tar writer: entries to the bytes that containerd's archive writer would have written (spec/layer.md).
//!
//! Owns: order, header fields, whiteout names, the diff id. Never reads a directory and never picks a mode, an owner
//! or a time.

use std::io::{self, Read, Write};

use super::entry::{Meta, Node, Toc, TocEntry};
use super::hash::{BUFFER, DiffHasher, fill};
use super::header::{self, Header, HeaderError};
use crate::digest::{ContentDigest, DiffId};
use crate::path::ImagePath;

/// What a tar is padded to.
const BLOCK: u64 = 512;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot write the layer at {path}")]
    Sink { path: ImagePath, source: io::Error },
    #[error("cannot read the bytes of {path}")]
    Body { path: ImagePath, source: io::Error },
    #[error(
        "{path} holds {actual} bytes or more where {expected} were announced: it changed while it was read"
    )]
    Length { path: ImagePath, expected: u64, actual: u64 },
    #[error("entry {path} comes after {previous}, which is not the order of a layer")]
    Order { path: ImagePath, previous: ImagePath },
    #[error("entry {path} is there twice")]
    Duplicate { path: ImagePath },
    #[error("entry {path} lies below {above}, which is not a directory")]
    BelowNonDirectory { path: ImagePath, above: ImagePath },
    #[error(
        "{path} cannot be represented in a layer: a name that begins with \".wh.\" means a deletion there"
    )]
    WhiteoutName { path: ImagePath },
    #[error("entry {path} is a regular file without its bytes")]
    NoBytes { path: ImagePath },
    #[error("entry {path} is an opaque mark; a layer of lith spells out what it hides")]
    Opaque { path: ImagePath },
    #[error("hard link {path} points to {target}, which is not a regular file written before")]
    LinkTarget { path: ImagePath, target: ImagePath },
    #[error("symlink {path} has an empty target or one with a zero byte")]
    SymlinkTarget { path: ImagePath },
    #[error("the root can only be a directory and has no entry in a layer")]
    Root,
    #[error("entry {path} does not fit a tar header")]
    Header { path: ImagePath, source: HeaderError },
}

/// What a finished layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// sha256 of every byte written.
    pub diff_id: DiffId,
    /// Bytes written.
    pub size: u64,
    pub toc: Toc,
}

/// Writes one layer in one pass. Dropping it unfinished leaves a tar without an end.
pub struct LayerWriter<W: Write> {
    sink: W,
    buffer: Vec<u8>,
    /// Bytes of the layer so far, those in the buffer included.
    position: u64,
    hash: DiffHasher,
    entries: Vec<TocEntry>,
}

impl<W: Write> LayerWriter<W> {
    /// Starts a layer; nothing is written yet.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            buffer: Vec::with_capacity(BUFFER),
            position: 0,
            hash: DiffHasher::new(),
            entries: Vec::new(),
        }
    }

    /// Writes an entry without bytes. Entries come in layer order, each path once; parents may be left out. The
    /// metadata of a whiteout is always zero, whatever is given.
    ///
    /// # Errors
    /// [`WriteError::NoBytes`] for a [`Node::File`], [`WriteError::Opaque`] for a [`Node::Opaque`].
    pub fn node(&mut self, path: &ImagePath, meta: &Meta, node: &Node) -> Result<(), WriteError> {
        self.check_place(path)?;
        let meta = match node {
            Node::Whiteout => &Meta::default(),
            Node::File { .. } => return Err(WriteError::NoBytes { path: path.clone() }),
            Node::Opaque => return Err(WriteError::Opaque { path: path.clone() }),
            Node::Hardlink(target) => {
                self.check_link(path, target)?;
                meta
            }
            Node::Symlink(target) if target.is_empty() || target.contains(&0) => {
                return Err(WriteError::SymlinkTarget { path: path.clone() });
            }
            Node::Symlink(_) | Node::Dir | Node::Char { .. } | Node::Block { .. } | Node::Fifo => meta,
        };
        self.header(path, &Header { path, meta, node })?;
        self.entries.push(TocEntry { path: path.clone(), meta: meta.clone(), node: node.clone() });
        Ok(())
    }

    /// Writes a regular file whose bytes are in memory; `content` is their digest, which the caller has.
    pub fn bytes(
        &mut self,
        path: &ImagePath,
        meta: &Meta,
        bytes: &[u8],
        content: ContentDigest,
    ) -> Result<(), WriteError> {
        let offset = self.begin_file(path, meta, bytes.len() as u64)?;
        self.put(path, bytes)?;
        self.end_file(path, meta, Node::File { size: bytes.len() as u64, content, offset })
    }

    /// Writes a regular file of exactly `size` bytes from a reader and returns their digest.
    ///
    /// # Errors
    /// [`WriteError::Length`] if the reader ends early or has more.
    pub fn stream(
        &mut self,
        path: &ImagePath,
        meta: &Meta,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<ContentDigest, WriteError> {
        let offset = self.begin_file(path, meta, size)?;
        let content = self.copy(path, size, reader)?;
        self.end_file(path, meta, Node::File { size, content, offset })?;
        Ok(content)
    }

    /// Ends the tar with two zero blocks and gives back the sink, flushed.
    pub fn finish(mut self) -> Result<(W, Written), WriteError> {
        self.put(&ImagePath::root(), &[0; 1024])?;
        self.drain(&ImagePath::root())?;
        self.sink.flush().map_err(|source| WriteError::Sink { path: ImagePath::root(), source })?;
        let written = Written {
            diff_id: self.hash.finish().expect("the writer's hash is on"),
            size: self.position,
            toc: Toc::from_sorted(self.entries),
        };
        Ok((self.sink, written))
    }

    /// What may stand here: a later path than the last, below no file, not itself the name of a whiteout.
    fn check_place(&self, path: &ImagePath) -> Result<(), WriteError> {
        if path.is_root() {
            return Err(WriteError::Root);
        }
        if path.names().any(|name| name.starts_with(header::WHITEOUT_PREFIX)) {
            return Err(WriteError::WhiteoutName { path: path.clone() });
        }
        let Some(last) = self.entries.last() else { return Ok(()) };
        match last.path.cmp(path) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Err(WriteError::Duplicate { path: path.clone() }),
            std::cmp::Ordering::Greater => {
                return Err(WriteError::Order { path: path.clone(), previous: last.path.clone() });
            }
        }
        // Whatever is below a path follows it at once, so the last entry tells.
        if last.node != Node::Dir && path.strip_prefix(&last.path).is_some() {
            return Err(WriteError::BelowNonDirectory { path: path.clone(), above: last.path.clone() });
        }
        Ok(())
    }

    fn check_link(&self, path: &ImagePath, target: &ImagePath) -> Result<(), WriteError> {
        let at = self.entries.partition_point(|e| e.path < *target);
        let known = self.entries.get(at).filter(|e| e.path == *target);
        if known.is_some_and(|e| matches!(e.node, Node::File { .. })) {
            return Ok(());
        }
        Err(WriteError::LinkTarget { path: path.clone(), target: target.clone() })
    }

    fn begin_file(&mut self, path: &ImagePath, meta: &Meta, size: u64) -> Result<u64, WriteError> {
        self.check_place(path)?;
        let node = Node::File { size, content: ContentDigest::from_bytes([0; 32]), offset: 0 };
        self.header(path, &Header { path, meta, node: &node })?;
        Ok(self.position)
    }

    fn end_file(&mut self, path: &ImagePath, meta: &Meta, node: Node) -> Result<(), WriteError> {
        let over = self.position % BLOCK;
        if over > 0 {
            let pad = usize::try_from(BLOCK - over).expect("less than a block");
            self.put(path, &[0; 512][..pad])?;
        }
        self.entries.push(TocEntry { path: path.clone(), meta: meta.clone(), node });
        Ok(())
    }

    fn header(&mut self, path: &ImagePath, header: &Header<'_>) -> Result<(), WriteError> {
        if self.buffer.len() + 4096 > BUFFER {
            self.drain(path)?;
        }
        let before = self.buffer.len();
        let encoded = header.encode(&mut self.buffer);
        self.position += (self.buffer.len() - before) as u64;
        encoded.map_err(|source| WriteError::Header { path: path.clone(), source })
    }

    /// Copies from the reader through the buffer, hashing the content on the way.
    fn copy(
        &mut self,
        path: &ImagePath,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<ContentDigest, WriteError> {
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        while left > 0 {
            if self.buffer.len() >= BUFFER {
                self.drain(path)?;
            }
            let from = self.buffer.len();
            let room = (BUFFER - from).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.resize(from + room, 0);
            let filled = fill(reader, &mut self.buffer[from..]);
            let got = filled.map_err(|source| WriteError::Body { path: path.clone(), source })?;
            self.buffer.truncate(from + got);
            hasher.update(&self.buffer[from..]);
            self.position += got as u64;
            left -= got as u64;
            if got < room {
                return Err(WriteError::Length { path: path.clone(), expected: size, actual: size - left });
            }
        }
        let more = fill(reader, &mut [0]);
        match more.map_err(|source| WriteError::Body { path: path.clone(), source })? {
            0 => Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes())),
            _ => Err(WriteError::Length { path: path.clone(), expected: size, actual: size + 1 }),
        }
    }

    fn put(&mut self, path: &ImagePath, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.position += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.buffer.len() >= BUFFER {
                self.drain(path)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the buffer out and passes it on to be hashed.
    fn drain(&mut self, path: &ImagePath) -> Result<(), WriteError> {
        let written = self.sink.write_all(&self.buffer);
        written.map_err(|source| WriteError::Sink { path: path.clone(), source })?;
        self.hash.update(&mut self.buffer);
        Ok(())
    }
}
