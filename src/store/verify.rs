//! Every blob hashed again, every table of contents and record read again.

use rayon::prelude::*;

use super::{Store, StoreError};
use crate::digest::{BlobDigest, DiffId};

/// What a verification found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many blobs were hashed.
    pub blobs: usize,
    /// One line each, naming the object.
    pub problems: Vec<String>,
}

impl Store {
    /// Hashes all blobs, in parallel, decodes all tables and records, and looks for what images need. Damage is
    /// reported, not mended.
    pub fn verify(&self) -> Result<Report, StoreError> {
        let blobs = self.names_in("blobs/sha256", |hex| BlobDigest::from_hex(hex).ok())?;
        let tocs = self.names_in("tocs", |hex| DiffId::from_hex(hex).ok())?;
        let mut problems: Vec<String> = blobs
            .par_iter()
            .filter_map(|digest| self.verify_blob(digest).err())
            .map(|e| e.to_string())
            .collect();
        problems.extend(tocs.iter().filter_map(|diff| self.check_toc(*diff).err()).map(|e| e.to_string()));
        problems.extend(self.damaged_records()?);
        problems.extend(self.missing()?);
        Ok(Report { blobs: blobs.len(), problems })
    }

    fn names_in<T>(&self, dir: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
        let entries = crate::sys::dir::list_path(&self.root.join(dir))?;
        Ok(entries
            .iter()
            .filter_map(|entry| std::str::from_utf8(&entry.name).ok().and_then(&parse))
            .collect())
    }
}
