//! Lists of words: EXPOSE, VOLUME, SHELL.

use super::super::ast::{CommandLine, Word};
use super::Parser;

impl Parser<'_> {
    pub(super) fn expose(&mut self) -> Option<Vec<Word>> {
        let mut words = self.words();
        if words.is_empty() {
            self.fail("EXPOSE requires at least one argument");
            return None;
        }
        // Before expansion, as BuildKit does: it shows in the history.
        words.sort_by(|a, b| a.text.cmp(&b.text));
        Some(words)
    }

    pub(super) fn volume(&mut self) -> Option<Vec<Word>> {
        let mut words = self.words_or_json()?;
        if words.is_empty() {
            self.fail("VOLUME requires at least one argument");
            return None;
        }
        for word in &mut words {
            word.text = word.text.trim().to_owned();
            if word.text.is_empty() {
                self.problems.error(word.span, "VOLUME specified can not be an empty string");
                return None;
            }
        }
        Some(words)
    }

    pub(super) fn shell(&mut self) -> Option<Vec<String>> {
        match self.command(&self.parts.rest.clone())? {
            CommandLine::Exec(argv) if !argv.is_empty() => Some(argv),
            CommandLine::Exec(_) => {
                self.fail("SHELL requires at least one argument");
                None
            }
            CommandLine::Shell(_) => {
                self.fail_help(
                    "SHELL requires the arguments to be in JSON form",
                    "write SHELL [\"/bin/sh\", \"-c\"]",
                );
                None
            }
        }
    }
}
