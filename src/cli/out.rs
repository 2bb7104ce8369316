//! Writing to the terminal. A reader that has gone away ends the output quietly.

use std::io::{self, IsTerminal as _, Write as _};

use super::session::variable;
use crate::diag::Paint;
pub use crate::size::human as size;

/// Prints to standard output.
pub fn print(text: &str) {
    bytes(text.as_bytes());
}

/// Prints bytes to standard output.
pub fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Prints to standard output, if anybody still reads that: what goes on for ever ends with its reader.
pub fn print_while_read(text: &str) -> bool {
    bytes_while_read(text.as_bytes())
}

/// The same with bytes.
pub fn bytes_while_read(bytes: &[u8]) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// Prints to standard error.
pub fn err(text: &str) {
    err_bytes(text.as_bytes());
}

/// Prints bytes to standard error.
pub fn err_bytes(bytes: &[u8]) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// How standard error is painted: in colour on a terminal, unless `NO_COLOR` or `TERM=dumb` asks for none.
pub fn paint() -> Paint {
    paint_on(is_terminal())
}

/// How standard output is painted.
pub fn paint_stdout() -> Paint {
    paint_on(io::stdout().is_terminal())
}

fn paint_on(terminal: bool) -> Paint {
    let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    if terminal && !unwanted && !dumb { Paint::Colour } else { Paint::Plain }
}

/// Whether progress can be redrawn.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A table: columns as wide as their widest cell, two spaces between.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
