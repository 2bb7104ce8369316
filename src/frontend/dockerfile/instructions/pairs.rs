//! Names and values: ENV, LABEL, ARG.

use super::super::ast::{ArgDecl, Pair, Word};
use super::super::shown;
use super::super::words::{self, Piece};
use super::Parser;

impl Parser<'_> {
    /// `name=value …`, or the old form `name rest of the line`.
    pub(super) fn pairs(&mut self) -> Option<Vec<Pair>> {
        let words = words::quoted(&self.parts.rest, self.escape);
        let Some(first) = words.first() else {
            self.fail(format!("{} requires at least one argument", self.name));
            return None;
        };
        if is_old_form(&first.text) {
            return self.old_pair().map(|pair| vec![pair]);
        }
        let mut pairs = Vec::new();
        let mut good = true;
        for word in &words {
            match word.text.split_once('=') {
                Some(("", _)) => {
                    let message = format!("{} names can not be blank", self.name);
                    self.problems.error(self.line.span(word.at.clone()), message);
                    good = false;
                }
                Some((name, value)) => pairs.push(self.pair(word, name, value)),
                None => {
                    let message =
                        format!("can't find = in {}; must be of the form name=value", shown(&word.text));
                    self.problems.error(self.line.span(word.at.clone()), message);
                    good = false;
                }
            }
        }
        good.then_some(pairs)
    }

    fn pair(&self, word: &Piece, name: &str, value: &str) -> Pair {
        let span = self.line.span(word.at.clone());
        Pair { name: Word { text: name.to_owned(), span }, value: Word { text: value.to_owned(), span } }
    }

    fn old_pair(&mut self) -> Option<Pair> {
        let rest = &self.parts.rest;
        let cut = rest.text.find(['\t', '\u{b}', '\u{c}', '\r', ' ']);
        let Some(cut) = cut else {
            self.fail_help(format!("{} must have two arguments", self.name), "write name=value");
            return None;
        };
        let value = rest.text[cut..].trim_start_matches(['\t', '\u{b}', '\u{c}', '\r', ' ']);
        let word = Piece { text: String::new(), at: rest.at.clone() };
        Some(self.pair(&word, &rest.text[..cut], value))
    }

    pub(super) fn args(&mut self) -> Option<Vec<ArgDecl>> {
        let words = words::quoted(&self.parts.rest, self.escape);
        if words.is_empty() {
            self.fail("ARG requires at least one argument");
            return None;
        }
        let mut decls = Vec::new();
        for word in &words {
            let span = self.line.span(word.at.clone());
            let (name, default) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(Word { text: value.to_owned(), span })),
                None => (word.text.as_str(), None),
            };
            if name.is_empty() {
                self.problems.error(span, "ARG names can not be blank");
                return None;
            }
            decls.push(ArgDecl { name: name.to_owned(), span, default });
        }
        Some(decls)
    }
}

/// Whether the first word of ENV or LABEL begins the form without `=`: `name rest of the line`.
pub fn is_old_form(first: &str) -> bool {
    !first.contains('=')
}
