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
    pub since: Option<Since>,
}

/// From when on signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(Epoch),
    /// So many seconds before the build.
    Ago(i64),
}

impl Since {
    /// The moment itself, for a build that begins now.
    pub fn before(self, now: Epoch) -> Epoch {
        match self {
            Self::At(moment) => moment,
            Self::Ago(seconds) => Epoch::from_seconds(now.seconds() - seconds).unwrap_or(Epoch::ZERO),
        }
    }
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
    #[error(
        "since={0} is neither a date (2026-06-01), a time of RFC 3339, days or hours before now (30d, 12h), nor seconds since 1970"
    )]
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

fn moment(text: &str) -> Option<Since> {
    let day = || Epoch::from_rfc3339(&format!("{text}T00:00:00Z"));
    let moment = text.parse().ok().or_else(|| Epoch::from_rfc3339(text)).or_else(day);
    moment.map(Since::At).or_else(|| ago(text).map(Since::Ago))
}

/// `30d`, `12h`.
fn ago(text: &str) -> Option<i64> {
    let (count, seconds) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 86_400),
        (None, hours) => (hours?, 3_600),
    };
    let count: u32 = count.parse().ok().filter(|_| count.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(i64::from(count) * seconds)
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

    #[test]
    fn texts() {
        let read = |text: &str| text.parse::<Trusting>();
        let is = |text: &str, file: &str, since: Option<i64>| {
            let since = since.map(|seconds| Since::At(at(seconds)));
            assert_eq!(read(text), Ok(Trusting { file: file.into(), since }), "{text}");
        };
        is("ci.pub", "ci.pub", None);
        is("\"a,b=c.pub\",since=2023-11-14", "a,b=c.pub", Some(1_699_920_000));
        is("ci.pub,since=2023-11-14T22:13:20Z", "ci.pub", Some(1_700_000_000));
        is("ci.pub,since=2023-11-14T23:13:20+01:00", "ci.pub", Some(1_700_000_000));
        is("ci.pub,since=1700000000", "ci.pub", Some(1_700_000_000));
        let ago = |text: &str| read(text).unwrap().since.unwrap().before(at(1_700_000_000)).seconds();
        assert_eq!((ago("k,since=2d"), ago("k,since=3h")), (1_700_000_000 - 172_800, 1_700_000_000 - 10_800));
        assert_eq!((ago("k,since=99999d"), ago("k,since=5")), (0, 5));
        for (text, says) in [
            ("a,since=d", "neither a date"),
            ("a,since=-1d", "neither a date"),
            ("a,since=+1d", "neither a date"),
            ("a,since=1dh", "neither a date"),
            ("", "names no file"),
            (",since=1", "names no file"),
            ("a,b", "\"b\" is no option"),
            ("a,since=1,since=2", "twice"),
            ("a,since=", "neither a date"),
            ("a,since=2023-02-30", "neither a date"),
            ("a,since=yesterday", "neither a date"),
            ("\"a", "open quote"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
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
