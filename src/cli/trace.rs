//! `lith build --trace FILE`: what every thread did when, for Perfetto and Chrome (spec/graph.md, "Traces").
//!
//! Each event is written when it is over, in one piece: what is in the file of a build that was killed can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::CliError;
use super::progress::Show;
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, Ui};
use crate::exec::run::Part;
use crate::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};
use crate::image::Telling;
use crate::plan::Phase;

/// The number of the first line of what is fetched; those of workers are below it.
const LANES: u64 = 1000;

/// A trace that is being written, if one is wanted.
#[derive(Clone)]
pub struct Trace(Option<Arc<Writer>>);

struct Writer {
    start: Instant,
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// What could not be written first; nothing is written after it.
    broken: Option<io::Error>,
    /// Lines that have got their name.
    named: BTreeSet<u64>,
    /// What each worker is at.
    nodes: BTreeMap<u64, Node>,
    fetches: BTreeMap<TaskId, Fetch>,
    /// When the layer was begun that is being compressed.
    packing: Duration,
}

struct Node {
    began: Duration,
    status: &'static str,
    detail: Option<(&'static str, String)>,
    part: Option<(Part, Duration)>,
}

struct Fetch {
    lane: u64,
    act: Act,
    what: String,
    began: Duration,
    bytes: u64,
}

impl Trace {
    /// Begins a trace, if there is a file to write it to.
    pub fn start(path: Option<&Path>, start: Instant) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let error = || CliError::io(format!("write the trace {}", path.display()));
        let mut file = File::create(path).map_err(error())?;
        let first = json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "lith build" } });
        file.write_all(format!("[\n{first}").as_bytes()).map_err(error())?;
        let state = State {
            file,
            broken: None,
            named: BTreeSet::new(),
            nodes: BTreeMap::new(),
            fetches: BTreeMap::new(),
            packing: Duration::ZERO,
        };
        Ok(Self(Some(Arc::new(Writer { start, path: path.to_owned(), state: Mutex::new(state) }))))
    }

    /// A view that also writes the trace.
    pub fn beside(&self, show: Arc<dyn Show>) -> Arc<dyn Show> {
        match &self.0 {
            Some(writer) => Arc::new(Traced { show, writer: writer.clone() }),
            None => show,
        }
    }

    /// Does something that is to be seen as one.
    pub fn during<T>(&self, name: &str, act: impl FnOnce() -> T) -> T {
        let Some(writer) = &self.0 else { return act() };
        let began = writer.start.elapsed();
        let done = act();
        writer.add(thread(), name, "build", began, &json!({}));
        done
    }

    /// Layers are compressed one after the other.
    pub fn packing(&self, telling: Telling) {
        let Some(writer) = &self.0 else { return };
        match telling {
            Telling::Packing(_) => writer.state().packing = writer.start.elapsed(),
            Telling::Packed { layer, size } => {
                let began = writer.state().packing;
                writer.add(thread(), "compress", "build", began, &json!({ "layer": layer, "size": size }));
            }
        }
    }

    /// Ends the file; says what is wrong with it.
    pub fn finish(&self) -> Option<String> {
        let writer = self.0.as_ref()?;
        let mut state = writer.state();
        state.write("\n]\n");
        let error = state.broken.as_ref()?;
        Some(format!("the trace {} is not whole: {error}", writer.path.display()))
    }
}

/// The line of the thread that calls: a worker's number, 0 of the others.
fn thread() -> u64 {
    let thread = std::thread::current();
    let number = thread.name().and_then(|name| name.strip_prefix("worker ")?.parse().ok());
    number.unwrap_or(0)
}

impl Writer {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// One thing that is over.
    fn add(&self, tid: u64, name: &str, category: &str, began: Duration, args: &Value) {
        self.state().add(tid, name, category, (began, self.start.elapsed()), args);
    }

    fn event(&self, event: &Event<'_>) {
        let (tid, now) = (thread(), self.start.elapsed());
        let mut state = self.state();
        match event {
            Event::Taken { step, phase } => {
                let text = format!("{} begins", node_name(&step.name, *phase));
                state.mark(tid, &text, now);
                state.nodes.insert(tid, Node { began: now, status: "", detail: None, part: None });
            }
            Event::Part { part, .. } => {
                state.close(tid, now);
                if let Some(node) = state.nodes.get_mut(&tid) {
                    node.part = Some((*part, now));
                }
            }
            Event::Ended { end, .. } => {
                let Some(node) = state.nodes.get_mut(&tid) else { return };
                (node.status, node.detail) = match end {
                    End::Hit => ("hit", None),
                    End::Built { why } => ("built", Some(("why", why.clone()))),
                    End::Failed { error } => ("failed", Some(("error", error.clone()))),
                };
            }
            Event::Left { step, phase, key, layer } => {
                state.close(tid, now);
                let Some(node) = state.nodes.remove(&tid) else { return };
                let status = match (node.status, phase) {
                    ("", Phase::Prepare) => "prepared",
                    (status, _) => status,
                };
                let mut args = json!({ "text": step.text, "line": step.line, "status": status });
                if let Some(key) = key {
                    args["key"] = json!(key);
                }
                if let Some(layer) = layer {
                    (args["layer"], args["size"]) = (json!(layer.diff_id), json!(layer.size));
                }
                if let Some((name, value)) = node.detail {
                    args[name] = value.into();
                }
                let name = node_name(&step.name, *phase);
                state.add(tid, &name, "step", (node.began, now), &args);
            }
            Event::Odd(_)
            | Event::Note(_)
            | Event::Planned { .. }
            | Event::Started(_)
            | Event::Output { .. }
            | Event::Warning { .. }
            | Event::Remark { .. }
            | Event::Shell(_) => {}
        }
    }
}

/// A step by its name; what is done of a copy before its turn is called so.
fn node_name(step: &str, phase: Phase) -> String {
    match phase {
        Phase::Prepare => format!("{step} (ahead)"),
        Phase::Settle => step.to_owned(),
    }
}

impl State {
    fn write(&mut self, text: &str) {
        if self.broken.is_none() {
            self.broken = self.file.write_all(text.as_bytes()).err();
        }
    }

    fn put(&mut self, event: &Value) {
        self.write(&format!(",\n{event}"));
    }

    /// The part that a worker was at is over.
    fn close(&mut self, tid: u64, now: Duration) {
        if let Some((part, began)) = self.nodes.get_mut(&tid).and_then(|node| node.part.take()) {
            self.add(tid, part.name(), "part", (began, now), &json!({}));
        }
    }

    fn name(&mut self, tid: u64) {
        if self.named.insert(tid) {
            let name = match tid {
                0 => "lith".to_owned(),
                1..LANES => format!("worker {tid}"),
                lane => format!("transfer {}", lane - LANES + 1),
            };
            let args = json!({ "name": name });
            self.put(&json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": args }));
        }
    }

    fn add(
        &mut self,
        tid: u64,
        name: &str,
        category: &str,
        (began, ended): (Duration, Duration),
        args: &Value,
    ) {
        self.name(tid);
        self.put(&json!({
            "name": name, "cat": category, "ph": "X", "pid": 1, "tid": tid, "ts": micros(began),
            "dur": micros(ended) - micros(began), "args": args,
        }));
    }

    /// Something that a killed build was at cannot be written when it is over, so its beginning is.
    fn mark(&mut self, tid: u64, name: &str, now: Duration) {
        self.name(tid);
        self.put(&json!({
            "name": name, "cat": "begin", "ph": "i", "s": "t", "pid": 1, "tid": tid, "ts": micros(now),
        }));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A view, and the trace beside it.
struct Traced {
    show: Arc<dyn Show>,
    writer: Arc<Writer>,
}

impl Ui for Traced {
    fn event(&self, event: Event<'_>) {
        self.writer.event(&event);
        self.show.event(event);
    }

    fn clock(&self) -> Duration {
        self.show.clock()
    }
}

impl Watch for Traced {
    fn begun(&self, task: TaskId, act: Act, what: &str) {
        let began = self.writer.start.elapsed();
        let mut state = self.writer.state();
        let taken: BTreeSet<u64> = state.fetches.values().map(|fetch| fetch.lane).collect();
        let lane = (LANES..).find(|lane| !taken.contains(lane)).expect("lanes do not run out");
        state.fetches.insert(task, Fetch { lane, act, what: what.to_owned(), began, bytes: 0 });
        drop(state);
        self.show.begun(task, act, what);
    }

    fn moved(&self, task: TaskId, amount: &Amount) {
        if let Some(fetch) = self.writer.state().fetches.get_mut(&task) {
            fetch.bytes = amount.bytes;
        }
        self.show.moved(task, amount);
    }

    fn ended(&self, task: TaskId, end: TaskEnd) {
        let now = self.writer.start.elapsed();
        let mut state = self.writer.state();
        if let Some(fetch) = state.fetches.remove(&task) {
            let name = match fetch.act {
                Act::Fetch => "fetch",
                Act::Choose => "choose",
                Act::Push => "push",
            };
            let args = json!({ "what": fetch.what, "bytes": fetch.bytes, "done": end == TaskEnd::Done });
            state.add(fetch.lane, name, "transfer", (fetch.began, now), &args);
        }
        drop(state);
        self.show.ended(task, end);
    }

    fn warned(&self, text: &str) {
        self.show.warned(text);
    }
}

impl Show for Traced {
    fn reads(&self, file: &Source) {
        self.show.reads(file);
    }

    fn built(&self, built: &Built) {
        self.show.built(built);
    }

    fn failed(&self, error: &BuildError) {
        self.show.failed(error);
    }
}
