//! The bytes of a tar, each counted and hashed once.

use std::io::Read;

use super::fault::Fault;
use crate::digest::DiffId;
use crate::layer::hash::{BUFFER, DiffHasher, fill};

/// A tar's bytes on their way in.
pub(super) struct Source<R> {
    reader: R,
    hash: DiffHasher,
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    at: usize,
    /// Where the unused part of the buffer begins in the tar.
    position: u64,
    limit: u64,
}

impl<R: Read> Source<R> {
    pub fn new(reader: R, hash: DiffHasher, limit: u64) -> Self {
        Self { reader, hash, buffer: Vec::with_capacity(BUFFER), at: 0, position: 0, limit }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes at most `most` bytes; none means that the input has ended.
    pub fn chunk(&mut self, most: u64) -> Result<&[u8], Fault> {
        if self.at == self.buffer.len() {
            self.refill()?;
        }
        let there = self.buffer.len() - self.at;
        let len = usize::try_from(most).unwrap_or(usize::MAX).min(there);
        let from = self.at;
        self.at += len;
        self.position += len as u64;
        if self.position > self.limit {
            return Err(Fault::TooLarge(self.limit));
        }
        Ok(&self.buffer[from..from + len])
    }

    /// Takes one block; `None` at the end of the input.
    pub fn block(&mut self) -> Result<Option<[u8; 512]>, Fault> {
        let mut block = [0; 512];
        match self.take(&mut block)? {
            0 => Ok(None),
            512 => Ok(Some(block)),
            _ => Err(Fault::Truncated),
        }
    }

    /// Takes exactly `len` bytes into memory, which the caller has bounded.
    pub fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len];
        if self.take(&mut bytes)? < len {
            return Err(Fault::Truncated);
        }
        Ok(bytes)
    }

    pub fn skip(&mut self, mut len: u64) -> Result<(), Fault> {
        while len > 0 {
            match self.chunk(len)?.len() {
                0 => return Err(Fault::Truncated),
                taken => len -= taken as u64,
            }
        }
        Ok(())
    }

    /// Takes whatever is left; says whether any byte of it is not zero.
    pub fn rest(&mut self) -> Result<bool, Fault> {
        let mut is_zero = true;
        loop {
            let chunk = self.chunk(u64::MAX)?;
            if chunk.is_empty() {
                return Ok(!is_zero);
            }
            is_zero &= chunk.iter().all(|b| *b == 0);
        }
    }

    /// The diff id of all that was taken; the input must have ended.
    pub fn finish(mut self) -> Option<DiffId> {
        self.hash.update(&mut self.buffer);
        self.hash.finish()
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while taken < into.len() {
            let chunk = self.chunk((into.len() - taken) as u64)?;
            if chunk.is_empty() {
                break;
            }
            into[taken..taken + chunk.len()].copy_from_slice(chunk);
            taken += chunk.len();
        }
        Ok(taken)
    }

    fn refill(&mut self) -> Result<(), Fault> {
        self.hash.update(&mut self.buffer);
        self.buffer.clear();
        self.at = 0;
        self.buffer.resize(BUFFER, 0);
        let filled = fill(&mut self.reader, &mut self.buffer);
        self.buffer.truncate(filled.as_ref().copied().unwrap_or(0));
        filled.map(drop).map_err(Fault::Io)
    }
}
