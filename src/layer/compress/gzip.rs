//! One gzip member made of blocks that are deflated on their own, several at a time.
//!
//! Every block is exactly 1 MiB (the last one less), compressed by a compressor made for it alone: zlib's output
//! depends on how its input is cut into calls and on what it did before, so neither may vary.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};
use rayon::prelude::*;

/// Bytes of input in a block.
const BLOCK: usize = 1 << 20;

/// RFC 1952: no name, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Deflates in parallel; memory is bounded by a batch of blocks.
pub struct Encoder<W: Write> {
    sink: W,
    level: u32,
    /// Input that is not compressed yet, less than a batch.
    pending: Vec<u8>,
    batch: usize,
    crc: crc32fast::Hasher,
    length: u64,
}

impl<W: Write> Encoder<W> {
    pub fn new(mut sink: W, level: u32, threads: u32) -> io::Result<Self> {
        sink.write_all(&HEADER)?;
        let blocks = usize::try_from(threads.clamp(1, 16)).unwrap_or(1);
        let batch = blocks * BLOCK;
        Ok(Self {
            sink,
            level,
            pending: Vec::with_capacity(batch),
            batch,
            crc: crc32fast::Hasher::new(),
            length: 0,
        })
    }

    /// Compresses whole blocks. A block is known to be the last only at the end, so one is always kept back.
    fn drain(&mut self, last: bool) -> io::Result<()> {
        let whole = if last { self.pending.len() } else { self.pending.len() / BLOCK * BLOCK };
        let level = self.level;
        let blocks: Vec<&[u8]> = self.pending[..whole].chunks(BLOCK).collect();
        let final_block = if last { blocks.len().checked_sub(1) } else { None };
        let packed: Vec<(Vec<u8>, crc32fast::Hasher)> = blocks
            .par_iter()
            .enumerate()
            .map(|(at, block)| deflate(block, level, Some(at) == final_block))
            .collect::<io::Result<_>>()?;
        for (bytes, crc) in &packed {
            self.sink.write_all(bytes)?;
            self.crc.combine(crc);
        }
        if last && packed.is_empty() {
            self.sink.write_all(&deflate(&[], level, true)?.0)?;
        }
        self.length += whole as u64;
        self.pending.drain(..whole);
        Ok(())
    }

    /// Writes the last block and the trailer.
    pub fn finish(mut self) -> io::Result<W> {
        self.drain(true)?;
        self.sink.write_all(&self.crc.finalize().to_le_bytes())?;
        let length = u32::try_from(self.length & u64::from(u32::MAX)).expect("masked to 32 bits");
        self.sink.write_all(&length.to_le_bytes())?;
        Ok(self.sink)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One byte more than a batch is awaited, so that a block is never the last without our knowing.
        if self.pending.len() > self.batch {
            let tail = self.pending.split_off(self.batch);
            self.drain(false)?;
            self.pending = tail;
        }
        let taken = bytes.len().min(self.batch + 1 - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One block as raw deflate that ends on a byte boundary, and its CRC.
fn deflate(block: &[u8], level: u32, last: bool) -> io::Result<(Vec<u8>, crc32fast::Hasher)> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(block);
    let mut compress = Compress::new(Compression::new(level), false);
    // Stored blocks and the flush marker cost a few bytes for every 64 KiB at the most.
    let mut packed = Vec::with_capacity(block.len() + block.len() / 1000 + 128);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let status = compress.compress_vec(block, &mut packed, flush).map_err(io::Error::other)?;
    let whole = compress.total_in() == block.len() as u64 && packed.len() < packed.capacity();
    let ended = if last { status == Status::StreamEnd } else { status == Status::Ok };
    if !(whole && ended) {
        return Err(io::Error::other("zlib did not take a whole block in one call"));
    }
    Ok((packed, crc))
}
