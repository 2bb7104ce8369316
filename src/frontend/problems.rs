//! Collects what is wrong with a file, up to a number that a person can read.

use crate::diag::{Diagnostic, Severity, Span};

use super::files::Fault;

/// So many are kept; the rest is counted. Bounds the work of showing them too.
const KEPT: usize = 200;

/// Diagnostics in the order in which they were found.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
}

/// A state of [`Problems`].
#[derive(Debug)]
pub struct Mark {
    kept: usize,
    dropped: usize,
    errors: usize,
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.is_full() {
            self.dropped += 1;
        } else {
            self.kept.push(diagnostic);
        }
    }

    /// Adds an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::error(span, message));
    }

    /// Adds an error with its next step.
    pub fn error_help(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::error(span, message).with_help(help));
    }

    /// Adds an error about the text at a place.
    pub fn fault(&mut self, span: Span, fault: Fault) {
        let error = Diagnostic::error(span, fault.message);
        self.push(match fault.help {
            Some(help) => error.with_help(help),
            None => error,
        });
    }

    /// What was found so far, to be returned to.
    pub fn mark(&self) -> Mark {
        Mark { kept: self.kept.len(), dropped: self.dropped, errors: self.errors }
    }

    /// Forgets what came in since the mark.
    pub fn forget_since(&mut self, mark: &Mark) {
        self.kept.truncate(mark.kept);
        self.dropped = mark.dropped;
        self.errors = mark.errors;
    }

    /// Puts a text before the messages that came in since the mark.
    pub fn prefix_since(&mut self, mark: &Mark, prefix: &str) {
        for diagnostic in self.kept.iter_mut().skip(mark.kept) {
            if !diagnostic.message.starts_with(prefix) {
                diagnostic.message.insert_str(0, prefix);
            }
        }
    }

    /// Whether further problems are only counted: no need to work out a long message.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= KEPT
    }

    /// How many errors came in so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All of them by place.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|d| (d.span.start, d.span.end));
        if self.dropped > 0 {
            let last = self.kept.last().map_or(Span::default(), |d| d.span);
            let message = format!("{} more problems are not shown", self.dropped);
            self.kept.push(match self.errors {
                0 => Diagnostic::warning(last, message),
                _ => Diagnostic::error(last, message),
            });
        }
        self.kept
    }
}
