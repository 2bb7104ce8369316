//! What came from where: for each URL the blob it was, and how to ask whether it still is (spec/fetch.md).
//!
//! `downloads/<blake3 of the URL>`; the URL itself is not kept, since it may hold credentials.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::{Store, StoreError};
use crate::digest::{BlobDigest, ContentDigest};
use crate::sys::file::{self, Durability};

/// The version of the format.
pub const DOWNLOAD_VERSION: u32 = 1;

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    pub blob: BlobDigest,
    pub content: ContentDigest,
    pub size: u64,
    /// What the server calls this state of the file.
    pub etag: Option<String>,
    /// As the server writes it.
    pub last_modified: Option<String>,
}

impl Store {
    fn download_path(&self, url: &str) -> PathBuf {
        self.root.join("downloads").join(blake3::hash(url.as_bytes()).to_hex().as_str())
    }

    /// What a URL was when it was last fetched. Its blob may be gone.
    pub fn download(&self, url: &str) -> Option<Download> {
        open_sealed("download", DOWNLOAD_VERSION, &fs::read(self.download_path(url)).ok()?)
    }

    /// Remembers what a URL is.
    pub fn put_download(&self, url: &str, download: &Download) -> Result<(), StoreError> {
        let path = self.download_path(url);
        fs::create_dir_all(path.parent().expect("a file of the store"))
            .map_err(|e| file::context(e, "create", &path))?;
        Ok(file::replace(&path, &seal("download", DOWNLOAD_VERSION, download), Durability::Cached)?)
    }

    /// Blobs that downloads name.
    pub(super) fn downloaded(&self) -> Result<Vec<BlobDigest>, StoreError> {
        let dir = self.root.join("downloads");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let read = |name: &[u8]| {
            let bytes = fs::read(dir.join(&*String::from_utf8_lossy(name))).ok()?;
            open_sealed("download", DOWNLOAD_VERSION, &bytes).map(|download: Download| download.blob)
        };
        Ok(crate::sys::dir::list_path(&dir)?.iter().filter_map(|entry| read(&entry.name)).collect())
    }
}
