//! The mount itself: overlayfs without a place for writes.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use super::ViewError;
use crate::mount::{OPTIONS, OverlayMarks};
use crate::sys;
use crate::sys::file;
use crate::sys::mount::{Config, FsError, Opt};

/// The longest value of an option (fsconfig(2)).
const MAX_VALUE: usize = 255;

/// Nothing of an image has powers here or can be written.
const ATTRIBUTES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// Mounts unpacked layers, bottom first, at a directory. overlayfs wants two lowers where there is no upper, so an empty
/// directory goes below, or two if there is no layer.
pub(super) fn mount(
    source: &str,
    lowers: &[PathBuf],
    empty: &[PathBuf; 2],
    marks: OverlayMarks,
    dir: &Path,
) -> Result<(), ViewError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = openat(CWD, dir, flags, Mode::empty()).map_err(|e| file::context(e.into(), "open", dir))?;
    let mount = overlay(source, lowers, empty, marks)?;
    sys::mount::attach(mount, place).map_err(|e| file::context(e.into(), "mount at", dir).into())
}

fn overlay(
    source: &str,
    lowers: &[PathBuf],
    empty: &[PathBuf; 2],
    marks: OverlayMarks,
) -> Result<OwnedFd, ViewError> {
    let config = Config::open("overlay").map_err(refused)?;
    config.set(Opt::Value("source", source)).map_err(refused)?;
    let bottoms = if lowers.is_empty() { &empty[..] } else { &empty[..1] };
    // The topmost first.
    for lower in lowers.iter().rev().chain(bottoms) {
        add(&config, lower)?;
    }
    for (key, value) in OPTIONS {
        config.set(Opt::Value(key, value)).map_err(refused)?;
    }
    match marks {
        OverlayMarks::User => config.set(Opt::Flag("userxattr")).map_err(refused)?,
        OverlayMarks::Trusted => {}
    }
    config.mount(ATTRIBUTES).map_err(refused)
}

/// One option a layer, so there can be as many as overlayfs takes. The path shows in mountinfo, where gc finds it; one
/// that is too long for an option is shortened at its beginning.
fn add(config: &Config, lower: &Path) -> Result<(), ViewError> {
    let set = |path: &str| config.set(Opt::Value("lowerdir+", path)).map_err(refused);
    match lower.to_str() {
        Some(path) if path.len() <= MAX_VALUE => set(path),
        Some(_) | None => {
            // `overlay/CACHE-ID/diff` is what stays.
            let overlay = lower.ancestors().nth(2).unwrap_or(lower);
            let below = lower.strip_prefix(overlay).unwrap_or(Path::new(""));
            let open = File::open(overlay).map_err(|e| file::context(e, "open", overlay))?;
            set(&format!("/proc/self/fd/{}/{}", open.as_raw_fd(), below.display()))
        }
    }
}

fn refused(error: FsError) -> ViewError {
    let text = std::io::Error::from(error.errno).to_string();
    ViewError::Mount { reason: if error.log.is_empty() { text } else { format!("{text} ({})", error.log) } }
}
