//! Mending what a verification found, from what is whole: tables and unpacked layers from tars, entries of the layer db
//! from images; what is only remembered is forgotten.
//!
//! Nothing is changed in place. A kill at any moment leaves what was there, or what should be, and garbage in `tmp/`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::snapshots::short_target;
use super::verify::Finding;
use super::{Store, StoreError};
use crate::digest::DiffId;
use crate::sys::file::{self, Durability, unique_name};

/// What came of mending one thing.
#[derive(Debug)]
pub enum Mended {
    /// It is as it should be.
    Made,
    /// The same, and what was there before lies here until the next sweep: others may have it mounted.
    Replaced(PathBuf),
    /// It was removed, and is found out again when it is needed.
    Forgotten,
    /// It is not mended.
    Not,
    /// It could not be mended.
    Failed(StoreError),
}

impl Mended {
    /// Whether all is well now.
    pub const fn is_well(&self) -> bool {
        matches!(self, Self::Made | Self::Replaced(_) | Self::Forgotten)
    }
}

impl Store {
    /// Mends what was found. Findings come as [`Store::verify`] gave them: one may need what the one before it mends.
    pub fn repair(&self, finding: &Finding) -> Mended {
        let done = match finding {
            Finding::Blob { .. } | Finding::MissingBlob { .. } => return Mended::Not,
            Finding::Table { toc: None, .. } => return Mended::Not,
            Finding::Table { diff, toc: Some(toc), .. } => {
                self.clear_for_file(&self.toc_path(*diff)).and_then(|()| self.replace_toc(*diff, toc.clone()))
            }
            Finding::MissingImage { record, .. } => self.put_image(record),
            Finding::Record { path, .. } => {
                // It is well if it was that of an image which a name led to.
                let damaged = self.damaged_records().map(|all| all.iter().any(|(other, _)| other == path));
                match damaged {
                    Ok(true) => return Mended::Not,
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Finding::Memo { path, .. } => return forget(path),
            Finding::Chain { dir, stack: None, .. } => return forget(dir),
            Finding::Chain { stack: Some(stack), .. } => {
                self.chain_entry(stack).and_then(|entry| entry.write())
            }
            Finding::Unpacked { stack, .. } => return self.repair_unpacked(stack),
            Finding::Link { stack, .. } => self.repair_links(stack),
        };
        done.map_or_else(Mended::Failed, |()| Mended::Made)
    }

    fn repair_unpacked(&self, stack: &[DiffId]) -> Mended {
        self.remake_unpacked(stack).unwrap_or_else(Mended::Failed)
    }

    /// Under the lock under which layers are unpacked: what another process has mended meanwhile is left.
    fn remake_unpacked(&self, stack: &[DiffId]) -> Result<Mended, StoreError> {
        let cache_id = self.cache_id(stack)?;
        let _once = self.work_lock(&format!("unpack-{cache_id}"))?;
        if self.audit_unpacked(&cache_id, stack)?.is_empty() {
            return Ok(Mended::Made);
        }
        let old = self.unpack_anew(stack)?;
        let left = self.audit_unpacked(&cache_id, stack)?;
        Ok(if left.is_empty() { Mended::Replaced(old) } else { Mended::Not })
    }

    fn repair_links(&self, stack: &[DiffId]) -> Result<(), StoreError> {
        let cache_id = self.cache_id(stack)?;
        let name = Self::short_link(&cache_id);
        let label = self.root.join("overlay").join(&cache_id).join("link");
        self.clear_for_file(&label)?;
        file::replace(&label, name.as_bytes(), Durability::Cached)?;
        let short = self.root.join("l").join(name);
        let temp = self.tmp().join(unique_name());
        symlink(short_target(&cache_id), &temp).map_err(|e| file::context(e, "link", &temp))?;
        self.clear_for_file(&short)?;
        std::fs::rename(&temp, &short).map_err(|e| file::context(e, "link", &short).into())
    }

    /// Removes a directory from a place where a file belongs; a file is replaced as a whole later.
    fn clear_for_file(&self, path: &Path) -> Result<(), StoreError> {
        let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if is_dir {
            Ok(super::gc::remove(path).map_err(|e| file::context(e, "remove", path))?)
        } else {
            Ok(())
        }
    }
}

fn forget(path: &Path) -> Mended {
    match super::gc::remove(path) {
        Ok(()) => Mended::Forgotten,
        Err(error) => Mended::Failed(file::context(error, "remove", path).into()),
    }
}
