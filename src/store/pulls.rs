//! What images of registries were when a build last pulled them: by name and platform, the manifest (spec/registry.md,
//! "Bases").
//!
//! `pulls/<blake3 of name and platform>`. A build's bases get no names in the store: those are for what people pull.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::{Store, StoreError};
use crate::digest::BlobDigest;
use crate::platform::Platform;
use crate::sys::file::{self, Durability};

/// The version of the format.
pub const PULL_VERSION: u32 = 1;

/// More bytes than such a file has.
const MOST: u64 = 1 << 16;

/// What a name stood for.
#[derive(Debug, Serialize, Deserialize)]
struct Pull {
    name: String,
    platform: String,
    manifest: BlobDigest,
}

impl Store {
    fn pull_path(&self, name: &str, platform: &Platform) -> PathBuf {
        let hash = blake3::hash(format!("{name}\n{platform}").as_bytes());
        self.root.join("pulls").join(hash.to_hex().as_str())
    }

    /// The manifest that a name had for a platform when it was last pulled by a build.
    pub fn pull(&self, name: &str, platform: &Platform) -> Option<BlobDigest> {
        let bytes = file::read_regular(&self.pull_path(name, platform), MOST).ok()?;
        let pull: Pull = open_sealed("pull", PULL_VERSION, &bytes)?;
        (pull.name == name && pull.platform == platform.to_string()).then_some(pull.manifest)
    }

    /// Remembers what a name has for a platform.
    pub fn put_pull(&self, name: &str, platform: &Platform, manifest: BlobDigest) -> Result<(), StoreError> {
        let path = self.pull_path(name, platform);
        let dir = path.parent().expect("a file of the store");
        std::fs::create_dir_all(dir).map_err(|e| file::context(e, "create", dir))?;
        let pull = Pull { name: name.to_owned(), platform: platform.to_string(), manifest };
        Ok(file::replace(&path, &seal("pull", PULL_VERSION, &pull), Durability::Cached)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Unpacking;

    #[test]
    fn a_name_is_known_for_the_platform_it_was_pulled_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), Unpacking::Root).unwrap();
        let (amd, arm): (Platform, Platform) =
            ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
        let manifest = BlobDigest::from_bytes([1; 32]);
        store.put_pull("a.example/base:1", &amd, manifest).unwrap();
        assert_eq!(store.pull("a.example/base:1", &amd), Some(manifest));
        assert_eq!(store.pull("a.example/base:1", &arm), None);
        assert_eq!(store.pull("a.example/base:2", &amd), None);
        // A record under the name of another.
        let (from, to) =
            (store.pull_path("a.example/base:1", &amd), store.pull_path("a.example/base:2", &amd));
        std::fs::copy(from, to).unwrap();
        assert_eq!(store.pull("a.example/base:2", &amd), None);
    }
}
