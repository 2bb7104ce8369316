//! Spans and diagnostics: what a frontend says about a text, and how bytes of a stranger are shown.
//!
//! Owns: source positions, severities, escaping. Never prints.

use std::fmt::Write as _;
use std::ops::Range;

/// A range of bytes of one source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span over both.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }

    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// One problem of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub span: Span,
    /// What is wrong and what was expected. Untrusted text in it is already escaped.
    pub message: String,
    /// The next step, if there is one to name.
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), help: None }
    }

    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, span, message: message.into(), help: None }
    }

    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text with its name, for turning spans into lines.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The diagnostic as people read it: `name:line:column: error: message`, the line, a caret, the help.
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        let (line, column) = self.position(diagnostic.span.start);
        let kind = match diagnostic.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let mut out = format!("{}:{line}:{column}: {kind}: {}\n", self.name, diagnostic.message);
        let text = self.text.lines().nth(line - 1).unwrap_or("");
        let shown: String = escape(text.as_bytes()).chars().take(200).collect();
        let lead: String = text.chars().take(column - 1).collect();
        let pad = escape(lead.as_bytes()).chars().count();
        if pad < 200 {
            let rest: String = text.chars().skip(column - 1).collect();
            let on_line =
                diagnostic.span.end.saturating_sub(diagnostic.span.start).min(rest.trim_end().len());
            let marked: usize = rest.get(..on_line).map_or(1, |t| escape(t.as_bytes()).chars().count());
            let carets = marked.clamp(1, 200 - pad);
            let _ = write!(out, "{line:>5} | {shown}\n      | {}{}\n", " ".repeat(pad), "^".repeat(carets));
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "      = help: {help}");
        }
        out
    }
}

/// Shows a stranger's bytes on one line, safe for a terminal: control bytes, bidi marks and invalid UTF-8 as
/// escapes.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() || hidden => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The candidate within two edits of `word`, for "did you mean".
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= 2)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many characters to add, drop, change or swap with their neighbour to come from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_a_caret_under_the_span() {
        let source = Source { name: "Dockerfile".into(), text: "FROM x\nCOPPY a b\n".into() };
        let d =
            Diagnostic::error(Span::new(7, 12), "unknown instruction COPPY").with_help("did you mean COPY?");
        assert_eq!(
            source.render(&d),
            "Dockerfile:2:1: error: unknown instruction COPPY\n    2 | COPPY a b\n      | ^^^^^\n      = help: did you mean COPY?\n"
        );
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(escape(b"a\x1b[31m\xff\n"), "a\\u{1b}[31m\\xff\\n");
        assert_eq!(escape("\u{202e}x".as_bytes()), "\\u{202e}x");
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggest("COPPY", ["RUN", "COPY"]), Some("COPY"));
        assert_eq!(suggest("RNU", ["ENV", "RUN"]), Some("RUN"));
        assert_eq!(suggest("XYZZY", ["RUN", "COPY"]), None);
    }
}
