//! Texts of the file made values, and note taken of what is wrong with them.

use crate::diag::Span;
use crate::frontend::env::{Budget, MAX_VALUE};
use crate::frontend::problems::Problems;

use super::params::{self, Params};
use super::tree::Text;

/// What every part of the lowering needs.
pub struct Words<'a> {
    pub params: Params,
    pub problems: &'a mut Problems,
    /// Whether the stage at hand is built: what is wrong with a build's options does not matter to others.
    pub needed: bool,
    /// The file made more text than it may; that was said.
    pub exhausted: bool,
    budget: Budget,
}

impl<'a> Words<'a> {
    pub fn new(params: Params, problems: &'a mut Problems) -> Self {
        Self { params, problems, needed: true, exhausted: false, budget: Budget::new() }
    }

    /// Counts work against what one file may cause.
    pub fn spend(&mut self, amount: usize, span: Span) {
        if self.exhausted {
            return;
        }
        if let Err(error) = self.budget.spend(amount) {
            self.exhausted = true;
            self.problems.error(span, error.to_string());
        }
    }

    /// The text with its parameters.
    pub fn expand(&mut self, text: &Text) -> Text {
        self.spend(text.text.len(), text.span);
        let expanded = params::expand(text, self);
        if expanded.len() > MAX_VALUE.max(text.text.len()) {
            self.problems.error(text.span, format!("this text expands to more than {MAX_VALUE} bytes"));
        }
        Text { text: expanded, span: text.span }
    }
}
