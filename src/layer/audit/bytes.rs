//! The bytes of a file, each read once.

use std::fs::File;
use std::io;

use rustix::fs::Advice;

use crate::digest::ContentDigest;
use crate::layer::hash::fill;

/// Files of more bytes than this are read one at a time, each by all processors.
pub(super) const LARGE: u64 = 8 << 20;
/// The buffer of a thread.
pub(super) const BUFFER: usize = 128 << 10;
/// Bytes of a large file that are hashed while the next are read.
const PIECE: usize = 2 << 20;

/// Asks the kernel to have a file's bytes in memory soon.
pub(super) fn read_ahead(file: &File) {
    // Advice: where it is not taken, the bytes come all the same.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::WillNeed);
}

/// Hashes the first `size` bytes.
pub(super) fn digest(file: &mut File, size: u64, buffer: &mut [u8]) -> io::Result<ContentDigest> {
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while left > 0 {
        let want = piece(left, buffer.len());
        whole(fill(file, &mut buffer[..want])?, want)?;
        hasher.update(&buffer[..want]);
        left -= want as u64;
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}

/// The same on all processors, reading meanwhile. Memory is two pieces.
pub(super) fn digest_large(file: &mut File, size: u64) -> io::Result<ContentDigest> {
    let _ = rustix::fs::fadvise(&*file, 0, None, Advice::Sequential);
    let mut hasher = blake3::Hasher::new();
    let (mut current, mut next) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = size;
    let mut ready = piece(left, PIECE);
    whole(fill(file, &mut current[..ready])?, ready)?;
    while ready > 0 {
        left -= ready as u64;
        let want = piece(left, PIECE);
        let (read, _) = rayon::join(
            || fill(file, &mut next[..want]),
            || {
                hasher.update_rayon(&current[..ready]);
            },
        );
        whole(read?, want)?;
        std::mem::swap(&mut current, &mut next);
        ready = want;
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}

fn piece(left: u64, most: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(most)
}

/// A file that ends early was cut since its size was asked for.
fn whole(got: usize, want: usize) -> io::Result<()> {
    if got == want { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pieces_make_the_whole() {
        for size in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, PIECE, PIECE + 1, 3 * PIECE - 1] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let read = |large: bool| {
                let mut again = file.try_clone().unwrap();
                io::Seek::rewind(&mut again).unwrap();
                match large {
                    true => digest_large(&mut again, size as u64),
                    false => digest(&mut again, size as u64, &mut vec![0; BUFFER]),
                }
            };
            assert_eq!(read(false).unwrap(), ContentDigest::of(&bytes), "{size}");
            assert_eq!(read(true).unwrap(), ContentDigest::of(&bytes), "{size}");
        }
        let mut cut = tempfile::tempfile().unwrap();
        assert_eq!(digest_large(&mut cut, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(digest(&mut cut, 1, &mut [0; 8]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
