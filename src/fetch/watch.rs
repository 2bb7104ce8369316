//! What is told of fetching and pushing while it goes on. Nothing here prints, and nobody has to listen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One thing that is being fetched; none of a process has the number of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(u64);

#[cfg(test)]
impl TaskId {
    /// A number of a test's own.
    pub fn of_test(number: u64) -> Self {
        Self(number)
    }
}

/// What is done meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Fetch,
    /// Packages are chosen.
    Choose,
    /// Something goes to another machine.
    Push,
}

/// How much of it is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub bytes: u64,
    /// Of the whole, if that is known.
    pub total: Option<u64>,
    /// Of what comes in pieces.
    pub pieces: Option<Pieces>,
}

/// How many pieces are here, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    pub done: u64,
    pub total: u64,
    /// What they are, as a plural; nothing where the task's name says it.
    pub unit: Option<&'static str>,
}

/// Shows what is fetched. Called from several threads, many times a second.
pub trait Watch: Send + Sync {
    /// `what`: for people, without credentials.
    fn begun(&self, task: TaskId, act: Act, what: &str);
    fn moved(&self, task: TaskId, amount: &Amount);
    fn ended(&self, task: TaskId, end: TaskEnd);
    /// Something that does not keep anything from being fetched, and that people should know.
    fn warned(&self, text: &str);
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    Done,
    /// Who asked for it says why.
    Failed,
}

/// Whoever watches, if anybody does.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<Watched>>);

struct Watched {
    watch: Arc<dyn Watch>,
    /// What they were warned of.
    warned: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher(someone)" } else { "Watcher(nobody)" })
    }
}

impl Watcher {
    pub fn new(watch: Arc<dyn Watch>) -> Self {
        Self(Some(Arc::new(Watched { watch, warned: Mutex::default() })))
    }

    /// Tells that something is being fetched, until the task is dropped.
    pub fn task(&self, act: Act, what: &str) -> Task {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = TaskId(NEXT.fetch_add(1, Ordering::Relaxed));
        if let Some(watched) = &self.0 {
            watched.watch.begun(id, act, what);
        }
        Task { id, watcher: self.clone(), is_done: AtomicBool::new(false) }
    }

    /// Warns of something, once.
    pub fn warn(&self, text: &str) {
        let Some(watched) = &self.0 else { return };
        let is_new = watched.warned.lock().expect("no panic while held").insert(text.to_owned());
        if is_new {
            watched.watch.warned(text);
        }
    }
}

/// Something on its way.
#[derive(Debug)]
pub struct Task {
    id: TaskId,
    watcher: Watcher,
    is_done: AtomicBool,
}

impl Task {
    pub fn moved(&self, amount: &Amount) {
        if let Some(watched) = &self.watcher.0 {
            watched.watch.moved(self.id, amount);
        }
    }

    /// It is here. A task that is dropped without this failed.
    pub fn done(&self) {
        self.is_done.store(true, Ordering::Relaxed);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let end = if *self.is_done.get_mut() { TaskEnd::Done } else { TaskEnd::Failed };
        if let Some(watched) = &self.watcher.0 {
            watched.watch.ended(self.id, end);
        }
    }
}

/// Many files shown as one task.
pub struct Set {
    task: Task,
    files: u64,
    bytes: u64,
    state: Mutex<SetState>,
}

#[derive(Default)]
struct SetState {
    done: u64,
    /// Of files that are here.
    bytes: u64,
    /// Of those on their way.
    coming: BTreeMap<TaskId, u64>,
}

impl Set {
    /// `unit`: what the files are, as a plural; `bytes`: of all of them.
    pub fn new(watcher: &Watcher, unit: &'static str, files: u64, bytes: u64) -> Arc<Self> {
        let task = watcher.task(Act::Fetch, &format!("{files} {unit}"));
        Arc::new(Self { task, files, bytes, state: Mutex::default() })
    }

    /// One more file is here.
    pub fn has(&self, bytes: u64) {
        self.change(|state| {
            state.done += 1;
            state.bytes += bytes;
        });
    }

    /// All files are.
    pub fn done(&self) {
        self.task.done();
    }

    fn change(&self, change: impl FnOnce(&mut SetState)) {
        let mut state = self.state.lock().expect("no panic while held");
        change(&mut state);
        let pieces = Pieces { done: state.done, total: self.files, unit: None };
        let bytes = state.bytes + state.coming.values().sum::<u64>();
        // Told while the lock is held: what is told later is never less.
        self.task.moved(&Amount { bytes, total: Some(self.bytes), pieces: Some(pieces) });
    }
}

impl Watch for Set {
    fn begun(&self, _: TaskId, _: Act, _: &str) {}

    fn moved(&self, task: TaskId, amount: &Amount) {
        self.change(|state| {
            state.coming.insert(task, amount.bytes);
        });
    }

    fn ended(&self, task: TaskId, _: TaskEnd) {
        // What came of it is told when it is known to be right.
        let mut state = self.state.lock().expect("no panic while held");
        state.coming.remove(&task);
    }

    fn warned(&self, text: &str) {
        self.task.watcher.warn(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Watch for Heard {
        fn begun(&self, _: TaskId, _: Act, what: &str) {
            self.0.lock().unwrap().push(format!("begun {what}"));
        }

        fn moved(&self, _: TaskId, amount: &Amount) {
            let Pieces { done, total, .. } = amount.pieces.unwrap();
            let bytes = (amount.bytes, amount.total.unwrap());
            self.0.lock().unwrap().push(format!("{done}/{total} {}/{}", bytes.0, bytes.1));
        }

        fn ended(&self, _: TaskId, end: TaskEnd) {
            self.0.lock().unwrap().push(format!("{end:?}"));
        }

        fn warned(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn a_set_is_one_task() {
        let heard = Arc::new(Heard::default());
        {
            let set = Set::new(&Watcher::new(heard.clone()), "files", 2, 30);
            let members = Watcher::new(set.clone());
            let (one, two) = (members.task(Act::Fetch, "a"), members.task(Act::Fetch, "b"));
            one.moved(&Amount { bytes: 5, ..Amount::default() });
            two.moved(&Amount { bytes: 7, ..Amount::default() });
            drop(one);
            set.has(10);
            drop(two);
            set.has(20);
            members.warn("odd");
            members.warn("odd");
            set.done();
        }
        let heard = heard.0.lock().unwrap();
        let expected = ["begun 2 files", "0/2 5/30", "0/2 12/30", "1/2 17/30", "2/2 30/30", "odd", "Done"];
        assert_eq!(*heard, expected);
    }
}
