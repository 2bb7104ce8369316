//! The one reader of tars that strangers wrote: layers, archives to ADD, image archives.
//!
//! Owns: what is accepted (spec/layer.md, "Reading"). Strict: where two programs could disagree about an entry it is
//! refused with its offset and name. Never touches a file system.

mod fault;
mod fields;
mod pax;
mod settle;
mod source;
mod tar;

use std::collections::BTreeSet;
use std::io::Read;

use super::compress::DecompressLimits;
use super::entry::is_carried;
use super::entry::{Meta, Node, Toc, TocEntry};
use super::hash::DiffHasher;
use super::header::WHITEOUT_PREFIX;
use crate::diag::escape;
use crate::digest::{ContentDigest, DiffId};
use crate::mount::OWNER_XATTR;
use crate::path::{ImagePath, MAX_PATH};
use settle::Placed;
use tar::{Body, Kind, Raw, Tar};

pub use fault::{Fault, ReadError};

/// The most warnings one tar yields.
const MAX_WARNINGS: usize = 100;

/// How much a tar may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes, headers and all.
    pub max_size: u64,
    pub max_entries: usize,
    /// Bytes of all names, link targets and xattrs together: what has to be held in memory.
    pub max_metadata: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: 1 << 40, max_entries: 4_000_000, max_metadata: 256 << 20 }
    }
}

impl Limits {
    /// The same bound on size for a tar that is packed.
    pub fn unpacking(&self) -> DecompressLimits {
        DecompressLimits { max_size: self.max_size, ..DecompressLimits::default() }
    }
}

/// How a tar ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eof {
    /// With two zero blocks.
    Marked,
    /// The input just ended, after a whole entry or one zero block. To be accepted only where the diff id is known.
    Missing,
}

/// What a tar is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Layer,
    /// A tar that someone made with whatever program: the headers of before POSIX are read, and of several entries of
    /// one path the last counts, because that is how tars are appended to.
    Archive,
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// sha256 of every byte of the input, those behind the end of the tar too.
    pub diff_id: DiffId,
    /// Bytes of the input.
    pub size: u64,
    pub toc: Toc,
    pub eof: Eof,
    /// What was left out, one line each.
    pub warnings: Vec<String>,
}

/// Reads a whole layer once: its diff id and its table of contents.
///
/// # Errors
/// [`ReadError`] names the first bad entry. No more than `limits` is ever held.
pub fn index(input: impl Read, limits: &Limits) -> Result<Indexed, ReadError> {
    index_for(input, limits, Purpose::Layer)
}

/// As [`index`], for a tar of this purpose.
///
/// # Errors
/// As [`index`].
pub fn index_for(input: impl Read, limits: &Limits, purpose: Purpose) -> Result<Indexed, ReadError> {
    let mut tar = Tar::new(input, DiffHasher::new(), limits, purpose);
    let mut warnings = Warnings::default();
    let mut placed: Vec<Placed> = Vec::new();
    while let Some(raw) = tar.next()? {
        let offset = raw.offset;
        if let Some(entry) = layer_entry(&mut tar, raw, &mut warnings)? {
            placed.push(Placed { offset, entry });
        }
    }
    let toc = settle::settle(placed, purpose)?;
    let ended = tar.finish()?;
    if ended.trailing {
        warnings.add("data stands behind the end of the tar and is ignored".to_owned());
    }
    let diff_id = ended.diff_id.expect("hashing is on");
    Ok(Indexed { diff_id, size: ended.size, toc, eof: ended.eof, warnings: warnings.into_lines() })
}

/// One entry of an archive that is no layer: deletions mean nothing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub path: ImagePath,
    pub meta: Meta,
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    Dir,
    /// A regular file of that many bytes.
    File(u64),
    /// Another name of a member before; whether there is one is the caller's to see.
    Hardlink(ImagePath),
    Symlink(Vec<u8>),
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// Visits the entries of an archive in its own order, each with a reader of its bytes, which need not be read. A path
/// may come twice; what that means is the caller's to say. Returns what was left out, one line each.
///
/// # Errors
/// The visitor's, or [`ReadError`] as for a layer.
pub fn archive_entries<E: From<ReadError>>(
    input: impl Read,
    limits: &Limits,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
) -> Result<Vec<String>, E> {
    let mut tar = Tar::new(input, DiffHasher::Off, limits, Purpose::Archive);
    let mut warnings = Warnings::default();
    while let Some(raw) = tar.next()? {
        let member = member(raw, &mut warnings).map_err(|what| tar.error(what))?;
        visit(&member, &mut Body(&mut tar))?;
    }
    tar.finish()?;
    Ok(warnings.into_lines())
}

fn member(raw: Raw, warnings: &mut Warnings) -> Result<Member, Fault> {
    let path = ImagePath::parse(&raw.name).map_err(Fault::Path)?;
    if path.is_root() && raw.kind != Kind::Dir {
        return Err(Fault::Root);
    }
    let kind = match raw.kind {
        Kind::Dir => MemberKind::Dir,
        Kind::File => MemberKind::File(raw.size),
        Kind::Hardlink => MemberKind::Hardlink(link_path(&raw.link)?),
        Kind::Symlink => MemberKind::Symlink(symlink_target(raw.link)?),
        Kind::Char { major: 0, minor: 0 } => return Err(Fault::WhiteoutDevice),
        Kind::Char { major, minor } => MemberKind::Char { major, minor },
        Kind::Block { major, minor } => MemberKind::Block { major, minor },
        Kind::Fifo => MemberKind::Fifo,
    };
    Ok(Member { path, meta: screened(raw.meta, warnings), kind })
}

/// One entry of a layer; `None` for what aufs left behind.
fn layer_entry<R: Read>(
    tar: &mut Tar<R>,
    raw: Raw,
    warnings: &mut Warnings,
) -> Result<Option<TocEntry>, ReadError> {
    match whiteout(&raw).map_err(|what| tar.error(what))? {
        Name::Plain => {}
        Name::Ignored => return Ok(None),
        Name::Mark(path, node) => return Ok(Some(TocEntry { path, meta: Meta::default(), node })),
    }
    let Member { path, meta, kind } = member(raw, warnings).map_err(|what| tar.error(what))?;
    let node = match kind {
        MemberKind::Dir => Node::Dir,
        MemberKind::File(size) => file(tar, size)?,
        MemberKind::Hardlink(target) => Node::Hardlink(target),
        MemberKind::Symlink(target) => Node::Symlink(target),
        MemberKind::Char { major, minor } => Node::Char { major, minor },
        MemberKind::Block { major, minor } => Node::Block { major, minor },
        MemberKind::Fifo => Node::Fifo,
    };
    Ok(Some(TocEntry { path, meta, node }))
}

fn file<R: Read>(tar: &mut Tar<R>, size: u64) -> Result<Node, ReadError> {
    let offset = tar.body_offset();
    let mut hasher = blake3::Hasher::new();
    loop {
        let chunk = tar.body()?;
        if chunk.is_empty() {
            break;
        }
        hasher.update(chunk);
    }
    let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
    Ok(Node::File { size, content, offset })
}

/// What a name means in a layer (image-spec, "Whiteouts").
enum Name {
    Plain,
    /// A whiteout or an opaque mark, by the path that it is about.
    Mark(ImagePath, Node),
    /// aufs' own: `.wh..wh.plnk` and the like, and all below.
    Ignored,
}

fn whiteout(raw: &Raw) -> Result<Name, Fault> {
    let mut names: Vec<&[u8]> =
        raw.name.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    let Some(first) = names.iter().position(|name| name.starts_with(WHITEOUT_PREFIX)) else {
        return Ok(Name::Plain);
    };
    let is_last = first + 1 == names.len();
    let hidden = &names[first][WHITEOUT_PREFIX.len()..];
    if hidden.starts_with(WHITEOUT_PREFIX) && !(is_last && hidden == b".wh..opq") {
        return Ok(Name::Ignored);
    }
    // aufs made its whiteouts hard links of each other, and old layers have them so.
    let is_mark = matches!(raw.kind, Kind::File | Kind::Hardlink) && raw.size == 0;
    if !is_last || !is_mark || matches!(hidden, b"" | b"." | b"..") {
        return Err(Fault::Whiteout);
    }
    let is_opaque = hidden == b".wh..opq";
    names.pop();
    if !is_opaque {
        names.push(hidden);
    }
    let path = ImagePath::parse(&names.join(&b'/')).map_err(Fault::Path)?;
    Ok(Name::Mark(path, if is_opaque { Node::Opaque } else { Node::Whiteout }))
}

fn link_path(link: &[u8]) -> Result<ImagePath, Fault> {
    match ImagePath::parse(link) {
        Ok(path) if path.is_root() => Err(Fault::LinkTarget(path)),
        Ok(path) => Ok(path),
        Err(error) => Err(Fault::LinkPath(error)),
    }
}

fn symlink_target(link: Vec<u8>) -> Result<Vec<u8>, Fault> {
    if link.is_empty() || link.len() >= MAX_PATH || link.contains(&0) {
        return Err(Fault::SymlinkTarget);
    }
    Ok(link)
}

/// Keeps the xattrs that a layer may carry; overlayfs and SELinux would obey the others.
fn screened(mut meta: Meta, warnings: &mut Warnings) -> Meta {
    meta.xattrs.retain(|(name, _)| {
        let kept = is_carried(name) && name != OWNER_XATTR.as_bytes();
        if !kept {
            warnings.add(format!("xattr {} is dropped wherever it occurs", escape(name)));
        }
        kept
    });
    meta
}

/// Each line once, and not too many.
#[derive(Default)]
struct Warnings(BTreeSet<String>);

impl Warnings {
    fn add(&mut self, line: String) {
        if self.0.len() < MAX_WARNINGS {
            self.0.insert(line);
        }
    }

    fn into_lines(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}
