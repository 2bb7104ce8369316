//! Whose records count: `--cache-trust` (spec/shared-cache.md, "What does not count").

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Mutex;

use super::entry::{Entry, Shared};
use super::signed::Signature;
use super::{Source, Sources};
use crate::csv;
use crate::digest::ActionKey;
use crate::epoch::Epoch;
use crate::sign::{KeyId, PublicKey, RecordFault, Trust, TrustError};
use crate::store::{Brought, Record};

/// One `--cache-trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusting {
    /// The public key.
    pub file: PathBuf,
    /// What it signed before does not count.
    pub since: Option<Epoch>,
}

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustingError {
    #[error("{0:?} has an open quote")]
    Quote(String),
    #[error("{0:?} names no file; expected PUBKEY or PUBKEY,since=DATE")]
    NoFile(String),
    #[error("{0:?} is no option here; there is since=DATE")]
    Option(String),
    #[error("since is given twice")]
    Twice,
    #[error("since={0} is neither a date (2026-06-01), a time of RFC 3339, nor seconds since 1970")]
    Since(String),
}

impl FromStr for Trusting {
    type Err = TrustingError;

    fn from_str(text: &str) -> Result<Self, TrustingError> {
        let fields = csv::record(text).ok_or_else(|| TrustingError::Quote(text.to_owned()))?;
        let mut fields = fields.into_iter().map(|field| field.text);
        let file = fields.next().filter(|file| !file.is_empty());
        let file = file.ok_or_else(|| TrustingError::NoFile(text.to_owned()))?.into();
        let mut since = None;
        for field in fields {
            let date = field.strip_prefix("since=").ok_or_else(|| TrustingError::Option(field.clone()))?;
            let date = moment(date).ok_or_else(|| TrustingError::Since(date.to_owned()))?;
            if since.replace(date).is_some() {
                return Err(TrustingError::Twice);
            }
        }
        Ok(Self { file, since })
    }
}

fn moment(text: &str) -> Option<Epoch> {
    let day = || Epoch::from_rfc3339(&format!("{text}T00:00:00Z"));
    text.parse().ok().or_else(|| Epoch::from_rfc3339(text)).or_else(day)
}

/// Whose records count: everybody's, unless keys are trusted.
#[derive(Debug, Default)]
pub struct Policy {
    trust: Option<Trust>,
    since: BTreeMap<KeyId, Epoch>,
}

/// Why a record does not count. Of several the greatest tells most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("nobody signed it")]
    Unsigned,
    #[error("its signature is not of the form expected")]
    Form,
    #[error("it is signed with {0}, which is not trusted")]
    Key(KeyId),
    #[error("it was signed with {key} before {}", since.rfc3339())]
    Old { key: KeyId, since: Epoch },
    #[error("the signature with {0} is of something else: the record was changed, or it is another's")]
    Changed(KeyId),
}

impl Policy {
    /// Trusts these keys, each since its date; of one that is given twice the later date counts.
    pub fn new(keys: Vec<(PublicKey, Option<Epoch>)>) -> Result<Self, TrustError> {
        let mut dates = BTreeMap::new();
        for (key, since) in &keys {
            let date = dates.entry(key.id()).or_insert(Epoch::ZERO);
            *date = since.unwrap_or_default().max(*date);
        }
        let trust = Trust::new(keys.into_iter().map(|(key, _)| key).collect())?;
        Ok(Self { trust: Some(trust), since: dates })
    }

    /// From when on signatures of a key count.
    pub fn since(&self, key: KeyId) -> Option<Epoch> {
        self.since.get(&key).copied()
    }

    /// Whose word a record is, if it counts.
    fn judge(&self, key: ActionKey, record: &Shared) -> Result<Brought, Refusal> {
        let Some(trust) = &self.trust else { return Ok(Brought::Unchecked) };
        let mut refusal = Refusal::Unsigned;
        for signature in &record.signatures {
            match self.one(trust, signature, key, record) {
                Ok(by) => return Ok(by),
                Err(other) => refusal = refusal.max(other),
            }
        }
        Err(refusal)
    }

    fn one(
        &self,
        trust: &Trust,
        signature: &Signature,
        key: ActionKey,
        record: &Shared,
    ) -> Result<Brought, Refusal> {
        let by = signature.check(trust, key, record).map_err(|fault| match fault {
            RecordFault::Form => Refusal::Form,
            RecordFault::Key(key) => Refusal::Key(key),
            RecordFault::Record(key) => Refusal::Changed(key),
        })?;
        match self.since(by) {
            Some(since) if signature.time < since => Err(Refusal::Old { key: by, since }),
            _ => Ok(Brought::Signed { key: by, time: signature.time }),
        }
    }

    /// Whether a record of the store counts: what was done here does, what was brought only by a word that does.
    fn counts(&self, record: &Record) -> bool {
        match (&self.trust, &record.brought) {
            (None, _) | (_, None) => true,
            (Some(_), Some(Brought::Unchecked)) => false,
            (Some(_), Some(Brought::Signed { key, time })) => {
                self.since(*key).is_some_and(|since| *time >= since)
            }
        }
    }
}

/// What a place had that does not count, by the reason.
#[derive(Default)]
pub struct Refused(Mutex<BTreeMap<Refusal, usize>>);

impl Refused {
    /// Notes one; true if it is the first for its reason.
    fn note(&self, refusal: Refusal) -> bool {
        let mut all = self.0.lock().expect("no panic while held");
        let count = all.entry(refusal).or_default();
        *count += 1;
        *count == 1
    }

    /// Those that were not named: how many, and why.
    fn others(&self) -> Vec<(usize, Refusal)> {
        let all = self.0.lock().expect("no panic while held");
        all.iter().filter(|(_, count)| **count > 1).map(|(refusal, count)| (count - 1, *refusal)).collect()
    }
}

impl Sources {
    /// The same places, of which only what these keys signed counts.
    pub fn trusting(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Whether a record of the store counts in this build.
    pub fn counts(&self, record: &Record) -> bool {
        self.policy.counts(record)
    }

    /// What of an entry counts. The first of a place that does not is named, for each reason.
    pub(super) fn counting(&self, source: &Source, entry: Entry) -> Entry {
        let Entry { key, mut records } = entry;
        records.retain(|record| match self.policy.judge(key, record) {
            Ok(_) => true,
            Err(refusal) => {
                if source.refused.note(refusal) {
                    self.warn(format!("{}: {refusal}", self.of(source, key)));
                }
                false
            }
        });
        Entry { key, records }
    }

    /// A record that counts, as the store keeps it.
    pub(super) fn brought(&self, key: ActionKey, record: &Shared) -> Record {
        Record { brought: self.policy.judge(key, record).ok(), ..record.record(key) }
    }

    /// How many records of each place did not count besides those that were named.
    pub fn not_counted(&self) -> Vec<String> {
        let of = |source: &Source| {
            let others = source.refused.others();
            let reasons: Vec<String> =
                others.iter().map(|(count, refusal)| format!("of {count}: {refusal}")).collect();
            let count: usize = others.iter().map(|(count, _)| count).sum();
            let noun = if count == 1 { "record is" } else { "records are" };
            (count > 0).then(|| {
                format!("{}: {count} more {noun} not used; {}", source.place.shown(), reasons.join("; "))
            })
        };
        self.sources.iter().filter_map(of).collect()
    }
}
