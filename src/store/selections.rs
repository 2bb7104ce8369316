//! Which packages a set of names was, by everything that decided it (spec/packages.md): reading a distribution's indices
//! takes a second, and gives the same again.

use std::fs;
use std::path::PathBuf;

use super::actions::{open_sealed, seal};
use super::{Store, StoreError};
use crate::digest::ContentDigest;
use crate::recipe::PackageLayer;
use crate::sys::file::{self, Durability};

/// The version of the format.
pub const SELECTION_VERSION: u32 = 1;

impl Store {
    fn selection_path(&self, key: ContentDigest) -> PathBuf {
        self.root.join("packages").join(key.hex())
    }

    /// The packages that were chosen, in layers, if the choice is known.
    pub fn selection(&self, key: ContentDigest) -> Option<Vec<PackageLayer>> {
        open_sealed("packages", SELECTION_VERSION, &fs::read(self.selection_path(key)).ok()?)
    }

    /// Remembers a choice.
    pub fn put_selection(&self, key: ContentDigest, layers: &[PackageLayer]) -> Result<(), StoreError> {
        let path = self.selection_path(key);
        let dir = path.parent().expect("a file of the store");
        fs::create_dir_all(dir).map_err(|e| file::context(e, "create", dir))?;
        Ok(file::replace(&path, &seal("packages", SELECTION_VERSION, &layers), Durability::Cached)?)
    }
}
