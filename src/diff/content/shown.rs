//! Strangers' bytes as text that is safe to show.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::diag::is_hidden;

/// Characters of one value or line that are shown.
pub const WIDTH: usize = 240;

/// One line: control characters, bidi marks and bytes that are no UTF-8 as escapes; tabs stay. Unlike in `diag::escape`
/// a backslash stands for itself, as it does in what people compare.
pub fn line(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push(c),
                c if is_hidden(c) => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A value, cut if it is long.
pub fn value(bytes: &[u8]) -> String {
    cut(&line(&bytes[..bytes.len().min(WIDTH * 4)]), 0)
}

/// At most `WIDTH` characters of a text, from about that byte on.
pub fn cut(text: &str, around: usize) -> String {
    if text.len() <= WIDTH {
        return text.to_owned();
    }
    let mut from = around.saturating_sub(WIDTH / 3).min(text.len());
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    let rest = &text[from..];
    let kept: String = rest.chars().take(WIDTH).collect();
    let (before, after) = (if from > 0 { "…" } else { "" }, if kept.len() < rest.len() { "…" } else { "" });
    format!("{before}{kept}{after}")
}

/// Seconds since 1970, with the date they are.
pub fn seconds(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => format!("{seconds} ({time})"),
        Err(_) => seconds.to_string(),
    }
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A number with its noun.
pub fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
