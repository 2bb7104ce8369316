//! Files of no known format: the bytes around the first difference, and where the others are.

use std::io;

use super::ranges::Ranges;
use super::source::Source;
use super::suspects::{Findings, binary};
use super::{Body, Excerpt, Found, Scope, shown};

/// Bytes of each side that are shown.
const SHOWN: usize = 128;
/// They begin at a multiple of this.
const ROW: u64 = 16;

pub fn compare(
    name: &str,
    (a, b): (&Source, &Source),
    scope: &Scope<'_>,
    ranges: &Ranges,
    findings: &mut Findings,
) -> io::Result<Found> {
    binary::look(name, (a, b), scope.worlds, ranges, findings)?;
    let (from_a, from_b) = ranges.list.first().map_or((0, 0), |range| (range.a.start, range.b.start));
    let body = Body::Hex { a: excerpt(a, from_a)?, b: excerpt(b, from_b)? };
    Ok(Found::new("bytes", summary(a, b, ranges), body))
}

fn excerpt(source: &Source, first: u64) -> io::Result<Excerpt> {
    let offset = (first - first % ROW).saturating_sub(ROW);
    Ok(Excerpt { offset, hex: shown::hex(&source.some(offset, SHOWN)?) })
}

fn summary(a: &Source, b: &Source, ranges: &Ranges) -> String {
    let (bytes_a, bytes_b) = ranges.bytes();
    let first = ranges.list.first().map_or(0, |range| range.a.start);
    let places = shown::count(ranges.list.len() as u64 + ranges.more, "place", "places");
    if a.len() == b.len() && !ranges.shifted {
        let many = if ranges.more > 0 { "at least " } else { "" };
        let bytes = shown::count(bytes_a, "byte", "bytes");
        return format!("{many}{bytes} of {} at {places}, the first at {first:#x}", a.len());
    }
    let sizes =
        if a.len() == b.len() { String::new() } else { format!("{} and {} bytes, ", a.len(), b.len()) };
    format!("{sizes}{bytes_a} in A and {bytes_b} in B at {places}, the first at {first:#x}")
}
