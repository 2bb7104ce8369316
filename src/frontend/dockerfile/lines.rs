//! Logical lines: directives, comments, continuations, and the bodies of here-documents.
//!
//! Owns the mapping from a logical line back to the file, so that every later message has a place.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::diag::{Source, Span};

use super::ast::{Heredoc, Word};
use super::heredoc;
use super::problems::Problems;
use super::source::MAX_LINE;
use super::words;

/// One instruction's text, continuation lines joined.
#[derive(Debug)]
pub struct Line {
    /// Of the first physical line, from 1.
    pub number: usize,
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// Where each physical line's share begins: in `text`, and in the file.
    segments: Vec<(usize, usize)>,
    /// The place of the whole, if the text is not of the file.
    pinned: Option<Span>,
}

impl Line {
    /// The place in the file of a range of `text`.
    pub fn span(&self, range: Range<usize>) -> Span {
        if let Some(span) = self.pinned {
            return span;
        }
        let start = self.offset(range.start);
        Span::new(start, self.offset(range.end.saturating_sub(1)).saturating_add(1).max(start))
    }

    /// The whole instruction without its here-documents.
    pub fn whole(&self) -> Span {
        self.span(0..self.text.trim_end().len())
    }

    /// Makes everything about the line point to one place of the file.
    pub fn pin(&mut self, number: usize, span: Span) {
        self.number = number;
        self.pinned = Some(span);
        self.heredocs.iter_mut().for_each(|document| document.span = span);
    }

    fn offset(&self, at: usize) -> usize {
        let after = self.segments.partition_point(|(logical, _)| *logical <= at);
        match after.checked_sub(1).map(|index| self.segments[index]) {
            Some((logical, file)) => file + (at - logical),
            None => 0,
        }
    }

    fn push(&mut self, text: &str, offset: usize) {
        self.segments.push((self.text.len(), offset));
        self.text.push_str(text);
    }
}

/// The lines of a file and its escape character.
pub struct Lines {
    pub escape: char,
    pub lines: Vec<Line>,
    /// As [`super::ast::Dockerfile`] keeps them.
    pub comments: BTreeMap<usize, Vec<Word>>,
    pub gaps: Vec<Span>,
    pub check: Option<Word>,
}

/// One line of the file.
#[derive(Clone, Copy)]
struct Physical<'a> {
    number: usize,
    offset: usize,
    /// Without its line end.
    text: &'a str,
    /// With it.
    raw: &'a str,
}

impl Physical<'_> {
    fn span(&self) -> Span {
        Span::new(self.offset, self.offset + self.text.len())
    }

    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }
}

/// Cuts a file into logical lines, reporting what is wrong on the way.
pub fn read(source: &Source, problems: &mut Problems) -> Lines {
    let physical = split(&source.text);
    let head = directives(physical.clone(), problems);
    logical(physical, head, problems)
}

/// Cuts a text that is no file, and has no directives, into logical lines.
pub fn read_instructions(text: &str, problems: &mut Problems) -> Vec<Line> {
    logical(split(text), Head::default(), problems).lines
}

fn logical<'a>(
    mut physical: impl Iterator<Item = Physical<'a>>,
    head: Head,
    problems: &mut Problems,
) -> Lines {
    let (mut lines, mut comments, mut gaps) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut above = Vec::new();
    while let Some(first) = physical.next() {
        if let Some(mut line) = join(first, &mut physical, head.escape, &mut gaps, problems) {
            attach_heredocs(&mut line, &mut physical, problems);
            if !above.is_empty() {
                comments.insert(line.number, std::mem::take(&mut above));
            }
            lines.push(line);
        } else if first.number > head.last {
            note(&first, &mut above);
        }
    }
    Lines { escape: head.escape, lines, comments, gaps, check: head.check }
}

/// Keeps a comment for the instruction below it; a blank line or an empty comment parts the two.
fn note(line: &Physical, above: &mut Vec<Word>) {
    match line.text.trim().strip_prefix('#').map(str::trim) {
        Some(text) if !text.is_empty() => above.push(Word { text: text.to_owned(), span: line.span() }),
        Some(_) | None => above.clear(),
    }
}

fn split(text: &str) -> impl Iterator<Item = Physical<'_>> + Clone {
    let bom = text.len() - text.trim_start_matches('\u{feff}').len();
    // Only one mark is a mark; a second one is text.
    let mut offset = bom.min('\u{feff}'.len_utf8());
    text[offset..].split_inclusive('\n').enumerate().map(move |(index, raw)| {
        let line = Physical { number: index + 1, offset, text: raw.trim_end_matches(['\r', '\n']), raw };
        offset += raw.len();
        line
    })
}

/// One logical line from its first physical one; `None` for blanks and comments.
fn join<'a>(
    first: Physical<'a>,
    rest: &mut impl Iterator<Item = Physical<'a>>,
    escape: char,
    gaps: &mut Vec<Span>,
    problems: &mut Problems,
) -> Option<Line> {
    check_length(&first, problems);
    let text = first.text.trim_start();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let mut line = Line {
        number: first.number,
        text: String::new(),
        heredocs: Vec::new(),
        segments: Vec::new(),
        pinned: None,
    };
    let indent = first.text.len() - text.len();
    let (text, mut continues) = without_continuation(text, escape);
    line.push(text, first.offset + indent);
    let mut empty = None;
    while continues {
        let Some(next) = rest.next() else { break };
        check_length(&next, problems);
        if next.is_comment() {
            continue;
        }
        if next.text.trim_start().is_empty() {
            empty.get_or_insert(next.span());
            continue;
        }
        let text;
        (text, continues) = without_continuation(next.text, escape);
        line.push(text, next.offset);
    }
    gaps.extend(empty);
    if line.text.trim().is_empty() {
        problems.error(first.span(), "a continued line with no instruction in it");
        return None;
    }
    Some(line)
}

fn check_length(line: &Physical, problems: &mut Problems) {
    if line.raw.trim_end_matches('\n').len() > MAX_LINE {
        let span = Span::new(line.offset, line.offset + 1);
        let message = format!("line is longer than {MAX_LINE} bytes");
        problems.error_help(span, message, "break it with continuation lines, or copy a file instead");
    }
}

/// Takes a trailing escape character and the blanks behind it off; two of them in a row are text.
fn without_continuation(text: &str, escape: char) -> (&str, bool) {
    let line = text.trim_end_matches([' ', '\t']);
    match line.strip_suffix(escape) {
        Some(head) if !head.ends_with(escape) => (head, true),
        Some(_) | None => (text, false),
    }
}

/// Reads the bodies of the here-documents that a line announces.
fn attach_heredocs<'a>(
    line: &mut Line,
    rest: &mut impl Iterator<Item = Physical<'a>>,
    problems: &mut Problems,
) {
    let parts = words::split_line(&line.text);
    let name = parts.name.text.to_ascii_uppercase();
    if !matches!(name.as_str(), "RUN" | "COPY" | "ADD" | "ONBUILD") {
        return;
    }
    if words::json_array(&parts.rest.text).is_some() {
        return;
    }
    for mut doc in heredoc::announced(&line.text) {
        let mut closed = false;
        let mut span: Option<Span> = None;
        for next in rest.by_ref() {
            check_length(&next, problems);
            let mark = if doc.chomp { next.text.trim_start_matches('\t') } else { next.text };
            if mark == doc.name {
                closed = true;
                break;
            }
            span = Some(span.map_or(next.span(), |span| span.to(next.span())));
            doc.body.push_str(next.raw);
        }
        doc.span = span.unwrap_or_else(|| line.whole());
        if !closed {
            let message = format!("unterminated heredoc: no line {} follows", super::shown(&doc.name));
            problems.error(line.whole(), message);
        }
        line.heredocs.push(doc);
    }
}

/// What the parser directives say.
struct Head {
    escape: char,
    check: Option<Word>,
    /// The number of the last line with a directive, 0 if there is none.
    last: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { escape: '\\', check: None, last: 0 }
    }
}

/// Reads the parser directives at the head of the file.
fn directives<'a>(lines: impl Iterator<Item = Physical<'a>>, problems: &mut Problems) -> Head {
    let mut head = Head::default();
    let mut seen = Vec::new();
    let mut shebang = false;
    for line in lines {
        if line.number == 1 && line.text.starts_with("#!") {
            shebang = true;
            continue;
        }
        let Some((key, value)) = directive(line.text.trim_start()) else { break };
        let key = key.to_ascii_lowercase();
        if !matches!(key.as_str(), "escape" | "syntax" | "check") {
            break;
        }
        head.last = line.number;
        if seen.contains(&key) {
            problems.error(line.span(), format!("only one {key} parser directive can be used"));
            continue;
        }
        match (key.as_str(), value) {
            ("syntax", value) => check_syntax(value, line.span(), problems),
            // Behind a `#!` line only the syntax still counts.
            ("escape", _) if shebang => {}
            ("escape", "\\") => head.escape = '\\',
            ("escape", "`") => head.escape = '`',
            ("escape", other) => {
                let message = format!("invalid escape character {}; expected \\ or `", super::shown(other));
                problems.error(line.span(), message);
            }
            _ => head.check = Some(Word { text: value.to_owned(), span: line.span() }),
        }
        seen.push(key);
    }
    head
}

/// `# key = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric())
        && !value.is_empty();
    named.then_some((key, value))
}

/// lith is the frontend: it never fetches another one, and says so where another one is asked for.
fn check_syntax(value: &str, span: Span, problems: &mut Problems) {
    let name = value.split_whitespace().next().unwrap_or("");
    if !is_own_syntax(name) {
        let message = format!("syntax {} is a remote frontend, which lith never runs", super::shown(name));
        problems.error_help(span, message, "remove the line, or name docker/dockerfile:1");
    }
}

/// Whether an image is the language that lith speaks: BuildKit's own frontend, in its first version or in one of the
/// channels that move (`latest`, `labs`, `master`; `experimental` was the name of `labs` once), with or without digest.
fn is_own_syntax(image: &str) -> bool {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let version = tag.split(['.', '-']).next().unwrap_or(tag);
    matches!(repository, "docker/dockerfile" | "docker/dockerfile-upstream")
        && matches!(version, "1" | "latest" | "labs" | "experimental" | "master")
}
