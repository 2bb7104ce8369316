//! Small files of each format, byte by byte.

use std::io::Write as _;

use flate2::{Compression, GzBuilder, write::DeflateEncoder, write::ZlibEncoder};

pub fn gzip_level(bytes: &[u8], mtime: u32, name: Option<&str>, level: u32) -> Vec<u8> {
    let mut builder = GzBuilder::new().mtime(mtime).operating_system(255);
    if let Some(name) = name {
        builder = builder.filename(name);
    }
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gzip(bytes: &[u8], mtime: u32, name: Option<&str>) -> Vec<u8> {
    gzip_level(bytes, mtime, name, 6)
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An entry of a tar: plain unless changed.
#[derive(Clone)]
pub struct Entry {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub owner: (u32, u32),
    pub user: &'static str,
    pub mtime: u64,
    pub magic: &'static [u8; 8],
    /// PAX records before it.
    pub records: &'static [(&'static str, &'static str)],
}

pub fn entry(name: &'static str, bytes: impl Into<Vec<u8>>) -> Entry {
    Entry {
        name,
        bytes: bytes.into(),
        kind: b'0',
        mode: 0o644,
        owner: (0, 0),
        user: "root",
        mtime: 1_700_000_000,
        magic: b"ustar\x0000",
        records: &[],
    }
}

fn header(entry: &Entry, name: &str, kind: u8, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{:07o}\0", entry.mode).as_bytes());
    put(108, format!("{:07o}\0", entry.owner.0).as_bytes());
    put(116, format!("{:07o}\0", entry.owner.1).as_bytes());
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", entry.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, entry.magic);
    put(265, entry.user.as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut put = |header: [u8; 512], bytes: &[u8]| {
        tar.extend_from_slice(&header);
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    for entry in entries {
        if !entry.records.is_empty() {
            let records: String = entry.records.iter().map(|(key, value)| record(key, value)).collect();
            put(header(entry, "PaxHeaders.0/x", b'x', records.len()), records.as_bytes());
        }
        put(header(entry, entry.name, entry.kind, entry.bytes.len()), &entry.bytes);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn record(key: &str, value: &str) -> String {
    let body = format!(" {key}={value}\n");
    let mut len = body.len() + 1;
    while format!("{len}{body}").len() != len {
        len += 1;
    }
    format!("{len}{body}")
}

/// Members of an `ar` archive: name as in the header, time, owner, bytes.
pub fn ar(members: &[(&str, u64, u32, &[u8])]) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    for (name, mtime, owner, bytes) in members {
        ar.extend_from_slice(
            format!("{name:16}{mtime:<12}{owner:<6}{owner:<6}{:<8}{:<10}`\n", "100644", bytes.len())
                .as_bytes(),
        );
        ar.extend_from_slice(bytes);
        if !ar.len().is_multiple_of(2) {
            ar.push(b'\n');
        }
    }
    ar
}

/// A member of a zip.
#[derive(Clone)]
pub struct Zipped {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Level of deflate; none to store.
    pub level: Option<u32>,
    /// Date and time as DOS has them.
    pub time: (u16, u16),
    /// Seconds of the extended timestamp.
    pub mtime: Option<u32>,
    pub mode: u32,
    pub flags: u16,
}

/// The date in the first form a zip knows: 1980-01-01 is (33, 0).
pub fn zipped(name: &'static str, bytes: impl Into<Vec<u8>>) -> Zipped {
    Zipped {
        name,
        bytes: bytes.into(),
        level: Some(6),
        time: (33, 0),
        mtime: None,
        mode: 0o100_644,
        flags: 0,
    }
}

pub fn zip(members: &[Zipped]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let packed = match member.level {
            None => member.bytes.clone(),
            Some(level) => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(&member.bytes).unwrap();
                encoder.finish().unwrap()
            }
        };
        let offset = u32::try_from(zip.len()).unwrap();
        let extra: Vec<u8> = match member.mtime {
            None => Vec::new(),
            Some(mtime) => [&[0x55, 0x54, 5, 0, 1][..], &mtime.to_le_bytes()].concat(),
        };
        let mut common = Vec::new();
        common.extend_from_slice(&20u16.to_le_bytes());
        common.extend_from_slice(&member.flags.to_le_bytes());
        common.extend_from_slice(&(if member.level.is_some() { 8u16 } else { 0 }).to_le_bytes());
        common.extend_from_slice(&member.time.1.to_le_bytes());
        common.extend_from_slice(&member.time.0.to_le_bytes());
        common.extend_from_slice(&crc32fast::hash(&member.bytes).to_le_bytes());
        for size in [packed.len(), member.bytes.len()] {
            common.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        }
        common.extend_from_slice(&u16::try_from(member.name.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&u16::try_from(extra.len()).unwrap().to_le_bytes());
        zip.extend_from_slice(b"PK\x03\x04");
        zip.extend_from_slice(&common);
        zip.extend_from_slice(member.name.as_bytes());
        zip.extend_from_slice(&extra);
        zip.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02\x1e\x03");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(member.mode << 16).to_le_bytes());
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(member.name.as_bytes());
        directory.extend_from_slice(&extra);
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let (size, offset) = (u32::try_from(directory.len()).unwrap(), u32::try_from(zip.len()).unwrap());
    zip.extend_from_slice(&directory);
    zip.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    zip.extend_from_slice(&count);
    zip.extend_from_slice(&count);
    zip.extend_from_slice(&size.to_le_bytes());
    zip.extend_from_slice(&offset.to_le_bytes());
    zip.extend_from_slice(&[0; 2]);
    zip
}

/// Compiled Python: flags, the two words behind them, code.
pub fn pyc(flags: u32, words: (u32, u32), code: &[u8]) -> Vec<u8> {
    let numbers = [flags, words.0, words.1].map(u32::to_le_bytes).concat();
    [&[0xa7, 0x0d, b'\r', b'\n'], numbers.as_slice(), code].concat()
}

/// A PNG of given chunks.
pub fn png(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in chunks {
        png.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        let start = png.len();
        png.extend_from_slice(*name);
        png.extend_from_slice(data);
        let crc = crc32fast::hash(&png[start..]);
        png.extend_from_slice(&crc.to_be_bytes());
    }
    png
}

/// Two by two grey pixels.
pub fn pixels(values: [u8; 4], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(&[0, values[0], values[1], 0, values[2], values[3]]).unwrap();
    encoder.finish().unwrap()
}

pub fn ihdr() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0]
}

/// A key store of certificates: alias, thousandths of seconds, bytes.
pub fn jks(entries: &[(&str, u64, &[u8])], digest: u8) -> Vec<u8> {
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let mut jks = vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
    jks.extend_from_slice(&u32::try_from(entries.len()).unwrap().to_be_bytes());
    for (alias, made, bytes) in entries {
        jks.extend_from_slice(&2u32.to_be_bytes());
        jks.extend(text(alias));
        jks.extend_from_slice(&made.to_be_bytes());
        jks.extend(text("X.509"));
        jks.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        jks.extend_from_slice(bytes);
    }
    jks.extend((0..20u8).map(|i| i.wrapping_mul(37) ^ digest));
    jks
}

/// ldconfig's memory: soname, inode, change time, device.
pub fn auxcache(libraries: &[(&str, u64, u64, u64)]) -> Vec<u8> {
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    for (name, inode, ctime, device) in libraries {
        for word in [*inode, *ctime, 4096, *device] {
            entries.extend_from_slice(&word.to_ne_bytes());
        }
        entries.extend_from_slice(&3u32.to_ne_bytes());
        entries.extend_from_slice(&u32::try_from(names.len()).unwrap().to_ne_bytes());
        entries.extend_from_slice(&[0; 8]);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let count = u32::try_from(libraries.len()).unwrap().to_ne_bytes();
    let len = u32::try_from(names.len()).unwrap().to_ne_bytes();
    [&b"glibc-ld.so.auxcache-2.0"[..], &count, &len, &entries, &names].concat()
}

/// Bytes of no kind, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}
