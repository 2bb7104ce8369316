//! What one comparison may use in all, however its files lie in each other.
//!
//! An archive may name the same bytes a thousand times, and be in itself again: limits of single files would multiply.

use std::cell::Cell;

use super::{Fault, fault};

/// Bytes that may be unpacked and compared of any two files, and how many more for each of theirs.
const FREE: u64 = 256 << 20;
const RATIO: u64 = 200;
/// Times the shown lines of one file that are shown of all that are in it.
const FILES: usize = 16;

/// What is left.
#[derive(Debug)]
pub struct Budget {
    bytes: Cell<u64>,
    shown: Cell<usize>,
}

impl Budget {
    /// For two files of so many bytes, of which that many lines may be shown.
    pub fn new(size: u64, lines: usize) -> Self {
        let bytes = size.saturating_mul(RATIO).saturating_add(FREE);
        Self { bytes: Cell::new(bytes), shown: Cell::new(lines.saturating_mul(FILES)) }
    }

    /// Takes bytes that are about to be read.
    pub fn read(&self, bytes: u64) -> Result<(), Fault> {
        match self.bytes.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => {
                self.bytes.set(0);
                fault("what is in it is far more than it is itself; this is taken for a bomb")
            }
        }
    }

    /// Takes lines, parts or fields, as many of them as are left.
    pub fn show(&self, wanted: usize) -> usize {
        let given = wanted.min(self.shown.get());
        self.shown.set(self.shown.get() - given);
        given
    }
}
