//! Directories listed in an order of their own (spec/world.md, "Listings").
//!
//! A listing is taken once, when a descriptor stands at the beginning, and handed out from memory. Where the caller is in
//! it is kept by the descriptor: its position holds the number of the listing and of the next entry, so that seekdir(3),
//! rewinddir(3) and descriptors that several processes share mean what they always do, and what is removed meanwhile moves
//! nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, RawDir, SeekFrom, seek};
use rustix::io::Errno;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::spec::Listing;
use super::super::supervisor::{Calls, Refusal, low, number};
use super::callers::Callers;
use super::space;

/// So many bits of a position are the number of the next entry.
const ENTRY_BITS: u32 = 22;
/// Listings that are remembered; the oldest goes first.
const REMEMBERED: usize = 256;
/// The most that is answered at once, in bytes.
const ANSWER: usize = 256 << 10;
/// Of `struct linux_dirent64`: number, position, length, kind.
const HEADER: usize = 19;

struct Entry {
    name: Vec<u8>,
    number: u64,
    kind: u8,
}

pub(super) struct Listings {
    order: Listing,
    taken: BTreeMap<u64, Vec<Entry>>,
    next: u64,
}

impl Listings {
    pub(super) fn new(order: Listing) -> Self {
        Self { order, taken: BTreeMap::new(), next: 1 }
    }

    /// Answers getdents64(descriptor, *entries, length).
    pub(super) fn answer(
        &mut self,
        calls: &Calls,
        callers: &mut Callers,
        call: Notification,
    ) -> Result<Answer, Refusal> {
        let [fd, address, length, ..] = call.arguments;
        let place = format!("{}/fd/{}", call.pid, low(fd));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let directory = calls.processes.open_at(&place, flags).map_err(|_| Refusal::NotOurs)?;
        if space::is_of_the_kernel(&directory) {
            return Err(Refusal::NotOurs);
        }
        let theirs = callers.descriptor(calls, call, fd).map_err(|_| Refusal::NotOurs)?;
        let position = seek(&theirs, SeekFrom::Current(0)).map_err(|_| Refusal::NotOurs)?;
        let (listing, from) = self.at(position, &directory)?;
        let Some(entries) = self.taken.get(&listing) else { return Err(Refusal::NotOurs) };
        let room = usize::try_from(low(length)).unwrap_or(ANSWER).min(ANSWER);
        let (bytes, count) =
            pack(entries.get(from..).unwrap_or_default(), room, |index| token(listing, from + index + 1));
        if bytes.is_empty() && from < entries.len() {
            return Err(Errno::INVAL.into());
        }
        sys::memory::write(number(call)?, address, &bytes).map_err(|_| Errno::FAULT)?;
        seek(&theirs, SeekFrom::Start(token(listing, from + count))).map_err(|_| Refusal::NotOurs)?;
        Ok(Answer::Value(i64::try_from(bytes.len()).expect("bounded")))
    }

    /// The listing that a position is in, taken now if it is at the beginning or is remembered no more, and the entry.
    fn at(&mut self, position: u64, directory: &OwnedFd) -> Result<(u64, usize), Refusal> {
        let (known, entry) = (position >> ENTRY_BITS, position & ((1 << ENTRY_BITS) - 1));
        let entry = usize::try_from(entry).expect("a few bits");
        if position != 0 && self.taken.contains_key(&known) {
            return Ok((known, entry));
        }
        let listing = self.next;
        self.next += 1;
        let entries = take(directory, self.order).map_err(|_| Refusal::NotOurs)?;
        if entries.len() >= 1 << ENTRY_BITS {
            return Err(Refusal::NotOurs);
        }
        self.taken.insert(listing, entries);
        if self.taken.len() > REMEMBERED {
            self.taken.pop_first();
        }
        Ok((listing, entry))
    }
}

const fn token(listing: u64, entry: usize) -> u64 {
    listing << ENTRY_BITS | entry as u64
}

fn take(directory: &OwnedFd, order: Listing) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut raw = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let kind = match entry.file_type() {
            rustix::fs::FileType::Fifo => libc::DT_FIFO,
            rustix::fs::FileType::CharacterDevice => libc::DT_CHR,
            rustix::fs::FileType::Directory => libc::DT_DIR,
            rustix::fs::FileType::BlockDevice => libc::DT_BLK,
            rustix::fs::FileType::RegularFile => libc::DT_REG,
            rustix::fs::FileType::Symlink => libc::DT_LNK,
            rustix::fs::FileType::Socket => libc::DT_SOCK,
            rustix::fs::FileType::Unknown => libc::DT_UNKNOWN,
        };
        entries.push(Entry { name: entry.file_name().to_bytes().to_vec(), number: entry.ino(), kind });
    }
    sort(&mut entries, order);
    Ok(entries)
}

/// `.` and `..` come first, as on every file system.
fn sort(entries: &mut [Entry], order: Listing) {
    let is_name = |entry: &Entry| entry.name != b"." && entry.name != b"..";
    match order {
        Listing::Sorted => entries.sort_by(|a, b| (is_name(a), &a.name).cmp(&(is_name(b), &b.name))),
        Listing::Shuffled(seed) => entries.sort_by_cached_key(|entry| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(&entry.name);
            (is_name(entry), *hasher.finalize().as_bytes())
        }),
    }
}

/// As many entries as there is room for, in bytes, and how many they are.
fn pack(entries: &[Entry], room: usize, position: impl Fn(usize) -> u64) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let length = (HEADER + entry.name.len() + 1).next_multiple_of(8);
        if bytes.len() + length > room {
            return (bytes, index);
        }
        let end = bytes.len() + length;
        bytes.extend(entry.number.to_ne_bytes());
        bytes.extend(position(index).to_ne_bytes());
        bytes.extend(u16::try_from(length).expect("names have 255 bytes at most").to_ne_bytes());
        bytes.push(entry.kind);
        bytes.extend(&entry.name);
        bytes.resize(end, 0);
    }
    (bytes, entries.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        names
            .iter()
            .map(|name| Entry { name: name.as_bytes().to_vec(), number: 1, kind: libc::DT_REG })
            .collect()
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| String::from_utf8(entry.name.clone()).unwrap()).collect()
    }

    #[test]
    fn an_order_follows_from_names_alone() {
        let mut one = entries(&["b", "..", "a", ".", "-"]);
        sort(&mut one, Listing::Sorted);
        assert_eq!(names(&one), [".", "..", "-", "a", "b"]);
        let mut other = entries(&["a", ".", "-", "b", ".."]);
        for seed in [1, 2] {
            sort(&mut one, Listing::Shuffled(seed));
            sort(&mut other, Listing::Shuffled(seed));
            assert_eq!(names(&one), names(&other));
            assert_eq!(names(&one)[..2].iter().map(String::len).sum::<usize>(), 3);
        }
    }

    #[test]
    fn entries_are_packed_while_there_is_room() {
        let list = entries(&["a", "bcdefgh"]);
        let (bytes, count) = pack(&list, 24, |index| index as u64 + 7);
        assert_eq!((bytes.len(), count), (24, 1));
        assert_eq!(bytes[8..16], 7_u64.to_ne_bytes());
        assert_eq!(bytes[16..18], 24_u16.to_ne_bytes());
        assert_eq!(&bytes[18..21], &[libc::DT_REG, b'a', 0]);
        assert_eq!(pack(&list, 23, |_| 0).1, 0);
        assert_eq!(pack(&list, 1 << 10, |_| 0).1, 2);
    }
}
