//! `RUN --mount`: the fields of one flag, told apart and placed; what they mean is known when they are expanded.

use crate::csv;
use crate::diag::{Span, suggest};

use super::super::ast::{MountField, MountText, Word};
use super::super::shown;
use super::Parser;

/// Every key, each alias beside its name.
const KEYS: [&str; 18] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
];
/// Keys that may stand without a value.
const BARE: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];

impl Parser<'_> {
    pub(super) fn mount(&mut self, flag: &Word) -> Option<MountText> {
        let Some(fields) = csv::record(&flag.text) else {
            self.problems.error(flag.span, "--mount has a quote that is not closed");
            return None;
        };
        let before = self.problems.errors();
        let fields =
            fields.into_iter().filter_map(|field| self.mount_field(&field.text, part(flag, field.at)));
        let fields: Vec<MountField> = fields.collect();
        (self.problems.errors() == before).then_some(MountText { fields, span: flag.span })
    }

    fn mount_field(&mut self, text: &str, span: Span) -> Option<MountField> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
            None => (text.to_ascii_lowercase(), None),
        };
        let known = key == "env" || KEYS.contains(&key.as_str());
        if !known {
            let message = format!("unexpected key {} in --mount", shown(&key));
            match suggest(&key, KEYS).filter(|_| key.len() <= 20) {
                Some(similar) => self.problems.error_help(span, message, format!("did you mean {similar}?")),
                None => self.problems.error(span, message),
            }
            return None;
        }
        if value.is_none() && !BARE.contains(&key.as_str()) {
            self.problems.error(span, format!("{key} in --mount needs a value: {key}=…"));
            return None;
        }
        if key == "from" && value.as_deref().is_some_and(|value| value.contains('$')) {
            let message = format!("variable expansion is not supported for from in --mount: {}", shown(text));
            self.problems.error_help(
                span,
                message,
                "define a new stage with FROM from ARG and mount from it",
            );
            return None;
        }
        Some(MountField { key, value, span })
    }
}

/// The place of a part of a flag's value; the whole flag if quotes or escapes were taken off it.
fn part(flag: &Word, at: std::ops::Range<usize>) -> Span {
    let prefix = "--mount=".len();
    if flag.span.range().len() != prefix + flag.text.len() || at.is_empty() {
        return flag.span;
    }
    let start = flag.span.start + prefix;
    Span::new(start + at.start, start + at.end)
}
