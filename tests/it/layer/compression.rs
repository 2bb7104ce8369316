//! Compression: one stream for any threads and writes, readable by everybody; damage and bombs are errors.

use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use lith::digest::BlobDigest;
use lith::layer::{Codec, Compressor, DecompressError, DecompressLimits, Decompressor, Format};

/// Half noise, half repetition: 5.5 MiB, so that pieces and jobs end in its middle.
fn sample() -> Vec<u8> {
    let mut state = 1_u64;
    (0..5_767_168_u32)
        .map(|n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if n / 4096 % 2 == 0 { state.to_be_bytes()[0] } else { n.to_le_bytes()[0] / 7 }
        })
        .collect()
}

fn compress(codec: Codec, bytes: &[u8], chunk: usize, threads: usize) -> Vec<u8> {
    let threads = NonZeroUsize::new(threads).unwrap();
    let mut compressor = Compressor::with_threads(codec, Vec::new(), threads).unwrap();
    for part in bytes.chunks(chunk.max(1)) {
        compressor.write_all(part).unwrap();
        if chunk == 4095 {
            compressor.flush().unwrap();
        }
    }
    compressor.finish().unwrap()
}

fn decompress(bytes: &[u8]) -> std::io::Result<(Format, Vec<u8>)> {
    let mut decompressor = Decompressor::new(bytes, DecompressLimits::default())?;
    let mut out = Vec::new();
    decompressor.read_to_end(&mut out)?;
    Ok((decompressor.format(), out))
}

#[test]
fn bytes_do_not_depend_on_threads_or_writes() {
    let sample = sample();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let reference = compress(codec, &sample, sample.len(), 1);
        for chunk in [4095, 65536, sample.len()] {
            for threads in [1, 2, 8] {
                assert!(compress(codec, &sample, chunk, threads) == reference, "{codec:?} {chunk} {threads}");
            }
        }
        let small = &sample[..1_100_000];
        assert!(
            compress(codec, small, 1, 2) == compress(codec, small, small.len(), 8),
            "{codec:?} byte by byte"
        );
    }
}

/// spec/compression.md: a change of these is a change of format and needs a new version.
#[test]
fn pinned_streams() {
    let sample = sample();
    let digest = |codec| BlobDigest::of(&compress(codec, &sample, 65536, 2)).hex();
    assert_eq!(digest(Codec::Gzip), GZIP);
    assert_eq!(digest(Codec::Zstd), ZSTD);
    assert_eq!(compress(Codec::Gzip, b"", 1, 1), *b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0");
}

const GZIP: &str = "2657a8e1d6977c2ba0e1004d224e71b4307bfd34bd518b2f12bb5e80f32fa4d6";
const ZSTD: &str = "59929107fad3534144a68a865fdb98d8f584da412e56dd08d7fbfcce631077c0";

#[test]
fn what_was_compressed_comes_back() {
    let sample = sample();
    for (codec, format) in
        [(Codec::None, Format::Plain), (Codec::Gzip, Format::Gzip), (Codec::Zstd, Format::Zstd)]
    {
        for len in [0, 1, 1 << 20, (1 << 20) + 1, 2 << 20, sample.len()] {
            let (found, out) = decompress(&compress(codec, &sample[..len], 65536, 2)).unwrap();
            let expected = if codec == Codec::None { Format::Plain } else { format };
            assert_eq!((found, out.len()), (expected, len));
            assert!(out == sample[..len], "{codec:?} {len}");
        }
    }
}

fn accepts(program: &str, args: &[&str], input: &[u8]) {
    let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIP: {program} is not installed");
            return;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "{program} refuses our stream");
}

#[test]
fn other_programs_accept_our_streams() {
    let tar = super::raw::tar(&[super::raw::file("f", sample())]);
    let gzip = compress(Codec::Gzip, &tar, 65536, 2);
    accepts("gzip", &["-t"], &gzip);
    accepts("zstd", &["-t"], &compress(Codec::Zstd, &tar, 65536, 2));
    let script = "import sys,tarfile; t=tarfile.open(fileobj=sys.stdin.buffer,mode='r|gz'); assert [m.size for m in t]==[5767168]";
    accepts("python3", &["-c", script], &gzip);
}

#[test]
fn l43_several_gzip_members() {
    let both = [compress(Codec::Gzip, b"one", 9, 1), compress(Codec::Gzip, b"two", 9, 1)].concat();
    assert_eq!(decompress(&both).unwrap().1, b"onetwo");
}

#[test]
fn l45_trailing_garbage_cut_trailer_bad_sum() {
    let text = b"some text that is long enough to be compressed, compressed, compressed".as_slice();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let good = compress(codec, text, 99, 1);
        for garbage in [&b"x"[..], b"garbage garbage garbage", &[0; 3], &[0; 512]] {
            assert!(decompress(&[&good[..], garbage].concat()).is_err(), "{codec:?} {garbage:?}");
        }
        for cut in 7..good.len() {
            assert!(decompress(&good[..cut]).is_err(), "{codec:?} cut to {cut} of {}", good.len());
        }
        let mut bad = good.clone();
        let sum = if codec == Codec::Gzip { good.len() - 8 } else { good.len() - 1 };
        bad[sum] ^= 1;
        assert!(decompress(&bad).is_err(), "{codec:?} bad sum");
    }
    let mut size = compress(Codec::Gzip, text, 99, 1);
    let last = size.len() - 1;
    size[last] ^= 1;
    assert!(decompress(&size).is_err());
}

#[test]
fn l46_skippable_and_several_zstd_frames() {
    let skip = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let one = compress(Codec::Zstd, b"one", 9, 1);
    let frames = [&skip[..], &one, &b"\x5f\x2a\x4d\x18\0\0\0\0"[..], &one, &skip[..]].concat();
    assert_eq!(decompress(&frames).unwrap(), (Format::Zstd, b"oneone".to_vec()));
}

#[test]
fn l47_zstd_that_wants_too_much() {
    // Magic, descriptor (no single segment, no checksum), window descriptor, then an empty last block.
    let windowed = |window: u8| [&b"\x28\xb5\x2f\xfd\x00"[..], &[window], &[1, 0, 0]].concat();
    assert!(decompress(&windowed(17 << 3)).is_ok(), "a window of 128 MiB");
    assert!(decompress(&windowed(21 << 3)).is_err(), "a window of 2 GiB");
    let single_segment = [&b"\x28\xb5\x2f\xfd\xe0"[..], &(1_u64 << 46).to_le_bytes(), &[1, 0, 0]].concat();
    assert!(decompress(&single_segment).is_err(), "64 TiB announced");
    let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00";
    assert!(decompress(dictionary).is_err(), "a dictionary nobody has");
}

#[test]
fn l48_bombs() {
    let bomb = compress(Codec::Zstd, &vec![0; 64 << 20], 1 << 20, 2);
    assert!(bomb.len() < 16_384, "{}", bomb.len());
    let fails = |limits| {
        let mut out = std::io::sink();
        let error = std::io::copy(&mut Decompressor::new(&bomb[..], limits).unwrap(), &mut out).unwrap_err();
        error.into_inner().unwrap().downcast::<DecompressError>().unwrap()
    };
    let free_size = 1 << 20;
    let error = fails(DecompressLimits { free_size, ..DecompressLimits::default() });
    assert!(matches!(*error, DecompressError::Ratio { .. }), "{error}");
    let error = fails(DecompressLimits { max_size: 1 << 20, ..DecompressLimits::default() });
    assert_eq!(*error, DecompressError::TooLarge(1 << 20));
    assert_eq!(decompress(&bomb).unwrap().1.len(), 64 << 20, "small enough to be harmless");
}

#[test]
fn formats_by_magic() {
    let bzip2 = {
        let mut out = Vec::new();
        bzip2::read::BzEncoder::new(&b"bz"[..], bzip2::Compression::best()).read_to_end(&mut out).unwrap();
        out
    };
    let xz = {
        let mut out = Vec::new();
        liblzma::read::XzEncoder::new(&b"xz"[..], 6).read_to_end(&mut out).unwrap();
        out
    };
    assert_eq!(decompress(&bzip2).unwrap(), (Format::Bzip2, b"bz".to_vec()));
    assert_eq!(decompress(&xz).unwrap(), (Format::Xz, b"xz".to_vec()));
    assert!(decompress(&[&xz[..], b"garbage!"].concat()).is_err());
    assert!(decompress(&[&bzip2[..], b"garbage!"].concat()).is_err());
    assert!(decompress(&bzip2[..bzip2.len() - 3]).is_err());
    assert!(decompress(&xz[..xz.len() - 3]).is_err());
    assert_eq!(decompress(b"").unwrap(), (Format::Plain, vec![]));
    assert_eq!(decompress(b"\x1f").unwrap(), (Format::Plain, b"\x1f".to_vec()));
}
