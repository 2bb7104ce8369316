//! One line for everything that happens, with the step's name in front.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::fetches::{Fetches, amount};
use super::log::Log;
use super::{Show, out, render, summary, took, verb};
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};
use crate::plan::StepId;

/// The plain view.
pub struct Plain {
    file: OnceLock<Source>,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Log,
    began: BTreeMap<StepId, Instant>,
    fetches: Fetches,
}

/// What is fetched in no time is told when it is here; else it is told after a second, and then every five.
const TELLING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

impl Plain {
    pub fn new(start: Instant) -> Self {
        Self { file: OnceLock::new(), start, state: Mutex::default() }
    }
}

impl State {
    fn elapsed(&self, step: &StepInfo) -> Duration {
        self.began.get(&step.id).map(Instant::elapsed).unwrap_or_default()
    }

    fn lines(&mut self, event: &Event<'_>, file: Option<&Source>) -> String {
        let whole = self.log.take(event);
        match event {
            Event::Odd(found) => file.map(|file| render(file, found)).unwrap_or_default(),
            Event::Note(text) => format!("{text}\n"),
            Event::Planned { .. } | Event::Taken { .. } | Event::Part { .. } | Event::Left { .. } => {
                String::new()
            }
            Event::Started(step) => {
                if self.began.insert(step.id, Instant::now()).is_some() {
                    return String::new();
                }
                format!("[{}] {}\n", step.name, step.text)
            }
            Event::Output { step, .. } => {
                let time = self.elapsed(step).as_secs_f64();
                whole.iter().map(|line| format!("[{}] {time:.2} {line}\n", step.name)).collect()
            }
            Event::Warning { step, text } => format!("[{}] warning: {text}\n", step.name),
            Event::Remark { step, text } => format!("[{}] {text}\n", step.name),
            Event::Shell(step) => format!("[{}] shell in the failed step; exit it to go on\n", step.name),
            Event::Ended { step, end } => {
                let time = self.elapsed(step);
                let mut text: String = whole
                    .iter()
                    .map(|line| format!("[{}] {:.2} {line}\n", step.name, time.as_secs_f64()))
                    .collect();
                text.push_str(&match end {
                    End::Hit => format!("[{}] {}\n[{}] HIT\n", step.name, step.text, step.name),
                    End::Built { why } => format!("[{}] BUILT {} because {why}\n", step.name, took(time)),
                    End::Failed { error } => format!("[{}] FAILED {}: {error}\n", step.name, took(time)),
                });
                text
            }
        }
    }
}

impl Ui for Plain {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().expect("no panic while held");
        out::err(&state.lines(&event, self.file.get()));
    }

    fn clock(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Watch for Plain {
    fn begun(&self, task: TaskId, act: Act, what: &str) {
        self.state.lock().expect("no panic while held").fetches.begun(task, act, what);
        match act {
            Act::Fetch | Act::Push => {}
            // Nothing is told of it until it is over.
            Act::Choose => out::err(&format!("{} {what}\n", verb(act, false))),
        }
    }

    fn moved(&self, task: TaskId, news: &Amount) {
        let mut state = self.state.lock().expect("no panic while held");
        if let Some(fetch) = state.fetches.moved(task, news, TELLING) {
            out::err(&format!("{} {} {}\n", verb(fetch.act, false), fetch.what, amount(news)));
        }
    }

    fn ended(&self, task: TaskId, end: TaskEnd) {
        let ended = self.state.lock().expect("no panic while held").fetches.ended(task);
        let Some(fetch) = ended.filter(|_| end == TaskEnd::Done) else { return };
        let (bytes, time) = (out::size(fetch.amount.bytes), took(fetch.began.elapsed()));
        out::err(&format!("{} {} {bytes} in {time}\n", verb(fetch.act, true), fetch.what));
    }

    fn warned(&self, text: &str) {
        out::err(&format!("warning: {text}\n"));
    }
}

impl Show for Plain {
    fn reads(&self, file: &Source) {
        self.file.get_or_init(|| file.clone());
    }

    fn built(&self, built: &Built) {
        out::err(&summary(built, self.start.elapsed()));
    }

    fn failed(&self, error: &BuildError) {
        let state = self.state.lock().expect("no panic while held");
        let file = self.file.get();
        out::err(&file.map(|file| state.log.failure(error, file)).unwrap_or_default());
    }
}
