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
use crate::store::{Brought, LayerRef, PromisedToc, Record, Store, StoreError};

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
    pub fn while_asking<R>(&self, keys: &[ActionKey], work: impl FnOnce() -> R) -> R {
        if self.sources.is_empty() || keys.is_empty() {
            return work();
        }
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
            fetcher::bring(store, &*self.place, &promise)?;
            return match store.is_here(diff_id, size) {
                true => Ok(()),
                false => Err(format!("layer {diff_id} has another size").into()),
            };
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
