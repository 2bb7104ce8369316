//! Bytes that differ in files without lines: text among them, times, values that were drawn.

use std::io;

use super::{Class, Findings, Place, dates, look_at_lines, random};
use crate::diff::content::Worlds;
use crate::diff::content::ranges::Ranges;
use crate::diff::content::source::Source;
use crate::diff::content::{Range, shown};

/// Bytes around a range that are looked at.
const AROUND: u64 = 96;
/// Longer ranges are of no single value.
const LONGEST: u64 = 512;
/// Ranges that are looked at.
const MOST: usize = 64;
/// Ranges among which a number is believed to be a time.
const FEW: usize = 16;

/// Looks at each range of two files.
pub fn look(
    name: &str,
    (a, b): (&Source, &Source),
    worlds: &Worlds,
    ranges: &Ranges,
    findings: &mut Findings,
) -> io::Result<()> {
    // Where much differs some of it looks like anything.
    let few = ranges.list.len() <= FEW;
    for range in ranges.list.iter().take(MOST) {
        let (len_a, len_b) = (range.a.end - range.a.start, range.b.end - range.b.start);
        if len_a.max(len_b) > LONGEST {
            continue;
        }
        let (left, right) = (Window::of(a, &range.a)?, Window::of(b, &range.b)?);
        let at = format!("at {:#x}:", range.a.start);
        let place = Place { file: name, at, worlds };
        if let (Some(text_a), Some(text_b)) = (left.text(), right.text()) {
            look_at_lines(&place, &text_a, &text_b, findings);
            continue;
        }
        if len_a != len_b {
            continue;
        }
        // Numbers are read at the same places of both windows.
        if few
            && left.from == right.from
            && let Some(times) = times(&left, &right)
        {
            for (x, y) in times {
                let show = |seconds: u64| shown::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
                findings.add(Class::Timestamp, &place.at, &show(x), &show(y));
            }
        } else if random::are_bytes(left.inner(), right.inner()) && is_alone(range, ranges, a.len()) {
            findings.add(Class::Random, &place.at, &shown::hex(left.inner()), &shown::hex(right.inner()));
        }
    }
    Ok(())
}

/// Whether a range is a value among bytes that stay, not one of many in a file that is all different.
fn is_alone(range: &Range, ranges: &Ranges, len: u64) -> bool {
    let (bytes, _) = ranges.bytes();
    !ranges.shifted
        && ranges.more == 0
        && (bytes * 4 < len || ranges.list.len() == 1 && range.a == (0..len) && len <= LONGEST)
}

/// A range with what is around it.
struct Window {
    /// The offset of the first byte.
    start: u64,
    bytes: Vec<u8>,
    /// Where the range is in them.
    from: usize,
    to: usize,
}

impl Window {
    fn of(source: &Source, range: &std::ops::Range<u64>) -> io::Result<Self> {
        let start = range.start.saturating_sub(AROUND);
        let small = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let bytes = source.some(start, small(range.end - start + AROUND))?;
        let from = small(range.start - start).min(bytes.len());
        let to = small(range.end - start).min(bytes.len());
        Ok(Self { start, bytes, from, to })
    }

    fn inner(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// The text that the range is of, if it is of one.
    fn text(&self) -> Option<String> {
        let printable = |byte: &u8| matches!(byte, 0x20..=0x7e);
        if !self.inner().iter().all(printable) {
            return None;
        }
        let before = self.bytes[..self.from].iter().rev().take_while(|byte| printable(byte)).count();
        let after = self.bytes[self.to..].iter().take_while(|byte| printable(byte)).count();
        let run = &self.bytes[self.from - before..self.to + after];
        // Four such bytes in a row are seldom chance.
        (run.len() >= 6).then(|| String::from_utf8_lossy(run).into_owned())
    }

    /// That many bytes from an index of the window on.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

/// The times that explain every byte of a range; none if one byte is left over.
fn times(left: &Window, right: &Window) -> Option<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut at = left.from;
    while at < left.to {
        if left.bytes.get(at) == right.bytes.get(at) {
            at += 1;
            continue;
        }
        let (end, times) = time(left, right, at)?;
        found.push(times);
        at = end;
    }
    (!found.is_empty() && found.len() <= 16).then_some(found)
}

/// A time whose first byte that differs is at an index: where it ends, and the seconds of both sides. Its lowest byte
/// differs, or it would have to be a multiple of minutes apart.
fn time(left: &Window, right: &Window, at: usize) -> Option<(usize, (u64, u64))> {
    // Eight bytes say more: the upper half of seconds is zero, that of finer units is not.
    if let (Some(a), Some(b)) = (left.array(at), right.array(at))
        && let Some(times) = near(u64::from_le_bytes(a), u64::from_le_bytes(b))
    {
        return Some((at + 8, times));
    }
    let differs = |at: usize| left.bytes.get(at) != right.bytes.get(at);
    for start in (at.saturating_sub(7)..=at).filter(|start| differs(start + 7)) {
        if let (Some(a), Some(b)) = (left.array(start), right.array(start))
            && let Some(times) = near(u64::from_be_bytes(a), u64::from_be_bytes(b))
        {
            return Some((start + 8, times));
        }
    }
    let short = |a: u32, b: u32| {
        let (a, b) = (u64::from(a), u64::from(b));
        (RECENT.contains(&a) && RECENT.contains(&b) && a.abs_diff(b) < YEAR).then_some((a, b))
    };
    // Four bytes are in range by chance so easily that they have to stand where compilers put them.
    let aligned = |at: usize| (left.start + at as u64).is_multiple_of(4);
    if aligned(at)
        && let (Some(a), Some(b)) = (left.array(at), right.array(at))
        && let Some(times) = short(u32::from_le_bytes(a), u32::from_le_bytes(b))
    {
        return Some((at + 4, times));
    }
    let start = (at.saturating_sub(3)..=at).find(|start| aligned(*start) && differs(start + 3))?;
    let times = short(u32::from_be_bytes(left.array(start)?), u32::from_be_bytes(right.array(start)?))?;
    Some((start + 4, times))
}

const YEAR: u64 = 366 * 86_400;
/// Of four bytes less is believed: 2015 to 2035.
const RECENT: std::ops::Range<u64> = 1_420_070_400..2_051_222_400;

/// Both as times of one unit, within some years of each other.
fn near(a: u64, b: u64) -> Option<(u64, u64)> {
    [1, 1000, 1_000_000, 1_000_000_000].into_iter().find_map(|unit| {
        let (a, b) = (a / unit, b / unit);
        (dates::PLAUSIBLE.contains(&a) && dates::PLAUSIBLE.contains(&b) && a.abs_diff(b) < 3 * YEAR)
            .then_some((a, b))
    })
}
