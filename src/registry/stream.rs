//! A blob on its way from another place to a registry: never whole in memory, hashed as it passes, its last bytes kept
//! back until all of them are known to be right.

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};

use super::RegistryError;
use crate::digest::BlobDigest;
use crate::image::BlobSource;
use crate::oci::Descriptor;
use crate::store::StoreError;

/// How far apart the places are from which one can go on.
const MARK: u64 = 1 << 20;

/// What is read from any byte on, and may fail at that.
pub(super) trait Passing: Sync {
    /// In bytes.
    fn size(&self) -> u64;

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Why it could not be read, if that is why it did not arrive: to send it again would be no better.
    fn failure(&self) -> Option<RegistryError>;
}

/// A blob that is read from any byte on. What reads it goes forward most of the time; where the registry lost some of what it
/// was sent, the source is asked again for what is behind the last mark before that.
pub(super) struct Stream<'a> {
    source: &'a dyn BlobSource,
    blob: &'a Descriptor,
    /// For messages.
    what: String,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    reader: Option<Box<dyn Read + Send + 'a>>,
    at: u64,
    hash: Sha256,
    /// The hash at each multiple of [`MARK`] so far.
    marks: Vec<Sha256>,
    failure: Option<RegistryError>,
}

impl<'a> Stream<'a> {
    pub fn new(source: &'a dyn BlobSource, blob: &'a Descriptor, what: &str) -> Self {
        let state =
            State { reader: None, at: 0, hash: Sha256::new(), marks: vec![Sha256::new()], failure: None };
        Self { source, blob, what: what.to_owned(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no panic while held")
    }

    fn seek(&self, state: &mut State<'a>, at: u64) -> io::Result<()> {
        if state.reader.is_some() && state.at == at {
            return Ok(());
        }
        let mark = usize::try_from(at / MARK).unwrap_or(usize::MAX).min(state.marks.len() - 1);
        state.hash = state.marks[mark].clone();
        state.at = mark as u64 * MARK;
        state.reader = Some(self.source.open_from(self.blob, state.at)?);
        let mut passed = vec![0; 1 << 16];
        while state.at < at {
            let want = usize::try_from(at - state.at).unwrap_or(usize::MAX).min(passed.len());
            self.advance(state, &mut passed[..want])?;
        }
        Ok(())
    }

    /// Reads on, at least a byte.
    fn advance(&self, state: &mut State<'a>, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.blob.size;
        let room = (size - state.at).min(MARK - state.at % MARK);
        let want = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
        let reader = state.reader.as_mut().expect("it was opened");
        let got = reader.read(&mut buffer[..want])?;
        if got == 0 && want > 0 {
            let message = format!("it ends after {} bytes; its descriptor says {size}", state.at);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        state.hash.update(&buffer[..got]);
        state.at += got as u64;
        if state.at == size {
            let actual = BlobDigest::from_bytes(state.hash.clone().finalize().into());
            if actual != self.blob.digest {
                let message = format!("what came of it hashes to {actual}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        if state.at.is_multiple_of(MARK) && state.marks.len() as u64 == state.at / MARK {
            state.marks.push(state.hash.clone());
        }
        Ok(got)
    }
}

impl Passing for Stream<'_> {
    fn size(&self) -> u64 {
        self.blob.size
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.state();
        let read = self.seek(&mut state, at).and_then(|()| self.advance(&mut state, buffer));
        read.map_err(|error| {
            state.reader = None;
            let said = error.to_string();
            state.failure = Some(explained(error, &self.what));
            io::Error::other(said)
        })
    }

    fn failure(&self) -> Option<RegistryError> {
        self.state().failure.take()
    }
}

/// What the place said that the bytes were to come from.
fn explained(error: io::Error, what: &str) -> RegistryError {
    let error = match error.downcast::<RegistryError>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    match error.downcast::<StoreError>() {
        Ok(store) => store.into(),
        Err(source) => RegistryError::Source { what: what.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::oci::media::MediaType;

    struct Bytes {
        bytes: Vec<u8>,
        opened: AtomicUsize,
    }

    impl BlobSource for Bytes {
        fn open(&self, _: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(&self.bytes[..]))
        }
    }

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    fn read(stream: &Stream<'_>, from: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 100_000];
        while all.len() < len {
            let want = (len - all.len()).min(buffer.len());
            let got = stream.read_at(&mut buffer[..want], from + all.len() as u64)?;
            all.extend(&buffer[..got]);
        }
        Ok(all)
    }

    #[test]
    fn whoever_goes_back_reads_the_same_and_the_end_is_checked() {
        let all = bytes(3_500_000);
        let blob = Descriptor::of(MediaType::OciLayer, &all);
        let source = Bytes { bytes: all.clone(), opened: AtomicUsize::new(0) };
        let stream = Stream::new(&source, &blob, "x");
        assert_eq!(read(&stream, 0, 2_500_000).unwrap(), all[..2_500_000]);
        assert_eq!(source.opened.load(Ordering::Relaxed), 1);
        // The registry has less than it was sent; then more than it said.
        assert_eq!(read(&stream, 1_200_000, 1_000_000).unwrap(), all[1_200_000..2_200_000]);
        assert_eq!(read(&stream, 3_000_000, 500_000).unwrap(), all[3_000_000..]);
        assert_eq!(source.opened.load(Ordering::Relaxed), 3);
        assert!(stream.failure().is_none());
    }

    #[test]
    fn other_bytes_and_fewer_are_failures_of_the_source() {
        let all = bytes(1 << 20);
        let blob = Descriptor::of(MediaType::OciLayer, &all);
        let mut other = all.clone();
        other[12] ^= 1;
        for (bytes, says) in [(other, "hashes to"), (all[..1000].to_vec(), "ends after 1000 bytes")] {
            let source = Bytes { bytes, opened: AtomicUsize::new(0) };
            let stream = Stream::new(&source, &blob, "x");
            assert!(read(&stream, 0, 1 << 20).unwrap_err().to_string().contains(says));
            assert!(stream.failure().unwrap().to_string().contains(says));
        }
    }
}
