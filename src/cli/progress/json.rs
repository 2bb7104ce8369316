//! One JSON object a line on standard output (spec/cli.md, "Progress events"). `time` is seconds since the start.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fetches::{Fetch, Fetches};
use super::{Show, out};
use crate::cli::results::platforms;
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};
use crate::sandbox::Stream;

/// The JSON view.
pub struct Json {
    file: OnceLock<Source>,
    start: Instant,
    fetches: Mutex<Fetches>,
}

/// A task is told at once, and then once in a second.
const TELLING: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(1));

impl Json {
    pub fn new(start: Instant) -> Self {
        Self { file: OnceLock::new(), start, fetches: Mutex::default() }
    }

    fn line(&self, mut value: Value) {
        value["time"] = json!(self.start.elapsed().as_secs_f64());
        out::print(&format!("{value}\n"));
    }
}

fn about(event: &str, step: &StepInfo) -> Value {
    let mut value = json!({ "event": event, "step": step.name, "text": step.text, "line": step.line });
    if !step.effects.is_empty() {
        value["effects"] = json!(step.effects);
    }
    value
}

fn about_fetch(event: &str, fetch: &Fetch) -> Value {
    let Amount { bytes, total, pieces } = fetch.amount;
    let mut value = json!({ "event": event, "what": fetch.what, "bytes": bytes });
    if let Some(total) = total {
        value["total"] = total.into();
    }
    if let Some(pieces) = pieces {
        value["pieces"] = json!({ "done": pieces.done, "total": pieces.total });
        if let Some(unit) = pieces.unit {
            value["pieces"]["unit"] = unit.into();
        }
    }
    value
}

/// The event of what comes, or of what goes.
fn event(act: Act, coming: &'static str, going: &'static str) -> &'static str {
    match act {
        Act::Fetch | Act::Choose => coming,
        Act::Push => going,
    }
}

impl Watch for Json {
    fn begun(&self, task: TaskId, act: Act, what: &str) {
        self.fetches.lock().expect("no panic while held").begun(task, act, what);
        match act {
            Act::Fetch | Act::Push => {}
            Act::Choose => self.line(json!({ "event": "choosing", "what": what })),
        }
    }

    fn moved(&self, task: TaskId, amount: &Amount) {
        let mut fetches = self.fetches.lock().expect("no panic while held");
        if let Some(fetch) = fetches.moved(task, amount, TELLING) {
            self.line(about_fetch(event(fetch.act, "fetching", "pushing"), fetch));
        }
    }

    fn ended(&self, task: TaskId, end: TaskEnd) {
        let ended = self.fetches.lock().expect("no panic while held").ended(task);
        if let Some(fetch) = ended.filter(|_| end == TaskEnd::Done) {
            self.line(about_fetch(event(fetch.act, "fetched", "pushed"), &fetch));
        }
    }

    fn warned(&self, text: &str) {
        self.line(json!({ "event": "warning", "message": text }));
    }
}

impl Ui for Json {
    fn event(&self, event: Event<'_>) {
        self.line(match event {
            // For traces.
            Event::Taken { .. } | Event::Part { .. } | Event::Left { .. } => return,
            Event::Odd(found) => {
                let text: String =
                    self.file.get().iter().flat_map(|file| found.iter().map(|d| file.render(d))).collect();
                json!({ "event": "diagnostics", "text": text })
            }
            Event::Note(text) => json!({ "event": "note", "message": text }),
            Event::Planned { steps } => json!({ "event": "planned", "steps": steps }),
            Event::Started(step) => about("started", step),
            Event::Shell(step) => about("shell", step),
            Event::Output { step, stream, bytes } => {
                let stream = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                json!({
                    "event": "output", "step": step.name, "stream": stream,
                    "data": String::from_utf8_lossy(bytes),
                })
            }
            Event::Remark { step, text } => {
                json!({ "event": "note", "step": step.name, "message": text })
            }
            Event::Warning { step, text } => {
                json!({ "event": "warning", "step": step.name, "message": text })
            }
            Event::Ended { step, end } => {
                let mut value = about("ended", step);
                match end {
                    End::Hit => value["status"] = "hit".into(),
                    End::Built { why } => {
                        value["status"] = "built".into();
                        value["why"] = why.into();
                    }
                    End::Failed { error } => {
                        value["status"] = "failed".into();
                        value["error"] = error.into();
                    }
                }
                value
            }
        });
    }

    fn clock(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Show for Json {
    fn reads(&self, file: &Source) {
        self.file.get_or_init(|| file.clone());
    }

    fn built(&self, built: &Built) {
        for target in &built.targets {
            let mut value = json!({
                "event": "built", "stage": target.stage, "image": target.id(), "manifest": target.digest(),
                "names": target.familiar_names(), "hits": built.hits, "built": built.built,
            });
            match target.index {
                None => {
                    value["layers"] = target.images[0].layers.into();
                    value["size"] = target.images[0].size.into();
                }
                Some(_) => value["platforms"] = platforms(target).into(),
            }
            self.line(value);
        }
    }

    fn failed(&self, error: &BuildError) {
        self.line(json!({ "event": "failed", "error": error.to_string() }));
    }
}
