//! Compression with the same bytes on every machine, and decompression that cannot be blown up (spec/compression.md).

mod decompress;
mod gzip;

use std::io::{self, Write};

pub use decompress::{Decompressor, MAX_RATIO, RATIO_FROM};

/// The version of the rules in `spec/compression.md`: levels, block sizes, compressor versions.
pub const COMPRESSION_VERSION: u32 = 1;
/// zstd's level.
const ZSTD_LEVEL: i32 = 3;
/// zlib's level.
const GZIP_LEVEL: u32 = 6;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    None,
    Gzip,
    Zstd,
}

impl Codec {
    /// What the store calls blobs made by this codec at its level and version.
    pub fn memo_name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Gzip => format!("gzip-{GZIP_LEVEL}-v{COMPRESSION_VERSION}"),
            Self::Zstd => format!("zstd-{ZSTD_LEVEL}-v{COMPRESSION_VERSION}"),
        }
    }
}

/// Packs what is written to it. The output depends on the input alone, not on how it was cut into writes or on the
/// number of threads. Must be finished; dropping it leaves a torn stream.
pub struct Compressor<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Gzip(gzip::Encoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Packs with a thread for every processor.
    pub fn new(codec: Codec, sink: W) -> io::Result<Self> {
        let threads =
            std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(64));
        Self::with_threads(codec, sink, threads)
    }

    /// Packs with a number of threads, at least one.
    pub fn with_threads(codec: Codec, sink: W, threads: u32) -> io::Result<Self> {
        Ok(Self(match codec {
            Codec::None => Inner::None(sink),
            Codec::Gzip => Inner::Gzip(gzip::Encoder::new(sink, GZIP_LEVEL, threads)?),
            Codec::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?;
                // Without workers the bytes differ from those with workers; any number of workers gives the same.
                encoder.multithread(threads.max(1))?;
                encoder.include_checksum(true)?;
                Inner::Zstd(encoder)
            }
        }))
    }

    /// Ends the stream and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(sink) => Ok(sink),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(sink) => sink.write(bytes),
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// 5 MiB that compress a little: text-like runs from a fixed generator.
    fn sample() -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(5 << 20);
        while bytes.len() < 5 << 20 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let run = usize::try_from(state >> 59).unwrap() + 1;
            bytes.extend(std::iter::repeat_n(state.to_le_bytes()[5], run));
        }
        bytes
    }

    fn pack(codec: Codec, threads: u32, chunk: usize, bytes: &[u8]) -> Vec<u8> {
        let mut encoder = Compressor::with_threads(codec, Vec::new(), threads).unwrap();
        for part in bytes.chunks(chunk) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn bytes_depend_on_the_input_alone() {
        let bytes = sample();
        for codec in [Codec::Gzip, Codec::Zstd] {
            let expected = pack(codec, 1, bytes.len(), &bytes);
            for (threads, chunk) in [(1, 4095), (2, 65536), (8, 1 << 20), (3, 777_777), (8, bytes.len())] {
                assert!(pack(codec, threads, chunk, &bytes) == expected, "{codec:?} {threads} {chunk}");
            }
        }
        let small = &bytes[..3000];
        assert_eq!(pack(Codec::Gzip, 2, 1, small), pack(Codec::Gzip, 1, 3000, small));
        assert_eq!(pack(Codec::Zstd, 2, 1, small), pack(Codec::Zstd, 1, 3000, small));
    }

    #[test]
    fn pinned_vectors() {
        // spec/compression.md: another value means another COMPRESSION_VERSION.
        let of = |codec| crate::digest::BlobDigest::of(&pack(codec, 2, 1 << 16, &sample())).hex();
        assert_eq!(of(Codec::Gzip), PINNED_GZIP);
        assert_eq!(of(Codec::Zstd), PINNED_ZSTD);
        let empty = pack(Codec::Gzip, 1, 1, b"");
        assert_eq!(empty[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    }

    const PINNED_GZIP: &str = "3bbb1e602e02c9f5ae29321103f6322cb3b9992285d2c9d0a6112779cad87767";
    const PINNED_ZSTD: &str = "f5863331a64e6c76bd795a8fdb4b3689ce4cd74100bdd40f22cfc77c27fe4e86";

    #[test]
    fn what_was_packed_comes_back() {
        for bytes in [sample(), Vec::new(), b"x".to_vec(), vec![0; 1 << 20], vec![0; (1 << 20) + 1]] {
            for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
                let packed = pack(codec, 2, 65_521, &bytes);
                let mut back = Vec::new();
                Decompressor::new(&packed[..], 1 << 30).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{codec:?} {}", bytes.len());
            }
        }
    }
}
