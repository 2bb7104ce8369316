//! Tar headers as Go's `archive/tar` writes them when asked for PAX: ustar wherever the values fit, else one PAX
//! extended header with its records in the order of their keys.
//!
//! Owns: field layout, name splitting, PAX records. Never reads one; that is `read`'s part.

use super::entry::{Meta, Mtime, Node};
use crate::path::ImagePath;

/// What the names of whiteouts begin with (image-spec, "Whiteouts").
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The PAX key of an xattr without the xattr's name.
pub const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// The most bytes of PAX records for one entry; Go's writer and reader have the same limit.
pub const MAX_EXTENDED: usize = 1 << 20;

const NAME: usize = 100;
const PREFIX: usize = 155;

/// Why values do not fit a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("device number {0} is beyond 2097151, the largest a tar can hold")]
    Device(u32),
    #[error("the name of xattr {0} holds '=' or a zero byte")]
    XattrName(String),
    #[error("its xattrs and names take {0} bytes, and an extended header at most {MAX_EXTENDED}")]
    Extended(usize),
    #[error("mode {0:o} is beyond 7777")]
    Mode(u16),
}

/// Key and value of a PAX record.
type Record = (Vec<u8>, Vec<u8>);

/// One entry, ready to be encoded.
pub struct Header<'a> {
    pub path: &'a ImagePath,
    pub meta: &'a Meta,
    pub node: &'a Node,
}

impl Header<'_> {
    /// Appends the header blocks; nothing on error.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let name = self.name();
        let (link, size, device) = self.fields();
        let meta = self.meta;
        for number in [device.0, device.1] {
            if !fits_octal(8, i64::from(number)) {
                return Err(HeaderError::Device(number));
            }
        }
        if meta.mode > 0o7777 {
            return Err(HeaderError::Mode(meta.mode));
        }
        let split = split(&name);
        let records = self.records(&name, link, size)?;
        let only_path = records.len() == 1 && records[0].0 == b"path" && split.is_some();
        let ustar = records.is_empty() || only_path;
        if !ustar {
            extended(out, &name, &records)?;
        }
        let mut block = Block([0; 512]);
        let (prefix, short) = split.filter(|_| ustar).unwrap_or((&[], &name));
        block.string(0, NAME, short);
        block.octal(100, 8, i64::from(meta.mode));
        block.octal(108, 8, i64::from(meta.uid));
        block.octal(116, 8, i64::from(meta.gid));
        block.octal(124, 12, i64::try_from(size).unwrap_or(i64::MAX));
        block.octal(136, 12, meta.mtime.secs);
        block.0[156] = self.flag();
        block.string(157, NAME, link);
        block.octal(329, 8, i64::from(device.0));
        block.octal(337, 8, i64::from(device.1));
        block.string(345, PREFIX, prefix);
        block.seal();
        out.extend_from_slice(&block.0);
        Ok(())
    }

    /// The name as it stands in the tar: a directory's ends with a slash, a whiteout's has the prefix.
    fn name(&self) -> Vec<u8> {
        match self.node {
            Node::Dir => [self.path.as_bytes(), b"/"].concat(),
            Node::Whiteout => {
                let whole = self.path.as_bytes();
                let (dir, name) = whole.split_at(whole.len() - self.path.name().len());
                [dir, WHITEOUT_PREFIX, name].concat()
            }
            Node::Opaque => [self.path.as_bytes(), b"/.wh..wh..opq"].concat(),
            Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo => self.path.as_bytes().to_vec(),
        }
    }

    /// Link target, size, device numbers.
    fn fields(&self) -> (&[u8], u64, (u32, u32)) {
        match self.node {
            Node::File { size, .. } => (&[], *size, (0, 0)),
            Node::Hardlink(target) => (target.as_bytes(), 0, (0, 0)),
            Node::Symlink(target) => (target, 0, (0, 0)),
            Node::Char { major, minor } | Node::Block { major, minor } => (&[], 0, (*major, *minor)),
            Node::Dir | Node::Fifo | Node::Whiteout | Node::Opaque => (&[], 0, (0, 0)),
        }
    }

    fn flag(&self) -> u8 {
        match self.node {
            Node::File { .. } | Node::Whiteout | Node::Opaque => b'0',
            Node::Hardlink(_) => b'1',
            Node::Symlink(_) => b'2',
            Node::Char { .. } => b'3',
            Node::Block { .. } => b'4',
            Node::Dir => b'5',
            Node::Fifo => b'6',
        }
    }

    /// The PAX records this entry would need, sorted by key as Go sorts them.
    fn records(&self, name: &[u8], link: &[u8], size: u64) -> Result<Vec<Record>, HeaderError> {
        let meta = self.meta;
        let mut records = Vec::new();
        let mut add = |key: &[u8], value: Vec<u8>| records.push((key.to_vec(), value));
        for (xattr, value) in &meta.xattrs {
            if xattr.iter().any(|b| matches!(b, b'=' | 0)) {
                return Err(HeaderError::XattrName(crate::diag::escape(xattr)));
            }
            add(&[XATTR_PREFIX, xattr].concat(), value.clone());
        }
        for (key, id) in [(b"gid", meta.gid), (b"uid", meta.uid)] {
            if !fits_octal(8, i64::from(id)) {
                add(key, id.to_string().into_bytes());
            }
        }
        for (key, text) in [(&b"linkpath"[..], link), (b"path", name)] {
            if text.len() > NAME || !text.is_ascii() {
                add(key, text.to_vec());
            }
        }
        if meta.mtime.nanos != 0 || !fits_octal(12, meta.mtime.secs) {
            add(b"mtime", pax_time(meta.mtime).into_bytes());
        }
        if !i64::try_from(size).is_ok_and(|size| fits_octal(12, size)) {
            add(b"size", size.to_string().into_bytes());
        }
        records.sort();
        Ok(records)
    }
}

/// Appends the extended header `dir/PaxHeaders.0/name` and its records.
fn extended(out: &mut Vec<u8>, name: &[u8], records: &[Record]) -> Result<(), HeaderError> {
    let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    if body.len() > MAX_EXTENDED {
        return Err(HeaderError::Extended(body.len()));
    }
    let mut block = Block([0; 512]);
    block.string(0, NAME, &extended_name(name));
    for (at, len) in [(100, 8), (108, 8), (116, 8), (136, 12)] {
        block.octal(at, len, 0);
    }
    block.octal(124, 12, i64::try_from(body.len()).expect("at most a mebibyte"));
    block.0[156] = b'x';
    block.seal();
    out.extend_from_slice(&block.0);
    out.extend_from_slice(&body);
    let padding = body.len().next_multiple_of(512) - body.len();
    out.resize(out.len() + padding, 0);
    Ok(())
}

/// Go: `path.Join(dir, "PaxHeaders.0", file)`, non-ASCII bytes dropped, cut to the field, no slash at the end.
fn extended_name(name: &[u8]) -> Vec<u8> {
    let cut = name.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let joined = [&name[..cut], b"PaxHeaders.0/", &name[cut..]].concat();
    let mut short: Vec<u8> = joined.into_iter().filter(u8::is_ascii).collect();
    while short.last() == Some(&b'/') {
        short.pop();
    }
    short.truncate(NAME);
    while short.last() == Some(&b'/') {
        short.pop();
    }
    short
}

/// `"%d %s=%s\n"` with its own length in front.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + decimal(rest);
    len = rest + decimal(len);
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn decimal(number: usize) -> usize {
    number.to_string().len()
}

/// Seconds with as many decimals as needed, negative times as POSIX writes them.
fn pax_time(mtime: Mtime) -> String {
    let (secs, nanos) = (mtime.secs, mtime.nanos);
    if nanos == 0 {
        return secs.to_string();
    }
    let text = if secs < 0 {
        format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos)
    } else {
        format!("{secs}.{nanos:09}")
    };
    text.trim_end_matches('0').to_owned()
}

/// Whether a number fits an octal field of `len` bytes with its final zero byte.
fn fits_octal(len: u32, number: i64) -> bool {
    number >= 0 && number < 1 << ((len - 1) * 3)
}

/// Splits a name of more than 100 bytes into prefix and rest as Go does; `None` where ustar cannot hold it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !name.is_ascii() {
        return None;
    }
    let length = match name.len() {
        len if len > PREFIX + 1 => PREFIX + 1,
        len if name.ends_with(b"/") => len - 1,
        len => len,
    };
    let at = name[..length].iter().rposition(|b| *b == b'/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (at > 0 && !rest.is_empty() && rest.len() <= NAME && prefix.len() <= PREFIX).then_some((prefix, rest))
}

struct Block([u8; 512]);

impl Block {
    /// ASCII bytes only, cut to the field; a cut must not end in a slash, which readers take for a directory.
    fn string(&mut self, at: usize, len: usize, text: &[u8]) {
        let ascii: Vec<u8> = text.iter().copied().filter(u8::is_ascii).collect();
        let mut kept = &ascii[..ascii.len().min(len)];
        if ascii.len() > len && kept.ends_with(b"/") {
            kept = &kept[..kept.len() - 1];
        }
        self.0[at..at + kept.len()].copy_from_slice(kept);
    }

    /// Octal digits padded with zeros and ended by a zero byte; zero where the number does not fit, since a PAX
    /// record then holds it.
    fn octal(&mut self, at: usize, len: usize, number: i64) {
        let fits = fits_octal(u32::try_from(len).expect("a field of a header"), number);
        let mut rest = if fits { number } else { 0 };
        for slot in self.0[at..at + len - 1].iter_mut().rev() {
            *slot = b'0' + (rest & 7).to_le_bytes()[0];
            rest >>= 3;
        }
    }

    /// Magic, version and checksum.
    fn seal(&mut self) {
        self.0[257..265].copy_from_slice(b"ustar\x0000");
        self.0[148..156].fill(b' ');
        let sum: i64 = self.0.iter().map(|b| i64::from(*b)).sum();
        self.octal(148, 7, sum);
        self.0[154] = 0;
    }
}
