//! Whose records count: `--cache-trust` (spec/shared-cache.md, "What does not count").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::entry::{Entry, Shared};
use super::signed::Signature;
use super::{Source, Sources};
use crate::digest::ActionKey;
use crate::epoch::Epoch;
use crate::sign::{KeyId, PublicKey, RecordFault, Trust, TrustError};
use crate::store::{Brought, Record};

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
    /// Of the store.
    #[error("a shared cache gave it when no key was asked for")]
    Unchecked,
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

    /// The keys whose word counts; `None` if everybody's does.
    pub fn keys(&self) -> Option<BTreeSet<KeyId>> {
        self.trust.as_ref().map(|_| self.since.keys().copied().collect())
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

    /// Why a record of the store does not count: what was done here does, what was brought only by a word that does.
    fn doubt(&self, record: &Record) -> Option<Refusal> {
        match (&self.trust, record.brought) {
            (None, _) | (_, None) => None,
            (Some(_), Some(Brought::Unchecked)) => Some(Refusal::Unchecked),
            (Some(_), Some(Brought::Signed { key, time })) => match self.since(key) {
                None => Some(Refusal::Key(key)),
                Some(since) => (time < since).then_some(Refusal::Old { key, since }),
            },
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

    /// Whether a record of the store counts in this build. The first that does not is named, for each reason.
    pub fn counts(&self, record: &Record) -> bool {
        let Some(refusal) = self.policy.doubt(record) else { return true };
        if self.doubted.note(refusal) {
            let key = record.key.short();
            self.warn(format!(
                "the store: the record of action {key}, and others like it, is not used: {refusal}"
            ));
        }
        false
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

#[cfg(test)]
mod tests {
    use super::super::signed::tests::{ed25519, key, p256, record, signed};
    use super::*;

    fn at(seconds: i64) -> Epoch {
        Epoch::from_seconds(seconds).unwrap()
    }

    fn policy(keys: &[(PublicKey, Option<i64>)]) -> Policy {
        Policy::new(keys.iter().map(|(key, since)| (key.clone(), since.map(at))).collect()).unwrap()
    }

    /// C3, C4: what counts is what a trusted key signed, whoever else may write.
    #[test]
    fn c03_c04_records_without_a_trusted_signature_do_not_count() {
        let ((ours, public), (theirs, foreign)) = (ed25519(10), p256(10));
        let policy = policy(&[(public.clone(), None)]);
        let judge = |record: &Shared| policy.judge(key(7), record);
        let (own, other) = (signed(record(1), &ours), signed(record(1), &theirs));
        let word = Brought::Signed { key: public.id(), time: at(10) };
        assert_eq!(judge(&own), Ok(word));
        assert_eq!(judge(&record(1)), Err(Refusal::Unsigned));
        assert_eq!(judge(&other), Err(Refusal::Key(foreign.id())));
        // With another's signature beside it counts as well, whichever is first.
        assert_eq!(judge(&signed(other.clone(), &ours)), Ok(word));
        assert_eq!(judge(&signed(own.clone(), &theirs)), Ok(word));
        // A foreign signature that says that it is ours, and ours on another record.
        let mut forged = other.clone();
        let text = &mut forged.signatures[0].text;
        *text = text.replace(&foreign.id().to_string(), &public.id().to_string());
        assert_eq!(judge(&forged), Err(Refusal::Changed(public.id())));
        let moved = Shared { signatures: own.signatures.clone(), ..record(2) };
        assert_eq!(judge(&moved), Err(Refusal::Changed(public.id())));
        assert_eq!(policy.judge(key(8), &own), Err(Refusal::Changed(public.id())));
        // What tells most is told.
        let both = Shared { signatures: [&other.signatures[..], &moved.signatures].concat(), ..record(2) };
        assert_eq!(judge(&both), Err(Refusal::Changed(public.id())));
        let mut torn = own.clone();
        torn.signatures[0].text.truncate(40);
        assert_eq!(judge(&torn), Err(Refusal::Form));
        assert_eq!(Policy::default().judge(key(7), &record(1)), Ok(Brought::Unchecked));
    }

    /// C6: an old record that was true once does not come back.
    #[test]
    fn c06_records_that_were_signed_too_long_ago_do_not_count() {
        let (signing, public) = ed25519(100);
        let whole = signed(record(1), &signing);
        let judge = |since: Option<i64>| policy(&[(public.clone(), since)]).judge(key(7), &whole);
        assert!(judge(None).is_ok() && judge(Some(100)).is_ok());
        assert_eq!(judge(Some(101)), Err(Refusal::Old { key: public.id(), since: at(101) }));
        let mut later = whole.clone();
        later.signatures[0].time = at(200);
        let judged = policy(&[(public.clone(), Some(101))]).judge(key(7), &later);
        assert_eq!(judged, Err(Refusal::Changed(public.id())), "the time is signed");
        let twice = policy(&[(public.clone(), Some(101)), (public.clone(), None)]);
        assert!(twice.judge(key(7), &whole).is_err(), "the later date counts");
        assert_eq!(twice.since(public.id()), Some(at(101)));
    }

    #[test]
    fn what_the_store_has_counts_by_whose_word_it_is() {
        let (public, foreign) = (ed25519(0).1, p256(0).1);
        let policy = policy(&[(public.clone(), Some(100))]);
        let record = |brought| Record { brought, ..record(1).record(key(7)) };
        let word = |key: &PublicKey, time| Some(Brought::Signed { key: key.id(), time: at(time) });
        assert_eq!(policy.doubt(&record(None)), None, "own work");
        assert_eq!(policy.doubt(&record(word(&public, 100))), None);
        let old = Refusal::Old { key: public.id(), since: at(100) };
        for (brought, refusal) in [
            (Some(Brought::Unchecked), Refusal::Unchecked),
            (word(&public, 99), old),
            (word(&foreign, 100), Refusal::Key(foreign.id())),
        ] {
            assert_eq!(policy.doubt(&record(brought)), Some(refusal));
            assert_eq!(Policy::default().doubt(&record(brought)), None);
        }
    }

    #[test]
    fn one_warning_for_each_reason() {
        let refused = Refused::default();
        let foreign = Refusal::Key(p256(0).1.id());
        assert!(refused.note(Refusal::Unsigned) && refused.note(foreign));
        for _ in 0..300 {
            assert!(!refused.note(Refusal::Unsigned));
        }
        assert_eq!(refused.others(), [(300, Refusal::Unsigned)]);
    }
}
