//! The last lines of every running step, to be shown again if it fails.

use std::collections::{BTreeMap, VecDeque};

use super::out;
use crate::diag::{Diagnostic, Source, escape};
use crate::engine::BuildError;
use crate::engine::report::{End, Event, StepInfo};
use crate::plan::StepId;

/// How many lines of a failed step are shown again.
const SHOWN: usize = 20;
/// The longest line that is kept.
const LONGEST: usize = 4096;

/// Output of steps, cut into lines.
#[derive(Debug, Default)]
pub struct Log {
    steps: BTreeMap<StepId, Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    last: VecDeque<String>,
    partial: Vec<u8>,
}

impl Log {
    /// Takes an event in; gives the lines that became whole with it, escaped for a terminal.
    pub fn take(&mut self, event: &Event<'_>) -> Vec<String> {
        match event {
            Event::Output { step, bytes, .. } => self.steps.entry(step.id).or_default().push(bytes),
            Event::Ended { step, end: End::Hit | End::Built { .. } } => {
                self.steps.remove(&step.id).map(|mut lines| lines.rest()).unwrap_or_default()
            }
            Event::Ended { step, end: End::Failed { .. } } => {
                self.steps.get_mut(&step.id).map(Lines::rest).unwrap_or_default()
            }
            Event::Odd(_)
            | Event::Note(_)
            | Event::Planned { .. }
            | Event::Started(_)
            | Event::Warning { .. }
            | Event::Shell(_)
            | Event::Remark { .. }
            | Event::Taken { .. }
            | Event::Part { .. }
            | Event::Left { .. } => Vec::new(),
        }
    }

    /// The newest whole line of a step.
    pub fn newest(&self, step: &StepInfo) -> Option<&str> {
        self.steps.get(&step.id).and_then(|lines| lines.last.back()).map(String::as_str)
    }

    /// A failed step's place in the file and what it printed last; empty if the error is no step's.
    pub fn failure(&self, error: &BuildError, file: &Source) -> String {
        let BuildError::Step { step, .. } = error else { return String::new() };
        let failed = Diagnostic::error(step.span, format!("step {} failed", step.name));
        let mut text = format!("\n{}", file.render_in(&failed, out::paint()));
        match self.steps.get(&step.id).filter(|lines| !lines.last.is_empty()) {
            Some(lines) => {
                text.push_str("its output ended in:\n");
                text.extend(lines.last.iter().map(|line| format!("  | {line}\n")));
            }
            None => text.push_str("it printed nothing\n"),
        }
        text
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.partial.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            whole.push(self.keep(&line[..end]));
        }
        if self.partial.len() > LONGEST {
            let line = std::mem::take(&mut self.partial);
            whole.push(self.keep(&line));
        }
        whole
    }

    fn rest(&mut self) -> Vec<String> {
        if self.partial.is_empty() {
            return Vec::new();
        }
        let line = std::mem::take(&mut self.partial);
        vec![self.keep(&line)]
    }

    fn keep(&mut self, line: &[u8]) -> String {
        // A carriage return redraws a line on a terminal: only what stands last counts.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let visible = line.rsplit(|b| *b == b'\r').next().unwrap_or(line);
        let text = escape(visible);
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        text
    }
}
