//! Single instructions: old forms, forms that lose signals, ones of which only the last counts.

use std::collections::BTreeMap;

use super::super::ast::{CommandLine, Instruction, Kind, Word};
use super::super::instructions::is_old_form;
use super::super::{clipped, shown, words};
use super::Linter;
use super::rules::{
    JSON_ARGS_RECOMMENDED, LEGACY_KEY_VALUE_FORMAT, MAINTAINER_DEPRECATED, MULTIPLE_INSTRUCTIONS_DISALLOWED,
    NO_EMPTY_CONTINUATION, WORKDIR_RELATIVE_PATH,
};
use super::state::State;

impl Linter<'_> {
    /// Empty lines inside continued instructions.
    pub(super) fn gaps(&mut self) {
        let mut lines: Vec<(usize, usize)> = self
            .file
            .stages
            .iter()
            .flat_map(|stage| std::iter::once(&stage.origin).chain(stage.body.iter().map(|i| &i.origin)))
            .chain(self.file.globals.iter().map(|arg| &arg.origin))
            .map(|origin| (origin.span.start, origin.line))
            .collect();
        lines.sort_unstable();
        for gap in &self.file.gaps {
            let above = lines.partition_point(|(start, _)| *start < gap.start).checked_sub(1);
            let line = above.map_or(0, |index| lines[index].1);
            let message = "an empty line inside a continued instruction will end it one day";
            self.report.warn(&NO_EMPTY_CONTINUATION, line, *gap, message, "remove it, or make it a comment");
        }
    }

    /// What is odd about an instruction wherever it stands, in a stage that is built or not.
    pub(super) fn everywhere(&mut self, index: usize) {
        for instruction in &self.file.stages[index].body {
            let origin = &instruction.origin;
            match &instruction.kind {
                Kind::Arg(decls) => self.describe_arg(decls, origin),
                Kind::Maintainer(name) => {
                    let help = format!(
                        "write LABEL org.opencontainers.image.authors={:?}",
                        shown(name).trim_matches('\'')
                    );
                    let message = "MAINTAINER is deprecated";
                    self.report.warn(&MAINTAINER_DEPRECATED, origin.line, origin.span, message, help);
                }
                _ => {}
            }
        }
    }

    /// ENV and LABEL without `=`.
    pub(super) fn old_form(&mut self, instruction: &Instruction) {
        let origin = &instruction.origin;
        let parts = words::split_line(&origin.text);
        let first = words::quoted(&parts.rest, self.file.escape).into_iter().next();
        if first.is_some_and(|first| is_old_form(&first.text)) {
            let name = parts.name.text.to_uppercase();
            let message = format!("{name} name value is an old form");
            let help = format!("write {name} name=value");
            self.report.warn(&LEGACY_KEY_VALUE_FORMAT, origin.line, origin.span, message, help);
        }
    }

    pub(super) fn workdir(&mut self, state: &State, word: &Word, instruction: &Instruction) {
        let Some(path) = state.expand(self, word).filter(|_| !state.workdir_set) else { return };
        if !path.starts_with('/') {
            let message = format!("WORKDIR {} depends on where the base image stands", shown(&path));
            let help = format!(
                "write an absolute path, for example /{}",
                clipped(path.trim_start_matches("./").trim_end_matches('/'))
            );
            self.report.warn(&WORKDIR_RELATIVE_PATH, instruction.origin.line, word.span, message, help);
        }
    }

    /// CMD and ENTRYPOINT through a shell that nobody chose.
    pub(super) fn shell_form(
        &mut self,
        name: &str,
        command: &CommandLine,
        state: &State,
        instruction: &Instruction,
    ) {
        let CommandLine::Shell(text) = command else { return };
        if state.shell.is_some() {
            return;
        }
        let origin = &instruction.origin;
        let message = format!("{name} runs below a shell, which passes no signals on");
        let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
        let plain = text.chars().all(|c| c.is_alphanumeric() || "-_./:= ".contains(c));
        let help = match plain && !words.is_empty() && text.len() < 80 {
            true => format!("write {name} [{}]", words.join(", ")),
            false => format!("write {name} [\"program\", \"argument\"], or choose the shell with SHELL"),
        };
        self.report.warn(&JSON_ARGS_RECOMMENDED, origin.line, origin.span, message, help);
    }

    /// Instructions of which a stage uses only the last.
    pub(super) fn repeated(&mut self, body: &[Instruction]) {
        let mut last: BTreeMap<&str, &Instruction> = BTreeMap::new();
        for instruction in body {
            let name = match &instruction.kind {
                Kind::Cmd(_) => "CMD",
                Kind::Entrypoint(_) => "ENTRYPOINT",
                Kind::Healthcheck(_) => "HEALTHCHECK",
                _ => continue,
            };
            if let Some(earlier) = last.insert(name, instruction) {
                let origin = &earlier.origin;
                let message =
                    format!("this {name} has no effect: line {} has another one", instruction.origin.line);
                let rule = &MULTIPLE_INSTRUCTIONS_DISALLOWED;
                self.report.warn(rule, origin.line, origin.span, message, "remove one of them");
            }
        }
    }
}
