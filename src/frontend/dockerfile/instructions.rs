//! From a logical line to a typed instruction: arguments counted, flags checked, forms told apart.

mod copy;
mod from;
mod healthcheck;
mod lists;
mod mount;
mod pairs;
mod run;

use crate::diag::{Diagnostic, suggest};
use crate::recipe::Origin;

use super::ast::{CommandLine, CopyKind, Instruction, Kind, StageText, Word};
use super::flags::Flags;
use super::lines::Line;
use super::problems::Problems;
use super::words::{self, JsonError, Parts, Piece};
use super::{shown, trigger};

pub use copy::{is_remote, is_url, remote_copy};
pub use pairs::is_old_form;

/// Every instruction of the language.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a line turned out to be.
pub enum Parsed {
    From(StageText),
    Instruction(Instruction),
}

/// Parses one line. `None` if it is beyond use; then at least one error was reported.
pub fn parse(line: &Line, escape: char, problems: &mut Problems) -> Option<Parsed> {
    let parts = words::split_line(&line.text);
    let name = parts.name.text.to_ascii_uppercase();
    let Some(name) = NAMES.iter().copied().find(|known| *known == name) else {
        unknown(line, &parts.name, problems);
        return None;
    };
    let before = problems.errors();
    let mut parser = Parser {
        flags: Flags::new(name, line, &parts.flags),
        name,
        line,
        parts: &parts,
        escape,
        problems,
        refused: Vec::new(),
    };
    let parsed = if name == "FROM" {
        parser.from().map(Parsed::From)
    } else {
        parser.kind().map(|kind| {
            Parsed::Instruction(Instruction {
                kind,
                origin: origin(line),
                refused: std::mem::take(&mut parser.refused),
                trigger: None,
            })
        })
    };
    let Parser { flags, problems, .. } = parser;
    flags.finish(problems);
    if parsed.is_none() && problems.errors() == before {
        problems.error(line.whole(), format!("{name} cannot be read"));
    }
    parsed
}

fn unknown(line: &Line, name: &Piece, problems: &mut Problems) {
    let message = format!("unknown instruction: {}", shown(&name.text));
    let diagnostic = Diagnostic::error(line.span(name.at.clone()), message);
    problems.push(match suggest(&name.text, NAMES) {
        Some(known) if name.text.len() <= 20 => diagnostic.with_help(format!("did you mean {known}?")),
        Some(_) | None => diagnostic,
    });
}

fn origin(line: &Line) -> Origin {
    Origin { line: line.number, span: line.whole(), text: line.text.trim().to_owned() }
}

/// One line on its way to an instruction.
struct Parser<'a> {
    name: &'static str,
    line: &'a Line,
    parts: &'a Parts,
    flags: Flags<'a>,
    escape: char,
    problems: &'a mut Problems,
    refused: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn kind(&mut self) -> Option<Kind> {
        Some(match self.name {
            "RUN" => Kind::Run(self.run()?),
            "COPY" => Kind::Copy(self.copy(CopyKind::Copy)?),
            "ADD" => Kind::Copy(self.copy(CopyKind::Add)?),
            "ENV" => Kind::Env(self.pairs()?),
            "LABEL" => Kind::Label(self.pairs()?),
            "ARG" => Kind::Arg(self.args()?),
            "WORKDIR" => Kind::Workdir(self.whole_rest()?),
            "USER" => Kind::User(self.whole_rest()?),
            "STOPSIGNAL" => Kind::StopSignal(self.whole_rest()?),
            "MAINTAINER" => Kind::Maintainer(self.whole_rest()?.text),
            "EXPOSE" => Kind::Expose(self.expose()?),
            "VOLUME" => Kind::Volume(self.volume()?),
            "CMD" => Kind::Cmd(self.command(&self.parts.rest.clone())?),
            "ENTRYPOINT" => Kind::Entrypoint(self.command(&self.parts.rest.clone())?),
            "SHELL" => Kind::Shell(self.shell()?),
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck()?),
            _ => self.onbuild(),
        })
    }

    fn onbuild(&mut self) -> Kind {
        let text = trigger::text(self.line);
        if let Some(message) = trigger::forbidden(&text) {
            self.fail(message);
        }
        Kind::OnBuild(text)
    }

    /// The rest as a command in one of its two forms.
    fn command(&mut self, rest: &Piece) -> Option<CommandLine> {
        match words::json_array(&rest.text) {
            None => Some(CommandLine::Shell(rest.text.clone())),
            Some(Ok(argv)) => Some(CommandLine::Exec(argv)),
            Some(Err(error)) => {
                self.bad_json(rest, error);
                None
            }
        }
    }

    fn bad_json(&mut self, rest: &Piece, error: JsonError) {
        let message = match error {
            JsonError::NotStrings => "when using JSON array syntax, arrays must be comprised of strings only",
            JsonError::Nul => "an argument cannot hold a zero byte",
        };
        self.problems.error(self.line.span(rest.at.clone()), message);
    }

    /// The rest as one text, which must not be empty.
    fn whole_rest(&mut self) -> Option<Word> {
        if self.parts.rest.text.is_empty() {
            self.fail(format!("{} requires exactly one argument", self.name));
            return None;
        }
        Some(self.word(&self.parts.rest))
    }

    fn words(&self) -> Vec<Word> {
        words::plain(&self.parts.rest).iter().map(|piece| self.word(piece)).collect()
    }

    fn words_or_json(&mut self) -> Option<Vec<Word>> {
        match self.command(&self.parts.rest.clone())? {
            CommandLine::Shell(_) => Some(self.words()),
            CommandLine::Exec(texts) => {
                let span = self.line.span(self.parts.rest.at.clone());
                Some(texts.into_iter().map(|text| Word { text, span }).collect())
            }
        }
    }

    fn word(&self, piece: &Piece) -> Word {
        Word { text: piece.text.clone(), span: self.line.span(piece.at.clone()) }
    }

    fn flag(&mut self, name: &str) -> Option<Word> {
        self.flags.take(name, self.problems)
    }

    /// A flag that is true or false; true if it stands alone.
    fn switch(&mut self, name: &str) -> Option<bool> {
        self.flags.take_switch(name, self.problems)
    }

    fn fail(&mut self, message: impl Into<String>) {
        self.problems.error(self.line.whole(), message);
    }

    fn fail_help(&mut self, message: impl Into<String>, help: &str) {
        self.problems.error_help(self.line.whole(), message, help);
    }
}
