//! Reads of an ELF file that stay within what may be held, whatever its tables claim.

use std::cell::Cell;
use std::ops::Range;

use object::read::{ReadCache, ReadRef};

use crate::diff::content::source::Reader;

/// A file, of which so many bytes more are read.
pub struct Bounded<'a> {
    cache: &'a ReadCache<Reader<'a>>,
    left: Cell<u64>,
}

impl<'a> Bounded<'a> {
    pub const fn new(cache: &'a ReadCache<Reader<'a>>, most: u64) -> Self {
        Self { cache, left: Cell::new(most) }
    }

    fn take(&self, bytes: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.take(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let found = self.cache.read_bytes_at_until(range, delimiter)?;
        self.take(found.len() as u64)?;
        Ok(found)
    }
}
