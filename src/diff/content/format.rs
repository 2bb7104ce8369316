//! What a file is, by its first bytes and its name.

use std::io;

use super::source::Source;
use crate::layer::Format as Packing;

/// The formats that are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Elf,
    Ar,
    Zip,
    Gzip,
    /// Compressed in another way.
    Packed(Packing),
    Tar,
    Pyc,
    Png,
    Sqlite,
    /// A Java key store.
    Jks,
    /// What ldconfig remembers of libraries.
    AuxCache,
    Bytes,
}

/// Bytes that tell text from other things.
const HEAD: usize = 8 << 10;

impl Format {
    /// What the bytes begin like.
    pub fn of(name: &str, source: &Source) -> io::Result<Self> {
        let head = source.some(0, HEAD)?;
        let by_magic = match head.as_slice() {
            [0x7f, b'E', b'L', b'F', ..] => Some(Self::Elf),
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some(Self::Ar),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 1 | 2, ..] => Some(Self::Jks),
            [_, _, b'\r', b'\n', 0..=3, 0, 0, 0, ..] if name.ends_with(".pyc") => Some(Self::Pyc),
            head if head.starts_with(b"SQLite format 3\0") => Some(Self::Sqlite),
            head if head.starts_with(b"glibc-ld.so.auxcache-") => Some(Self::AuxCache),
            head if head.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            head => match Packing::of(head) {
                Packing::Plain => None,
                Packing::Gzip => Some(Self::Gzip),
                other @ (Packing::Zstd | Packing::Bzip2 | Packing::Xz) => Some(Self::Packed(other)),
            },
        };
        Ok(by_magic.unwrap_or_else(|| match is_text(&head) {
            true if is_json(name, &head) => Self::Json,
            true => Self::Text,
            false => Self::Bytes,
        }))
    }

    /// What two files are compared as; none if they have nothing in common.
    pub fn with(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Self::Json | Self::Text, Self::Json | Self::Text) => Some(Self::Text),
            (a, b) => {
                let (a, b) = (a.packing()?, b.packing()?);
                Some(Self::Packed(if a == Packing::Gzip { b } else { a }))
            }
        }
    }

    /// Whether its bytes are compressed.
    pub const fn is_packed(self) -> bool {
        matches!(self, Self::Zip | Self::Gzip | Self::Packed(_) | Self::Png)
    }

    fn packing(self) -> Option<Packing> {
        match self {
            Self::Gzip => Some(Packing::Gzip),
            Self::Packed(packing) => Some(packing),
            Self::Text
            | Self::Json
            | Self::Elf
            | Self::Ar
            | Self::Zip
            | Self::Tar
            | Self::Pyc
            | Self::Png
            | Self::Sqlite
            | Self::Jks
            | Self::AuxCache
            | Self::Bytes => None,
        }
    }

    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Elf => "elf",
            Self::Ar => "ar",
            Self::Zip => "zip",
            Self::Gzip | Self::Packed(Packing::Gzip) => "gzip",
            Self::Packed(Packing::Xz) => "xz",
            Self::Packed(Packing::Zstd) => "zstd",
            Self::Packed(Packing::Bzip2) => "bzip2",
            Self::Packed(Packing::Plain) | Self::Bytes => "bytes",
            Self::Tar => "tar",
            Self::Pyc => "pyc",
            Self::Png => "png",
            Self::Sqlite => "sqlite",
            Self::Jks => "jks",
            Self::AuxCache => "auxcache",
        }
    }
}

/// Whether bytes are lines for people: no zero bytes, few control bytes, mostly UTF-8. An empty file is.
pub fn is_text(bytes: &[u8]) -> bool {
    let mut odd = 0;
    for chunk in bytes.utf8_chunks() {
        odd += chunk.invalid().len();
        let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b' | '\x08');
        if chunk.valid().contains('\0') {
            return false;
        }
        odd += chunk.valid().chars().filter(|c| control(*c)).count();
    }
    // A character may be cut at the end of what was read.
    odd <= 3 || odd <= bytes.len() / 50
}

fn is_json(name: &str, head: &[u8]) -> bool {
    let begins = matches!(head.trim_ascii_start().first(), Some(b'{' | b'['));
    begins && (name.ends_with(".json") || !name.contains('.'))
}
