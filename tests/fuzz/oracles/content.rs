//! Two files beside each other: a line with the name, the number of bytes of the first, then both. What comparers say
//! has to hold for any bytes.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use lith::diff::content::{Body, Difference, Input, Limits, Part, compare};

/// Checks one pair: `NAME LENGTH\n`, that many bytes, and the rest.
pub fn check(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Some((name, length)) = std::str::from_utf8(&bytes[..end]).ok().and_then(|head| head.rsplit_once(' '))
    else {
        return;
    };
    let body = &bytes[end + 1..];
    let Some(length) = length.parse::<usize>().ok().filter(|length| *length <= body.len()) else { return };
    let (a, b) = body.split_at(length);
    let limits = Limits { text_lines: 50, whole: 1 << 20, depth: 4, scratch: PathBuf::from("/tmp") };
    let compared =
        |a: &[u8], b: &[u8]| compare(name, input(a), input(b), &limits).expect("files are readable");
    let difference = compared(a, b);
    holds(&difference, &limits, 0);
    assert_eq!(difference.ranges.is_empty(), a == b, "equal files alone have no range: {difference:?}");
    if let Some(first) = difference.ranges.first() {
        let common = a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64;
        assert_eq!((first.a.start, first.b.start), (common, common), "{:?}", difference.ranges);
    }
    // What is said is a function of the files, has a form that is read again, and is kept short.
    assert_eq!(difference, compared(a, b));
    let json = serde_json::to_string(&difference).expect("plain data serialises");
    assert_eq!(serde_json::from_str::<Difference>(&json).expect("it was written so"), difference);
    assert!(json.len() <= 8 << 20, "{} bytes of {}", json.len(), body.len());
    // The same bytes differ in nothing, whatever they are.
    for side in [a, b] {
        let same = compared(side, side);
        assert!(same.ranges.is_empty() && same.suspects.is_empty() && same.notes.is_empty(), "{same:?}");
    }
}

fn input(bytes: &[u8]) -> Input {
    let mut file = unnamed();
    file.write_all(bytes).expect("a temporary file takes it");
    Input { file, size: bytes.len() as u64 }
}

/// A file that has no name.
fn unnamed() -> File {
    let fd = rustix::fs::memfd_create("pair", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    File::from(fd)
}

/// Ranges ascend and do not meet, texts are safe to show, nothing is deeper or longer than the limits say.
fn holds(difference: &Difference, limits: &Limits, depth: usize) {
    assert!(depth <= limits.depth, "deeper than {}", limits.depth);
    for pair in difference.ranges.windows(2) {
        let (x, y) = (&pair[0], &pair[1]);
        assert!(x.a.end <= y.a.start && x.b.end <= y.b.start, "{:?}", difference.ranges);
    }
    let shown = |text: &str| {
        let hidden = |c: char| c != '\t' && lith::diag::is_hidden(c);
        assert!(!text.contains(hidden), "{text:?} acts on a terminal");
    };
    shown(&difference.summary);
    difference.notes.iter().for_each(|note| shown(note));
    for suspect in &difference.suspects {
        assert!(suspect.count > 0);
        shown(&suspect.example);
    }
    match &difference.body {
        Body::Text { hunks } => {
            let lines = hunks.iter().flat_map(|hunk| &hunk.lines);
            lines.clone().for_each(|line| shown(&line.text));
            // Context is at most six lines for each line that differs.
            assert!(lines.count() <= 7 * limits.text_lines + 7);
        }
        Body::Hex { a, b } => assert!(a.hex.len() <= 256 && b.hex.len() <= 256),
        Body::Fields { fields } => fields.iter().for_each(|field| shown(&field.name)),
        Body::Parts { parts } => {
            assert!(parts.len() <= limits.text_lines + 2);
            for Part { name, fields, difference, .. } in parts {
                shown(name);
                for field in fields {
                    shown(&field.name);
                    field.a.iter().chain(&field.b).for_each(|value| shown(value));
                }
                if let Some(difference) = difference {
                    holds(difference, limits, depth + 1);
                }
            }
        }
    }
}
