//! Reads KDL (version 2 of its specification) into nodes, and says what is wrong with the text.
//!
//! Written for a stranger's text: each character is looked at a fixed number of times, and only braces nest, at most
//! [`MAX_DEPTH`] deep. After a mistake the next line is read as if nothing had been.

use crate::diag::Span;
use crate::frontend::problems::Problems;
use crate::frontend::shown::shown;
use crate::frontend::source::MAX_LINE;

use super::chars::{is_blank, is_forbidden, is_identifier, is_newline};
use super::tree::{Arg, Node, Prop, Text, Value};

/// The deepest nesting of children, and of comments.
pub const MAX_DEPTH: usize = 32;

/// Reads a whole text. `start` is where its first byte stands among all files.
pub fn read(text: &str, start: usize, problems: &mut Problems) -> Vec<Node> {
    let mut reader = Reader { text, at: 0, start, depth: 0, problems };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    if let Some((at, c)) =
        text.char_indices().find(|(at, c)| is_forbidden(*c) && (*at > 0 || *c != '\u{feff}'))
    {
        let message = format!("character U+{:04X} is not allowed in KDL", u32::from(c));
        let span = reader.span(at, at + c.len_utf8());
        reader.problems.error_help(span, message, format!("in a string write \\u{{{:x}}}", u32::from(c)));
        return Vec::new();
    }
    let mut before = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches('\n').len() > MAX_LINE {
            let span = reader.span(before, before);
            let help = "a \\ at its end continues a line, inside strings too";
            reader.problems.error_help(span, format!("line is longer than {MAX_LINE} bytes"), help);
            return Vec::new();
        }
        before += line.len();
    }
    let mut nodes = Vec::new();
    loop {
        nodes.extend(reader.nodes());
        if reader.rest().is_empty() {
            return nodes;
        }
        let span = reader.here();
        reader.problems.error(span, "this } closes nothing");
        reader.at += 1;
    }
}

/// What is wrong was reported.
pub struct Broken;

/// What comes where an argument or a property may stand.
enum Entry {
    Arg(Arg),
    Prop(Prop),
}

/// A text while it is read.
pub struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    start: usize,
    depth: usize,
    problems: &'a mut Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    pub(super) fn span(&self, from: usize, to: usize) -> Span {
        Span::new(self.start + from, self.start + to)
    }

    /// The next character, or the end of the text.
    fn here(&self) -> Span {
        self.span(self.at, self.at + self.peek().map_or(0, char::len_utf8))
    }

    pub(super) fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Result<T, Broken> {
        self.problems.error(span, message);
        Err(Broken)
    }

    pub(super) fn fail_help<T>(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Result<T, Broken> {
        self.problems.error_help(span, message, help);
        Err(Broken)
    }

    /// Nodes up to the end of the text or a closing brace.
    fn nodes(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            let result = self.lines().and_then(|()| match self.peek() {
                None | Some('}') => Ok(false),
                Some(_) => {
                    let dropped = self.slashdash()?;
                    let node = self.node()?;
                    if !dropped {
                        nodes.push(node);
                    }
                    Ok(true)
                }
            });
            match result {
                Ok(true) => {}
                Ok(false) => return nodes,
                Err(Broken) => {
                    if let Some(opening) = self.skip_line() {
                        // What is wrong with the children is said even if their node is.
                        let _ = self.children_after(opening);
                    }
                }
            }
        }
    }

    /// Blank lines, `;` and comments.
    fn lines(&mut self) -> Result<(), Broken> {
        loop {
            let before = self.at;
            self.blanks()?;
            if self.peek().is_some_and(|c| is_newline(c) || c == ';') {
                self.at += self.peek().map_or(0, char::len_utf8);
            }
            if before == self.at {
                return Ok(());
            }
        }
    }

    /// Blanks, comments and continued lines. Whether there were any.
    fn blanks(&mut self) -> Result<bool, Broken> {
        let before = self.at;
        loop {
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find(is_newline).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.comment()?;
            } else if rest.starts_with('\\') {
                self.continuation()?;
            } else if let Some(c) = self.peek().filter(|c| is_blank(*c)) {
                self.at += c.len_utf8();
            } else {
                return Ok(self.at > before);
            }
        }
    }

    fn comment(&mut self) -> Result<(), Broken> {
        let opening = self.span(self.at, self.at + 2);
        let mut depth = 0;
        loop {
            if self.eat("/*") {
                depth += 1;
                if depth > MAX_DEPTH {
                    self.at = self.text.len();
                    return self.fail(opening, format!("comments are nested more than {MAX_DEPTH} deep"));
                }
            } else if self.eat("*/") {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(c) = self.peek() {
                self.at += c.len_utf8();
            } else {
                return self.fail_help(opening, "this comment is not closed", "close it with */");
            }
        }
    }

    /// `\` and the end of its line.
    fn continuation(&mut self) -> Result<(), Broken> {
        let from = self.at;
        self.at += 1;
        loop {
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find(is_newline).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.comment()?;
            } else {
                match self.peek() {
                    None => return Ok(()),
                    Some(c) if is_newline(c) => {
                        self.newline();
                        return Ok(());
                    }
                    Some(c) if is_blank(c) => self.at += c.len_utf8(),
                    Some(_) => {
                        let span = self.span(from, from + 1);
                        return self
                            .fail(span, "a \\ outside strings continues a line, so nothing may follow it");
                    }
                }
            }
        }
    }

    /// One newline, of two characters if it is CRLF.
    pub(super) fn newline(&mut self) {
        if !self.eat("\r\n") {
            self.at += self.peek().map_or(0, char::len_utf8);
        }
    }

    /// `/-`, and what may stand between it and what it takes out.
    fn slashdash(&mut self) -> Result<bool, Broken> {
        if !self.eat("/-") {
            return Ok(false);
        }
        loop {
            let before = self.at;
            self.blanks()?;
            if self.peek().is_some_and(is_newline) {
                self.newline();
            }
            if before == self.at {
                return Ok(true);
            }
        }
    }

    fn node(&mut self) -> Result<Node, Broken> {
        let from = self.at;
        self.no_annotation()?;
        let Value::Text(text) = self.value("the name of a node")? else {
            let span = self.span(from, self.at);
            return self.fail_help(
                span,
                "expected the name of a node",
                "a name that is a number or a keyword is written in quotes",
            );
        };
        let mut node = Node {
            name: Text { text, span: self.span(from, self.at) },
            args: Vec::new(),
            props: Vec::new(),
            children: Vec::new(),
            head: self.span(from, self.at),
        };
        // Whether children were there, and whether any of them count.
        let (mut behind, mut closed) = (false, false);
        loop {
            let blank = self.blanks()?;
            match self.peek() {
                None | Some('}') => return Ok(node),
                Some(c) if is_newline(c) || c == ';' => return Ok(node),
                Some(_) => {}
            }
            let dropped = self.slashdash()?;
            if self.peek() == Some('{') {
                let (children, opening) = self.children()?;
                behind = true;
                if !dropped && closed {
                    return self.fail(opening, format!("{} has children already", shown(&node.name.text)));
                }
                if !dropped {
                    node.children = children;
                    closed = true;
                }
                continue;
            }
            if behind {
                return self.fail_help(
                    self.here(),
                    "nothing may follow the children of a node",
                    "begin a new line after }",
                );
            }
            if !blank {
                return self.fail(self.here(), "a blank is missing here");
            }
            let entry = self.entry()?;
            if dropped {
                continue;
            }
            node.head.end = self.start + self.at;
            match entry {
                Entry::Arg(arg) => node.args.push(arg),
                Entry::Prop(prop) => node.props.push(prop),
            }
        }
    }

    fn children(&mut self) -> Result<(Vec<Node>, Span), Broken> {
        let opening = self.here();
        self.at += 1;
        Ok((self.children_after(opening)?, opening))
    }

    fn children_after(&mut self, opening: Span) -> Result<Vec<Node>, Broken> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            // What is inside cannot be told from what is after it.
            self.at = self.text.len();
            self.depth -= 1;
            return self.fail(opening, format!("nodes are nested more than {MAX_DEPTH} deep"));
        }
        let nodes = self.nodes();
        self.depth -= 1;
        if self.eat("}") {
            return Ok(nodes);
        }
        self.fail_help(opening, "this { is not closed", "close it with }")
    }

    fn entry(&mut self) -> Result<Entry, Broken> {
        let from = self.at;
        self.no_annotation()?;
        let value = self.value("a value or name=value")?;
        let (end, span) = (self.at, self.span(from, self.at));
        self.blanks()?;
        if !self.eat("=") {
            self.at = end;
            return Ok(Entry::Arg(Arg { value, span }));
        }
        let Value::Text(text) = value else {
            return self.fail(span, "the name of a property is a string");
        };
        self.blanks()?;
        self.no_annotation()?;
        let from = self.at;
        let value = self.value("a value behind =")?;
        Ok(Entry::Prop(Prop { name: Text { text, span }, value, span: self.span(from, self.at) }))
    }

    fn no_annotation(&mut self) -> Result<(), Broken> {
        if self.peek() != Some('(') {
            return Ok(());
        }
        self.fail_help(self.here(), "type annotations mean nothing in this language", "leave the (…) out")
    }

    /// A string, a keyword or a number. What must follow a value does.
    fn value(&mut self, wanted: &str) -> Result<Value, Broken> {
        let from = self.at;
        let value = match self.peek() {
            Some('"') => Value::Text(self.quoted()?),
            Some('#') if self.rest().trim_start_matches('#').starts_with('"') => Value::Text(self.raw()?),
            Some('#') => self.keyword()?,
            Some(c) if is_identifier(c) => self.word()?,
            Some(c) if !is_newline(c) => {
                let message = format!("expected {wanted}, not {}", shown(&c.to_string()));
                return self.fail(self.here(), message);
            }
            _ => return self.fail(self.here(), format!("expected {wanted}")),
        };
        let ended = self.peek().is_none_or(|c| {
            is_blank(c)
                || is_newline(c)
                || matches!(c, '=' | '{' | '}' | ';' | '\\')
                || c == '/' && self.comes_comment()
        });
        if ended {
            return Ok(value);
        }
        self.fail_help(
            self.span(from, self.at),
            "a value runs into what follows it",
            "put a blank behind it, or quotes around it",
        )
    }

    fn comes_comment(&self) -> bool {
        ["//", "/*", "/-"].iter().any(|comment| self.rest().starts_with(comment))
    }

    fn run_of_identifier(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_identifier(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn keyword(&mut self) -> Result<Value, Broken> {
        let from = self.at;
        self.at += 1;
        match self.run_of_identifier() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            "inf" | "-inf" | "nan" => Ok(Value::Number),
            other => {
                let message = format!("{} is no keyword", shown(&format!("#{other}")));
                self.fail_help(self.span(from, self.at), message, "keywords are #true, #false and #null")
            }
        }
    }

    /// A number, or a string without quotes.
    fn word(&mut self) -> Result<Value, Broken> {
        let from = self.at;
        let text = self.run_of_identifier();
        let span = self.span(from, self.at);
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            return match number(text, unsigned) {
                Some(value) => Ok(value),
                None => self.fail_help(
                    span,
                    format!("{} is no number", shown(text)),
                    "a text that begins like a number is written in quotes",
                ),
            };
        }
        let dotted =
            unsigned.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if dotted {
            return self.fail_help(
                span,
                format!("{} is no number", shown(text)),
                "write a 0 before the point, or quotes around a text",
            );
        }
        if matches!(text, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            let help = format!("write #{text}, or \"{text}\" for the text");
            return self.fail_help(span, format!("{text} alone is neither a keyword nor a string"), help);
        }
        Ok(Value::Text(text.to_owned()))
    }

    /// To the end of the line, or before a brace that closes what is around. Gives the brace that the line ends in, if it
    /// opens one.
    fn skip_line(&mut self) -> Option<Span> {
        let mut last = None;
        while let Some(c) = self.peek() {
            if is_newline(c) || c == '}' && self.depth > 0 {
                break;
            }
            if !is_blank(c) {
                last = Some((c, self.at));
            }
            self.at += c.len_utf8();
        }
        last.filter(|(c, _)| *c == '{').map(|(_, at)| self.span(at, at + 1))
    }
}

/// The value of a number; `None` if it is none. `unsigned` is the text without its sign.
fn number(text: &str, unsigned: &str) -> Option<Value> {
    let negative = text.starts_with('-');
    let radix = match unsigned.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        Some(_) | None => 10,
    };
    let digits = if radix == 10 { unsigned } else { &unsigned[2..] };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if plain.chars().all(|c| c.is_digit(radix)) {
        let value = i128::from_str_radix(&plain, radix).ok();
        let value = value.map(|value| if negative { -value } else { value });
        return Some(value.and_then(|value| i64::try_from(value).ok()).map_or(Value::Number, Value::Int));
    }
    let float = radix == 10
        && !digits.contains("._")
        && !plain.ends_with('.')
        && !plain.contains(".e")
        && plain.parse::<f64>().is_ok();
    float.then_some(Value::Number)
}
