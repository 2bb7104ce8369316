//! From the upper directory of an overlay to a layer: what a process changed, and only that.
//!
//! Owns: what counts as a change, hard link groups, clamped times, and bringing the directory itself to the state
//! that unpacking the layer would give, since it becomes the unpacked layer. Never scans what lies below.
//!
//! Three passes: look at everything, write the layer, tidy the directory. The first decides, so that the others
//! need no second thoughts.

mod disk;
mod emit;
mod scan;

use std::io::{self, Write};
use std::path::Path;

use super::tree::Tree;
use super::write::{LayerWriter, WriteError};
use crate::epoch::Epoch;
use crate::mount::OverlayMarks;
use crate::path::{ImagePath, PathError};

use super::entry::TocEntry;
use disk::Disk;
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
    #[error(transparent)]
    Write(#[from] WriteError),
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
    let mut disk = Disk::open(upper, options.marks)?;
    let mut plan = scan::scan(&mut disk, lower, options)?;
    emit::join_hard_links(&mut plan.entries);
    emit::write(&mut disk, &mut plan.entries, writer)?;
    disk.tidy(&plan)?;
    Ok(Captured { warnings: plan.warnings })
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
}

/// One thing found in the upper directory, or hidden by it.
struct Planned {
    entry: TocEntry,
    verdict: Verdict,
    /// The inode, if the file has several names.
    shared: Option<u64>,
    mend: Mend,
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
