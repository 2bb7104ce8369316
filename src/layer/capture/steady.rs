//! Whether a directory that others may write to stayed as it was while it was read.

use super::{CaptureError, Plan, Planned, Seen};
use crate::path::ImagePath;

/// What the clock says by which the kernel notes changes of files.
pub(super) fn file_clock() -> i64 {
    crate::sys::clock::realtime_nanos()
}

/// Holds what was seen at first against what was seen at last. `began`: what the clock of files said before the first look.
///
/// That clock goes in ticks of some milliseconds. A change leaves another time behind, unless it comes within the same
/// tick as the one before: so what changed since the tick in which the first look began cannot be told from what changes
/// still.
pub(super) fn check(first: &Plan, last: &Plan, began: i64) -> Result<(), CaptureError> {
    let changing = |path: &ImagePath| Err(CaptureError::Changing { path: path.clone() });
    for (before, after) in first.entries.iter().zip(&last.entries) {
        if !is_same(before, after) || before.seen.is_some_and(|Seen { changed, .. }| changed >= began) {
            return changing(&before.entry.path);
        }
    }
    let (some, more) = (first.entries.len(), last.entries.len());
    match first.entries.get(more).or_else(|| last.entries.get(some)) {
        Some(unmatched) => changing(&unmatched.entry.path),
        None => Ok(()),
    }
}

fn is_same(before: &Planned, after: &Planned) -> bool {
    before.entry == after.entry && before.verdict == after.verdict && before.seen == after.seen
}
