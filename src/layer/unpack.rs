//! A layer unpacked into a directory, as overlayfs wants it for a lower: whiteouts as devices 0:0, opaque
//! directories marked.
//!
//! Owns: the order in which things are made, so that they come out with the owner, mode, xattrs and time of the
//! table. Everything is made below one descriptor, through no symlink, and nothing that exists is reused.

mod file;
mod node;

use std::fs::File;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::Mode;

use super::capture::Owners;
use super::entry::{Meta, Node, Toc, TocEntry};
use crate::mount::OverlayMarks;
use crate::path::ImagePath;
use crate::sys::beneath::Beneath;

/// Whether block and character devices are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    Create,
    /// They exist in the table alone: a user namespace cannot make them.
    Skip,
}

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackOptions {
    pub marks: OverlayMarks,
    /// [`Owners::Recorded`]: everything belongs to the one id there is.
    pub owners: Owners,
    pub devices: Devices,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("{act} {path}")]
    Io { act: &'static str, path: ImagePath, source: io::Error },
    #[error("set the owner of {path} to {uid}:{gid}; the user namespace may lack these ids (subuid, subgid)")]
    Owner { path: ImagePath, uid: u32, gid: u32, source: io::Error },
    #[error(
        "{path} in the layer's tar does not have the bytes of the table of contents; load or build it again"
    )]
    Corrupt { path: ImagePath },
    #[error("open the directory to unpack into")]
    Open { source: io::Error },
}

/// Files of one parallel piece of work.
const PIECE: usize = 128;

/// Unpacks a layer into an existing, empty directory. `tar` is the uncompressed layer that the table belongs to.
///
/// # Errors
/// [`UnpackError`] names the act and the path. What was made stays; the caller removes the whole directory.
pub fn unpack(tar: &File, toc: &Toc, dest: &Path, options: &UnpackOptions) -> Result<(), UnpackError> {
    let open = || Beneath::open(dest).map_err(|source| UnpackError::Open { source });
    let mut root = open()?;
    make_dirs(&mut root, toc)?;
    let files: Vec<&TocEntry> =
        toc.entries().iter().filter(|e| matches!(e.node, Node::File { .. })).collect();
    files.par_chunks(PIECE).try_for_each(|piece| {
        let mut root = open()?;
        piece.iter().try_for_each(|entry| file::write(&mut root, tar, entry, options))
    })?;
    for entry in toc.entries() {
        node::make(&mut root, entry, options)?;
    }
    finish_dirs(&mut root, toc, options)
}

/// Makes every directory, also those that the layer only implies, open to us alone.
fn make_dirs(root: &mut Beneath, toc: &Toc) -> Result<(), UnpackError> {
    let mut holder = ImagePath::root();
    for entry in toc.entries() {
        let parent = entry.path.parent().unwrap_or_default();
        if parent != holder {
            for implied in parent.ancestors().chain((!parent.is_root()).then(|| parent.clone())) {
                make_dir(root, &implied, Mode::from_raw_mode(0o755))?;
            }
            holder = parent;
        }
        if entry.node == Node::Dir && !entry.path.is_root() {
            make_dir(root, &entry.path, Mode::RWXU)?;
        }
    }
    Ok(())
}

fn make_dir(root: &mut Beneath, path: &ImagePath, mode: Mode) -> Result<(), UnpackError> {
    let holder = root.holder(path).map_err(io_error("open the directory of", path))?;
    match rustix::fs::mkdirat(holder, path.name(), mode) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(io_error("create directory", path)(error)),
    }
}

/// Gives directories what the table says, deepest first: making what is in them needs and changes it.
fn finish_dirs(root: &mut Beneath, toc: &Toc, options: &UnpackOptions) -> Result<(), UnpackError> {
    for entry in toc.entries().iter().rev() {
        match entry.node {
            Node::Opaque => {
                let fd = root.dir(&entry.path).map_err(io_error("open directory", &entry.path))?;
                crate::sys::xattr::set(fd, options.marks.opaque().as_bytes(), b"y")
                    .map_err(io_error("mark as opaque", &entry.path))?;
            }
            Node::Dir => {
                let fd = root.dir(&entry.path).map_err(io_error("open directory", &entry.path))?;
                file::dress(fd, &entry.path, &entry.meta, options)?;
            }
            Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo
            | Node::Whiteout => {}
        }
    }
    Ok(())
}

fn io_error<'a, E: Into<io::Error>>(
    act: &'static str,
    path: &'a ImagePath,
) -> impl FnOnce(E) -> UnpackError + use<'a, E> {
    move |source| UnpackError::Io { act, path: path.clone(), source: source.into() }
}

fn owner_error<'a>(
    path: &'a ImagePath,
    meta: &'a Meta,
) -> impl FnOnce(rustix::io::Errno) -> UnpackError + use<'a> {
    move |source| UnpackError::Owner {
        path: path.clone(),
        uid: meta.uid,
        gid: meta.gid,
        source: source.into(),
    }
}
