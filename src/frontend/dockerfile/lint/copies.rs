//! COPY and ADD: files that cannot be there, downloads that may change.

use crate::diag::Span;
use crate::path::ImagePath;

use super::super::ast::{CopyKind, CopyText, Instruction};
use super::super::instructions::{is_remote, is_url};
use super::super::shown;
use super::Linter;
use super::rules::{ADD_WITHOUT_CHECKSUM, COPY_IGNORED_FILE};
use super::state::State;

impl Linter<'_> {
    pub(super) fn copy(&mut self, state: &State, copy: &CopyText, instruction: &Instruction) {
        for word in &copy.sources {
            let Some(source) = state.expand(self, word) else { continue };
            if is_remote(&source) {
                self.checksum(copy, &source, instruction, word.span);
            } else if copy.from.is_none() {
                self.ignored(copy, &source, instruction, word.span);
            }
        }
    }

    fn checksum(&mut self, copy: &CopyText, source: &str, instruction: &Instruction, span: Span) {
        if copy.kind == CopyKind::Add && is_url(source) && copy.checksum.is_none() {
            let message = format!("what {} sends may change", shown(source));
            let help = "write ADD --checksum=sha256:…";
            self.report.warn(&ADD_WITHOUT_CHECKSUM, instruction.origin.line, span, message, help);
        }
    }

    fn ignored(&mut self, copy: &CopyText, source: &str, instruction: &Instruction, span: Span) {
        let Ok(path) = ImagePath::clamped(source.as_bytes()) else { return };
        if (self.facts.left_out)(&path) {
            let message = format!(
                "{} {}: the ignore file leaves it out of the context",
                copy.kind.name(),
                shown(source)
            );
            let help = "take it out of .dockerignore, or add a line !PATH";
            self.report.warn(&COPY_IGNORED_FILE, instruction.origin.line, span, message, help);
        }
    }
}
