//! Compression of layers: the same bytes for any number of threads and any sizes of writes (spec/compression.md).
//!
//! Owns: codecs with their pinned levels and block sizes, detection by magic, and the limits that a bomb meets. Never
//! decides which codec a layer gets.

mod gzip;
mod inflate;

use std::io::{self, Write};
use std::num::NonZeroUsize;

use zstd::zstd_safe::CParameter;

use gzip::Gzip;

use crate::oci::media::Packing;

pub use inflate::{DecompressError, DecompressLimits, Decompressor, Format};

/// The version of spec/compression.md: a change of level, block size or library that changes bytes needs a new one.
pub const COMPRESSION_VERSION: u32 = 1;

/// The level of zstd.
const ZSTD_LEVEL: i32 = 3;
/// Uncompressed bytes in each of zstd's jobs.
const ZSTD_JOB: u32 = 4 << 20;

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    None,
    Gzip,
    Zstd,
}

impl Codec {
    /// What packs a layer so; none for one that is not packed.
    pub const fn of(packing: Packing) -> Option<Self> {
        match packing {
            Packing::Plain => None,
            Packing::Gzip => Some(Codec::Gzip),
            Packing::Zstd => Some(Codec::Zstd),
        }
    }

    /// The level that the format version pins; part of the name of a compressed blob.
    pub const fn level(self) -> i32 {
        match self {
            Codec::None => 0,
            Codec::Gzip => gzip::LEVEL,
            Codec::Zstd => ZSTD_LEVEL,
        }
    }

    /// What a store calls the blobs that this codec makes at its pinned level: another name for other bytes.
    pub fn memo_name(self) -> String {
        let name = match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        };
        format!("{name}-{}-v{COMPRESSION_VERSION}", self.level())
    }

    /// What follows `application/vnd.oci.image.layer.v1.tar` in the media type.
    pub const fn suffix(self) -> &'static str {
        match self {
            Codec::None => "",
            Codec::Gzip => "+gzip",
            Codec::Zstd => "+zstd",
        }
    }
}

/// Compresses what is written to it. Dropping it unfinished leaves a stream that no decompressor accepts.
pub struct Compressor<W: Write>(Stream<W>);

enum Stream<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(Box<zstd::Encoder<'static, W>>),
}

impl<W: Write> Compressor<W> {
    /// Starts a stream that uses as many threads as the global rayon pool has.
    pub fn new(codec: Codec, sink: W) -> io::Result<Self> {
        let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
        Self::with_threads(codec, sink, threads)
    }

    /// Starts a stream that keeps that many threads busy. The number never shows in the bytes.
    pub fn with_threads(codec: Codec, sink: W, threads: NonZeroUsize) -> io::Result<Self> {
        Ok(Self(match codec {
            Codec::None => Stream::None(sink),
            Codec::Gzip => Stream::Gzip(Gzip::new(sink, threads)),
            Codec::Zstd => Stream::Zstd(Box::new(zstd_encoder(sink, threads)?)),
        }))
    }

    /// Ends the stream and gives back the sink, not flushed.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Stream::None(sink) => Ok(sink),
            Stream::Gzip(gzip) => gzip.finish(),
            Stream::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::None(sink) => sink.write(bytes),
            Stream::Gzip(gzip) => gzip.write(bytes),
            Stream::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Flushes the sink only: a flush of the stream in the middle would show in the bytes.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Stream::None(sink) => sink.flush(),
            Stream::Gzip(gzip) => gzip.sink().flush(),
            Stream::Zstd(encoder) => encoder.get_mut().flush(),
        }
    }
}

/// One frame, checksummed, its size never pledged, always by workers: zstd without workers writes other bytes than with
/// them, but their number does not matter.
fn zstd_encoder<W: Write>(sink: W, threads: NonZeroUsize) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(sink, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.multithread(u32::try_from(threads.get()).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
    Ok(encoder)
}
