//! Text: the lines that differ, as `diff -u` shows them.

use std::collections::HashMap;

use imara_diff::{Algorithm, Diff, InternedInput};

use super::source::Source;
use super::suspects::{Class, Findings, Place, look_at_lines, reordered};
use super::{Body, Fault, Found, Hunk, Line, Scope, Side, fault, format, shown};

/// Lines before and behind those that differ.
const CONTEXT: usize = 3;
/// Pairs of lines that are looked at for why they differ.
const PAIRS: usize = 2000;
/// Lines of one side that are compared.
const LINES: usize = 1 << 18;

pub fn compare(
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Result<Found, Fault> {
    let (a, b) = (a.held(scope.limits.whole)?, b.held(scope.limits.whole)?);
    if !format::is_text(&a) || !format::is_text(&b) {
        return fault("it begins as text and goes on as something else");
    }
    for bytes in [&a, &b] {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        if lines > LINES {
            return fault(format!("it has {lines} lines; at most {LINES} are looked into"));
        }
    }
    Ok(lines(name, &a, &b, scope, findings))
}

/// Compares bytes by their lines.
pub fn lines(name: &str, a: &[u8], b: &[u8], scope: &Scope<'_>, findings: &mut Findings) -> Found {
    let (left, right) = (split(a), split(b));
    let mut input = InternedInput::default();
    input.update_before(left.iter().copied());
    input.update_after(right.iter().copied());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let changes: Vec<Change> = diff
        .hunks()
        .map(|hunk| Change {
            a: (hunk.before.start as usize, hunk.before.end as usize),
            b: (hunk.after.start as usize, hunk.after.end as usize),
        })
        .collect();
    let text = Text { a: &left, b: &right, changes: &changes };
    text.look(name, scope, findings);
    let (removed, added) = text.counts();
    let (hunks, left_out) = text.hunks(scope.budget.show(scope.limits.text_lines.min(removed + added)));
    let mut found = Found::new("text", text.summary(removed, added), Body::Text { hunks });
    if left_out > 0 {
        found.notes.push(format!("{} more not shown", shown::count(left_out as u64, "line", "lines")));
    }
    for (bytes, other, side) in [(a, b, "A"), (b, a, "B")] {
        if !bytes.is_empty() && !bytes.ends_with(b"\n") && other.ends_with(b"\n") {
            found.notes.push(format!("the last line of {side} has no end"));
        }
    }
    found
}

/// Lines without their ends.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines
}

/// The line of a key or certificate: PEM, or what ssh has of one.
fn key(lines: &[&[u8]]) -> Option<usize> {
    let begins = |line: &[u8]| {
        let pem = line.starts_with(b"-----BEGIN ")
            && [&b"PRIVATE KEY-----"[..], b"PUBLIC KEY-----", b"CERTIFICATE-----", b"DH PARAMETERS-----"]
                .iter()
                .any(|end| line.trim_ascii_end().ends_with(end));
        let ssh = [&b"ssh-ed25519 AAAA"[..], b"ssh-rsa AAAA", b"ssh-dss AAAA", b"ecdsa-sha2-nistp"];
        pem || ssh.iter().any(|start| line.starts_with(start))
    };
    // Files of keys alone: where one stands among other things, the others may be what differs.
    lines.iter().take(2).position(|line| begins(line))
}

/// Lines of A in place of which B has others.
#[derive(Clone, Copy)]
struct Change {
    a: (usize, usize),
    b: (usize, usize),
}

struct Text<'a> {
    a: &'a [&'a [u8]],
    b: &'a [&'a [u8]],
    changes: &'a [Change],
}

impl Text<'_> {
    fn counts(&self) -> (usize, usize) {
        self.changes.iter().fold((0, 0), |(removed, added), change| {
            (removed + change.a.1 - change.a.0, added + change.b.1 - change.b.0)
        })
    }

    fn summary(&self, removed: usize, added: usize) -> String {
        let lines = |number: usize| shown::count(number as u64, "line", "lines");
        match (removed, added) {
            (0, 0) => "the ends of lines alone".to_owned(),
            (0, added) => format!("{} only in B", lines(added)),
            (removed, 0) => format!("{} only in A", lines(removed)),
            (removed, added) if removed == added => {
                format!("{} of {} changed", lines(removed), self.a.len())
            }
            (removed, added) => format!("{} only in A, {added} only in B", lines(removed)),
        }
    }

    /// Why the lines may differ: first by their order, then those that stand for each other.
    fn look(&self, name: &str, scope: &Scope<'_>, findings: &mut Findings) {
        if let (Some(left), Some(right)) = (key(self.a), key(self.b)) {
            findings.add(
                Class::Key,
                &format!("line {}:", left + 1),
                &self.text(self.a, left),
                &self.text(self.b, right),
            );
            return;
        }
        let moved = self.moved(findings);
        let mut pairs = 0;
        for change in self.changes {
            let stays = |line: &&&[u8]| !moved.contains_key(**line);
            let left: Vec<&&[u8]> = self.a[change.a.0..change.a.1].iter().filter(stays).collect();
            let right: Vec<&&[u8]> = self.b[change.b.0..change.b.1].iter().filter(stays).collect();
            // Lines that came or went leave no telling which stand for each other.
            if left.len() != right.len() {
                continue;
            }
            for (offset, (x, y)) in left.into_iter().zip(right).enumerate() {
                let at = format!("line {}:", change.a.0 + offset + 1);
                let place = Place { file: name, at, worlds: scope.worlds };
                look_at_lines(&place, &String::from_utf8_lossy(x), &String::from_utf8_lossy(y), findings);
                pairs += 1;
                if pairs == PAIRS {
                    return;
                }
            }
        }
    }

    fn text(&self, lines: &[&[u8]], at: usize) -> String {
        String::from_utf8_lossy(lines[at]).into_owned()
    }

    /// The lines that only stand elsewhere, if they are most of what differs.
    fn moved(&self, findings: &mut Findings) -> HashMap<&[u8], (usize, usize)> {
        let mut counts: HashMap<&[u8], (usize, usize)> = HashMap::new();
        for change in self.changes {
            self.a[change.a.0..change.a.1].iter().for_each(|line| counts.entry(line).or_default().0 += 1);
            self.b[change.b.0..change.b.1].iter().for_each(|line| counts.entry(line).or_default().1 += 1);
        }
        counts.retain(|line, (a, b)| a == b && !line.is_empty());
        let (removed, added) = self.counts();
        // Every line that is retained counts once on each side.
        let same = counts.values().map(|(a, _)| a).sum::<usize>();
        if same * 2 < removed.max(added) {
            return HashMap::new();
        }
        let of = |lines: &[&[u8]], parts: fn(&Change) -> (usize, usize)| -> Vec<usize> {
            let own = self.changes.iter().flat_map(|change| parts(change).0..parts(change).1);
            let out: std::collections::HashSet<usize> =
                own.filter(|i| !counts.contains_key(lines[*i])).collect();
            (0..lines.len()).filter(|i| !out.contains(i)).collect()
        };
        let (left, right) = (of(self.a, |change| change.a), of(self.b, |change| change.b));
        let ours: Vec<&[u8]> = left.iter().map(|i| self.a[*i]).collect();
        let theirs: Vec<&[u8]> = right.iter().map(|i| self.b[*i]).collect();
        if let Some(order) = reordered(&ours, &theirs) {
            let (i, j) = order.first;
            let at = format!("line {}:", left[i] + 1);
            findings.add(order.class, &at, &self.text(&ours, i), &self.text(&theirs, j));
        }
        counts
    }

    /// What is shown, and how many lines that differ are not.
    fn hunks(&self, most: usize) -> (Vec<Hunk>, usize) {
        let mut hunks: Vec<Hunk> = Vec::new();
        let mut shown = 0;
        let mut left_out = 0;
        // Where the lines of the last hunk end.
        let mut end = 0;
        for (index, change) in self.changes.iter().enumerate() {
            let size = change.a.1 - change.a.0 + change.b.1 - change.b.0;
            if shown >= most {
                left_out += size;
                continue;
            }
            let from = change.a.0.saturating_sub(CONTEXT).max(end);
            if hunks.is_empty() || from > end {
                let before = change.a.0 - from;
                hunks.push(Hunk {
                    a: from as u64 + 1,
                    b: (change.b.0 - before) as u64 + 1,
                    lines: Vec::new(),
                });
            }
            let Some(hunk) = hunks.last_mut() else { continue };
            let both = |i: usize| Line { side: Side::Both, text: line(self.a[i], None) };
            hunk.lines.extend((from..change.a.0).map(both));
            let room = most - shown;
            let sides = self.sides(change, room);
            left_out += size - sides.len();
            shown += sides.len();
            hunk.lines.extend(sides);
            let next = self.changes.get(index + 1).map_or(self.a.len(), |next| next.a.0);
            end = (change.a.1 + CONTEXT).min(next);
            hunk.lines.extend((change.a.1..end).map(both));
        }
        (hunks, left_out)
    }

    /// The lines of a change: A's, then B's, long ones cut around what differs in them. Where there is room for some
    /// only, both sides have their share.
    fn sides(&self, change: &Change, room: usize) -> Vec<Line> {
        let (left, right) = (&self.a[change.a.0..change.a.1], &self.b[change.b.0..change.b.1]);
        let of_a = left.len().min((room - room / 2).max(room.saturating_sub(right.len())));
        let (left, right) = (&left[..of_a], &right[..right.len().min(room - of_a)]);
        let shown = |lines: &[&[u8]], others: &[&[u8]], side: Side| -> Vec<Line> {
            let one = |(i, bytes): (usize, &&[u8])| Line { side, text: line(bytes, others.get(i).copied()) };
            lines.iter().enumerate().map(one).collect()
        };
        [shown(left, right, Side::A), shown(right, left, Side::B)].concat()
    }
}

fn line(bytes: &[u8], other: Option<&[u8]>) -> String {
    /// Bytes of a line that are made printable.
    const PREPARED: usize = 4 * shown::WIDTH;
    let same = other.map_or(0, |other| bytes.iter().zip(other).take_while(|(a, b)| a == b).count());
    if bytes.len() <= PREPARED {
        return shown::cut(&shown::line(bytes), same);
    }
    let from = same.saturating_sub(PREPARED / 4);
    let text = shown::line(&bytes[from..(from + PREPARED).min(bytes.len())]);
    let cut = shown::cut(&text, same - from);
    if from > 0 && !cut.starts_with('…') { format!("…{cut}") } else { cut }
}
