//! Unpacking of what a stranger packed: gzip, zstd, bzip2, xz or nothing, told by magic bytes.
//!
//! Everything is decoded to the last byte: several gzip members or zstd frames are one stream, and what stands behind
//! them is an error, as are a cut trailer and a wrong checksum. Output is bounded in size and in proportion to input.

use std::io::{self, BufRead, BufReader, Read};

/// No zstd window larger than this (128 MiB) is allocated: zstd's own limit for streams.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Memory an xz stream may ask for.
const XZ_MEMORY: u64 = 128 << 20;
/// Output that one byte of input may make, once there is more output than [`RATIO_FROM`].
pub const MAX_RATIO: u64 = 1000;
/// Up to so much output the ratio is not looked at: an empty disk image packs well.
pub const RATIO_FROM: u64 = 1 << 30;
const BUFFER: usize = 128 * 1024;

/// Unpacks what it reads.
pub struct Decompressor<R: Read> {
    inner: Inner<R>,
    out: u64,
    max: u64,
}

type Input<R> = BufReader<Counted<R>>;

enum Inner<R: Read> {
    None(Input<R>),
    Gzip(flate2::bufread::MultiGzDecoder<Input<R>>),
    Zstd(zstd::stream::read::Decoder<'static, Input<R>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Input<R>>),
    Xz(liblzma::bufread::XzDecoder<Input<R>>),
}

/// Counts what the decoder took in.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.count += got as u64;
        Ok(got)
    }
}

impl<R: Read> Decompressor<R> {
    /// Looks at the first bytes. `max`: the most bytes that may come out.
    ///
    /// # Errors
    /// Of the input. Later reads fail with [`io::ErrorKind::InvalidData`] on bad data.
    pub fn new(input: R, max: u64) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, Counted { inner: input, count: 0 });
        let magic = peek(&mut input)?;
        let inner = match magic.as_slice() {
            [0x1f, 0x8b, ..] => Inner::Gzip(flate2::bufread::MultiGzDecoder::new(input)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Inner::Zstd(decoder)
            }
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Inner::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)?;
                Inner::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            _ => Inner::None(input),
        };
        Ok(Self { inner, out: 0, max })
    }

    /// Whether the input is packed at all.
    pub fn is_packed(&self) -> bool {
        !matches!(self.inner, Inner::None(_))
    }

    fn input(&self) -> &Input<R> {
        match &self.inner {
            Inner::None(input) => input,
            Inner::Gzip(decoder) => decoder.get_ref(),
            Inner::Zstd(decoder) => decoder.get_ref(),
            Inner::Bzip2(decoder) => decoder.get_ref(),
            Inner::Xz(decoder) => decoder.get_ref(),
        }
    }

    fn check_bounds(&self) -> io::Result<()> {
        let bad = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        if self.out > self.max {
            return bad(format!("unpacks to more than the {} bytes that are allowed", self.max));
        }
        let input = self.input().get_ref().count;
        if self.is_packed() && self.out > RATIO_FROM && self.out / MAX_RATIO > input {
            return bad(format!("unpacks {input} bytes to more than {MAX_RATIO} times as many"));
        }
        Ok(())
    }
}

/// The first six bytes, or as many as there are.
fn peek(input: &mut BufReader<impl Read>) -> io::Result<Vec<u8>> {
    let bytes = input.fill_buf()?;
    Ok(bytes[..bytes.len().min(6)].to_vec())
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = match &mut self.inner {
            Inner::None(input) => input.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
            Inner::Bzip2(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
        };
        let got = got.map_err(invalid)?;
        self.out += got as u64;
        self.check_bounds()?;
        Ok(got)
    }
}

/// Decoders call a torn stream by many names; for us it is bad data, unless the input itself failed.
fn invalid(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            io::Error::new(io::ErrorKind::InvalidData, format!("damaged or cut compressed data: {error}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decompressor::new(bytes, 1 << 20)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn is_bad(bytes: &[u8]) -> bool {
        unpack(bytes).is_err_and(|e| e.kind() == io::ErrorKind::InvalidData)
    }

    #[test]
    fn l43_several_members_and_frames_are_one_stream() {
        assert_eq!(unpack(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert_eq!(unpack(&[frame(b"one "), frame(b"two")].concat()).unwrap(), b"one two");
    }

    #[test]
    fn l46_a_skippable_frame_may_come_first() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frame = zstd::encode_all(&b"x"[..], 1).unwrap();
        assert_eq!(unpack(&[&skippable[..], &frame].concat()).unwrap(), b"x");
    }

    #[test]
    fn l45_cut_trailers_bad_sums_and_garbage_are_refused() {
        for whole in
            [gzip(b"hello hello"), zstd_with_sum(b"hello hello"), xz(b"hello hello"), bz(b"hello hello")]
        {
            assert_eq!(unpack(&whole).unwrap(), b"hello hello");
            for cut in 1..whole.len().min(9) {
                assert!(is_bad(&whole[..whole.len() - cut]), "{:x?} cut by {cut}", &whole[..4]);
            }
            let mut garbage = whole.clone();
            garbage.extend_from_slice(b"garbage behind the end");
            assert!(is_bad(&garbage), "{:x?} with garbage", &whole[..4]);
        }
        let mut bad = gzip(b"hello hello");
        let sum = bad.len() - 8;
        bad[sum] ^= 1;
        assert!(is_bad(&bad));
        let mut bad = zstd_with_sum(b"hello hello");
        *bad.last_mut().unwrap() ^= 1;
        assert!(is_bad(&bad));
    }

    fn zstd_with_sum(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        liblzma::encode_all(bytes, 0).unwrap()
    }

    fn bz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn l47_a_window_of_two_gibibytes_is_refused() {
        // A frame header without content size: descriptor 0, window exponent 21 (2 GiB), then one empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert!(is_bad(&frame), "{:?}", unpack(&frame));
    }

    #[test]
    fn l48_output_is_bounded() {
        let bomb = zstd::encode_all(io::repeat(0).take(16 << 20), 1).unwrap();
        assert!(is_bad(&bomb), "more than the caller allows");
        let mut ratio = Decompressor::new(io::repeat(0), u64::MAX).unwrap();
        ratio.out = u64::MAX - 1;
        assert!(ratio.check_bounds().is_err() || !ratio.is_packed());
        let mut packed = Decompressor::new(&bomb[..], u64::MAX).unwrap();
        packed.out = RATIO_FROM + 1;
        assert!(packed.check_bounds().is_ok() == (bomb.len() as u64 > RATIO_FROM / MAX_RATIO));
    }

    #[test]
    fn plain_bytes_pass_through() {
        assert_eq!(unpack(b"plain").unwrap(), b"plain");
        assert_eq!(unpack(b"").unwrap(), b"");
    }
}
