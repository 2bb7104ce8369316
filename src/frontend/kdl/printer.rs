//! KDL text from nodes: indented, strings of several lines as such.

use super::chars::{is_blank, is_forbidden, is_identifier, is_newline};

/// Blanks of one level.
const INDENT: &str = "    ";
/// A line that grows beyond so many characters is continued on the next.
const LONG: usize = 4096;

/// A node to be written.
#[derive(Debug, Default)]
pub struct Out {
    name: &'static str,
    parts: Vec<Part>,
    children: Vec<Out>,
}

/// What stands behind a node's name.
#[derive(Debug)]
enum Part {
    Text(String),
    Pair(String, String),
    /// Written as it is.
    Word(String),
}

impl Out {
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn arg(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    pub fn args(self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        texts.into_iter().fold(self, Self::arg)
    }

    /// A keyword or a number, alone or as a property.
    pub fn word(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Word(text.into()));
        self
    }

    pub fn prop(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parts.push(Part::Pair(name.to_owned(), value.into()));
        self
    }

    /// A property, if there is a value.
    pub fn maybe(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.prop(name, value),
            None => self,
        }
    }

    /// A property `#true`, if it is.
    pub fn flag(self, name: &str, set: bool) -> Self {
        if set { self.word(format!("{name}=#true")) } else { self }
    }

    pub fn child(mut self, child: Out) -> Self {
        self.children.push(child);
        self
    }

    pub fn children(self, children: impl IntoIterator<Item = Out>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// Writes the node and what is in it.
    pub fn write(&self, depth: usize, out: &mut String) {
        out.push_str(&INDENT.repeat(depth));
        out.push_str(self.name);
        for part in &self.parts {
            let column = out.len() - out.rfind('\n').map_or(0, |newline| newline + 1);
            if column > LONG {
                out.push_str(" \\\n");
                out.push_str(&INDENT.repeat(depth + 1));
            } else {
                out.push(' ');
            }
            match part {
                Part::Text(text) => string(text, depth, out),
                Part::Word(word) => out.push_str(word),
                Part::Pair(name, value) => {
                    if is_plain(name) {
                        out.push_str(name)
                    } else {
                        line(name, out)
                    }
                    out.push('=');
                    string(value, depth, out);
                }
            }
        }
        if !self.children.is_empty() {
            out.push_str(" {\n");
            self.children.iter().for_each(|child| child.write(depth + 1, out));
            out.push_str(&INDENT.repeat(depth));
            out.push('}');
        }
        out.push('\n');
    }
}

/// Whether a string needs no quotes.
fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let unsigned = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let keyword = matches!(text, "true" | "false" | "null" | "inf" | "-inf" | "nan");
    !keyword
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !unsigned.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| is_identifier(c) && !hides(c))
}

fn string(text: &str, depth: usize, out: &mut String) {
    match text.contains('\n') {
        true => lines(text, depth, out),
        false => line(text, out),
    }
}

/// A text of one line in quotes; a `${` that is in it stays one.
pub fn quoted(text: &str) -> String {
    let mut out = String::new();
    line(text, &mut out);
    out
}

fn line(text: &str, out: &mut String) {
    out.push('"');
    escaped(text, out);
    out.push('"');
}

fn lines(text: &str, depth: usize, out: &mut String) {
    let indent = INDENT.repeat(depth + 1);
    out.push_str("\"\"\"\n");
    for line in text.split('\n') {
        // A line of blanks alone is read as an empty one, unless a blank is an escape.
        let (first, rest) = match line.strip_prefix(' ').filter(|_| line.chars().all(is_blank)) {
            Some(rest) => ("\\s", rest),
            None => ("", line),
        };
        if !line.is_empty() {
            out.push_str(&indent);
        }
        out.push_str(first);
        escaped(rest, out);
        out.push('\n');
    }
    out.push_str(&indent);
    out.push_str("\"\"\"");
}

/// With everything an escape that would not come back as it is, or that nobody could see.
fn escaped(text: &str, out: &mut String) {
    let mut column = 0;
    for (at, c) in text.char_indices() {
        column += 1;
        if column > LONG {
            out.push_str("\\\n");
            column = 0;
            // A blank would go with the end of the line.
            if c == ' ' {
                out.push_str("\\s");
                continue;
            }
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // A parameter would begin here.
            '$' if text[at + 1..].starts_with('{') => out.push_str("$$"),
            c if hides(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// Whether a character is none of KDL, ends a line, or cannot be told from a blank.
fn hides(c: char) -> bool {
    is_forbidden(c) || is_newline(c) || is_blank(c) && c != ' ' && c != '\t' || c.is_control()
}
