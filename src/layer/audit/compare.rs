//! One thing on disk and the item that made it.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Statx};

use super::Difference;
use crate::layer::capture::{Owners, parse_owner};
use crate::layer::entry::{Meta, Mtime, Xattr, is_carried};
use crate::layer::unpack::UnpackOptions;
use crate::layer::unpack::make::{Item, What};
use crate::mount::{OWNER_XATTR, OverlayMarks};
use crate::sys::xattr;

/// Marks that overlayfs leaves on an upper directory and that hide nothing in a lower one (overlayfs.rst): where a file
/// was copied from, that a directory holds such, and the escaped marks of an overlay in an overlay.
const HARMLESS: [&[u8]; 7] = [b"origin", b"impure", b"nlink", b"uuid", b"protattr", b"upper", b"overlay."];

pub(super) fn kind_on_disk(stat: &Statx) -> FileType {
    FileType::from_raw_mode(u32::from(stat.stx_mode))
}

/// The kind of file that an item is on disk.
pub(super) const fn kind_of(what: &What<'_>) -> FileType {
    match what {
        What::Dir { .. } => FileType::Directory,
        What::File { .. } | What::Link(_) => FileType::RegularFile,
        What::Symlink(_) => FileType::Symlink,
        What::Char { .. } | What::Whiteout => FileType::CharacterDevice,
        What::Block { .. } => FileType::BlockDevice,
        What::Fifo => FileType::Fifo,
    }
}

/// Kind and number, without which nothing else can be compared.
pub(super) fn nature(item: &Item<'_>, stat: &Statx) -> Option<Difference> {
    let number = (stat.stx_rdev_major, stat.stx_rdev_minor);
    let (expected, kind) = (kind_of(&item.what), kind_on_disk(stat));
    let named = named(stat);
    let is_whiteout = named == WHITEOUT;
    match item.what {
        What::Whiteout => (!is_whiteout).then_some(Difference::Kind(WHITEOUT, named)),
        _ if expected != kind || is_whiteout => Some(Difference::Kind(kind_name(expected), named)),
        What::Char { major, minor } | What::Block { major, minor } => {
            (number != (major, minor)).then_some(Difference::Device((major, minor), number))
        }
        What::Dir { .. } | What::File { .. } | What::Link(_) | What::Symlink(_) | What::Fifo => None,
    }
}

const WHITEOUT: &str = "a whiteout";

/// What something is, for people.
pub(super) fn named(stat: &Statx) -> &'static str {
    let kind = kind_on_disk(stat);
    let is_whiteout =
        kind == FileType::CharacterDevice && (stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0);
    if is_whiteout { WHITEOUT } else { kind_name(kind) }
}

pub(super) const fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of unknown kind",
    }
}

/// Mode, owner and time. A whiteout has none of its own.
pub(super) fn metadata(item: &Item<'_>, stat: &Statx, owners: Owners) -> Vec<Difference> {
    let mut differences = Vec::new();
    if matches!(item.what, What::Whiteout) {
        return differences;
    }
    let meta = &item.meta;
    let mode = stat.stx_mode & 0o7777;
    // Linux has no modes of symlinks.
    if !matches!(item.what, What::Symlink(_)) && mode != meta.mode {
        differences.push(Difference::Mode(meta.mode, mode));
    }
    let (expected, found) = ((meta.uid, meta.gid), (stat.stx_uid, stat.stx_gid));
    if owners == Owners::AsOnDisk && expected != found {
        differences.push(Difference::Owner(expected, found));
    }
    let time = Mtime { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec };
    if time != meta.mtime {
        differences.push(Difference::Time(meta.mtime, time));
    }
    differences
}

/// Which xattrs of a file or directory are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    All,
    /// Those alone that overlayfs obeys.
    Marks,
}

/// The xattrs of a file or directory: those of the layer, overlayfs' marks, and the note of an owner.
pub(super) fn xattrs(
    fd: impl AsFd,
    item: &Item<'_>,
    options: &UnpackOptions<'_>,
    compared: Compared,
) -> std::io::Result<Vec<Difference>> {
    let prefix = mark_prefix(options.marks);
    let found = xattr::read(fd, |name| is_carried(name) || name.starts_with(prefix))?;
    let (marks, mut carried): (Vec<Xattr>, Vec<Xattr>) =
        found.into_iter().partition(|(name, _)| name.starts_with(prefix));
    let note = carried.iter().position(|(name, _)| name == OWNER_XATTR.as_bytes());
    let note = note.map(|at| carried.remove(at).1);
    let mut differences = overlay_marks(item, options.marks, marks);
    if compared == Compared::Marks {
        return Ok(differences);
    }
    if options.owners == Owners::Recorded {
        differences.extend(noted_owner(&item.meta, note.as_deref()));
    }
    differences.extend(between(&item.meta.xattrs, &carried).filter(|difference| {
        // Without a range of ids no capability can be given.
        let unable = matches!(difference, Difference::Xattr { name, found: None, .. } if name.starts_with(b"security."));
        !(unable && options.owners == Owners::Recorded)
    }));
    Ok(differences)
}

fn mark_prefix(marks: OverlayMarks) -> &'static [u8] {
    marks.opaque().strip_suffix("opaque").expect("the mark ends in its own name").as_bytes()
}

fn overlay_marks(item: &Item<'_>, marks: OverlayMarks, mut found: Vec<Xattr>) -> Vec<Difference> {
    let prefix = mark_prefix(marks);
    found.retain(|(name, _)| !HARMLESS.iter().any(|harmless| name[prefix.len()..].starts_with(harmless)));
    let expected = match item.what {
        What::Dir { opaque: true } => vec![(marks.opaque().as_bytes().to_vec(), b"y".to_vec())],
        _ => Vec::new(),
    };
    between(&expected, &found).collect()
}

/// With one id only the owner is what the file says of itself (no note: 0:0).
fn noted_owner(meta: &Meta, note: Option<&[u8]>) -> Option<Difference> {
    let expected = (meta.uid, meta.gid);
    let found = note.and_then(parse_owner).unwrap_or((0, 0));
    (expected != found).then_some(Difference::Owner(expected, found))
}

/// Two sorted lists of xattrs, name by name.
fn between<'a>(expected: &'a [Xattr], found: &'a [Xattr]) -> impl Iterator<Item = Difference> + 'a {
    let value = |list: &[Xattr], name: &[u8]| {
        list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut names: Vec<&Vec<u8>> = expected.iter().chain(found).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(move |name| {
        let (expected, found) = (value(expected, name), value(found, name));
        (expected != found).then(|| Difference::Xattr { name: name.clone(), expected, found })
    })
}
