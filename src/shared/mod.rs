//! The shared cache: what other machines did, looked up by the key of an action, and what this one did, written for them
//! (spec/shared-cache.md).
//!
//! Knows no build: it is asked about keys and told of records. Whatever is wrong with what a place gives is a miss and a
//! warning.

mod entry;
mod layout;
mod remote;
mod signed;
mod spec;
mod trust;
mod trusting;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::action::Observation;
use crate::digest::{ActionKey, ChainId};
use crate::image::{BlobSource, bring_layer};
use crate::oci::Descriptor;
use crate::store::{Record, Store};

pub use entry::{Entry, EntryError, Shared};
use trust::Refused;

pub use layout::Layout;
pub use remote::Remote;
pub use signed::{Signature, Signing};
pub use spec::{Form, From, Mode, SpecError, To};
pub use trust::{Policy, Refusal};
pub use trusting::{Since, Trusting, TrustingError};
pub use writer::{Offer, Writer, Written};

/// Why a place did not do what was asked.
pub type PlaceError = Box<dyn std::error::Error + Send + Sync>;

/// Where entries are kept: a layout, a registry.
pub trait Place: BlobSource + Send + Sync {
    /// Its name in messages.
    fn shown(&self) -> &str;

    /// The manifest that has a tag; `None` if none has.
    fn entry(&self, tag: &str) -> Result<Option<Vec<u8>>, PlaceError>;

    /// Whether a blob is there.
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
    asked: Mutex<HashMap<ActionKey, Asked>>,
    /// Why it is not asked any more.
    lost: OnceLock<String>,
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
    pub fn new(places: Vec<Arc<dyn Place>>) -> Self {
        let source = |place| Source {
            place,
            asked: Mutex::default(),
            lost: OnceLock::new(),
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

    /// Whether some place has records of an action.
    pub fn knows(&self, key: ActionKey) -> bool {
        self.sources.iter().any(|source| !self.records(source, key).is_empty())
    }

    /// A record of an action that holds on a parent, its layer brought into the store.
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
                match bring_layer(store, &*source.place, (&record.blob, record.layer.diff_id)) {
                    Ok(_) if !store.has_layer(record.layer.diff_id, record.layer.size) => {
                        self.warn(format!(
                            "{}: layer {} has another size",
                            self.of(source, key),
                            record.layer.diff_id
                        ));
                    }
                    Ok(_) => return Some(self.brought(key, record)),
                    Err(error) => {
                        self.warn(format!("{}: {}", self.of(source, key), crate::diag::chain(&error)))
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
        if source.lost.get().is_some() {
            return None;
        }
        match source.place.entry(&Entry::tag(key)) {
            Ok(None) => None,
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
