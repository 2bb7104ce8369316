//! Tars built by hand, byte by byte, so that they can be wrong in any way.

use lith::layer::{Fault, Indexed, Limits, ReadError, index};

/// One entry under construction: a ustar header of mode 0644 and the bytes after it.
#[derive(Clone)]
pub struct Entry {
    pub block: [u8; 512],
    pub body: Vec<u8>,
}

pub fn entry(name: impl AsRef<[u8]>, kind: u8) -> Entry {
    let mut block = [0; 512];
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[156] = kind;
    let entry = Entry { block, body: Vec::new() };
    entry
        .field(0, 100, name)
        .field(100, 8, "0000644")
        .field(108, 8, "0000000")
        .field(116, 8, "0000000")
        .field(124, 12, "00000000000")
        .field(136, 12, "00000000000")
}

pub fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Entry {
    entry(name, b'0').with_body(body)
}

pub fn dir(name: impl AsRef<[u8]>) -> Entry {
    entry(name, b'5')
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    entry(name, b'2').field(157, 100, target)
}

pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    entry(name, b'1').field(157, 100, target)
}

/// A PAX header with records of the right lengths.
pub fn pax(records: &[(&[u8], &[u8])]) -> Entry {
    let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    pax_raw(body)
}

pub fn pax_raw(body: impl AsRef<[u8]>) -> Entry {
    entry("PaxHeaders.0/x", b'x').with_body(body)
}

/// A GNU long name (`L`) or link target (`K`).
pub fn long(kind: u8, text: impl AsRef<[u8]>) -> Entry {
    entry("././@LongLink", kind).gnu().with_body([text.as_ref(), b"\0"].concat())
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..).find(|len| rest + len.to_string().len() == *len).unwrap();
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

impl Entry {
    pub fn field(mut self, at: usize, len: usize, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        assert!(text.len() <= len, "the field is too small");
        self.block[at..at + len].fill(0);
        self.block[at..at + text.len()].copy_from_slice(text);
        self
    }

    /// A body and the size field to go with it.
    pub fn with_body(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let mut entry = self.field(124, 12, format!("{:011o}", body.len()));
        entry.body = body;
        entry
    }

    /// A body that the size field knows nothing of.
    pub fn smuggling(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn gnu(self) -> Self {
        self.field(257, 8, "ustar  ")
    }

    pub fn device(self, major: u32, minor: u32) -> Self {
        self.field(329, 8, format!("{major:07o}")).field(337, 8, format!("{minor:07o}"))
    }

    /// Header with its checksum, body, padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut block = self.block;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(&self.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// Entries without the blocks that end a tar.
pub fn open_tar(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(Entry::bytes).collect()
}

pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = open_tar(entries);
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

pub fn read(bytes: &[u8]) -> Result<Indexed, ReadError> {
    index(bytes, &Limits::default())
}

/// The layer is accepted; its entries as `path` or `path=kind`.
#[track_caller]
pub fn accepted(entries: &[Entry]) -> Indexed {
    read(&tar(entries)).unwrap_or_else(|error| panic!("{error}"))
}

/// The layer is refused, and the error names the entry.
#[track_caller]
pub fn refused(entries: &[Entry], name: &str) -> Fault {
    refused_bytes(&tar(entries), name)
}

#[track_caller]
pub fn refused_bytes(bytes: &[u8], name: &str) -> Fault {
    let error = read(bytes).expect_err("the layer is bad");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    match &error.entry {
        Some(entry) => assert!(entry.contains(name), "{error} does not name {name}"),
        None => assert_eq!(name, "", "{error} names no entry"),
    }
    error.what
}
