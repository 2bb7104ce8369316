//! Signatures of records: of which bytes, and by whom (spec/shared-cache.md, "What is signed").
//!
//! Each record is signed by itself, so that those who share an entry vouch for nothing but their own.

use serde::{Deserialize, Serialize};

use super::entry::{BaseLayer, Shared, VERSION};
use crate::action::{LayerRef, Observation};
use crate::digest::{ActionKey, ChainId};
use crate::epoch::Epoch;
use crate::oci::Descriptor;
use crate::oci::json;
use crate::sign::{KeyError, KeyId, RecordFault, RecordSignature, Signer, Trust};

/// How many signatures a record keeps, and how many are looked at.
pub const KEEP: usize = 8;

/// One signature of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// When it was made, by its signer's clock. It is signed with the rest.
    pub time: Epoch,
    /// That of spec/signatures.md, "Records"; whether it is one shows only when it is asked.
    pub text: String,
}

/// All that an entry says of a record.
#[derive(Serialize)]
struct Statement<'a> {
    version: u32,
    key: ActionKey,
    record: Said<'a>,
    time: Epoch,
}

#[derive(Serialize)]
struct Said<'a> {
    parent: Option<ChainId>,
    observations: &'a [Observation],
    layer: LayerRef,
    blob: &'a Descriptor,
    codec: &'a Option<String>,
    toc: &'a Option<Descriptor>,
    base: &'a [BaseLayer],
}

/// The bytes that are signed.
fn statement(key: ActionKey, record: &Shared, time: Epoch) -> Vec<u8> {
    // Every field by name: one that is new has to be signed too.
    let Shared { parent, observations, layer, blob, codec, toc, base, signatures: _ } = record;
    let record = Said { parent: *parent, observations, layer: *layer, blob, codec, toc, base };
    json::to_bytes(&Statement { version: VERSION, key, record, time })
}

impl Signature {
    /// The key that made it, if that is trusted and it is of this record.
    pub fn check(&self, trust: &Trust, key: ActionKey, record: &Shared) -> Result<KeyId, RecordFault> {
        trust.record(&statement(key, record, self.time), self.text.as_bytes())
    }

    /// The key that it says made it.
    fn claims(&self) -> Option<KeyId> {
        RecordSignature::parse(self.text.as_bytes()).map(|signature| signature.key)
    }
}

/// Signatures of one record from two sides, the new ones first: a key's older one gives way, others stay as they are.
pub fn joined(new: Vec<Signature>, old: &[Signature]) -> Vec<Signature> {
    let others: Vec<Signature> = old.iter().filter(|old| !is_by_one_of(&new, old)).cloned().collect();
    let mut all = new;
    all.extend(others);
    all.truncate(KEEP);
    all
}

/// Whether somebody signed a record who did not sign another.
pub fn has_others(of: &[Signature], than: &[Signature]) -> bool {
    of.iter().any(|signature| !is_by_one_of(than, signature))
}

fn is_by_one_of(signatures: &[Signature], one: &Signature) -> bool {
    signatures.iter().any(|signature| signature == one || signature.claims() == one.claims())
}

/// Who signs what a build writes, and when that is.
#[derive(Debug)]
pub struct Signing {
    signer: Signer,
    trust: Trust,
    time: Epoch,
    /// What it signed before does not count any more.
    since: Option<Epoch>,
}

impl Signing {
    pub fn new(signer: Signer, time: Epoch, since: Option<Epoch>) -> Self {
        let trust = Trust::new(vec![signer.public().clone()]).expect("one key is neither none nor many");
        Self { signer, trust, time, since }
    }

    /// Signs a record.
    pub fn sign(&self, key: ActionKey, record: &Shared) -> Result<Signature, KeyError> {
        let made = RecordSignature::make(&statement(key, record, self.time), &self.signer)?;
        Ok(Signature { time: self.time, text: made.encode() })
    }

    /// Whether a record has its signature already. A new one would be another, and nothing better.
    pub fn has_signed(&self, key: ActionKey, record: &Shared) -> bool {
        let counts = |signature: &Signature| {
            self.since.is_none_or(|since| signature.time >= since)
                && signature.check(&self.trust, key, record).is_ok()
        };
        record.signatures.iter().any(counts)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::action::Aspect;
    use crate::digest::{BlobDigest, DiffId};
    use crate::oci::media::MediaType;
    use crate::shared::Entry;
    use crate::sign::PublicKey;

    const ED25519: &[u8] = include_bytes!("../../tests/data/sign/ed25519.key");
    const P256: &[u8] = include_bytes!("../../tests/data/sign/p256.key");
    const ED25519_PUBLIC: &[u8] = include_bytes!("../../tests/data/sign/ed25519.pub");

    fn at(seconds: i64) -> Epoch {
        Epoch::from_seconds(seconds).unwrap()
    }

    /// One that signs at a time; its public half.
    pub fn signing(pem: &[u8], time: i64, since: Option<i64>) -> (Signing, PublicKey) {
        let signer = Signer::from_pem(pem, None).unwrap();
        let public = signer.public().clone();
        (Signing::new(signer, at(time), since.map(at)), public)
    }

    pub fn ed25519(time: i64) -> (Signing, PublicKey) {
        signing(ED25519, time, None)
    }

    pub fn p256(time: i64) -> (Signing, PublicKey) {
        signing(P256, time, None)
    }

    pub fn key(byte: u8) -> ActionKey {
        ActionKey::from_bytes([byte; 32])
    }

    pub fn record(byte: u8) -> Shared {
        let layer = LayerRef { diff_id: DiffId::from_bytes([byte; 32]), size: 2048 };
        let blob = Descriptor::new(MediaType::OciLayerZstd, BlobDigest::from_bytes([byte; 32]), 77);
        let parent = Some(ChainId::from_bytes([byte; 32]));
        let toc = Some(Descriptor::new(MediaType::from("t"), BlobDigest::from_bytes([byte; 32]), 7));
        let base = vec![BaseLayer { diff_id: layer.diff_id, toc: toc.clone() }];
        let (observations, codec) = (vec![Observation::Rootfs(parent)], Some("zstd-3-v1".into()));
        Shared { parent, observations, layer, blob, codec, toc, base, signatures: vec![] }
    }

    pub fn signed(record: Shared, signing: &Signing) -> Shared {
        let made = signing.sign(key(7), &record).unwrap();
        Shared { signatures: joined(vec![made], &record.signatures), ..record }
    }

    #[test]
    fn what_is_signed_is_pinned() {
        let bytes = statement(key(7), &record(1), at(1_700_000_000));
        let ones = "01".repeat(32);
        let expected = format!(
            r#"{{"version":2,"key":"blake3:{}","record":{{"parent":"sha256:{ones}","observations":[{{"rootfs":"sha256:{ones}"}}],"layer":{{"diff_id":"sha256:{ones}","size":2048}},"blob":{{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"sha256:{ones}","size":77}},"codec":"zstd-3-v1","toc":{{"mediaType":"t","digest":"sha256:{ones}","size":7}},"base":[{{"diff_id":"sha256:{ones}","toc":{{"mediaType":"t","digest":"sha256:{ones}","size":7}}}}]}},"time":1700000000}}"#,
            "07".repeat(32)
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        let entry = Entry { key: key(7), records: vec![signed(record(1), &ed25519(1_700_000_000).0)] };
        let digest = BlobDigest::of(&entry.encode().manifest).to_string();
        assert_eq!(
            digest, "sha256:01c18becec05f0c190a8651bd21748455fb949be6c17ee605a1712e829464c8d",
            "a signature of Ed25519 is always the same"
        );
    }

    /// C3, C5, C6: whatever of a record is another, its signature is none.
    #[test]
    fn c03_c05_a_signature_is_of_all_that_a_record_says() {
        let (signing, public) = ed25519(1_700_000_000);
        let trust = Trust::new(vec![public.clone()]).unwrap();
        let whole = signed(record(1), &signing);
        let of = |key: ActionKey, record: &Shared| whole.signatures[0].check(&trust, key, record);
        assert_eq!(of(key(7), &whole), Ok(public.id()));
        let seen = Observation::Path {
            path: crate::path::ImagePath::parse(b"etc").unwrap(),
            aspect: Aspect::Entry,
            seen: "dir 755 0:0".into(),
        };
        let mut annotated = whole.clone();
        annotated.blob.annotations.insert("a".into(), "b".into());
        let mut typed = whole.clone();
        typed.blob.media_type = MediaType::OciLayerGzip;
        let mut longer = whole.clone();
        longer.blob.size += 1;
        let mut sized = whole.clone();
        sized.layer.size += 1;
        let changed = [
            Shared { parent: None, ..whole.clone() },
            Shared { observations: vec![], ..whole.clone() },
            Shared { observations: vec![seen], ..whole.clone() },
            Shared { layer: record(2).layer, ..whole.clone() },
            Shared { blob: record(2).blob, ..whole.clone() },
            Shared { codec: None, ..whole.clone() },
            Shared { toc: None, ..whole.clone() },
            Shared { toc: record(2).toc, ..whole.clone() },
            Shared { base: vec![], ..whole.clone() },
            Shared { base: record(2).base, ..whole.clone() },
            annotated,
            typed,
            longer,
            sized,
        ];
        let fault = Err(RecordFault::Record(public.id()));
        for record in changed {
            assert_eq!(of(key(7), &record), fault, "{record:?}");
        }
        assert_eq!(of(key(8), &whole), fault, "for another key");
        let later = Signature { time: at(1_700_000_001), ..whole.signatures[0].clone() };
        assert_eq!(later.check(&trust, key(7), &whole), fault, "at another time");
    }

    #[test]
    fn signatures_of_others_stay_as_they_are() {
        let (first, second) = (ed25519(10).0, p256(20).0);
        let mut entry = Entry { key: key(7), records: vec![] };
        entry.add(signed(record(1), &first));
        let kept = entry.records[0].signatures[0].clone();
        entry.add(signed(record(1), &second));
        assert_eq!(entry.records.len(), 1);
        assert_eq!(entry.records[0].signatures[1], kept);
        // Nobody's signature goes because somebody does not sign.
        entry.add(record(1));
        assert_eq!(entry.records[0].signatures.len(), 2);
        // Another layer of the same does not take the place of what somebody else signed, but of one's own.
        let other = Shared { layer: record(2).layer, blob: record(2).blob, ..record(1) };
        entry.add(signed(other.clone(), &second));
        assert_eq!(entry.records.len(), 2);
        let own = Shared { layer: record(3).layer, blob: record(3).blob, ..record(1) };
        entry.add(signed(own.clone(), &second));
        assert_eq!(entry.records.iter().map(|r| r.layer).collect::<Vec<_>>(), [own.layer, record(1).layer]);
        // A newer one of the same key is in the place of the older.
        let mut entry = Entry { key: key(7), records: vec![signed(record(1), &first)] };
        entry.add(signed(record(1), &ed25519(30).0));
        assert_eq!(entry.records[0].signatures.iter().map(|s| s.time).collect::<Vec<_>>(), [at(30)]);
        let many = (0..20).map(|n| Signature { time: at(n), text: n.to_string() }).collect();
        assert_eq!(joined(many, &[]).len(), KEEP);
    }

    #[test]
    fn nothing_is_signed_twice() {
        for make in [ed25519, p256] {
            let (signing, _) = make(10);
            assert!(!signing.has_signed(key(7), &record(1)));
            let once = signed(record(1), &signing);
            assert!(signing.has_signed(key(7), &once) && make(99).0.has_signed(key(7), &once));
            assert!(!signing.has_signed(key(8), &once));
        }
        let once = signed(record(1), &ed25519(10).0);
        assert!(!p256(10).0.has_signed(key(7), &once), "another key's is not its own");
        assert!(!signing(ED25519, 20, Some(11)).0.has_signed(key(7), &once), "too old for its own policy");
        assert!(signing(ED25519, 20, Some(10)).0.has_signed(key(7), &once));
    }

    #[test]
    fn openssl_says_the_same_of_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let whole = signed(record(1), &ed25519(5).0);
        let message = [b"lith record signature 1\n".as_slice(), &statement(key(7), &whole, at(5))].concat();
        let text = whole.signatures[0].text.trim_end();
        let signature = text.rsplit_once("signature ").unwrap().1;
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, signature).unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("m", &message);
        put("s", &bytes);
        put("k", ED25519_PUBLIC);
        let arguments = "pkeyutl -verify -rawin -pubin -inkey k -in m -sigfile s".split(' ');
        let ran = std::process::Command::new("openssl").args(arguments).current_dir(dir.path()).output();
        assert!(ran.unwrap().status.success());
    }
}
