//! sha256 of a layer while it passes by, on a thread of its own where that pays.
//!
//! Owns: the buffers that go back and forth. Never reads or writes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use crate::digest::DiffId;

/// Bytes gathered before they are hashed.
pub const BUFFER: usize = 256 * 1024;
/// Buffers under way to the hashing thread: with those in hand this bounds memory to 4 MiB.
const IN_FLIGHT: usize = 12;

/// The diff id under way. A small layer hashes where it is; once a buffer is full a thread takes over, so that
/// sha256 overlaps with reading, BLAKE3 and writing.
pub enum DiffHasher {
    /// Nobody asked for the diff id.
    Off,
    Here(Sha256),
    There {
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        thread: JoinHandle<Sha256>,
    },
}

impl DiffHasher {
    /// Starts a diff id.
    pub fn new() -> Self {
        Self::Here(Sha256::new())
    }

    /// Takes the bytes and leaves an empty buffer.
    pub fn update(&mut self, buffer: &mut Vec<u8>) {
        match self {
            Self::Off => {}
            Self::Here(sha) if buffer.len() < BUFFER / 2 => sha.update(&buffer[..]),
            Self::Here(sha) => {
                *self = Self::spawn(std::mem::take(sha));
                return self.update(buffer);
            }
            Self::There { full, empty, .. } => {
                let next = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
                let sent = full.send(std::mem::replace(buffer, next));
                sent.expect("the hashing thread lives until the sender is dropped");
            }
        }
        buffer.clear();
    }

    fn spawn(mut sha: Sha256) -> Self {
        let (full, blocks) = sync_channel::<Vec<u8>>(IN_FLIGHT);
        let (back, empty) = sync_channel(IN_FLIGHT + 2);
        let thread = std::thread::spawn(move || {
            for block in blocks {
                sha.update(&block);
                // A full or closed channel only means that the buffer is not needed again.
                let _ = back.try_send(block);
            }
            sha
        });
        Self::There { full, empty, thread }
    }

    /// The diff id of all bytes; `None` where it is off.
    pub fn finish(self) -> Option<DiffId> {
        let sha = match self {
            Self::Off => return None,
            Self::Here(sha) => sha,
            Self::There { full, thread, .. } => {
                drop(full);
                thread.join().expect("hashing does not panic")
            }
        };
        Some(DiffId::from_bytes(sha.finalize().into()))
    }
}

/// Reads until the slice is full or the reader ends.
pub fn fill(reader: &mut dyn Read, mut into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while !into.is_empty() {
        match reader.read(into) {
            Ok(0) => break,
            Ok(n) => {
                got += n;
                into = &mut into[n..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
