//! What a fetch tells whoever watches.

use std::sync::{Arc, Mutex};

use lith::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};
use lith::fetch::{FetchOptions, Watcher};

/// Notes everything.
#[derive(Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// Somebody who watches what is fetched with these options.
    pub fn watching(options: &mut FetchOptions) -> Arc<Self> {
        let notes = Arc::new(Self::default());
        options.watch = Watcher::new(notes.clone());
        notes
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Watch for Notes {
    fn begun(&self, _: TaskId, act: Act, what: &str) {
        self.note(format!("{act:?} {what}"));
    }

    fn moved(&self, _: TaskId, amount: &Amount) {
        let total = amount.total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let pieces = amount.pieces.map(|pieces| {
            let unit = pieces.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
            format!(" {} of {}{unit}", pieces.done, pieces.total)
        });
        self.note(format!("{}/{total}{}", amount.bytes, pieces.unwrap_or_default()));
    }

    fn ended(&self, _: TaskId, end: TaskEnd) {
        self.note(format!("{end:?}"));
    }

    fn warned(&self, text: &str) {
        self.note(format!("warning: {text}"));
    }
}
