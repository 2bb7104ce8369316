//! Owners and modes changed after COPY: the files are in two layers then.

use super::super::ast::Instruction;
use super::super::scope::clean;
use super::super::{clipped, shown};
use super::Linter;
use super::rules::CHANGE_AFTER_COPY;
use super::shell::{Command, Token};
use super::state::State;

impl Linter<'_> {
    pub(super) fn owners(&mut self, state: &State, commands: &[Command], instruction: &Instruction) {
        for command in commands {
            let Some((program, flag, value, paths)) = change(command) else { continue };
            let paths = paths.iter().filter(|path| !path.text.contains(['$', '*', '?']));
            let mut paths = paths.map(|path| clean(&state.cwd, &path.text));
            let copied = paths.find_map(|path| state.copied.iter().find(|copied| overlap(&path, copied)));
            let Some(copied) = copied else { continue };
            let message = format!("{program} -R stores again what was copied to {}", shown(copied));
            let help = format!("write COPY --{flag}={} and leave the {program} out", clipped(&value.text));
            self.report.warn(&CHANGE_AFTER_COPY, instruction.origin.line, command.span(), message, help);
        }
    }
}

/// Program, flag of COPY, value and paths of a recursive `chown` or `chmod`.
fn change(command: &Command) -> Option<(&'static str, &'static str, &Token, &[Token])> {
    let (program, arguments) = command.program()?;
    let (program, flag) = match program {
        "chown" => ("chown", "chown"),
        "chmod" => ("chmod", "chmod"),
        _ => return None,
    };
    let options = arguments.iter().take_while(|word| word.text.starts_with('-')).count();
    let recursive = arguments[..options]
        .iter()
        .any(|word| word.text == "--recursive" || !word.text.starts_with("--") && word.text.contains('R'));
    let (value, paths) = arguments[options..].split_first()?;
    recursive.then_some((program, flag, value, paths))
}

/// Whether one path is the other, or lies below it.
fn overlap(a: &str, b: &str) -> bool {
    let below = |above: &str, path: &str| {
        path.strip_prefix(above.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}
