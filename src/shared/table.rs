//! Tables of contents as blobs (spec/shared-cache.md, "Tables").

use std::io::{Read as _, Write as _};

use super::PlaceError;
use crate::layer::Toc;
use crate::layer::compress::{Codec, Compressor, DecompressLimits, Decompressor};
use crate::oci::Descriptor;
use crate::oci::media::MediaType;

/// A table in its own format, packed with zstd.
const TYPE: &str = "application/vnd.lith.toc.v1+zstd";
/// The most bytes of such a blob.
pub const MOST: u64 = 64 << 20;
/// And of what it unpacks to.
const MOST_UNPACKED: u64 = 1 << 30;

/// A table as a blob; `None` if it would be larger than any that is read.
pub fn pack(toc: &Toc) -> std::io::Result<Option<(Descriptor, Vec<u8>)>> {
    let mut packer = Compressor::new(Codec::Zstd, Vec::new())?;
    packer.write_all(&toc.encode())?;
    let bytes = packer.finish()?;
    let is_readable = bytes.len() as u64 <= MOST;
    Ok(is_readable.then(|| (Descriptor::of(MediaType::from(TYPE), &bytes), bytes)))
}

/// The table of a blob.
pub fn unpack(bytes: &[u8]) -> Result<Toc, PlaceError> {
    let limits = DecompressLimits { max_size: MOST_UNPACKED, ..DecompressLimits::default() };
    let mut plain = Vec::new();
    Decompressor::new(bytes, limits)?.read_to_end(&mut plain)?;
    Ok(Toc::decode(&plain)?)
}
