//! One line for everything that happens, with the step's name in front.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::log::Log;
use super::{Show, out, render, summary, took};
use crate::diag::Source;
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::plan::StepId;

/// The plain view.
pub struct Plain {
    file: Source,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Log,
    began: BTreeMap<StepId, Instant>,
}

impl Plain {
    pub fn new(file: Source, start: Instant) -> Self {
        Self { file, start, state: Mutex::default() }
    }
}

impl State {
    fn elapsed(&self, step: &StepInfo) -> Duration {
        self.began.get(&step.id).map(Instant::elapsed).unwrap_or_default()
    }

    fn lines(&mut self, event: &Event<'_>, file: &Source) -> String {
        let whole = self.log.take(event);
        match event {
            Event::Odd(found) => render(file, found),
            Event::Note(text) => format!("{text}\n"),
            Event::Planned { .. } => String::new(),
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
        out::err(&state.lines(&event, &self.file));
    }
}

impl Show for Plain {
    fn built(&self, built: &Built) {
        out::err(&summary(built, self.start.elapsed()));
    }

    fn failed(&self, error: &BuildError) {
        let state = self.state.lock().expect("no panic while held");
        out::err(&state.log.failure(error, &self.file));
    }
}
