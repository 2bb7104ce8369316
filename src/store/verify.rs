//! Every blob hashed again, every table of contents and record read again.

use rayon::prelude::*;

use super::{Store, StoreError};
use crate::digest::{BlobDigest, DiffId};
use crate::layer::audit::audit;
use crate::sys::file;

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
        problems.extend(self.changed_layers(&tocs)?);
        problems.extend(self.missing()?);
        Ok(Report { blobs: blobs.len(), problems })
    }

    /// Holds every unpacked layer against its table. One that leans on what is below it has no name of its own to be
    /// found by, and is left out.
    fn changed_layers(&self, tocs: &[DiffId]) -> Result<Vec<String>, StoreError> {
        let mut problems = Vec::new();
        for diff in tocs {
            let Ok(toc) = self.toc(*diff) else { continue };
            let dir = self.diff_dir(&[*diff])?;
            if !toc.is_self_contained() || !dir.exists() {
                continue;
            }
            let deviations = audit(&dir, &toc, &self.unpacking().auditing())
                .map_err(|e| file::context(e, "read unpacked layer", &dir))?;
            problems
                .extend(deviations.iter().map(|d| format!("unpacked layer {diff}: {} {}", d.path, d.what)));
        }
        Ok(problems)
    }

    fn names_in<T>(&self, dir: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
        let entries = crate::sys::dir::list_path(&self.root.join(dir))?;
        Ok(entries
            .iter()
            .filter_map(|entry| std::str::from_utf8(&entry.name).ok().and_then(&parse))
            .collect())
    }
}
