//! The `--name=value` words of one instruction, each to be asked for by name.

use crate::diag::{Span, suggest};

use super::ast::Word;
use super::lines::Line;
use super::problems::Problems;
use super::shown;
use super::words::Piece;

/// What is left to be asked for, and what was asked.
pub struct Flags<'a> {
    instruction: &'static str,
    left: Vec<Flag<'a>>,
    known: Vec<String>,
}

struct Flag<'a> {
    name: &'a str,
    value: Option<&'a str>,
    span: Span,
}

impl<'a> Flags<'a> {
    pub fn new(instruction: &'static str, line: &Line, pieces: &'a [Piece]) -> Self {
        let left = pieces.iter().map(|piece| {
            let text = piece.text.strip_prefix("--").unwrap_or(&piece.text);
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            Flag { name, value, span: line.span(piece.at.clone()) }
        });
        Self { instruction, left: left.collect(), known: Vec::new() }
    }

    /// A flag that takes one value and may be given once.
    pub fn take(&mut self, name: &str, problems: &mut Problems) -> Option<Word> {
        self.known.push(name.to_owned());
        let mut taken: Option<Word> = None;
        for flag in self.left.extract_if(.., |flag| flag.name == name) {
            match (flag.value, &taken) {
                (_, Some(_)) => problems.error(flag.span, format!("duplicate flag specified: --{name}")),
                (None, None) => problems.error(flag.span, format!("missing a value on flag: --{name}")),
                (Some(value), None) => taken = Some(Word { text: value.to_owned(), span: flag.span }),
            }
        }
        // An empty value is the same as none.
        taken.filter(|word| !word.text.is_empty())
    }

    /// A flag that is true or false, in any case, given at most once; true if it stands alone.
    pub fn take_switch(&mut self, name: &str, problems: &mut Problems) -> Option<bool> {
        self.known.push(name.to_owned());
        let mut taken = None;
        for flag in self.left.extract_if(.., |flag| flag.name == name) {
            let value = flag.value.map(str::to_ascii_lowercase);
            match (value.as_deref(), taken) {
                (_, Some(_)) => problems.error(flag.span, format!("duplicate flag specified: --{name}")),
                (None | Some("true"), None) => taken = Some(true),
                (Some("false"), None) => taken = Some(false),
                (Some(""), None) => problems.error(flag.span, format!("missing a value on flag: --{name}")),
                (Some(_), None) => {
                    let given = shown(flag.value.unwrap_or_default());
                    let message = format!("expecting boolean value for flag --{name}, not: {given}");
                    problems.error_help(flag.span, message, format!("write --{name} or --{name}=false"));
                }
            }
        }
        taken
    }

    /// A flag that takes a value and may be given often; empty values are the same as none.
    pub fn take_many(&mut self, name: &str, problems: &mut Problems) -> Vec<Word> {
        self.known.push(name.to_owned());
        let mut taken = Vec::new();
        for flag in self.left.extract_if(.., |flag| flag.name == name) {
            match flag.value {
                None => problems.error(flag.span, format!("missing a value on flag: --{name}")),
                Some("") => {}
                Some(value) => taken.push(Word { text: value.to_owned(), span: flag.span }),
            }
        }
        taken
    }

    /// Where a flag was given.
    pub fn take_all(&mut self, name: &str) -> Vec<Span> {
        self.known.push(name.to_owned());
        self.left.extract_if(.., |flag| flag.name == name).map(|flag| flag.span).collect()
    }

    /// Reports what nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for flag in &self.left {
            let message =
                format!("unknown flag: {} for {}", shown(&format!("--{}", flag.name)), self.instruction);
            match suggest(flag.name, self.known.iter().map(String::as_str)).filter(|_| flag.name.len() <= 20)
            {
                Some(known) => problems.error_help(flag.span, message, format!("did you mean --{known}?")),
                None => problems.error(flag.span, message),
            }
        }
    }
}
