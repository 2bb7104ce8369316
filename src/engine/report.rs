//! What a build says while it runs. Whoever shows it implements [`Ui`]; nothing here prints.

use std::time::Duration;

use crate::action::LayerRef;
use crate::diag::{Diagnostic, Span};
use crate::digest::ActionKey;
use crate::exec::run::Part;
use crate::plan::{Phase, StepId};
use crate::recipe::Effect;
use crate::sandbox::Stream;

/// What people need to know of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    pub id: StepId,
    /// `stage/number`, the number counted from 1 among the stage's steps: `build/3`.
    pub name: String,
    /// The instruction on one line.
    pub text: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// Of the instruction.
    pub span: Span,
    /// What makes its result depend on more than its key.
    pub effects: Vec<Effect>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// From the cache.
    Hit,
    /// Done, and why it had to be.
    Built {
        why: String,
    },
    Failed {
        error: String,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The file was read, and this is odd about it. Never empty.
    Odd(&'a [Diagnostic]),
    /// Something that is good to know, on one line.
    Note(&'a str),
    /// The build has so many steps that make layers.
    Planned {
        steps: usize,
    },
    /// Work on a step began.
    Started(&'a StepInfo),
    /// The step's process wrote something.
    Output {
        step: &'a StepInfo,
        stream: Stream,
        bytes: &'a [u8],
    },
    Warning {
        step: &'a StepInfo,
        text: &'a str,
    },
    /// Something that is good to know of a step, on one line.
    Remark {
        step: &'a StepInfo,
        text: &'a str,
    },
    /// A shell is about to be opened in the failed state of a step; it gets the terminal.
    Shell(&'a StepInfo),
    Ended {
        step: &'a StepInfo,
        end: End,
    },
    /// The calling thread takes up a node of the plan: one of a step's two, if it is a copy.
    Taken {
        step: &'a StepInfo,
        phase: Phase,
    },
    /// What it does from now on.
    Part {
        step: &'a StepInfo,
        part: Part,
    },
    /// It is through with the node.
    Left {
        step: &'a StepInfo,
        phase: Phase,
        /// What is known of the step now; nothing if it failed.
        key: Option<ActionKey>,
        layer: Option<LayerRef>,
    },
}

/// Shows a build. Called from several threads, one call at a time for one step.
pub trait Ui: Sync {
    fn event(&self, event: Event<'_>);

    /// How long this has been going on, by a clock that never goes back. Only people get to see what is made of it.
    fn clock(&self) -> Duration;
}
