//! Where the bytes of two files differ.

use std::collections::HashMap;
use std::io;

use super::Range;
use super::source::{PIECE, Source};

/// Ranges that are kept of one pair of files.
pub const MOST: usize = 256;
/// Equal bytes between two ranges that are fewer are part of one range.
const GAP: u64 = 8;
/// What is looked for on the other side after a shift.
const BLOCK: usize = 32;

/// The ranges of two files, and what is beyond those that are kept.
#[derive(Debug, Default)]
pub struct Ranges {
    pub list: Vec<Range>,
    /// Ranges that are not in the list.
    pub more: u64,
    /// Whether bytes stand at other offsets on the two sides.
    pub shifted: bool,
}

impl Ranges {
    fn push(&mut self, range: Range) {
        if range.a.is_empty() && range.b.is_empty() {
            return;
        }
        if let Some(last) = self.list.last_mut()
            && self.more == 0
            && range.a.start - last.a.end < GAP
            && range.b.start - last.b.end < GAP
        {
            (last.a.end, last.b.end) = (range.a.end, range.b.end);
        } else if self.list.len() < MOST {
            self.list.push(range);
        } else {
            self.more += 1;
        }
    }

    /// Bytes of both sides in the list.
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |side: fn(&Range) -> u64| self.list.iter().map(side).sum();
        (sum(|range| range.a.end - range.a.start), sum(|range| range.b.end - range.b.start))
    }
}

/// Whether two sources hold the same.
pub fn equal(a: &Source, b: &Source) -> io::Result<bool> {
    Ok(a.len() == b.len() && first(a, b)?.is_none())
}

/// The first offset at which they differ; the end of the shorter one if it is the beginning of the other.
pub fn first(a: &Source, b: &Source) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    loop {
        let (got_a, got_b) = (a.read_at(&mut left, at)?, b.read_at(&mut right, at)?);
        let most = got_a.min(got_b);
        if let Some(found) = mismatch(&left[..most], &right[..most]) {
            return Ok(Some(at + found as u64));
        }
        at += most as u64;
        if got_a != got_b {
            return Ok(Some(at));
        }
        if most == 0 {
            return Ok(None);
        }
    }
}

fn mismatch(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b {
        return None;
    }
    a.iter().zip(b).position(|(a, b)| a != b)
}

/// All ranges: byte for byte where the files have one length, else with what moved found again, if the parts between
/// their equal beginnings and ends may be held.
pub fn of(a: &Source, b: &Source, whole: u64) -> io::Result<Ranges> {
    let mut ranges = Ranges::default();
    let Some(start) = first(a, b)? else { return Ok(ranges) };
    if a.len() == b.len() {
        in_step(a, b, start, &mut ranges)?;
        // Many small differences, of which most bytes are: something moved inside.
        let (bytes, _) = ranges.bytes();
        if (ranges.more == 0 && bytes.saturating_mul(2) < a.len() - start) || a.len() - start > whole {
            return Ok(ranges);
        }
        let stepwise = std::mem::take(&mut ranges);
        moved(a, b, start, 0, whole, &mut ranges)?;
        let (found, _) = ranges.bytes();
        let is_better = ranges.more == 0 && found.saturating_mul(2) < bytes;
        return Ok(if is_better { ranges } else { stepwise });
    }
    let end = common_end(a, b, start)?;
    moved(a, b, start, end, whole, &mut ranges)?;
    Ok(ranges)
}

fn in_step(a: &Source, b: &Source, start: u64, ranges: &mut Ranges) -> io::Result<()> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = start;
    loop {
        let got = a.read_at(&mut left, at)?.min(b.read_at(&mut right, at)?);
        if got == 0 {
            return Ok(());
        }
        if left[..got] != right[..got] {
            for (i, _) in left[..got].iter().zip(&right[..got]).enumerate().filter(|(_, (a, b))| a != b) {
                let from = at + i as u64;
                ranges.push(Range { a: from..from + 1, b: from..from + 1 });
            }
        }
        at += got as u64;
    }
}

/// How many bytes at the ends are the same.
fn common_end(a: &Source, b: &Source, start: u64) -> io::Result<u64> {
    let most = a.len().min(b.len()) - start;
    let mut same = 0;
    while same < most {
        let piece = (most - same).min(PIECE as u64);
        let len = usize::try_from(piece).unwrap_or(PIECE);
        let left = a.some(a.len() - same - piece, len)?;
        let right = b.some(b.len() - same - piece, len)?;
        let equal = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
        same += equal as u64;
        if equal < len {
            break;
        }
    }
    Ok(same)
}

/// The middles of two files, of which the one is searched for blocks of the other.
fn moved(a: &Source, b: &Source, start: u64, end: u64, whole: u64, ranges: &mut Ranges) -> io::Result<()> {
    ranges.shifted = true;
    let all = Range { a: start..a.len() - end, b: start..b.len() - end };
    let (len_a, len_b) = (all.a.end - all.a.start, all.b.end - all.b.start);
    if len_a.max(len_b) > whole {
        ranges.push(all);
        return Ok(());
    }
    let size = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
    let (left, right) = (a.some(start, size(len_a))?, b.some(start, size(len_b))?);
    let mut blocks: HashMap<u64, usize> = HashMap::new();
    for (index, block) in left.chunks_exact(BLOCK).enumerate() {
        // Of blocks that come again the first counts; those of one byte alone would be found anywhere.
        if block.iter().any(|byte| *byte != block[0]) {
            blocks.entry(Rolling::of(block)).or_insert(index * BLOCK);
        }
    }
    let (mut done_a, mut done_b) = (0, 0);
    let mut at = 0;
    let mut rolling = right.get(..BLOCK).map(Rolling::of);
    while let Some(hash) = rolling {
        let found = blocks
            .get(&hash)
            .copied()
            .filter(|from| *from >= done_a && left[*from..*from + BLOCK] == right[at..at + BLOCK]);
        let Some(from) = found else {
            rolling = right.get(at + BLOCK).map(|next| Rolling::roll(hash, right[at], *next));
            at += 1;
            continue;
        };
        let before = left[done_a..from].iter().rev().zip(right[done_b..at].iter().rev());
        let back = before.take_while(|(a, b)| a == b).count();
        let same = left[from..].iter().zip(&right[at..]).take_while(|(a, b)| a == b).count();
        push(ranges, start, done_a..from - back, done_b..at - back);
        (done_a, done_b) = (from + same, at + same);
        at = done_b;
        rolling = right.get(at..at + BLOCK).map(Rolling::of);
    }
    push(ranges, start, done_a..left.len(), done_b..right.len());
    Ok(())
}

fn push(ranges: &mut Ranges, base: u64, a: std::ops::Range<usize>, b: std::ops::Range<usize>) {
    let shift = |range: std::ops::Range<usize>| base + range.start as u64..base + range.end as u64;
    ranges.push(Range { a: shift(a), b: shift(b) });
}

/// A hash of a block that can be moved on by a byte.
struct Rolling;

impl Rolling {
    const BASE: u64 = 0x0001_0000_01b3;
    /// The base to the power of the block's length less one.
    const OUT: u64 = {
        let (mut power, mut i) = (1u64, 1);
        while i < BLOCK {
            power = power.wrapping_mul(Self::BASE);
            i += 1;
        }
        power
    };

    fn of(block: &[u8]) -> u64 {
        block.iter().fold(0u64, |hash, byte| hash.wrapping_mul(Self::BASE).wrapping_add(u64::from(*byte) + 1))
    }

    fn roll(hash: u64, out: u8, next: u8) -> u64 {
        hash.wrapping_sub(Self::OUT.wrapping_mul(u64::from(out) + 1))
            .wrapping_mul(Self::BASE)
            .wrapping_add(u64::from(next) + 1)
    }
}
