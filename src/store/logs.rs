//! What the process of a step printed, by the step's static key: kept so that it can be read again.

use std::fs;
use std::path::PathBuf;

use super::{Store, StoreError};
use crate::digest::ActionKey;
use crate::sys::file::{self, Durability};

/// The most that is kept of one step, in bytes: the beginning is dropped.
pub const MAX_LOG: usize = 4 << 20;

impl Store {
    fn log_path(&self, key: ActionKey) -> PathBuf {
        self.root.join("logs").join(key.hex())
    }

    /// Keeps the output of a step; an older one of the same key is replaced.
    pub fn put_log(&self, key: ActionKey, output: &[u8]) -> Result<(), StoreError> {
        let from = output.len().saturating_sub(MAX_LOG);
        Ok(file::replace(&self.log_path(key), &output[from..], Durability::Cached)?)
    }

    /// What a step printed when it last ran; `None` if it printed nothing or never ran here.
    pub fn log(&self, key: ActionKey) -> Option<Vec<u8>> {
        fs::read(self.log_path(key)).ok()
    }
}
