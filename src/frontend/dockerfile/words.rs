//! Splits the text of an instruction: name, flags, JSON arrays, plain words and quoted words.
//!
//! Everything here works on one logical line and answers with ranges of bytes in it.

use std::ops::Range;

/// A piece of a logical line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub at: Range<usize>,
}

/// The parts of an instruction's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The instruction as written.
    pub name: Piece,
    /// `--flag` words, quotes and escapes already taken off.
    pub flags: Vec<Piece>,
    /// What follows, without blanks around it.
    pub rest: Piece,
}

/// Why a JSON array is no argument list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonError {
    /// Valid JSON, but not all elements are strings.
    NotStrings,
    /// An element holds a zero byte, which no argument can.
    Nul,
}

/// What separates words: a line has no line feed in it.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// The part of `text` in `range` without white space around it.
fn trimmed(text: &str, range: Range<usize>) -> Piece {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    Piece { text: text[start..end].to_owned(), at: start..end }
}

/// Splits a line into instruction, flags and the rest.
pub fn split_line(text: &str) -> Parts {
    let whole = trimmed(text, 0..text.len());
    let name_len = whole.text.find(is_blank).unwrap_or(whole.text.len());
    let name_end = whole.at.start + name_len;
    let name = Piece { text: text[whole.at.start..name_end].to_owned(), at: whole.at.start..name_end };
    let (flags, rest_start) = flags(text, name_end..whole.at.end);
    Parts { name, flags, rest: trimmed(text, rest_start..whole.at.end) }
}

/// Reads words while they begin with `--`; a lone `--` ends them. Answers where the rest begins.
fn flags(text: &str, range: Range<usize>) -> (Vec<Piece>, usize) {
    let mut flags = Vec::new();
    let mut at = range.start;
    loop {
        let part = &text[at..range.end];
        let start = at + (part.len() - part.trim_start().len());
        if !text[start..range.end].starts_with("--") {
            return (flags, start);
        }
        let flag = flag(text, start..range.end);
        at = flag.at.end;
        if flag.text == "--" {
            return (flags, at);
        }
        flags.push(flag);
    }
}

/// One flag word; `\` escapes and quotes group, whatever the escape directive says.
fn flag(text: &str, range: Range<usize>) -> Piece {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text[range.clone()].char_indices();
    let mut end = range.end;
    while let Some((offset, c)) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => {
                end = range.start + offset;
                break;
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => out.extend(chars.next().map(|(_, escaped)| escaped)),
            (c, _) => out.push(c),
        }
    }
    Piece { text: out, at: range.start..end }
}

/// Words between blanks; quotes mean nothing.
pub fn plain(piece: &Piece) -> Vec<Piece> {
    let mut words = Vec::new();
    let mut start = None;
    let ends = piece.text.char_indices().chain([(piece.text.len(), ' ')]);
    for (offset, c) in ends {
        match (start, is_blank(c)) {
            (None, false) => start = Some(offset),
            (Some(from), true) => {
                words.push(Piece {
                    text: piece.text[from..offset].to_owned(),
                    at: piece.at.start + from..piece.at.start + offset,
                });
                start = None;
            }
            (None, true) | (Some(_), false) => {}
        }
    }
    words
}

/// Words between white space; quotes and the escape character keep it inside a word. Both stay in the words.
pub fn quoted(piece: &Piece, escape: char) -> Vec<Piece> {
    let mut words = Vec::new();
    let mut chars = piece.text.char_indices().peekable();
    while let Some((start, _)) = next_word(&mut chars) {
        let mut word = String::new();
        let mut end = piece.text.len();
        let mut quote = None;
        while let Some((offset, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = offset;
                    break;
                }
                None if matches!(c, '\'' | '"') => quote = Some(c),
                Some(open) if c == open => quote = None,
                None | Some(_) => {}
            }
            if c == escape && quote != Some('\'') {
                // An escape character at the very end is dropped.
                if let Some((_, escaped)) = chars.next() {
                    word.extend([c, escaped]);
                }
            } else {
                word.push(c);
            }
        }
        if !word.is_empty() {
            words.push(Piece { text: word, at: piece.at.start + start..piece.at.start + end });
        }
    }
    words
}

/// Skips white space; peeks at what follows.
fn next_word(chars: &mut std::iter::Peekable<std::str::CharIndices>) -> Option<(usize, char)> {
    while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    chars.peek().copied()
}

/// The strings of a JSON array. `None` if the text is not one: then it is meant for a shell or as plain words.
pub fn json_array(text: &str) -> Option<Result<Vec<String>, JsonError>> {
    if !text.starts_with('[') {
        return None;
    }
    let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) if text.contains('\0') => Err(JsonError::Nul),
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => Err(JsonError::NotStrings),
    });
    Some(strings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|p| p.text.as_str()).collect()
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let parts = split_line("COPY --chown=\"a b\" --from=x\\ y  src --link");
        assert_eq!(parts.name.text, "COPY");
        assert_eq!(texts(&parts.flags), ["--chown=a b", "--from=x y"]);
        assert_eq!(parts.rest.text, "src --link");
        assert_eq!(parts.rest.at, 32..42);
        let parts = split_line("RUN -- --x");
        assert!(parts.flags.is_empty());
        assert_eq!(parts.rest.text, "--x");
    }

    #[test]
    fn flag_values_keep_what_is_not_ascii() {
        assert_eq!(texts(&split_line("COPY --chown=größe a b").flags), ["--chown=größe"]);
    }

    #[test]
    fn quoted_words_keep_quotes_and_escapes() {
        let of = |text: &str| {
            let piece = Piece { text: text.into(), at: 10..10 + text.len() };
            quoted(&piece, '\\').into_iter().map(|p| p.text).collect::<Vec<_>>()
        };
        assert_eq!(of("a='x y' b=\"p \\\" q\" c=1\\ 2"), ["a='x y'", "b=\"p \\\" q\"", "c=1\\ 2"]);
        assert_eq!(of("a=b\\"), ["a=b"]);
        assert_eq!(of(" '' x"), ["''", "x"]);
        assert_eq!(of("a='\\' b"), ["a='\\'", "b"]);
    }

    #[test]
    fn json_must_be_all_strings() {
        assert_eq!(json_array("[\"a\", \"b\"]"), Some(Ok(vec!["a".into(), "b".into()])));
        assert_eq!(json_array("[\"a\", 1]"), Some(Err(JsonError::NotStrings)));
        assert_eq!(json_array("['a']"), None);
        assert_eq!(json_array("[\"a\"] b"), None);
    }
}
