//! FROM.

use super::super::ast::{StageText, Word};
use super::super::shown;
use super::{Parser, origin};

impl Parser<'_> {
    /// `FROM [--platform=P] base [AS name]`.
    pub(super) fn from(&mut self) -> Option<StageText> {
        let platform = self.flag("platform");
        let words = self.words();
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, word, name] if word.text.eq_ignore_ascii_case("as") => {
                (base, Some(self.stage_name(name)?))
            }
            _ => {
                self.fail_help("FROM requires either one or three arguments", "write FROM image AS name");
                return None;
            }
        };
        Some(StageText { base: base.clone(), platform, name, origin: origin(self.line), body: Vec::new() })
    }

    fn stage_name(&mut self, word: &Word) -> Option<Word> {
        let name = word.text.to_lowercase();
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if !valid {
            let message = format!("invalid name for build stage: {}", shown(&word.text));
            let help = "a name begins with a letter and holds letters, digits, '-', '_' and '.'";
            self.problems.error_help(word.span, message, help);
            return None;
        }
        Some(Word { text: name, span: word.span })
    }
}
