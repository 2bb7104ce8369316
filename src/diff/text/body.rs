//! How the bytes of two files differ, as text. What comparers say of strangers' bytes is safe to show as it is.

use super::{DIM, GREEN, Page, RED, YELLOW, cut};
use crate::diff::content::{Body, Change, Difference, Excerpt, Field, Hunk, Part, Side};

/// The most lines of one difference.
const MAX_LINES: usize = 24;
/// Bytes of a row of hex, and the most rows of a side.
const ROW: usize = 16;
const MAX_ROWS: usize = 4;
/// The most characters of a line.
const MAX_WIDTH: usize = 160;
/// Differences in differences.
const MAX_DEPTH: usize = 3;

/// Shows a difference below a path, and why it may be; what is inside speaks for the whole.
pub(super) fn difference(page: &mut Page, difference: &Difference, depth: usize) {
    body(page, difference, depth);
    for suspect in &difference.suspects {
        let what = format!("{}: {}", suspect.class.name(), suspect.example);
        let line = page.paint.wrap(YELLOW, &cut(&what, MAX_WIDTH));
        page.line(depth + 1, &line);
        let line = page.paint.wrap(DIM, &format!("fix: {}", suspect.fix));
        page.line(depth + 2, &line);
    }
}

fn body(page: &mut Page, difference: &Difference, depth: usize) {
    let line = format!("{}: {}", difference.format, cut(&difference.summary, MAX_WIDTH));
    page.line(depth, &line);
    match &difference.body {
        Body::Text { hunks } => text(page, hunks, depth + 1),
        Body::Hex { a, b } => {
            hex(page, (a, b), ("-", RED), depth + 1);
            hex(page, (b, a), ("+", GREEN), depth + 1);
        }
        Body::Fields { fields } => several(page, fields, depth + 1, field),
        Body::Parts { parts } => several(page, parts, depth + 1, part),
    }
    for note in &difference.notes {
        let line = page.paint.wrap(DIM, &cut(note, MAX_WIDTH));
        page.line(depth + 1, &line);
    }
}

/// The rows of one side that are not the same on the other.
fn hex(page: &mut Page, (own, other): (&Excerpt, &Excerpt), (mark, colour): (&str, &str), depth: usize) {
    let (bytes, others) = (own.bytes(), other.bytes());
    let rows = bytes.chunks(ROW).enumerate();
    let differ =
        |row: &(usize, &[u8])| own.offset != other.offset || others.chunks(ROW).nth(row.0) != Some(row.1);
    for (row, chunk) in rows.filter(differ).take(MAX_ROWS) {
        let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = chunk.iter().map(shown).collect();
        let offset = own.offset + (row * ROW) as u64;
        let line = format!("{mark} {offset:08x}  {:47}  {text}", digits.join(" "));
        let line = page.paint.wrap(colour, line.trim_end());
        page.line(depth, &line);
    }
}

fn several<T>(page: &mut Page, all: &[T], depth: usize, show: impl Fn(&mut Page, &T, usize)) {
    all.iter().take(MAX_LINES).for_each(|one| show(page, one, depth));
    if all.len() > MAX_LINES {
        page.line(depth, &format!("… and {} more", all.len() - MAX_LINES));
    }
}

fn text(page: &mut Page, hunks: &[Hunk], depth: usize) {
    let mut left = MAX_LINES;
    for hunk in hunks {
        if left == 0 {
            return page.line(depth, "…");
        }
        let count = |side: Side| {
            hunk.lines.iter().filter(|line| line.side == Side::Both || line.side == side).count()
        };
        let head = format!("@@ -{},{} +{},{} @@", hunk.a, count(Side::A), hunk.b, count(Side::B));
        let head = page.paint.wrap(DIM, &head);
        page.line(depth, &head);
        for line in &hunk.lines {
            if left == 0 {
                return page.line(depth, "…");
            }
            left -= 1;
            let shown = cut(&line.text, MAX_WIDTH);
            let shown = match line.side {
                Side::Both => format!("  {shown}"),
                Side::A => page.paint.wrap(RED, &format!("- {shown}")),
                Side::B => page.paint.wrap(GREEN, &format!("+ {shown}")),
            };
            page.line(depth, &shown);
        }
    }
}

fn field(page: &mut Page, field: &Field, depth: usize) {
    let value = |value: &Option<String>| match value {
        Some(value) => cut(value, MAX_WIDTH / 2),
        None => "none".to_owned(),
    };
    let (one, other) = (value(&field.a), value(&field.b));
    let (one, other) = (page.paint.wrap(RED, &one), page.paint.wrap(GREEN, &other));
    page.line(depth, &format!("{}  {one} → {other}", field.name));
}

fn part(page: &mut Page, part: &Part, depth: usize) {
    let (mark, colour) = match part.change {
        Change::Added => ("+", GREEN),
        Change::Removed => ("-", RED),
        Change::Changed => ("~", YELLOW),
    };
    let line = format!("{} {}", page.paint.wrap(colour, mark), part.name);
    page.line(depth, &line);
    several(page, &part.fields, depth + 1, field);
    if let Some(inner) = &part.difference
        && depth < 3 + 2 * MAX_DEPTH
    {
        body(page, inner, depth + 1);
    }
}
