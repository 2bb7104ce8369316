//! Decompression of what strangers wrote: the format told by its magic, the output bounded.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

/// The largest window zstd may ask for: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory xz may ask for.
const XZ_MEMORY: u64 = 256 << 20;
/// Input is read in pieces of this size.
const BUFFER: usize = 128 * 1024;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// None of the others.
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Format {
    /// The format of a stream by its first six bytes; fewer where it has fewer.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, which may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }
}

/// What a bomb meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecompressLimits {
    /// The most bytes that may come out.
    pub max_size: u64,
    /// Up to here any ratio is allowed.
    pub free_size: u64,
    /// Beyond, the most bytes out for each byte in.
    pub max_ratio: u64,
}

impl Default for DecompressLimits {
    fn default() -> Self {
        Self { max_size: 1 << 40, free_size: 1 << 30, max_ratio: 1000 }
    }
}

/// Why decompression stopped; the inner error of an [`io::Error`] of kind `InvalidData`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("the data decompresses to more than {0} bytes, the most that is allowed")]
    TooLarge(u64),
    #[error("{input} bytes decompress to {output} and more: beyond 1:{ratio} this is taken for a bomb")]
    Ratio { input: u64, output: u64, ratio: u64 },
}

/// Reads the uncompressed bytes of a stream in any format. Everything must be in order to its very end: checksums, no
/// bytes behind the last member or frame.
pub struct Decompressor<R: Read> {
    stream: Stream<R>,
    format: Format,
    limits: DecompressLimits,
    taken: Arc<AtomicU64>,
    given: u64,
}

type Input<R> = BufReader<Counted<io::Chain<Cursor<Vec<u8>>, R>>>;

enum Stream<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<zstd::Decoder<'static, Input<R>>>),
    Bzip2(Box<MultiBzDecoder<Input<R>>>),
    Xz(Box<XzDecoder<Input<R>>>),
}

impl<R: Read> Decompressor<R> {
    /// Looks at the first bytes and prepares. An empty stream is plain.
    pub fn new(mut input: R, limits: DecompressLimits) -> io::Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(6).read_to_end(&mut head)?;
        let format = Format::of(&head);
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: Cursor::new(head).chain(input), taken: Arc::clone(&taken) };
        let input = BufReader::with_capacity(BUFFER, counted);
        let stream = match format {
            Format::Plain => Stream::Plain(input),
            Format::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(input))),
            Format::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Stream::Zstd(Box::new(decoder))
            }
            Format::Bzip2 => Stream::Bzip2(Box::new(MultiBzDecoder::new(input))),
            Format::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)?;
                Stream::Xz(Box::new(XzDecoder::new_stream(input, decoder)))
            }
        };
        Ok(Self { stream, format, limits, taken, given: 0 })
    }

    /// What the magic said.
    pub fn format(&self) -> Format {
        self.format
    }

    fn check(&self) -> Result<(), DecompressError> {
        let DecompressLimits { max_size, free_size, max_ratio } = self.limits;
        if self.given > max_size {
            return Err(DecompressError::TooLarge(max_size));
        }
        let input = self.taken.load(Ordering::Relaxed);
        let is_bomb = self.given > free_size && self.given / max_ratio > input;
        if is_bomb && self.format != Format::Plain {
            return Err(DecompressError::Ratio { input, output: self.given, ratio: max_ratio });
        }
        Ok(())
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = match &mut self.stream {
            Stream::Plain(input) => input.read(into),
            Stream::Gzip(decoder) => decoder.read(into),
            Stream::Zstd(decoder) => decoder.read(into),
            Stream::Bzip2(decoder) => decoder.read(into),
            Stream::Xz(decoder) => decoder.read(into),
        }?;
        self.given += got as u64;
        self.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(got)
    }
}

/// Counts what is read through it, for the ratio.
struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(into)?;
        self.taken.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
