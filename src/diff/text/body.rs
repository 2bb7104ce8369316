//! How the bytes of two files differ, as text.

use super::{DIM, GREEN, Page, RED, YELLOW, cut};
use crate::diag::escape;
use crate::diff::content::{Body, Change, Difference, Field, Hunk, Part, Side};

/// The most lines of one difference.
const MAX_LINES: usize = 24;
/// The most characters of a line.
const MAX_WIDTH: usize = 160;
/// Differences in differences.
const MAX_DEPTH: usize = 3;

/// Shows a difference below a path.
pub(super) fn difference(page: &mut Page, difference: &Difference, depth: usize) {
    let line = format!("{}: {}", difference.format, escape(difference.summary.as_bytes()));
    page.line(depth, &line);
    match &difference.body {
        Body::Text { hunks } => text(page, hunks, depth + 1),
        Body::Hex { a, b } => {
            for (side, colour, mark) in [(a, RED, "-"), (b, GREEN, "+")] {
                let hex = cut(&side.hex, 64);
                let line = page.paint.wrap(colour, &format!("{mark} {:08x}  {hex}", side.offset));
                page.line(depth + 1, &line);
            }
        }
        Body::Fields { fields } => several(page, fields, depth + 1, field),
        Body::Parts { parts } => several(page, parts, depth + 1, part),
    }
    for suspect in &difference.suspects {
        let what = format!("{}: {}", suspect.class.name(), escape(suspect.example.as_bytes()));
        let line = page.paint.wrap(YELLOW, &cut(&what, MAX_WIDTH));
        page.line(depth + 1, &line);
        let line = page.paint.wrap(DIM, &format!("fix: {}", escape(suspect.fix.as_bytes())));
        page.line(depth + 2, &line);
    }
    for note in &difference.notes {
        let line = page.paint.wrap(DIM, &escape(note.as_bytes()));
        page.line(depth + 1, &line);
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
            let shown = cut(&escape(line.text.as_bytes()), MAX_WIDTH);
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
        Some(value) => cut(&escape(value.as_bytes()), MAX_WIDTH / 2),
        None => "none".to_owned(),
    };
    let (one, other) = (value(&field.a), value(&field.b));
    let (one, other) = (page.paint.wrap(RED, &one), page.paint.wrap(GREEN, &other));
    page.line(depth, &format!("{}  {one} → {other}", escape(field.name.as_bytes())));
}

fn part(page: &mut Page, part: &Part, depth: usize) {
    let (mark, colour) = match part.change {
        Change::Added => ("+", GREEN),
        Change::Removed => ("-", RED),
        Change::Changed => ("~", YELLOW),
    };
    let line = format!("{} {}", page.paint.wrap(colour, mark), escape(part.name.as_bytes()));
    page.line(depth, &line);
    several(page, &part.fields, depth + 1, field);
    if let Some(inner) = &part.difference
        && depth < 3 + 2 * MAX_DEPTH
    {
        difference(page, inner, depth + 1);
    }
}
