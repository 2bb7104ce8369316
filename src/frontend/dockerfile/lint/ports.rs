//! EXPOSE.

use super::super::ast::{Instruction, Word};
use super::super::expand::Lexer;
use super::super::{clipped, shown};
use super::Linter;
use super::rules::{EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING};
use super::state::State;

impl Linter<'_> {
    pub(super) fn expose(&mut self, state: &State, words: &[Word], instruction: &Instruction) {
        let line = instruction.origin.line;
        for word in words {
            let lexer = Lexer::new(self.file.escape, &state.env);
            let Ok(specs) = lexer.words(&word.text, &mut self.budget) else { continue };
            for spec in specs {
                let container = spec.rsplit(':').next().unwrap_or(&spec);
                let protocol = container.split_once('/').map_or("", |(_, protocol)| protocol);
                if protocol != protocol.to_lowercase() {
                    let message = format!("the protocol of {} is not lower case", shown(&spec));
                    let help = format!("write {}", clipped(&container.to_lowercase()));
                    self.report.warn(&EXPOSE_PROTO_CASING, line, word.span, message, help);
                }
                if !spec[..spec.len() - container.len()].trim_end_matches(':').is_empty() {
                    let message = format!(
                        "{} names an address or a port of the host, which EXPOSE cannot bind",
                        shown(&spec)
                    );
                    let help = format!("write EXPOSE {}", clipped(container));
                    self.report.warn(&EXPOSE_INVALID_FORMAT, line, word.span, message, help);
                }
            }
        }
    }
}
