//! The shared cache: what other machines did, looked up by the key of an action, and what this one did, written for them
//! (spec/shared-cache.md).
//!
//! Knows no build: it is asked about keys and told of records. Whatever is wrong with what a place gives is a miss and a
//! warning.

mod entry;
mod fetcher;
mod layout;
mod remote;
mod signed;
mod spec;
mod table;
mod trust;
mod trusting;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use crate::action::Observation;
use crate::digest::{ActionKey, ChainId};
use crate::image::BlobSource;
use crate::oci::Descriptor;
use crate::sign::KeyId;
use crate::store::{Brought, LayerRef, PromisedToc, Record, Store, StoreError, Unkept};

use trust::Refused;

pub use entry::{BaseLayer, Entry, EntryError, Shared};
pub use fetcher::Fetcher;
pub use layout::Layout;
pub use remote::Remote;
pub use signed::{Signature, Signing};
pub use spec::{Form, From, Mode, SpecError, To};
pub use trust::{Policy, Refusal};
pub use trusting::{Since, Trusting, TrustingError};
pub use writer::{Offer, Writer, Written};

/// How many records are asked for at once.
const AT_ONCE: usize = 8;

/// Why a place did not do what was asked.
pub type PlaceError = Box<dyn std::error::Error + Send + Sync>;

/// Where entries are kept: a layout, a registry.
pub trait Place: BlobSource + Send + Sync {
    /// Its name in messages.
    fn shown(&self) -> &str;

    /// It, as [`From`] is written.
    fn address(&self) -> String;

    /// The manifest that has a tag; `None` if none has.
    fn entry(&self, tag: &str) -> Result<Option<Vec<u8>>, PlaceError>;

    /// Whether it is known to have no entry at all. Asked at most once.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether a blob is there, as far as that can be told without reading it.
    fn has(&self, blob: &Descriptor) -> Result<bool, PlaceError>;

    /// Adds a blob of the store.
    fn put_stored(&self, store: &Store, blob: &Descriptor) -> Result<(), PlaceError>;

    /// Adds a small blob.
    fn put_bytes(&self, store: &Store, blob: &Descriptor, bytes: &[u8]) -> Result<(), PlaceError>;

    /// Gives a manifest a tag. All that it names is there.
    fn put_entry(&self, store: &Store, tag: &str, manifest: &[u8]) -> Result<(), PlaceError>;

    /// Nothing more is written.
    fn finish(&self) -> Result<(), PlaceError>;
}

/// An entry that was asked for, once.
type Asked = Arc<OnceLock<Option<Entry>>>;

/// A place that is read.
struct Source {
    place: Arc<dyn Place>,
    is_lazy: bool,
    asked: Mutex<HashMap<ActionKey, Asked>>,
    /// Why it is not asked any more.
    lost: OnceLock<String>,
    /// It has no entry at all.
    is_empty: OnceLock<bool>,
    refused: Refused,
}

/// The places that a build reads from, in order.
#[derive(Default)]
pub struct Sources {
    sources: Vec<Source>,
    policy: Policy,
    /// What the store has that does not count.
    doubted: Refused,
    warnings: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.sources.iter().map(|source| source.place.shown())).finish()
    }
}

impl Sources {
    /// Each place, and whether layers are left there until something reads them.
    pub fn new(places: Vec<(Arc<dyn Place>, bool)>) -> Self {
        let source = |(place, is_lazy)| Source {
            place,
            is_lazy,
            asked: Mutex::default(),
            lost: OnceLock::new(),
            is_empty: OnceLock::new(),
            refused: Refused::default(),
        };
        Self { sources: places.into_iter().map(source).collect(), ..Self::default() }
    }

    /// What was wrong since this was last asked.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().expect("no panic while held"))
    }

    fn warn(&self, text: String) {
        self.warnings.lock().expect("no panic while held").push(text);
    }

    /// Does some work, and asks for the records of actions meanwhile, several at once: whoever comes to one of them then
    /// waits for no answer.
    pub fn while_asking<R>(&self, keys: impl FnOnce() -> Vec<ActionKey>, work: impl FnOnce() -> R) -> R {
        if self.sources.is_empty() {
            return work();
        }
        let keys = keys();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(keys.len()) {
                scope.spawn(|| {
                    while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.knows(*key);
                    }
                });
            }
            let done = work();
            // Nobody comes to the rest.
            next.store(keys.len(), Ordering::Relaxed);
            done
        })
    }

    /// Whether some place has records of an action.
    pub fn knows(&self, key: ActionKey) -> bool {
        self.sources.iter().any(|source| !self.records(source, key).is_empty())
    }

    /// A record of an action that holds on a parent, its layer brought into the store or promised to it.
    pub fn bring(
        &self,
        store: &Store,
        key: ActionKey,
        parent: Option<ChainId>,
        holds: impl Fn(&[Observation]) -> bool,
    ) -> Option<Record> {
        for source in &self.sources {
            let records = self.records(source, key);
            let on_it = records.iter().filter(|record| record.parent == parent);
            let elsewhere =
                records.iter().filter(|record| record.parent != parent && holds(&record.observations));
            for record in on_it.chain(elsewhere) {
                let brought = self.brought(key, record);
                let signed = brought.brought.and_then(Brought::key);
                let given = source.give(store, record, signed);
                let given = given.and_then(|()| Ok(source.give_tables(store, record, signed)?));
                match given {
                    Ok(()) => return Some(brought),
                    Err(error) => {
                        self.warn(format!("{}: {}", self.of(source, key), crate::diag::chain(&*error)))
                    }
                }
            }
        }
        None
    }

    /// What a place has of an action; it is asked once.
    fn records(&self, source: &Source, key: ActionKey) -> Vec<Shared> {
        let asked = source.asked.lock().expect("no panic while held").entry(key).or_default().clone();
        let entry = asked.get_or_init(|| self.ask(source, key));
        entry.as_ref().map(|entry| entry.records.clone()).unwrap_or_default()
    }

    fn ask(&self, source: &Source, key: ActionKey) -> Option<Entry> {
        if source.lost.get().is_some() || source.is_empty.get() == Some(&true) {
            return None;
        }
        match source.place.entry(&Entry::tag(key)) {
            Ok(None) => {
                source.is_empty.get_or_init(|| source.place.is_empty());
                None
            }
            Ok(Some(bytes)) => match Entry::decode(&bytes, key) {
                Ok(entry) => Some(self.counting(source, entry)),
                Err(error) => {
                    self.warn(format!("{}: {}", self.of(source, key), crate::diag::chain(&error)));
                    None
                }
            },
            Err(error) => {
                let why = crate::diag::chain(&*error);
                if source.lost.set(why.clone()).is_ok() {
                    self.warn(format!("{}: {why}; it is not asked again", source.place.shown()));
                }
                None
            }
        }
    }

    fn of(&self, source: &Source, key: ActionKey) -> String {
        format!("{}: the record of action {} is not used", source.place.shown(), key.short())
    }
}

impl Source {
    /// Gives the store the layer of a record, or the promise of it. A layer whose promise was broken is given at once.
    /// `signed`: by whom.
    fn give(&self, store: &Store, record: &Shared, signed: Option<KeyId>) -> Result<(), PlaceError> {
        let LayerRef { diff_id, size } = record.layer;
        if store.is_here(diff_id, size) {
            return Ok(());
        }
        let promise = record.promise(self.place.address(), signed);
        if !self.is_lazy || store.is_broken(&diff_id.into()) {
            return fetcher::bring(store, &*self.place, &promise).map_err(Unkept::into_cause);
        }
        if !self.place.has(&record.blob)? {
            let (digest, size) = (record.blob.digest, record.blob.size);
            return Err(format!("blob {digest} of {size} bytes is not there").into());
        }
        let old = store.promised(&diff_id.into());
        // Nobody's word does not take the place of somebody's.
        if !old.is_some_and(|old| old.signed.is_some() && signed.is_none() && old.size == Some(size)) {
            store.promise(&promise)?;
        }
        match store.has_layer(diff_id, size) {
            true => Ok(()),
            false => Err("it cannot be kept as it is".into()),
        }
    }

    /// Adds the tables that a record which is used has of what it was done on.
    fn give_tables(&self, store: &Store, record: &Shared, signed: Option<KeyId>) -> Result<(), StoreError> {
        for (diff_id, blob) in record.tables_of_base() {
            let toc = PromisedToc { blob: blob.clone(), place: self.place.address(), signed };
            store.amend_promise(diff_id, toc)?;
        }
        Ok(())
    }
}

/// Where records are written, or why nowhere.
#[derive(Clone)]
pub struct Sink {
    pub to: To,
    pub place: Result<Arc<dyn Place>, String>,
    /// Who signs them.
    pub signing: Option<Arc<Signing>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::sync::Barrier;

    use super::signed::tests::{ed25519, key, p256, record};
    use super::*;
    use crate::digest::chain_ids;
    use crate::store::{Bringer as _, Unpacking};

    /// A place that has every blob and no entry.
    #[derive(Default)]
    struct Fake {
        name: &'static str,
        is_empty: bool,
        entries: AtomicUsize,
        whether_empty: AtomicUsize,
        /// Who asks waits here.
        together: Option<Barrier>,
    }

    impl BlobSource for Fake {
        fn open(&self, _: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    impl Place for Fake {
        fn shown(&self) -> &str {
            self.name
        }

        fn address(&self) -> String {
            self.name.to_owned()
        }

        fn entry(&self, _: &str) -> Result<Option<Vec<u8>>, PlaceError> {
            self.entries.fetch_add(1, Ordering::Relaxed);
            if let Some(together) = &self.together {
                together.wait();
            }
            Ok(None)
        }

        fn is_empty(&self) -> bool {
            self.whether_empty.fetch_add(1, Ordering::Relaxed);
            self.is_empty
        }

        fn has(&self, _: &Descriptor) -> Result<bool, PlaceError> {
            Ok(true)
        }

        fn put_stored(&self, _: &Store, _: &Descriptor) -> Result<(), PlaceError> {
            unreachable!("nothing is written")
        }

        fn put_bytes(&self, _: &Store, _: &Descriptor, _: &[u8]) -> Result<(), PlaceError> {
            unreachable!("nothing is written")
        }

        fn put_entry(&self, _: &Store, _: &str, _: &[u8]) -> Result<(), PlaceError> {
            unreachable!("nothing is written")
        }

        fn finish(&self) -> Result<(), PlaceError> {
            unreachable!("nothing is written")
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), Unpacking::Root).unwrap();
        (dir, store)
    }

    fn lazy(place: Fake) -> Sources {
        Sources::new(vec![(Arc::new(place), true)])
    }

    #[test]
    fn records_are_asked_for_several_at_once_while_work_is_done() {
        // Each waits for three others and for the work, so it ends only if all are on their way.
        let place = Arc::new(Fake { together: Some(Barrier::new(5)), ..Fake::default() });
        let sources = Sources::new(vec![(place.clone(), true)]);
        sources.while_asking(|| (1..=4).map(key).collect(), || place.together.as_ref().unwrap().wait());
        assert_eq!(place.entries.load(Ordering::Relaxed), 4);
        // They are known now.
        assert!((1..=4).all(|byte| !sources.knows(key(byte))));
        assert_eq!(place.entries.load(Ordering::Relaxed), 4);
        // Without a place nobody needs to know which they would be.
        Sources::default().while_asking(|| panic!("nobody is asked"), || ());
    }

    #[test]
    fn a_place_without_any_entry_is_asked_for_no_more() {
        for (is_empty, asked) in [(true, 1), (false, 3)] {
            let place = Arc::new(Fake { is_empty, ..Fake::default() });
            let sources = Sources::new(vec![(place.clone(), true)]);
            assert!((1..=3).all(|byte| !sources.knows(key(byte))));
            assert_eq!(place.entries.load(Ordering::Relaxed), asked);
            assert_eq!(place.whether_empty.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn nobodys_word_takes_the_place_of_somebodys() {
        let (_dir, store) = store();
        let record = record(1);
        let give = |place: &'static str, signed| {
            let sources = lazy(Fake { name: place, ..Fake::default() });
            sources.sources[0].give(&store, &record, signed).unwrap();
            let promise = store.promised(&record.layer.diff_id.into()).unwrap();
            (promise.place, promise.signed)
        };
        let (one, two) = (ed25519(1).1.id(), p256(1).1.id());
        assert_eq!(give("a", None), ("a".into(), None));
        assert_eq!(give("b", None), ("b".into(), None));
        assert_eq!(give("c", Some(one)), ("c".into(), Some(one)));
        assert_eq!(give("d", None), ("c".into(), Some(one)));
        assert_eq!(give("e", Some(two)), ("e".into(), Some(two)));
    }

    #[test]
    fn tables_of_a_base_count_if_the_record_was_taken_on_it() {
        let diffs = [record(1).base[0].diff_id];
        let on_it = Shared { parent: chain_ids(&diffs).pop(), ..record(1) };
        assert_eq!(on_it.tables_of_base().count(), 1);
        assert_eq!(Shared { parent: record(2).parent, ..on_it.clone() }.tables_of_base().count(), 0);
        let more = Shared { base: [&on_it.base[..], &record(2).base].concat(), ..on_it };
        assert_eq!(more.tables_of_base().count(), 0);
    }

    #[test]
    fn a_table_that_no_trusted_key_signed_is_none() {
        let (_dir, store) = store();
        let (trusted, other) = (ed25519(1).1.id(), p256(1).1.id());
        let fetcher = Fetcher::new(Box::new(|_| unreachable!("it is told of the place")));
        fetcher.know(Arc::new(Fake { name: "a", ..Fake::default() }));
        let table = |signed| fetcher.table(&store, &record(1).promise("a".into(), signed));
        // The place is asked, and has it not.
        assert!(table(None).is_err());
        fetcher.trust([trusted].into());
        assert!(matches!(table(None), Ok(None)) && matches!(table(Some(other)), Ok(None)));
        assert!(table(Some(trusted)).is_err());
    }
}
