//! How instructions, `AS` and stage names are written.

use crate::diag::Span;
use crate::recipe::Origin;

use super::super::shown;
use super::super::words;
use super::Linter;
use super::rules::{CONSISTENT_INSTRUCTION_CASING, FROM_AS_CASING, STAGE_NAME_CASING};

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    fn of(word: &str) -> Self {
        if word == word.to_lowercase() {
            Self::Lower
        } else if word == word.to_uppercase() {
            Self::Upper
        } else {
            Self::Mixed
        }
    }
}

impl Linter<'_> {
    /// The rules on writing, over the whole file. ARGs before the first FROM do not count, as in BuildKit.
    pub(super) fn casing(&mut self) {
        let file = self.file;
        let all = || {
            file.stages.iter().flat_map(|stage| {
                std::iter::once(&stage.origin).chain(stage.body.iter().map(|instruction| &instruction.origin))
            })
        };
        let count = |case: Case| all().filter(|origin| Case::of(name(origin)) == case).count();
        let (wanted, text) = match count(Case::Lower) > count(Case::Upper) {
            true => (Case::Lower, "lower case"),
            false => (Case::Upper, "upper case"),
        };
        for origin in all().filter(|origin| Case::of(name(origin)) != wanted) {
            let name = name(origin);
            let right = if wanted == Case::Lower { name.to_lowercase() } else { name.to_uppercase() };
            let message = format!("{name} is not written in {text} as most instructions are");
            let span = Span::new(origin.span.start, origin.span.start + name.len());
            let rule = &CONSISTENT_INSTRUCTION_CASING;
            self.report.warn(rule, origin.line, span, message, format!("write {right}"));
        }
    }

    /// `AS` and the stage's name as FROM has them.
    pub(super) fn casing_of_from(&mut self, index: usize) {
        let stage = &self.file.stages[index];
        let parts = words::split_line(&stage.origin.text);
        let [_, word, name] = words::plain(&parts.rest).try_into().unwrap_or_default();
        let Some(place) = &stage.name else { return };
        if name.text != place.text {
            let message = format!("stage name {} is not lower case", shown(&name.text));
            let help = format!("write {}", place.text);
            self.report.warn(&STAGE_NAME_CASING, stage.origin.line, place.span, message, help);
        }
        let from = &parts.name.text;
        let right = match Case::of(from) {
            Case::Lower => "as",
            Case::Upper => "AS",
            Case::Mixed => return,
        };
        if word.text != right {
            let message = format!("{} and {from} are written in different cases", word.text);
            let start = stage.origin.span.start;
            let span = Span::new(start + word.at.start, start + word.at.end);
            self.report.warn(&FROM_AS_CASING, stage.origin.line, span, message, format!("write {right}"));
        }
    }
}

fn name(origin: &Origin) -> &str {
    origin.text.split_whitespace().next().unwrap_or_default()
}
