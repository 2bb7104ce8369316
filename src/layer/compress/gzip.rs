//! gzip (RFC 1952) whose blocks are deflated side by side.
//!
//! One member. Each mebibyte is deflated by a compressor of its own and ends in a sync flush, so that the pieces can be
//! joined; the last piece, which may be empty, ends the stream. zlib-rs' output depends on the sizes of the writes it
//! gets and on what a compressor did before, so each piece is one call to a new one.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use flate2::{Compress, Compression, FlushCompress};
use rayon::prelude::*;

/// The level of deflate.
pub(super) const LEVEL: i32 = 6;
/// Uncompressed bytes in each piece.
const PIECE: usize = 1 << 20;
/// The most pieces held at once: with their compressed forms, 64 MiB.
const MOST_PIECES: usize = 32;
/// No name, no time, deflate, an operating system nobody knows.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A gzip stream under way.
pub(super) struct Gzip<W: Write> {
    sink: W,
    /// Whole pieces and the beginning of one more.
    waiting: Vec<u8>,
    batch: usize,
    crc: crc32fast::Hasher,
    size: u64,
    begun: bool,
}

struct Piece {
    deflated: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl<W: Write> Gzip<W> {
    pub fn new(sink: W, threads: NonZeroUsize) -> Self {
        let batch = threads.get().min(MOST_PIECES) * PIECE;
        Self { sink, waiting: Vec::new(), batch, crc: crc32fast::Hasher::new(), size: 0, begun: false }
    }

    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == self.batch {
            self.put(false)?;
        }
        let taken = bytes.len().min(self.batch - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        let low = u32::try_from(self.size & u64::from(u32::MAX)).expect("32 bits");
        let crc = self.crc.finalize();
        self.sink.write_all(&crc.to_le_bytes())?;
        self.sink.write_all(&low.to_le_bytes())?;
        Ok(self.sink)
    }

    /// Deflates what waits and writes it.
    fn put(&mut self, last: bool) -> io::Result<()> {
        if !self.begun {
            self.sink.write_all(&HEADER)?;
            self.begun = true;
        }
        // The end is a piece of its own: whether the last whole piece is followed by more is known only then.
        let mut pieces: Vec<(&[u8], FlushCompress)> =
            self.waiting.chunks(PIECE).map(|piece| (piece, FlushCompress::Sync)).collect();
        if last {
            match pieces.last_mut() {
                Some((piece, flush)) if piece.len() < PIECE => *flush = FlushCompress::Finish,
                Some(_) | None => pieces.push((&[], FlushCompress::Finish)),
            }
        }
        let deflated: Vec<Piece> =
            pieces.into_par_iter().map(|(piece, flush)| deflate(piece, flush)).collect::<io::Result<_>>()?;
        for piece in &deflated {
            self.crc.combine(&piece.crc);
            self.sink.write_all(&piece.deflated)?;
        }
        self.size += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

fn deflate(piece: &[u8], flush: FlushCompress) -> io::Result<Piece> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(piece);
    // Room for incompressible bytes and the flush, so that one call does it all.
    let mut deflated = Vec::with_capacity(piece.len() + piece.len() / 8 + 4096);
    let level = Compression::new(LEVEL.unsigned_abs());
    let mut compress = Compress::new(level, false);
    compress.compress_vec(piece, &mut deflated, flush).map_err(io::Error::other)?;
    let done = compress.total_in() == piece.len() as u64 && deflated.len() < deflated.capacity();
    if !done {
        return Err(io::Error::other("deflate needed more room than incompressible data does"));
    }
    Ok(Piece { deflated, crc })
}
