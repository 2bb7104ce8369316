//! A text with its name, and diagnostics of it as people read them: place, message, source lines with what is meant
//! marked, next step.

use std::fmt::Write as _;
use std::ops::Range;

use unicode_width::UnicodeWidthChar as _;

use super::{Diagnostic, Severity, Span, is_hidden};

/// Columns of a source line that are shown.
const WIDTH: usize = 160;
/// A longer line is shown from so many columns before what is meant.
const LEAD: usize = 40;
/// Tabs reach to the next multiple of this.
const TAB: usize = 4;
/// Of a longer span, so many first lines and the last are shown.
const HEAD: usize = 4;

/// A text with its name, for turning spans into lines.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Whether a rendering is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

impl Paint {
    /// The text in a colour, by the number that terminals know it by (`1;31`).
    pub fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const BOLD: &str = "1";

impl Severity {
    fn colour(self) -> &'static str {
        match self {
            Self::Warning => YELLOW,
            Self::Error => RED,
        }
    }
}

impl Source {
    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.floor(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The diagnostic as people read it: `name:line:column: error: message`, the lines, carets, the help.
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        self.render_in(diagnostic, Paint::Plain)
    }

    /// [`Source::render`], coloured if asked for.
    pub fn render_in(&self, diagnostic: &Diagnostic, paint: Paint) -> String {
        let (line, column) = self.position(diagnostic.span.start);
        let kind = match (diagnostic.severity, diagnostic.rule) {
            (Severity::Warning, None) => "warning".to_owned(),
            (Severity::Warning, Some(rule)) => format!("warning[{rule}]"),
            (Severity::Error, None) => "error".to_owned(),
            (Severity::Error, Some(rule)) => format!("error[{rule}]"),
        };
        let colour = diagnostic.severity.colour();
        let place = paint.wrap(BOLD, &format!("{}:{line}:{column}:", self.name));
        let message = paint.wrap(BOLD, &diagnostic.message);
        let mut out = format!("{place} {} {message}\n", paint.wrap(colour, &format!("{kind}:")));
        out.push_str(&self.excerpt(diagnostic.span, diagnostic.severity, paint));
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "{} help: {help}", paint.wrap(BLUE, "      ="));
        }
        out
    }

    /// The lines of a span with their numbers, and marks at what is meant: carets below one line, a bar beside
    /// several, of which the middle is left out if there are many.
    pub fn excerpt(&self, span: Span, severity: Severity, paint: Paint) -> String {
        let start = self.floor(span.start);
        // What is meant ends with its last visible character.
        let meant = self.text[start..self.floor(span.end.max(start))].trim_end();
        let end = start + meant.len();
        let first = self.position(start).0;
        let lines = self.lines(start, end);
        let sketch = Sketch { paint, colour: severity.colour() };
        match lines.as_slice() {
            [line] => {
                let text = &self.text[line.clone()];
                sketch.one(first, text, start - line.start..end - line.start)
            }
            several => {
                let texts: Vec<&str> = several.iter().map(|line| &self.text[line.clone()]).collect();
                sketch.several(first, &texts)
            }
        }
    }

    /// The lines, without their ends, that a range touches.
    fn lines(&self, start: usize, end: usize) -> Vec<Range<usize>> {
        let mut at = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let mut lines = Vec::new();
        loop {
            let stop = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
            let shown = at + self.text[at..stop].trim_end_matches('\r').len();
            lines.push(at..shown.max(start.min(stop)));
            if stop >= end || stop == self.text.len() {
                return lines;
            }
            at = stop + 1;
        }
    }

    /// The nearest character boundary at or before an offset.
    fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

/// Draws lines with numbers and marks.
struct Sketch {
    paint: Paint,
    colour: &'static str,
}

impl Sketch {
    fn one(&self, number: usize, text: &str, meant: Range<usize>) -> String {
        let cells = Cells::of(text);
        let (from, to) = (cells.column(meant.start), cells.column(meant.end));
        let skip = if to > WIDTH { from.saturating_sub(LEAD) } else { 0 };
        let (shown, skipped) = cells.window(skip);
        let cut = if skipped > 0 { "…" } else { "" };
        let pad = " ".repeat(from - skipped + cut.chars().count());
        let carets = "^".repeat((to - from).clamp(1, WIDTH.saturating_sub(from - skipped).max(1)));
        let mut out = self.line(Some(number), &format!("{cut}{shown}"));
        out.push_str(&self.line(None, &format!("{pad}{}", self.paint.wrap(self.colour, &carets))));
        out
    }

    fn several(&self, first: usize, texts: &[&str]) -> String {
        let mut out = String::new();
        let last = texts.len() - 1;
        for (index, text) in texts.iter().enumerate() {
            if texts.len() > HEAD + 2 && (HEAD..last).contains(&index) {
                if index == HEAD {
                    let left_out = format!("… {} lines", last - HEAD);
                    out.push_str(&self.line(None, &format!("{} {left_out}", self.bar("|"))));
                }
                continue;
            }
            let bar = self.bar(if index == 0 { "/" } else { "|" });
            let shown = Cells::of(text).window(0).0;
            out.push_str(&self.line(Some(first + index), format!("{bar} {shown}").trim_end()));
        }
        let end = Cells::of(texts[last]).width().clamp(1, WIDTH);
        out.push_str(&self.line(None, &self.bar(&format!("|{}^", "_".repeat(end)))));
        out
    }

    fn bar(&self, text: &str) -> String {
        self.paint.wrap(self.colour, text)
    }

    fn line(&self, number: Option<usize>, text: &str) -> String {
        let gutter = match number {
            Some(number) => format!("{number:>5} |"),
            None => "      |".to_owned(),
        };
        let gutter = self.paint.wrap(BLUE, &gutter);
        format!("{gutter} {text}").trim_end().to_owned() + "\n"
    }
}

/// A line as a terminal shows it: tabs as blanks, what would act on the terminal as escapes.
struct Cells {
    /// Byte offset in the line, column, and what is shown.
    cells: Vec<(usize, usize, String)>,
    width: usize,
}

impl Cells {
    fn of(text: &str) -> Self {
        let mut cells = Vec::new();
        let mut width = 0;
        for (offset, c) in text.char_indices() {
            let (shown, columns) = match c {
                '\t' => {
                    let columns = TAB - width % TAB;
                    (" ".repeat(columns), columns)
                }
                c if is_hidden(c) => {
                    let escaped = c.escape_default().to_string();
                    let columns = escaped.len();
                    (escaped, columns)
                }
                c => (c.to_string(), c.width().unwrap_or(0)),
            };
            cells.push((offset, width, shown));
            width += columns;
        }
        Self { cells, width }
    }

    fn width(&self) -> usize {
        self.width
    }

    /// The column where a byte of the line stands.
    fn column(&self, offset: usize) -> usize {
        let index = self.cells.partition_point(|(at, ..)| *at < offset);
        self.cells.get(index).map_or(self.width, |(_, column, _)| *column)
    }

    /// What fits from a column on, and the column where it begins in fact.
    fn window(&self, skip: usize) -> (String, usize) {
        let index = self.cells.partition_point(|(_, column, _)| *column < skip);
        let begin = self.cells.get(index).map_or(self.width, |(_, column, _)| *column);
        let fits = self.cells[index..].iter().take_while(|(_, column, _)| column - begin < WIDTH);
        let mut text: String = fits.map(|(_, _, shown)| shown.as_str()).collect();
        if self.width - begin > WIDTH {
            text.push('…');
        }
        (text, begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "Dockerfile".into(), text: text.into() }
    }

    fn of(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        let span = Span::new(start, start + part.len());
        source(text).render(&Diagnostic::error(span, "bad"))
    }

    #[test]
    fn a_caret_stands_under_the_span() {
        let source = source("FROM x\nCOPPY a b\n");
        let d =
            Diagnostic::error(Span::new(7, 12), "unknown instruction COPPY").with_help("did you mean COPY?");
        assert_eq!(
            source.render(&d),
            "Dockerfile:2:1: error: unknown instruction COPPY\n    2 | COPPY a b\n      | ^^^^^\n      = help: did you mean COPY?\n"
        );
    }

    #[test]
    fn tabs_and_wide_characters_take_their_columns() {
        assert!(of("\ta\tbcd x", "bcd").ends_with("    1 |     a   bcd x\n      |         ^^^\n"));
        assert!(of("LABEL 漢字=ok", "ok").ends_with("    1 | LABEL 漢字=ok\n      |            ^^\n"));
        assert!(of("LABEL 漢字=ok", "漢字").ends_with("      |       ^^^^\n"));
        assert!(of("a\x1b[31mb", "b").ends_with("    1 | a\\u{1b}[31mb\n      |            ^\n"));
    }

    #[test]
    fn several_lines_have_a_bar() {
        let text = "FROM a\nRUN a \\\n  && b\nUSER x\n";
        assert!(
            of(text, "RUN a \\\n  && b")
                .ends_with("    2 | / RUN a \\\n    3 | |   && b\n      | |______^\n")
        );
        let long = format!("RUN 0\n{}", (1..30).map(|n| format!(" {n}\n")).collect::<String>());
        let shown = of(&long, long.trim_end());
        assert!(
            shown.ends_with("    4 | |  3\n      | | … 25 lines\n   30 | |  29\n      | |___^\n"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_meant_is_shown_however_long_the_line() {
        let text = format!("RUN {} here {}", "x".repeat(500), "y".repeat(500));
        let shown = of(&text, "here");
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find("^^^^").unwrap();
        let before: usize = lines[1].chars().position(|c| c == 'h').unwrap();
        assert_eq!(lines[2][..caret].chars().count(), before);
        assert!(lines[1].chars().count() < 200, "{shown}");
    }

    #[test]
    fn spans_outside_the_text_and_line_ends() {
        let shown = source("a\r\nb").render(&Diagnostic::error(Span::new(90, 99), "x"));
        assert_eq!(shown, "Dockerfile:2:2: error: x\n    2 | b\n      |  ^\n");
        assert_eq!(of("ab\r\ncd", "ab"), "Dockerfile:1:1: error: bad\n    1 | ab\n      | ^^\n");
        let empty = source("").render(&Diagnostic::error(Span::default(), "x"));
        assert_eq!(empty, "Dockerfile:1:1: error: x\n    1 |\n      | ^\n");
    }

    #[test]
    fn colour_only_on_request() {
        let d = Diagnostic::warning(Span::new(0, 1), "w").with_rule("Rule");
        let shown = source("x").render_in(&d, Paint::Colour);
        assert!(shown.contains("\x1b[1;33mwarning[Rule]:\x1b[0m"), "{shown:?}");
        assert!(shown.contains("\x1b[1;33m^\x1b[0m"), "{shown:?}");
        assert!(!source("x").render(&d).contains('\x1b'));
    }
}
