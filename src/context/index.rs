//! The stat index: path, size, times and inode of a file to the digest of its bytes, so that an unchanged tree is
//! never read again (spec/context.md, "Stat index").
//!
//! An entry is trusted only if the file's last change lies so far before it was read that no later change can
//! have left the same times: the rule git uses for its index.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::Statx;

use crate::digest::ContentDigest;
use crate::path::ImagePath;
use crate::sys::file::{self, Durability};

/// First line of an index file.
const MAGIC: &[u8; 16] = b"lith-statindex 1";
/// Bytes of a stamp and a digest.
const FIXED: usize = 8 * 5 + 32;
/// How long after a change the same time stamp may be given again: several ticks of a slow kernel clock.
const TICK_NANOS: i128 = 50_000_000;
/// The same for file systems that keep whole seconds (or two, as FAT does).
const COARSE_NANOS: i128 = 2_100_000_000;

/// What identifies one state of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    pub ctime: i64,
    pub device: u64,
}

const fn nanos(secs: i64, nanos: u32) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos as i64)
}

impl Stamp {
    /// From `statx` with the basic fields.
    pub fn of_statx(stat: &Statx) -> Self {
        Self {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: nanos(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime: nanos(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
        }
    }

    /// From an open file.
    pub fn of_file(file: &File) -> io::Result<Self> {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        Ok(Self::of_statx(&statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?))
    }

    /// Whether a change after `read_at` (nanoseconds since 1970, before the first byte was read) would show in
    /// the stamp.
    fn is_settled(&self, read_at: i64) -> bool {
        let coarse = self.ctime % 1_000_000_000 == 0 && self.mtime % 1_000_000_000 == 0;
        let margin = if coarse { COARSE_NANOS } else { TICK_NANOS };
        i128::from(read_at) - i128::from(self.ctime) > margin
    }
}

#[derive(Debug, Clone)]
struct Known {
    path: Vec<u8>,
    stamp: Stamp,
    content: ContentDigest,
}

/// The digests known for one context.
#[derive(Debug, Default)]
pub struct StatIndex {
    /// Sorted by path.
    known: Vec<Known>,
    fresh: Mutex<Vec<Known>>,
}

impl StatIndex {
    /// Reads an index; a missing or damaged one is empty.
    pub fn load(path: &Path) -> Self {
        let known = std::fs::read(path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        Self { known, fresh: Mutex::default() }
    }

    /// The digest of a file in this very state, if it was read before.
    pub fn get(&self, path: &ImagePath, stamp: &Stamp) -> Option<ContentDigest> {
        let at = self.known.binary_search_by(|k| k.path.as_slice().cmp(path.as_bytes())).ok()?;
        Some(&self.known[at]).filter(|k| k.stamp == *stamp).map(|k| k.content)
    }

    /// Notes what a file's bytes hashed to. `read_at`: nanoseconds since 1970, taken before reading.
    pub fn note(&self, path: &ImagePath, stamp: Stamp, content: ContentDigest, read_at: i64) {
        if stamp.is_settled(read_at) {
            let known = Known { path: path.as_bytes().to_vec(), stamp, content };
            self.fresh.lock().expect("no panic while held").push(known);
        }
    }

    /// Writes the index if anything new was noted.
    pub fn save(self, path: &Path) -> io::Result<()> {
        let mut fresh = self.fresh.into_inner().expect("no panic while held");
        if fresh.is_empty() {
            return Ok(());
        }
        // A stable sort keeps the newest of equal paths in front.
        fresh.reverse();
        fresh.extend(self.known);
        fresh.sort_by(|a, b| a.path.cmp(&b.path));
        fresh.dedup_by(|later, first| later.path == first.path);
        file::replace(path, &encode(&fresh), Durability::Cached)
    }
}

fn encode(known: &[Known]) -> Vec<u8> {
    let mut bytes =
        Vec::with_capacity(MAGIC.len() + 32 + known.iter().map(|k| FIXED + 4 + k.path.len()).sum::<usize>());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[0; 32]);
    for k in known {
        let length = u32::try_from(k.path.len()).expect("paths are shorter than 4096 bytes");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&k.path);
        for number in [k.stamp.inode, k.stamp.size, k.stamp.device] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&k.stamp.mtime.to_le_bytes());
        bytes.extend_from_slice(&k.stamp.ctime.to_le_bytes());
        bytes.extend_from_slice(k.content.as_bytes());
    }
    let sum = blake3::hash(&bytes[MAGIC.len() + 32..]);
    bytes[MAGIC.len()..MAGIC.len() + 32].copy_from_slice(sum.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Known>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, mut rest) = rest.split_at_checked(32)?;
    if blake3::hash(rest).as_bytes().as_slice() != sum {
        return None;
    }
    let mut known = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (path, tail) = tail.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let (fixed, tail) = tail.split_first_chunk::<FIXED>()?;
        let number =
            |at: usize| u64::from_le_bytes(fixed[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        let signed =
            |at: usize| i64::from_le_bytes(fixed[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        known.push(Known {
            path: path.to_vec(),
            stamp: Stamp {
                inode: number(0),
                size: number(1),
                device: number(2),
                mtime: signed(3),
                ctime: signed(4),
            },
            content: ContentDigest::from_bytes(fixed[40..].try_into().expect("32 bytes are left")),
        });
        rest = tail;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn stamp(ctime: i64) -> Stamp {
        Stamp { inode: 1, size: 2, mtime: ctime, ctime, device: 3 }
    }

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_noted_is_found_after_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("index");
        let index = StatIndex::load(&file);
        let old = stamp(5 * SECOND + 1);
        index.note(&path("a"), old, ContentDigest::of(b"old"), 9 * SECOND);
        index.note(&path("a"), old, ContentDigest::of(b"new"), 9 * SECOND);
        index.note(&path("b/c"), old, ContentDigest::of(b"c"), 9 * SECOND);
        index.save(&file).unwrap();
        let index = StatIndex::load(&file);
        assert_eq!(index.get(&path("a"), &old), Some(ContentDigest::of(b"new")));
        assert_eq!(index.get(&path("b/c"), &old), Some(ContentDigest::of(b"c")));
        assert_eq!(index.get(&path("a"), &stamp(6 * SECOND)), None);
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(StatIndex::load(&file).get(&path("a"), &old), None, "a damaged index is empty");
    }

    #[test]
    fn a_file_changed_just_before_it_was_read_is_not_trusted() {
        let index = StatIndex::default();
        index.note(&path("racy"), stamp(SECOND + 5), ContentDigest::of(b""), SECOND + 6);
        index.note(&path("future"), stamp(9 * SECOND + 5), ContentDigest::of(b""), SECOND);
        index.note(&path("coarse"), stamp(SECOND), ContentDigest::of(b""), 2 * SECOND);
        assert!(index.fresh.into_inner().unwrap().is_empty());
    }
}
