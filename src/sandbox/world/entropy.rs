//! Randomness that follows from a seed (spec/world.md, "Randomness").
//!
//! Each program has a stream of its own, named by what it is (its arguments, working directory and output, and the how
//! manyeth such it is), so that what runs at the same time takes nothing from another. A process that was forked draws from the stream
//! of the program it is: the sixteen bytes that the kernel gives to each program (AT_RANDOM) are the first of its stream,
//! and tell which one that is.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys;
use crate::sys::seccomp::{Answer, Notification};

use super::super::supervisor::{Calls, Refusal, number};

/// Bytes that wait in the pool: as much as one read takes that wants all it asked for.
const POOL: usize = 1 << 20;
/// The most that one call gives, as the kernel bounds it too for calls that a signal interrupts.
const MOST: usize = 1 << 20;
/// Where the kernel says the sixteen bytes are (getauxval(3)).
const AT_RANDOM: u64 = 25;
const TAG: usize = 16;

/// Programs whose places are remembered.
const REMEMBERED: usize = 1024;

/// What tells a program's stream from others.
pub(super) type Tag = [u8; TAG];

/// What programs find at `/dev/random` and `/dev/urandom`.
pub(in crate::sandbox) type Pool = OwnedFd;

struct Stream {
    key: [u8; 32],
    /// Bytes that were drawn.
    drawn: u64,
}

impl Stream {
    fn draw(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut reader = blake3::Hasher::new_keyed(&self.key).finalize_xof();
        reader.set_position(self.drawn);
        reader.fill(&mut bytes);
        self.drawn += length as u64;
        bytes
    }
}

pub(super) struct Streams {
    seed: [u8; 32],
    /// How many programs of one description have begun.
    programs: HashMap<[u8; 32], u64>,
    /// Where programs that began have their tags.
    places: HashMap<Pid, u64>,
    streams: HashMap<Tag, Stream>,
    /// For whoever has no tag, and for the pool.
    common: Stream,
    pool: Option<(Pool, Stream)>,
}

impl Streams {
    pub(super) fn new(seed: [u8; 32], pool: Option<Pool>) -> Self {
        let stream = |name: &str| Stream { key: derived(&seed, name.as_bytes()), drawn: 0 };
        let mut streams = Self {
            seed,
            programs: HashMap::new(),
            places: HashMap::new(),
            streams: HashMap::new(),
            common: stream("common"),
            pool: pool.map(|pool| (pool, stream("pool"))),
        };
        streams.fill();
        streams
    }

    /// Gives a program that begins its tag, at the place for it.
    pub(super) fn begin(&mut self, process: Pid, place: u64, description: &[u8]) -> Tag {
        let tag = self.name(description);
        if sys::memory::write(process, place, &tag).is_ok() {
            if self.places.len() >= REMEMBERED {
                self.places.clear();
            }
            self.places.insert(process, place);
        }
        tag
    }

    /// The tag of a new program.
    fn name(&mut self, description: &[u8]) -> Tag {
        let description = *blake3::hash(description).as_bytes();
        let count = self.programs.entry(description).or_default();
        *count += 1;
        let name = [&description[..], &count.to_le_bytes()].concat();
        let mut stream = Stream { key: derived(&self.seed, &name), drawn: 0 };
        let tag = stream.draw(TAG).try_into().expect("so many were asked for");
        self.streams.insert(tag, stream);
        tag
    }

    /// Answers getrandom(*bytes, length, flags).
    pub(super) fn answer(&mut self, calls: &Calls, call: Notification) -> Result<Answer, Refusal> {
        let [address, length, ..] = call.arguments;
        let process = number(call)?;
        let tag = self.tag(calls, process);
        let stream = tag.and_then(|tag| self.streams.get_mut(&tag)).unwrap_or(&mut self.common);
        let length = usize::try_from(length).unwrap_or(MOST).min(MOST);
        sys::memory::write(process, address, &stream.draw(length)).map_err(|_| Errno::FAULT)?;
        Ok(Answer::Value(i64::try_from(length).expect("bounded")))
    }

    /// The tag of the program that a process is.
    fn tag(&self, calls: &Calls, process: Pid) -> Option<Tag> {
        // It may have become another program since; then something else is there.
        let known = self.places.get(&process).and_then(|place| read_tag(process, *place));
        known.filter(|tag| self.streams.contains_key(tag)).or_else(|| {
            let auxiliary = calls.processes.read_short(&format!("{}/auxv", process.as_raw_pid())).ok()?;
            read_tag(process, place_of_tag(&auxiliary)?)
        })
    }

    pub(super) fn pool(&self) -> Option<BorrowedFd<'_>> {
        self.pool.as_ref().map(|(pool, _)| pool.as_fd())
    }

    /// Writes until the pool is full. Bytes that find no place are the next ones later.
    pub(super) fn fill(&mut self) {
        let Some((pool, stream)) = &mut self.pool else { return };
        let Ok(copy) = pool.try_clone() else { return };
        let mut writer = std::fs::File::from(copy);
        loop {
            let before = stream.drawn;
            let bytes = stream.draw(4096);
            match writer.write(&bytes) {
                Ok(count) => stream.drawn = before + count as u64,
                Err(_) => {
                    stream.drawn = before;
                    return;
                }
            }
        }
    }
}

/// Sixteen bytes for a name of something that there is once.
pub(super) fn number_of(seed: &[u8; 32]) -> [u8; 16] {
    let key = derived(seed, b"uuid");
    key[..16].try_into().expect("of thirty-two")
}

/// A number for the one program that has a tag.
pub(super) fn number_from(tag: &Tag) -> u32 {
    let hash = blake3::hash(tag);
    hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn derived(seed: &[u8; 32], name: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(seed, name).as_bytes()
}

fn read_tag(process: Pid, place: u64) -> Option<Tag> {
    let mut tag = [0; TAG];
    let count = sys::memory::read(process, place, &mut tag).ok()?;
    (count == TAG).then_some(tag)
}

/// The address of the sixteen bytes in a program's auxiliary vector.
pub(super) fn place_of_tag(auxiliary: &[u8]) -> Option<u64> {
    auxiliary_value(auxiliary, AT_RANDOM)
}

/// A value of an auxiliary vector of 64-bit words.
pub(super) fn auxiliary_value(auxiliary: &[u8], wanted: u64) -> Option<u64> {
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let mut pairs = auxiliary.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
    pairs.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Makes the named pipe of a pool writable and readable, so that no program that opens it waits for another.
pub(in crate::sandbox) fn open_pool(path: impl rustix::path::Arg, dir: &OwnedFd) -> rustix::io::Result<Pool> {
    use rustix::fs::{Mode, OFlags, openat};
    let pool = openat(dir, path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    // A system may allow less; then reads of more than that come in pieces.
    let _ = rustix::pipe::fcntl_setpipe_size(&pool, POOL);
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_follow_from_seed_and_description() {
        let mut one = Streams::new([1; 32], None);
        let mut same = Streams::new([1; 32], None);
        let mut other = Streams::new([2; 32], None);
        let (a, b) = (one.name(b"cc a.c"), one.name(b"cc b.c"));
        // In another order.
        assert_eq!((same.name(b"cc b.c"), same.name(b"cc a.c")), (b, a));
        assert_ne!(a, b);
        assert_ne!(one.name(b"cc a.c"), a, "the second of its kind");
        assert_ne!(other.name(b"cc a.c"), a);
    }

    #[test]
    fn a_stream_is_the_same_in_any_pieces() {
        let stream = || Stream { key: [3; 32], drawn: 0 };
        let whole = stream().draw(100);
        let mut pieces = stream();
        let parts: Vec<u8> = [1, 63, 0, 36].into_iter().flat_map(|length| pieces.draw(length)).collect();
        assert_eq!(parts, whole);
    }

    #[test]
    fn an_auxiliary_vector_is_searched() {
        let words: Vec<u8> = [33_u64, 7, 25, 99, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(auxiliary_value(&words, 25), Some(99));
        assert_eq!(auxiliary_value(&words, 26), None);
        assert_eq!(auxiliary_value(&words[..20], 25), None);
    }
}
