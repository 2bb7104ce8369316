//! From the upper directory of an overlay to a layer: what a process changed, and only that.
//!
//! Owns: what counts as a change, hard link groups, clamped times, and bringing the directory itself to the state
//! that unpacking the layer would give, since it becomes the unpacked layer. Never scans what lies below.
//!
//! Three passes: look at everything, write the layer, tidy the directory. The first decides, so that the others
//! need no second thoughts. What is still in use is not tidied but looked at once more ([`record`]).

mod disk;
mod emit;
mod owned;
mod scan;
mod steady;

use std::io::{self, Write};
use std::path::Path;

use super::tree::Tree;
use super::write::{LayerWriter, WriteError};
use crate::epoch::Epoch;
use crate::mount::OverlayMarks;
use crate::path::{ImagePath, PathError};
use crate::recipe::Litter;

use super::entry::{Node, TocEntry};
use disk::{Disk, Held};
pub(super) use scan::parse_owner;

/// What to capture by.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions<'a> {
    /// No time in the layer is later.
    pub epoch: Epoch,
    pub marks: OverlayMarks,
    /// Mount points that the sandbox put into the upper directory, with their inodes. One that is still empty is no
    /// part of the layer.
    pub stubs: &'a [(ImagePath, u64)],
    pub owners: Owners,
    /// Whether known litter is left out. Only for [`capture`], which has the directory alone.
    pub litter: Litter,
}

/// Whether owners on disk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// They are what the process set.
    AsOnDisk,
    /// There was one id only, so every file is its own: such a file keeps the owner it has in the layers below.
    Recorded,
}

/// What there is to say beside the layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// Things left out, one line each.
    pub warnings: Vec<String>,
    pub dropped: Dropped,
}

/// Litter that is not in the layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// In layer order; directories that held nothing else are not listed.
    pub paths: Vec<ImagePath>,
    /// Of all of them.
    pub bytes: u64,
}

/// Why a layer could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot {act} {path} in the upper directory")]
    Io { act: &'static str, path: ImagePath, source: io::Error },
    #[error("a name in directory {dir} cannot be part of a layer")]
    Path { dir: ImagePath, source: PathError },
    #[error(
        "{path} cannot be represented in a layer: a name that begins with \".wh.\" means a deletion there; rename it"
    )]
    WhiteoutName { path: ImagePath },
    #[error(
        "{path} was written by an overlay with {feature}; mount it with redirect_dir=off,metacopy=off instead"
    )]
    Feature { path: ImagePath, feature: &'static str },
    #[error("{path} changes while it is read")]
    Changing { path: ImagePath },
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CaptureError {
    /// Whether it may come of a directory that somebody still writes to, so that another try may go well.
    pub fn is_unsteady(&self) -> bool {
        match self {
            Self::Changing { .. } => true,
            Self::Io { source, .. } => {
                let gone = [rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR, rustix::io::Errno::LOOP];
                gone.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
            }
            Self::Write(error) => matches!(error, WriteError::Length { .. }),
            Self::Path { .. } | Self::WhiteoutName { .. } | Self::Feature { .. } => false,
        }
    }
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Changed,
    Deleted,
}

/// One entry that a layer of the directory would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: ImagePath,
    pub kind: ChangeKind,
}

/// Writes the layer that leads from `lower` to `lower` with `upper` on it. Afterwards `upper` equals the unpacked
/// layer: what is not in the layer is removed from it, and times are clamped on disk.
///
/// An entry equal to the one below in every header field, and for files in every byte, is not a change.
///
/// # Errors
/// [`CaptureError`] names the act and the path. `upper` may be half tidied then and is of no further use.
pub fn capture<W: Write>(
    upper: &Path,
    lower: &Tree,
    options: &CaptureOptions<'_>,
    writer: &mut LayerWriter<W>,
) -> Result<Captured, CaptureError> {
    let mut disk = Disk::open(upper, options.marks, Held::Alone)?;
    let plan = look(&mut disk, lower, options)?;
    emit::write(&mut disk, &plan.entries, writer)?;
    disk.tidy(&plan)?;
    Ok(Captured { warnings: plan.warnings, dropped: plan.dropped })
}

/// Writes the same layer of a directory that stays as it is and that others may write to meanwhile.
///
/// # Errors
/// As [`capture`]; [`CaptureError::Changing`] if anything in it changed between the first look and the last, so that
/// the layer would be none that there ever was.
pub fn record<W: Write>(
    upper: &Path,
    lower: &Tree,
    options: &CaptureOptions<'_>,
    writer: &mut LayerWriter<W>,
) -> Result<Captured, CaptureError> {
    let mut disk = Disk::open(upper, options.marks, Held::Shared)?;
    let began = steady::file_clock();
    let plan = look(&mut disk, lower, options)?;
    emit::write(&mut disk, &plan.entries, writer)?;
    steady::check(&plan, &look(&mut disk, lower, options)?, began)?;
    Ok(Captured { warnings: plan.warnings, dropped: plan.dropped })
}

/// What [`record`] would write, by path.
pub fn changes(
    upper: &Path,
    lower: &Tree,
    options: &CaptureOptions<'_>,
) -> Result<Vec<Change>, CaptureError> {
    let mut disk = Disk::open(upper, options.marks, Held::Shared)?;
    let plan = look(&mut disk, lower, options)?;
    let changed = plan.entries.into_iter().filter(|planned| planned.verdict == Verdict::Changed);
    let kind = |entry: &TocEntry| match (&entry.node, lower.get(&entry.path)) {
        (Node::Whiteout, _) => ChangeKind::Deleted,
        (_, Some(_)) => ChangeKind::Changed,
        (_, None) => ChangeKind::Added,
    };
    let mut changes: Vec<Change> =
        changed.map(|planned| Change { kind: kind(&planned.entry), path: planned.entry.path }).collect();
    changes.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(changes)
}

/// The first pass: what is in the directory and which of it is a change.
fn look(disk: &mut Disk, lower: &Tree, options: &CaptureOptions<'_>) -> Result<Plan, CaptureError> {
    let mut plan = scan::scan(disk, lower, options)?;
    emit::join_hard_links(&mut plan.entries);
    emit::join_directories(&mut plan.entries);
    Ok(plan)
}

fn io_error<'a, E: Into<io::Error>>(
    act: &'static str,
    path: &'a ImagePath,
) -> impl FnOnce(E) -> CaptureError + use<'a, E> {
    move |source| CaptureError::Io { act, path: path.clone(), source: source.into() }
}

/// What the scan decided.
#[derive(Default)]
struct Plan {
    /// In layer order.
    entries: Vec<Planned>,
    /// What must go from the directory though no layer hides it: sockets, stubs, whiteouts of nothing. What a
    /// directory holds comes before it.
    remove: Vec<Removal>,
    warnings: Vec<String>,
    dropped: Dropped,
}

/// One thing found in the upper directory, or hidden by it.
struct Planned {
    entry: TocEntry,
    verdict: Verdict,
    /// The inode, if the file has several names.
    shared: Option<u64>,
    /// `None` for what is not in the directory.
    seen: Option<Seen>,
    mend: Mend,
}

/// What tells a file from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    /// When it last changed, in nanoseconds of the clock that stamps files.
    changed: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Changed,
    /// Equal to what is below. A directory is written all the same if anything in it is.
    Same,
}

/// What has to happen on disk to make it what the entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    Nothing,
    Time,
    Directory {
        /// It carries the mark of an opaque directory; whiteouts take its place.
        opaque: bool,
        /// It was made accessible for the time of the capture.
        unlocked: bool,
    },
    /// A whiteout that an opaque directory implied is to be made.
    Whiteout,
}

struct Removal {
    path: ImagePath,
    is_dir: bool,
}
