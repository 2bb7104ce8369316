//! Action records: static key and observations to result (spec/action-record.md).
//!
//! A record that observed its whole parent has a file of its own, named by key and parent. Records that observed single
//! paths share one file a static key, the newest first. Each file carries a checksum: a damaged one is a miss.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::action::Observation;
use crate::digest::{ActionKey, ChainId};
use crate::epoch::Epoch;
use crate::recipe::Effect;
use crate::sign::KeyId;
use crate::sys::file::{self, Durability};

pub use crate::action::LayerRef;

/// The version of the record format.
pub const RECORD_VERSION: u32 = 2;
/// How many records of single paths one static key keeps.
const KEEP: usize = 8;

/// What came of an action once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The key is inside as well, so that a record moved to another name does not serve there.
    pub key: ActionKey,
    pub observations: Vec<Observation>,
    pub layer: LayerRef,
    /// What was seen to have a part in the layer besides what the key says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// Whose word it is, if a shared cache gave it; what was done here is nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought: Option<Brought>,
}

/// What a shared cache's record was taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Brought {
    /// No key was asked for.
    Unchecked,
    Signed {
        key: KeyId,
        time: Epoch,
    },
}

impl Brought {
    /// The key that signed it.
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Unchecked => None,
            Self::Signed { key, .. } => Some(key),
        }
    }
}

impl Record {
    /// The root file system a record is bound to, if it observed that whole and nothing else.
    fn whole_rootfs(&self) -> Option<Option<ChainId>> {
        match self.observations.as_slice() {
            [Observation::Rootfs(chain)] => Some(*chain),
            _ => None,
        }
    }
}

impl Store {
    fn records_path(&self, key: ActionKey, rootfs: Option<Option<ChainId>>) -> PathBuf {
        let hex = key.hex();
        let name = match rootfs {
            None => hex[2..].to_owned(),
            Some(None) => format!("{}-scratch", &hex[2..]),
            Some(Some(chain)) => format!("{}-{}", &hex[2..], chain.hex()),
        };
        self.root.join("actions").join(&hex[..2]).join(name)
    }

    /// The record of an action on exactly this root file system (`None`: the empty one), if its layer is still here.
    pub fn exact_record(&self, key: ActionKey, rootfs: Option<ChainId>) -> Option<Record> {
        let bound = |record: &Record| record.whole_rootfs() == Some(rootfs);
        self.read_records(&self.records_path(key, Some(rootfs)), key).into_iter().find(bound)
    }

    /// The newest records of a static key that observed single paths, and whose layers are still here, newest first.
    pub fn action_records(&self, key: ActionKey) -> Vec<Record> {
        self.read_records(&self.records_path(key, None), key)
    }

    /// Whether there is a record of a static key, on whatever root file system.
    pub fn knows_action(&self, key: ActionKey) -> bool {
        let hex = key.hex();
        let shard = self.root.join("actions").join(&hex[..2]);
        let names = crate::sys::dir::list_path(&shard).unwrap_or_default();
        names.iter().any(|entry| entry.name.starts_with(&hex.as_bytes()[2..]))
    }

    fn read_records(&self, path: &Path, key: ActionKey) -> Vec<Record> {
        let Ok(bytes) = fs::read(path) else { return Vec::new() };
        let records: Vec<Record> = open_sealed("action", RECORD_VERSION, &bytes).unwrap_or_default();
        records
            .into_iter()
            .filter(|record| record.key == key && self.has_layer(record.layer.diff_id, record.layer.size))
            .collect()
    }

    /// Adds a record. The caller holds the work lock of the key.
    pub fn add_action_record(&self, record: Record) -> Result<(), StoreError> {
        let path = self.records_path(record.key, record.whole_rootfs());
        let mut records = self.read_records(&path, record.key);
        records.retain(|old| old.observations != record.observations);
        records.insert(0, record);
        records.truncate(KEEP);
        let dir = path.parent().expect("records have a directory");
        fs::create_dir_all(dir).map_err(|e| file::context(e, "create", dir))?;
        Ok(file::replace(&path, &seal("action", RECORD_VERSION, &records), Durability::Cached)?)
    }

    /// Every record of the store, damaged files left out.
    pub fn all_action_records(&self) -> Result<Vec<Record>, StoreError> {
        let actions = self.root.join("actions");
        let mut all = Vec::new();
        for shard in crate::sys::dir::list_path(&actions)? {
            let dir = actions.join(std::ffi::OsStr::new(&*String::from_utf8_lossy(&shard.name)));
            for entry in crate::sys::dir::list_path(&dir)? {
                let Ok(bytes) = fs::read(dir.join(&*String::from_utf8_lossy(&entry.name))) else { continue };
                all.extend(open_sealed::<Vec<Record>>("action", RECORD_VERSION, &bytes).unwrap_or_default());
            }
        }
        Ok(all)
    }
}

/// Text with a kind, a version and a checksum: `lith-<kind> <version> <blake3>` on the first line, JSON below.
pub(super) fn seal<T: Serialize>(kind: &str, version: u32, value: &T) -> Vec<u8> {
    let body = serde_json::to_vec(value).expect("plain records serialise");
    let mut bytes = format!("lith-{kind} {version} {}\n", blake3::hash(&body).to_hex()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Whether bytes are sealed as this kind, in whatever version, and are what was written.
pub(super) fn is_sealed(kind: &str, bytes: &[u8]) -> bool {
    let Some(cut) = bytes.iter().position(|b| *b == b'\n') else { return false };
    let head = std::str::from_utf8(&bytes[..cut]).unwrap_or_default();
    let (before, sum) = head.rsplit_once(' ').unwrap_or_default();
    let version = before.strip_prefix(&format!("lith-{kind} "));
    version.is_some_and(|version| version.parse::<u32>().is_ok())
        && sum == blake3::hash(&bytes[cut + 1..]).to_hex().as_str()
}

/// What was sealed; `None` if it is of another kind or version, or not what was written.
pub(super) fn open_sealed<T: for<'de> Deserialize<'de>>(kind: &str, version: u32, bytes: &[u8]) -> Option<T> {
    let cut = bytes.iter().position(|b| *b == b'\n')?;
    let (head, body) = (&bytes[..cut], &bytes[cut + 1..]);
    let expected = format!("lith-{kind} {version} {}", blake3::hash(body).to_hex());
    if head != expected.as_bytes() {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::DiffId;

    #[test]
    fn the_bytes_of_a_record_are_pinned() {
        let layer = LayerRef { diff_id: DiffId::from_bytes([1; 32]), size: 2048 };
        let record = |brought| Record {
            key: ActionKey::from_bytes([7; 32]),
            observations: vec![],
            layer,
            effects: vec![],
            brought,
        };
        let key = "sha256:55c6d954c9276da3943eea6aa8cbea96d86f9ec9df7ce11e2e3eb9ab7813f315".parse().unwrap();
        let signed = Brought::Signed { key, time: Epoch::from_seconds(1_700_000_000).unwrap() };
        let own = format!(
            r#"{{"key":"blake3:{}","observations":[],"layer":{{"diff_id":"sha256:{}","size":2048}}"#,
            "07".repeat(32),
            "01".repeat(32)
        );
        for (brought, rest) in [
            (None, "}".to_owned()),
            (Some(Brought::Unchecked), r#","brought":"unchecked"}"#.to_owned()),
            (Some(signed), format!(r#","brought":{{"signed":{{"key":"{key}","time":1700000000}}}}}}"#)),
        ] {
            let text = serde_json::to_string(&record(brought)).unwrap();
            assert_eq!(text, format!("{own}{rest}"));
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record(brought));
        }
    }

    #[test]
    fn a_seal_breaks_with_any_bit() {
        let sealed = seal("action", 1, &vec!["a", "b"]);
        assert_eq!(open_sealed::<Vec<String>>("action", 1, &sealed).unwrap(), ["a", "b"]);
        assert_eq!(open_sealed::<Vec<String>>("action", 2, &sealed), None);
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert_eq!(open_sealed::<Vec<String>>("action", 1, &broken), None, "byte {at}");
        }
    }
}
