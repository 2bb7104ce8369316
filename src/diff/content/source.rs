//! Bytes that can be read anywhere: a file, a window of one, or what was unpacked of one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::{Fault, Scope};
use crate::sys::file::Unnamed;

/// What is unpacked stays in memory up to here.
const IN_MEMORY: usize = 1 << 20;
/// Bytes are compared in pieces of this size.
pub const PIECE: usize = 64 << 10;

/// Bytes of a file, or of a part of it.
#[derive(Debug, Clone)]
pub struct Source {
    store: Store,
    at: u64,
    len: u64,
}

#[derive(Debug, Clone)]
enum Store {
    File(Arc<File>),
    Spool(Arc<Unnamed>),
    Memory(Arc<[u8]>),
}

impl Source {
    /// A file of that many bytes.
    pub fn file(file: File, len: u64) -> Self {
        Self { store: Store::File(Arc::new(file)), at: 0, len }
    }

    /// Bytes that are here already.
    pub fn memory(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { store: Store::Memory(bytes.into()), at: 0, len }
    }

    /// Takes in what a reader of unpacked bytes gives. What the reader complains of is a fault of the format.
    pub fn unpacked(mut reader: impl Read, scope: &Scope<'_>) -> Result<Self, Fault> {
        let bad = |error: io::Error| Fault::Format(format!("it does not unpack: {error}"));
        let mut first = Vec::new();
        reader.by_ref().take(IN_MEMORY as u64 + 1).read_to_end(&mut first).map_err(bad)?;
        if first.len() <= IN_MEMORY {
            scope.budget.read(first.len() as u64)?;
            return Ok(Self::memory(first));
        }
        let mut spool = Unnamed::new(&scope.limits.scratch)?;
        spool.write_all(&first)?;
        scope.budget.read(first.len() as u64)?;
        let mut len = first.len() as u64;
        let mut piece = first;
        piece.truncate(PIECE);
        loop {
            let got = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(bad(error)),
            };
            len += got as u64;
            scope.budget.read(got as u64)?;
            spool.write_all(&piece[..got])?;
        }
        Ok(Self { store: Store::Spool(Arc::new(spool)), at: 0, len })
    }

    pub const fn len(&self) -> u64 {
        self.len
    }

    /// A window; none where it would reach out of this one.
    pub fn slice(&self, at: u64, len: u64) -> Option<Self> {
        at.checked_add(len).filter(|end| *end <= self.len)?;
        Some(Self { store: self.store.clone(), at: self.at + at, len })
    }

    /// The window from there to the end.
    pub fn tail(&self, at: u64) -> Option<Self> {
        self.slice(at, self.len.checked_sub(at)?)
    }

    /// Fills as much of `into` as there is.
    pub fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let (into, at) = (&mut into[..most], self.at + at.min(self.len));
        let file = match &self.store {
            Store::File(file) => file.as_ref(),
            Store::Spool(spool) => spool.file(),
            Store::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let got = into.len().min(bytes.len() - from);
                into[..got].copy_from_slice(&bytes[from..from + got]);
                return Ok(got);
            }
        };
        let mut got = 0;
        while got < into.len() {
            match file.read_at(&mut into[got..], at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    /// At most that many bytes from there on.
    pub fn some(&self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; most.min(left)];
        let got = self.read_at(&mut bytes, at)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Exactly these bytes.
    pub fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        if self.read_at(&mut bytes, at)? < N {
            return Err(Fault::Format(format!("it ends before byte {}", at.saturating_add(N as u64))));
        }
        Ok(bytes)
    }

    /// All of it, if a comparer may hold that much.
    pub fn whole(&self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.len > limit {
            return Ok(None);
        }
        self.some(0, usize::try_from(self.len).unwrap_or(usize::MAX)).map(Some)
    }

    /// All of it, or a fault that says how much it would have been.
    pub fn held(&self, limit: u64) -> Result<Vec<u8>, Fault> {
        self.whole(limit)?.ok_or_else(|| {
            Fault::Format(format!("it has {} bytes; at most {limit} are looked into", self.len))
        })
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { source: self, at: 0 }
    }
}

/// Reads a source from its beginning.
pub struct Reader<'a> {
    source: &'a Source,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read_at(into, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
