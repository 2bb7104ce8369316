//! Signatures of records: of which bytes, and by whom (spec/shared-cache.md, "What is signed").
//!
//! Each record is signed by itself, so that those who share an entry vouch for nothing but their own.

use serde::{Deserialize, Serialize};

use super::entry::{Shared, VERSION};
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
}

/// The bytes that are signed.
fn statement(key: ActionKey, record: &Shared, time: Epoch) -> Vec<u8> {
    // Every field by name: one that is new has to be signed too.
    let Shared { parent, observations, layer, blob, signatures: _ } = record;
    let record = Said { parent: *parent, observations, layer: *layer, blob };
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
