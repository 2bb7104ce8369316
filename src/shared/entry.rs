//! What came of one action, as an OCI artifact (spec/shared-cache.md, "Entries").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::signed::{self, Signature};
use crate::action::{LayerRef, Observation};
use crate::digest::{ActionKey, BlobDigest, ChainId, DiffId, chain_ids};
use crate::oci::json::{self, MAX_DOCUMENT};
use crate::oci::media::{Flavor, MediaType};
use crate::oci::{Descriptor, Document, Manifest};
use crate::recipe::Effect;
use crate::sign::KeyId;
use crate::store::{Brought, Promise, PromisedToc, Record};

/// The version of the format.
pub const VERSION: u32 = 2;
/// The type of the artifact and of its config.
pub const TYPE: &str = "application/vnd.lith.actions.v1+json";
/// How many records an entry keeps.
pub const KEEP: usize = 8;

/// What came of one action, on some parents.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: ActionKey,
    /// The newest first.
    pub records: Vec<Shared>,
}

/// What came of an action once.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// What it was done on; `None` for nothing.
    pub parent: Option<ChainId>,
    pub observations: Vec<Observation>,
    pub layer: LayerRef,
    /// The layer's blob.
    pub blob: Descriptor,
    /// The codec of lith that made the blob, by its name in the store; `None` if it is the tar itself.
    pub codec: Option<String>,
    /// The layer's table as a blob.
    pub toc: Option<Descriptor>,
    /// The layers that it was done on, if no action made them: those of an image.
    pub base: Vec<BaseLayer>,
    /// The newest first.
    pub signatures: Vec<Signature>,
}

/// What is known of a layer that no action made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BaseLayer {
    pub diff_id: DiffId,
    pub toc: Option<Descriptor>,
}

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("it is no manifest: {0}")]
    Document(#[from] crate::oci::DocumentError),
    #[error("it is an index")]
    Index,
    #[error("it is of type {0}, not {TYPE}")]
    Type(String),
    #[error("its records are not in it, or are not those of its config's digest")]
    NoRecords,
    #[error("its records are no JSON of this version: {0}")]
    Records(#[from] json::JsonError),
    #[error("its records are of version {0}; this lith reads {VERSION}")]
    Version(u32),
    #[error("it is of the action {0}")]
    OtherKey(ActionKey),
    #[error("a record names blob {0}, which it does not have")]
    NoBlob(usize),
}

/// The config's JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Records {
    version: u32,
    key: ActionKey,
    records: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    parent: Option<ChainId>,
    observations: Vec<Observation>,
    layer: LayerRef,
    blob: usize,
    codec: Option<String>,
    toc: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    base: Vec<BaseLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseLine {
    diff_id: DiffId,
    toc: Option<usize>,
}

/// The part that says which version all else is of.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// An entry as it is stored: the manifest, and the config that it names.
pub struct Encoded {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
}

impl Entry {
    /// The tag under which the entry of a key stands.
    pub fn tag(key: ActionKey) -> String {
        format!("lith-{}", key.hex())
    }

    /// The records that say the same of the same, however their layer is packed.
    pub fn saying(&self, parent: Option<ChainId>, record: &Record) -> impl Iterator<Item = &Shared> {
        self.records.iter().filter(move |known| {
            known.parent == parent && known.layer == record.layer && known.observations == record.observations
        })
    }

    /// Adds a record before the others, in place of one of the same parent and observations, unless others signed that.
    pub fn add(&mut self, mut new: Shared) {
        if let Some(same) = self.records.iter().position(|old| old.says_all_of(&new)) {
            new.signatures = signed::joined(new.signatures, &self.records.remove(same).signatures);
        }
        self.records.retain(|old| {
            old.parent != new.parent
                || old.observations != new.observations
                || signed::has_others(&old.signatures, &new.signatures)
        });
        self.records.insert(0, new);
        self.records.truncate(KEEP);
    }

    pub fn encode(&self) -> Encoded {
        let mut blobs: Vec<Descriptor> = Vec::new();
        let mut place = |blob: &Descriptor| {
            let known = blobs.iter().position(|known| known == blob);
            known.unwrap_or_else(|| {
                blobs.push(blob.clone());
                blobs.len() - 1
            })
        };
        let records = self.records.iter().map(|record| Line {
            parent: record.parent,
            observations: record.observations.clone(),
            layer: record.layer,
            blob: place(&record.blob),
            codec: record.codec.clone(),
            toc: record.toc.as_ref().map(&mut place),
            base: (record.base.iter())
                .map(|base| BaseLine { diff_id: base.diff_id, toc: base.toc.as_ref().map(&mut place) })
                .collect(),
            signatures: record.signatures.clone(),
        });
        let records = Records { version: VERSION, key: self.key, records: records.collect() };
        let config = json::to_bytes(&records);
        let mut descriptor = Descriptor::of(MediaType::from(TYPE), &config);
        descriptor.other.insert("data".into(), Value::String(STANDARD.encode(&config)));
        let manifest =
            Manifest { artifact_type: Some(TYPE.into()), ..Manifest::new(Flavor::Oci, descriptor, blobs) };
        Encoded { manifest: manifest.to_bytes(), config }
    }

    /// The entry of a key, if these bytes are that.
    pub fn decode(bytes: &[u8], key: ActionKey) -> Result<Self, EntryError> {
        let Document::Manifest(manifest) = Document::parse(bytes, None)? else {
            return Err(EntryError::Index);
        };
        let config = &manifest.config;
        let kind = manifest.artifact_type.as_deref().unwrap_or_default();
        for kind in [kind, config.media_type.as_str()] {
            if kind != TYPE {
                return Err(EntryError::Type(kind.chars().take(100).collect()));
            }
        }
        let data =
            config.other.get("data").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        let is_whole =
            |data: &Vec<u8>| BlobDigest::of(data) == config.digest && data.len() as u64 == config.size;
        let data = data.filter(is_whole).ok_or(EntryError::NoRecords)?;
        let Versioned { version } = json::parse(&data, MAX_DOCUMENT)?;
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        let records: Records = json::parse(&data, MAX_DOCUMENT)?;
        if records.key != key {
            return Err(EntryError::OtherKey(records.key));
        }
        let named = |at: usize| manifest.layers.get(at).cloned().ok_or(EntryError::NoBlob(at));
        let shared = |mut line: Line| {
            let (blob, toc) = (named(line.blob)?, line.toc.map(named).transpose()?);
            let of_base = |base: BaseLine| {
                Ok(BaseLayer { diff_id: base.diff_id, toc: base.toc.map(named).transpose()? })
            };
            let base =
                std::mem::take(&mut line.base).into_iter().map(of_base).collect::<Result<_, EntryError>>()?;
            let Line { parent, observations, layer, blob: _, codec, toc: _, base: _, mut signatures } = line;
            signatures.truncate(signed::KEEP);
            Ok(Shared { parent, observations, layer, blob, codec, toc, base, signatures })
        };
        let records =
            records.records.into_iter().take(KEEP).map(shared).collect::<Result<_, EntryError>>()?;
        Ok(Self { key, records })
    }
}

impl Shared {
    /// The record as the store keeps it.
    pub fn record(&self, key: ActionKey) -> Record {
        let (observations, layer) = (self.observations.clone(), self.layer);
        let effects = vec![Effect::Untold];
        Record { key, observations, layer, effects, brought: Some(Brought::Unchecked) }
    }

    /// The layers of the image that the action was done on, where the record has them all.
    pub fn tables_of_base(&self) -> impl Iterator<Item = (DiffId, &Descriptor)> {
        let diffs: Vec<DiffId> = self.base.iter().map(|base| base.diff_id).collect();
        let is_it = chain_ids(&diffs).last() == self.parent.as_ref();
        let all = self.base.iter().filter(move |_| is_it);
        all.filter_map(|base| Some((base.diff_id, base.toc.as_ref()?)))
    }

    /// Whether another is the same but for its signatures.
    fn says_all_of(&self, other: &Self) -> bool {
        let unsigned = |record: &Self| Self { signatures: vec![], ..record.clone() };
        unsigned(self) == unsigned(other)
    }

    /// What a place that has the record has of its layer.
    /// `signed`: by whom.
    pub fn promise(&self, place: String, signed: Option<KeyId>) -> Promise {
        Promise {
            diff_id: self.layer.diff_id,
            size: Some(self.layer.size),
            blob: self.blob.clone(),
            codec: self.codec.clone(),
            toc: self.toc.clone().map(|blob| PromisedToc { blob, place: place.clone(), signed }),
            place,
            is_of_image: false,
            signed,
            is_broken: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Aspect;
    use crate::epoch::Epoch;

    fn key(byte: u8) -> ActionKey {
        ActionKey::from_bytes([byte; 32])
    }

    fn shared(byte: u8) -> Shared {
        let layer = LayerRef { diff_id: DiffId::from_bytes([byte; 32]), size: 2048 };
        let blob = Descriptor::new(MediaType::OciLayerZstd, BlobDigest::from_bytes([byte; 32]), 77);
        let parent = Some(ChainId::from_bytes([byte; 32]));
        let toc = Descriptor::new(
            MediaType::from("application/vnd.test"),
            BlobDigest::from_bytes([byte ^ 64; 32]),
            9,
        );
        let codec = Some("zstd-3-v1".into());
        let base = vec![
            BaseLayer { diff_id: layer.diff_id, toc: Some(toc.clone()) },
            BaseLayer { diff_id: layer.diff_id, toc: None },
        ];
        let (observations, toc) = (vec![Observation::Rootfs(parent)], Some(toc));
        Shared { parent, observations, layer, blob, codec, toc, base, signatures: vec![] }
    }

    /// With a text that no key made: an entry carries what it is given.
    fn signed() -> Shared {
        let signature = Signature {
            time: Epoch::from_seconds(1_700_000_000).unwrap(),
            text: "lith record signature 1\n".into(),
        };
        Shared { signatures: vec![signature], ..shared(1) }
    }

    fn copied() -> Shared {
        let seen = Observation::Path {
            path: crate::path::ImagePath::parse(b"etc").unwrap(),
            aspect: Aspect::Entry,
            seen: "dir 755 0:0".into(),
        };
        Shared { parent: None, observations: vec![seen], codec: None, toc: None, base: vec![], ..shared(1) }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_its_bytes_are_pinned() {
        let entry = Entry { key: key(7), records: vec![signed(), shared(2), copied()] };
        let encoded = entry.encode();
        assert_eq!(Entry::decode(&encoded.manifest, key(7)).unwrap(), entry);
        let manifest = Document::parse(&encoded.manifest, None).unwrap();
        let Document::Manifest(manifest) = manifest else { panic!("it is a manifest") };
        assert_eq!(manifest.layers.len(), 4, "a blob stands there once");
        assert_eq!(manifest.subject, None);
        let digest = BlobDigest::of(&encoded.manifest).to_string();
        let unsigned =
            BlobDigest::of(&Entry { records: vec![shared(1)], ..entry }.encode().manifest).to_string();
        assert_eq!(
            (digest.as_str(), unsigned.as_str()),
            (
                "sha256:e37564def0319acf401fac4543fdfd131a619b68bf84974906e355f1b623ebae",
                "sha256:f30982ba5636e29c4ba498a31675b6be8eb21d6f9dd39205041c82e1b03c9af6"
            )
        );
    }

    #[test]
    fn what_is_not_the_entry_of_the_key_is_refused() {
        let encoded = Entry { key: key(7), records: vec![shared(1)] }.encode();
        let refused = |bytes: &[u8], key: ActionKey| Entry::decode(bytes, key).unwrap_err().to_string();
        assert!(refused(&encoded.manifest, key(8)).contains("it is of the action"));
        assert!(refused(b"{}", key(7)).contains("no manifest"));
        let text = String::from_utf8(encoded.manifest).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            refused(text.replace(from, to).as_bytes(), key(7))
        };
        assert!(changed(TYPE, "application/vnd.other+json").contains("vnd.other"));
        // The bytes beside the digest are not those of the digest.
        let data = text.split("\"data\":\"").nth(1).unwrap().split('"').next().unwrap();
        let mut other = STANDARD.decode(data).unwrap();
        let at = other.len() - 3;
        other[at] ^= 1;
        assert!(changed(data, &STANDARD.encode(other)).contains("its records are not in it"));
        assert!(changed("\"data\"", "\"date\"").contains("its records are not in it"));
        let mut none = Entry { key: key(7), records: vec![shared(1)] };
        none.records[0].blob.digest = BlobDigest::from_bytes([9; 32]);
        let text = String::from_utf8(none.encode().manifest).unwrap();
        let start = text.find("\"layers\":[").unwrap();
        let without = format!("{}\"layers\":[]}}", &text[..start]);
        assert!(refused(without.as_bytes(), key(7)).contains("names blob 0"));
    }

    #[test]
    fn of_another_version_nothing_else_is_read() {
        let config = br#"{"version":3,"anything":[]}"#;
        let mut descriptor = Descriptor::of(MediaType::from(TYPE), config);
        descriptor.other.insert("data".into(), Value::String(STANDARD.encode(config)));
        let manifest =
            Manifest { artifact_type: Some(TYPE.into()), ..Manifest::new(Flavor::Oci, descriptor, vec![]) };
        let error = Entry::decode(&manifest.to_bytes(), key(7)).unwrap_err();
        assert!(matches!(error, EntryError::Version(3)), "{error}");
    }

    #[test]
    fn the_newest_of_one_parent_counts_and_there_are_never_more_than_eight() {
        let mut entry = Entry { key: key(7), records: vec![] };
        let repacked = Descriptor::new(MediaType::OciLayerGzip, BlobDigest::from_bytes([8; 32]), 9);
        let found = |entry: &Entry| entry.saying(shared(1).parent, &shared(1).record(key(7))).next().cloned();
        assert_eq!(found(&entry), None);
        entry.add(shared(1));
        assert_eq!(found(&entry), Some(shared(1)));
        entry.add(Shared { blob: repacked.clone(), ..shared(1) });
        assert_eq!(entry.records.len(), 1);
        assert_eq!(found(&entry).unwrap().blob, repacked);
        let other = Shared { layer: shared(2).layer, ..shared(1) };
        entry.add(other.clone());
        assert_eq!(entry.records, [other]);
        assert_eq!(found(&entry), None);
        for byte in 2..20 {
            entry.add(shared(byte));
        }
        assert_eq!(entry.records.len(), KEEP);
        assert_eq!(entry.records[0], shared(19));
    }

    #[test]
    fn blobs_that_differ_in_anything_are_two() {
        let mut other = shared(1);
        other.parent = None;
        other.blob.annotations.insert("a".into(), "b".into());
        let entry = Entry { key: key(7), records: vec![shared(1), other] };
        assert_eq!(Entry::decode(&entry.encode().manifest, key(7)).unwrap(), entry);
    }

    #[test]
    fn c08_of_a_record_eight_signatures_are_read() {
        let mut many = signed();
        many.signatures = vec![many.signatures[0].clone(); 500];
        let entry = Entry { key: key(7), records: vec![many] };
        let read = Entry::decode(&entry.encode().manifest, key(7)).unwrap();
        assert_eq!(read.records[0].signatures.len(), signed::KEEP);
    }
}
