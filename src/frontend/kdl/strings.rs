//! Strings in quotes: with escapes or raw, of one line or of several.

use super::chars::{is_blank, is_newline};
use super::syntax::{Broken, Reader};

/// Three quotes, which open and close a string of several lines.
const THREE: &str = "\"\"\"";

impl Reader<'_> {
    /// `"…"` and `"""…"""`.
    pub(super) fn quoted(&mut self) -> Result<String, Broken> {
        let from = self.at;
        let several = self.opening("");
        let closing = if several { THREE } else { "\"" };
        let body = self.at;
        loop {
            match self.peek() {
                None => return self.not_closed(from, several),
                Some('\\') => self.escape()?,
                Some(_) if self.rest().starts_with(closing) => break,
                Some(c) if is_newline(c) && !several => return self.not_closed(from, several),
                Some(c) => self.at += c.len_utf8(),
            }
        }
        let text = &self.text[body..self.at];
        self.at += closing.len();
        let text = without_blank_escapes(text);
        let text = if several { self.dedented(&text, from)? } else { text };
        Ok(unescaped(&text))
    }

    /// `#"…"#` and `#"""…"""#`, with any number of `#`.
    pub(super) fn raw(&mut self) -> Result<String, Broken> {
        let from = self.at;
        let rest = self.rest();
        let hashes = &rest[..rest.len() - rest.trim_start_matches('#').len()];
        let several = self.opening(hashes);
        let closing = format!("{}{hashes}", if several { THREE } else { "\"" });
        let body = self.at;
        let Some(length) = self.rest().find(&closing) else { return self.not_closed(from, several) };
        let text = &self.text[body..body + length];
        if let Some(line) = text.find(is_newline).filter(|_| !several) {
            self.at += line;
            return self.not_closed(from, several);
        }
        self.at += length + closing.len();
        if several { self.dedented(text, from) } else { Ok(text.to_owned()) }
    }

    /// Takes the opening quotes. Whether the string has several lines.
    fn opening(&mut self, hashes: &str) -> bool {
        let rest = &self.rest()[hashes.len()..];
        let several = rest.starts_with(THREE);
        self.at += hashes.len() + if several { THREE.len() } else { 1 };
        several
    }

    fn not_closed<T>(&mut self, from: usize, several: bool) -> Result<T, Broken> {
        let line = self.text[from..].find(is_newline).map_or(self.text.len(), |end| from + end);
        let help = match several {
            true => "close it with \"\"\" on a line of its own",
            false => "close it on its line; a string of several lines is written between \"\"\"",
        };
        self.fail_help(self.span(from, line), "this string is not closed", help)
    }

    /// Passes an escape, and says so if it is none.
    fn escape(&mut self) -> Result<(), Broken> {
        let from = self.at;
        self.at += 1;
        match self.peek() {
            Some('n' | 'r' | 't' | '\\' | '"' | 'b' | 'f' | 's') => self.at += 1,
            Some(c) if is_blank(c) || is_newline(c) => {
                let rest = self.rest();
                self.at += rest.find(|c| !is_blank(c) && !is_newline(c)).unwrap_or(rest.len());
            }
            Some('u') => {
                let rest = &self.rest()[1..];
                let end = rest.find('}').filter(|end| *end <= 7).unwrap_or(0);
                if rest.starts_with('{') && scalar(rest.get(1..end).unwrap_or_default()).is_some() {
                    self.at += 1 + end + 1;
                    return Ok(());
                }
                let span = self.span(from, self.at + 1);
                return self.fail_help(
                    span,
                    "this is the number of no character",
                    "write \\u{…} with 1 to 6 hexadecimal digits",
                );
            }
            c => {
                let end = self.at + c.map_or(0, char::len_utf8);
                let help = "known are \\n \\r \\t \\\\ \\\" \\b \\f \\s \\u{…}; a \\ that stands for itself is \\\\, or stands in #\"…\"#";
                return self.fail_help(self.span(from, end), "this is no escape", help);
            }
        }
        Ok(())
    }

    /// The lines between `"""`, without what stands before the closing quotes.
    fn dedented(&mut self, text: &str, from: usize) -> Result<String, Broken> {
        let opening = self.span(from, from + self.text[from..].find(is_newline).unwrap_or(THREE.len()));
        let lines = lines(text);
        let [first, inner @ .., last] = lines.as_slice() else {
            return self.fail(opening, "the first line of a string of several lines begins below the quotes");
        };
        if !first.is_empty() {
            return self.fail(opening, "the first line of a string of several lines begins below the quotes");
        }
        if !last.chars().all(is_blank) {
            let end = self.span(self.at.saturating_sub(THREE.len()), self.at);
            return self
                .fail(end, "the quotes that close a string of several lines stand on a line of their own");
        }
        let mut out = Vec::new();
        for line in inner {
            match line.strip_prefix(last) {
                Some(rest) if !line.chars().all(is_blank) => out.push(rest),
                None if !line.chars().all(is_blank) => {
                    let message = "a line of this string is indented less than the quotes that close it";
                    return self.fail(opening, message);
                }
                Some(_) | None => out.push(""),
            }
        }
        Ok(out.join("\n"))
    }
}

/// Lines of a text, CRLF being one end of a line.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(is_newline) {
        lines.push(&rest[..end]);
        let length = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(0, char::len_utf8)
        };
        rest = &rest[end + length..];
    }
    lines.push(rest);
    lines
}

/// The text without each `\` that blanks follow, and without those blanks and newlines.
fn without_blank_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let space = |c: &char| is_blank(*c) || is_newline(*c);
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && space(next) => while chars.next_if(space).is_some() {},
            Some(next) if c == '\\' => {
                out.extend([c, *next]);
                chars.next();
            }
            Some(_) | None => out.push(c),
        }
    }
    out
}

/// Escapes resolved; all of them were looked at before.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let mut chars = rest[at + 1..].chars();
        let c = chars.next();
        rest = chars.as_str();
        match c {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('s') => out.push(' '),
            Some('u') => {
                let end = rest.find('}').unwrap_or(rest.len());
                out.extend(rest.get(1..end).and_then(scalar));
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            other => out.extend(other),
        }
    }
    out.push_str(rest);
    out
}

/// The character of a number in hexadecimal digits.
fn scalar(digits: &str) -> Option<char> {
    let fits = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| fits).and_then(char::from_u32)
}
