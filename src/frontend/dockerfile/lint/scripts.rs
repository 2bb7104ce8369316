//! RUN: the commands of its text or here-document, and what holds for the script as a whole.

use crate::diag::Span;

use super::super::ast::{CommandLine, Heredoc, Instruction, RunText};
use super::super::heredoc;
use super::Linter;
use super::rules::HEREDOC_WITHOUT_SET_E;
use super::shell::{Command, Lines, Token, commands};
use super::state::State;

/// Shells that stop at a failure only if told to.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"];

impl Linter<'_> {
    pub(super) fn run(&mut self, state: &mut State, run: &RunText, instruction: &Instruction) {
        let line = self.line_commands(run, instruction);
        let script = run.heredocs.first().filter(|_| feeds_a_shell(run, &line));
        let body =
            script.map_or(Vec::new(), |script| commands(self.body(script), script.span.start, Lines::Script));
        if let Some(script) = script {
            self.stops_at_failures(state, script, &line, &body, instruction);
        }
        // A here-document's own line is seen too: `RUN <<EOF` has no program, `RUN bash <<EOF` has one.
        let all: Vec<Command> = line.into_iter().chain(body).collect();
        self.packages(state, &all, instruction);
        self.reproducible(&all, instruction);
        self.owners(state, &all, instruction);
    }

    /// The commands of the instruction's own lines.
    fn line_commands(&self, run: &RunText, instruction: &Instruction) -> Vec<Command> {
        let span = instruction.origin.span;
        match &run.command {
            CommandLine::Exec(argv) => exec_form(argv, span),
            CommandLine::Shell(_) => {
                let start = span.start + "RUN".len();
                let text = self.source.text.get(start..span.end).unwrap_or_default();
                let mut found = commands(text, start, Lines::Joined { escape: self.file.escape });
                if let Some(first) = found.first_mut() {
                    let flags = first.words.iter().take_while(|word| word.text.starts_with("--")).count();
                    first.words.drain(..flags);
                }
                found.retain(|command| !command.words.is_empty());
                found
            }
        }
    }

    fn body(&self, script: &Heredoc) -> &str {
        self.source.text.get(script.span.range()).unwrap_or_default()
    }

    /// A script of several commands, run by a shell that goes on after a failure.
    fn stops_at_failures(
        &mut self,
        state: &State,
        script: &Heredoc,
        line: &[Command],
        body: &[Command],
        instruction: &Instruction,
    ) {
        let first = script.body.lines().next().unwrap_or_default();
        let shell = state.shell.iter().flatten().skip(1).map(String::as_str);
        let program = line.iter().flat_map(|command| command.program());
        let given = program.flat_map(|(_, arguments)| arguments).map(|word| word.text.as_str());
        let hashbang = first.strip_prefix("#!").unwrap_or_default().split_whitespace().skip(1);
        let by_option = match first.starts_with("#!") {
            true => hashbang.clone().any(is_errexit),
            false => shell.chain(given).any(is_errexit),
        };
        let sets = |command: &Command| {
            command.program().is_some_and(|(program, arguments)| {
                program == "set"
                    && arguments.iter().any(|word| is_errexit(&word.text) || word.text == "errexit")
            })
        };
        let unseen = body.len() > 1 && body[..body.len() - 1].iter().any(|command| command.ends_line);
        if !unseen || by_option || body.iter().any(sets) {
            return;
        }
        let message =
            "the script goes on after a command that fails, and the step succeeds if its last one does";
        let origin = &instruction.origin;
        self.report.warn(&HEREDOC_WITHOUT_SET_E, origin.line, origin.span, message, "begin it with set -e");
    }
}

/// Whether the first here-document is a shell's script: it stands alone, or is fed to a shell.
fn feeds_a_shell(run: &RunText, line: &[Command]) -> bool {
    let CommandLine::Shell(text) = &run.command else { return false };
    let Some(script) = run.heredocs.first() else { return false };
    if heredoc::parse(text).is_some() {
        let first = script.body.lines().next().unwrap_or_default();
        let Some(interpreter) = first.strip_prefix("#!") else { return true };
        return interpreter
            .split_whitespace()
            .any(|word| is_shell(word.rsplit('/').next().unwrap_or_default()));
    }
    let [command] = line else { return false };
    command.program().is_some_and(|(program, arguments)| {
        is_shell(program)
            && arguments.iter().all(|word| word.text.starts_with(['-', '<']) || word.text == script.name)
    })
}

pub fn is_shell(program: &str) -> bool {
    SHELLS.contains(&program)
}

/// `-e`, `-eux`, `-ec`, `errexit`.
fn is_errexit(option: &str) -> bool {
    let letters = option.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    option == "errexit" || letters.is_some_and(|letters| letters.contains('e'))
}

/// An argument vector as one command; that of a shell as the shell's commands.
fn exec_form(argv: &[String], span: Span) -> Vec<Command> {
    if let [shell, option, text] = argv
        && is_shell(shell.rsplit('/').next().unwrap_or_default())
        && option.starts_with('-')
        && option.ends_with('c')
    {
        let mut found = commands(text, 0, Lines::Script);
        found.iter_mut().flat_map(|command| &mut command.words).for_each(|word| word.span = span);
        return found;
    }
    let words = argv.iter().map(|text| Token { text: text.clone(), span }).collect();
    vec![Command { words, fed_by: None, ends_line: true }]
}
