//! The Dockerfile language (`spec/dockerfile.md`): text to [`crate::recipe::Recipe`].
//!
//! Three steps, each a pure function: [`parse`] reads the text and reports every problem of it;
//! [`Dockerfile::images`] says which images the wanted stage needs; [`Dockerfile::lower`] expands everything into a
//! recipe, given the configs of the base images. No step stops at the first problem, and none panics on any text.

mod ast;
mod changes;
mod expand;
mod flags;
mod heredoc;
mod instructions;
mod lines;
mod lint;
mod lower;
mod outline;
mod pattern;
mod stages;
mod trigger;
mod words;

use crate::diag::{Diagnostic, Source, Span};

pub use super::{
    Configs, ContextKind, ImageUse, MAX_ENV, MAX_FILE, MAX_LINE, MAX_VALUE, NamedContexts, Options,
    SourceError, source_from_bytes,
};
pub use ast::Dockerfile;
pub use changes::apply_changes;
pub use lint::{Facts, Level, Linted, RULES, Rule, RuleOrigin};
pub use outline::{Arg, Outline, Target, Wanted};

use super::shown::{clipped, shown, similar};
use super::{
    bases, contexts, created_by, duration, env, files, options, ports, problems, scope, signal, source,
};
use instructions::Parsed;
use problems::Problems;

/// Parses a file. It goes on after errors, so that all of them come in one run; the result is complete only if none
/// of the diagnostics is an error.
pub fn parse(source: &Source) -> (Dockerfile, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let mut file = Dockerfile { escape: '\\', ..Dockerfile::default() };
    if source.text.len() > MAX_FILE {
        let message = format!("the file is {} bytes long; the most is {MAX_FILE}", source.text.len());
        problems.error(Span::default(), message);
        return (file, problems.finish());
    }
    let lines = lines::read(source, &mut problems);
    file.escape = lines.escape;
    file.check = lines.check;
    file.gaps = lines.gaps;
    file.comments = lines.comments;
    lint::check_directive(&file, &mut problems);
    let mut orphans = 0;
    for line in &lines.lines {
        match instructions::parse(line, lines.escape, &mut problems) {
            Some(Parsed::From(stage)) => file.stages.push(stage),
            Some(Parsed::Instruction(instruction)) => match (file.stages.last_mut(), instruction.kind) {
                (Some(stage), kind) => stage.body.push(ast::Instruction { kind, ..instruction }),
                (None, ast::Kind::Arg(decls)) => {
                    file.globals.push(ast::ArgText { decls, origin: instruction.origin });
                }
                (None, _) => {
                    orphans += 1;
                    // One is enough to tell that FROM is missing.
                    if orphans == 1 {
                        let message =
                            "no build stage in current context: FROM must come before this instruction";
                        problems.error_help(
                            instruction.origin.span,
                            message,
                            "only ARG may stand before FROM",
                        );
                    }
                }
            },
            None => {}
        }
    }
    if lines.lines.is_empty() {
        problems.error(Span::default(), "file with no instructions");
    } else if file.stages.is_empty() && problems.errors() == 0 {
        problems.error(Span::default(), "no build stage: the file has no FROM");
    }
    (file, problems.finish())
}
