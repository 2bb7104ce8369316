//! The table of contents as bytes: what the store keeps beside every layer (spec/toc.md).
//!
//! Owns: the encoding, its version and its checksum. Never reads a tar or a directory.

use super::entry::{Meta, Mtime, Node, Toc, TocEntry, Xattr};
use crate::digest::ContentDigest;
use crate::path::{ImagePath, layer_order};

/// The version of the encoding; a change of the bytes needs a new one and a new pinned vector.
pub const TOC_VERSION: u8 = 1;

const MAGIC: [u8; 8] = [b'L', b'I', b'T', b'H', b'T', b'O', b'C', TOC_VERSION];
const CHECKSUM: usize = 32;
/// The fewest bytes an entry takes: a lower bound that keeps a lying count from reserving memory.
const SMALLEST_ENTRY: usize = 3;

/// Why bytes are not a table of contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TocError {
    #[error("table of contents does not begin with the magic of one")]
    Magic,
    #[error("table of contents has version {0}; this program reads version {TOC_VERSION}")]
    Version(u8),
    #[error("table of contents is corrupt: its checksum does not match")]
    Checksum,
    #[error("table of contents is malformed at byte {offset}: {what}")]
    Malformed { offset: usize, what: &'static str },
}

impl Toc {
    /// The bytes of spec/toc.md, equal for equal tables.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries().len() * 80);
        out.extend_from_slice(&MAGIC);
        number(&mut out, self.entries().len() as u64);
        let mut previous: &[u8] = &[];
        for entry in self.entries() {
            let path = entry.path.as_bytes();
            let shared = previous.iter().zip(path).take_while(|(a, b)| a == b).count();
            number(&mut out, shared as u64);
            text(&mut out, &path[shared..]);
            encode_entry(&mut out, entry);
            previous = path;
        }
        let checksum = blake3::hash(&out);
        out.extend_from_slice(checksum.as_bytes());
        out
    }

    /// Reads what [`Toc::encode`] wrote, and nothing else: every deviation is an error.
    ///
    /// # Errors
    /// [`TocError`] names the first deviation. Memory stays within a small multiple of the input.
    pub fn decode(bytes: &[u8]) -> Result<Toc, TocError> {
        let (magic, _) = bytes.split_at_checked(MAGIC.len()).ok_or(TocError::Magic)?;
        if magic[..7] != MAGIC[..7] {
            return Err(TocError::Magic);
        }
        if magic[7] != TOC_VERSION {
            return Err(TocError::Version(magic[7]));
        }
        let end = bytes.len().checked_sub(CHECKSUM).filter(|end| *end >= MAGIC.len());
        let (body, checksum) = bytes.split_at(end.ok_or(TocError::Checksum)?);
        // Constant-time comparison of blake3 is not needed: this guards against damage, not against forgery.
        if blake3::hash(body).as_bytes() != checksum {
            return Err(TocError::Checksum);
        }
        Cursor { bytes: body, at: MAGIC.len() }.toc()
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Zigzag: small magnitudes of either sign become small numbers.
fn signed(out: &mut Vec<u8>, value: i64) {
    number(out, (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
}

/// The byte that names a kind. Never reuse one.
mod kind {
    pub const DIR: u8 = 1;
    pub const FILE: u8 = 2;
    pub const HARDLINK: u8 = 3;
    pub const SYMLINK: u8 = 4;
    pub const CHAR: u8 = 5;
    pub const BLOCK: u8 = 6;
    pub const FIFO: u8 = 7;
    pub const WHITEOUT: u8 = 8;
    pub const OPAQUE: u8 = 9;
}

fn encode_entry(out: &mut Vec<u8>, entry: &TocEntry) {
    match &entry.node {
        Node::Dir => out.push(kind::DIR),
        Node::File { size, content, offset } => {
            out.push(kind::FILE);
            number(out, *size);
            number(out, *offset);
            out.extend_from_slice(content.as_bytes());
        }
        Node::Hardlink(target) => {
            out.push(kind::HARDLINK);
            text(out, target.as_bytes());
        }
        Node::Symlink(target) => {
            out.push(kind::SYMLINK);
            text(out, target);
        }
        Node::Char { major, minor } => device(out, kind::CHAR, *major, *minor),
        Node::Block { major, minor } => device(out, kind::BLOCK, *major, *minor),
        Node::Fifo => out.push(kind::FIFO),
        // A whiteout has no metadata of its own.
        Node::Whiteout => return out.push(kind::WHITEOUT),
        Node::Opaque => return out.push(kind::OPAQUE),
    }
    encode_meta(out, &entry.meta);
}

fn device(out: &mut Vec<u8>, kind: u8, major: u32, minor: u32) {
    out.push(kind);
    number(out, u64::from(major));
    number(out, u64::from(minor));
}

fn encode_meta(out: &mut Vec<u8>, meta: &Meta) {
    number(out, u64::from(meta.mode));
    number(out, u64::from(meta.uid));
    number(out, u64::from(meta.gid));
    signed(out, meta.mtime.secs);
    number(out, u64::from(meta.mtime.nanos));
    number(out, meta.xattrs.len() as u64);
    for (name, value) in &meta.xattrs {
        text(out, name);
        text(out, value);
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn toc(&mut self) -> Result<Toc, TocError> {
        let count = self.length()?;
        let most = (self.bytes.len() - self.at) / SMALLEST_ENTRY;
        if count > most {
            return Err(self.malformed("more entries than bytes for them"));
        }
        let mut entries: Vec<TocEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = self.entry(entries.last())?;
            entries.push(entry);
        }
        if self.at != self.bytes.len() {
            return Err(self.malformed("bytes after the last entry"));
        }
        Ok(Toc::from_sorted(entries))
    }

    fn entry(&mut self, previous: Option<&TocEntry>) -> Result<TocEntry, TocError> {
        let path = self.path_after(previous)?;
        let kind = self.take(1)?[0];
        let node = self.node(kind)?;
        if let Some(previous) = previous
            && !follows(previous, &path, &node)
        {
            return Err(self.malformed("entries out of order"));
        }
        let meta = match node {
            Node::Whiteout | Node::Opaque => Meta::default(),
            Node::Dir
            | Node::File { .. }
            | Node::Hardlink(_)
            | Node::Symlink(_)
            | Node::Char { .. }
            | Node::Block { .. }
            | Node::Fifo => self.meta()?,
        };
        Ok(TocEntry { path, meta, node })
    }

    fn path_after(&mut self, previous: Option<&TocEntry>) -> Result<ImagePath, TocError> {
        let shared = self.length()?;
        let before = previous.map_or(&[][..], |e| e.path.as_bytes());
        let kept =
            before.get(..shared).ok_or_else(|| self.malformed("a shared prefix longer than the path"))?;
        let rest = self.text()?;
        if before.get(shared).is_some_and(|next| rest.first() == Some(next)) {
            return Err(self.malformed("a shared prefix shorter than it is"));
        }
        self.path(&[kept, rest].concat())
    }

    fn path(&self, bytes: &[u8]) -> Result<ImagePath, TocError> {
        match ImagePath::parse(bytes) {
            Ok(path) if path.as_bytes() == bytes => Ok(path),
            Ok(_) | Err(_) => Err(self.malformed("not a clean path")),
        }
    }

    fn node(&mut self, kind: u8) -> Result<Node, TocError> {
        Ok(match kind {
            kind::DIR => Node::Dir,
            kind::FILE => {
                let (size, offset) = (self.number()?, self.number()?);
                let content = self.take(32)?.try_into().expect("32 bytes were taken");
                Node::File { size, content: ContentDigest::from_bytes(content), offset }
            }
            kind::HARDLINK => {
                let target = self.text()?;
                Node::Hardlink(self.path(target)?)
            }
            kind::SYMLINK => Node::Symlink(self.text()?.to_vec()),
            kind::CHAR => Node::Char { major: self.small()?, minor: self.small()? },
            kind::BLOCK => Node::Block { major: self.small()?, minor: self.small()? },
            kind::FIFO => Node::Fifo,
            kind::WHITEOUT => Node::Whiteout,
            kind::OPAQUE => Node::Opaque,
            _ => return Err(self.malformed("an unknown kind of entry")),
        })
    }

    fn meta(&mut self) -> Result<Meta, TocError> {
        let mode = u16::try_from(self.number()?).ok().filter(|mode| *mode <= 0o7777);
        let mode = mode.ok_or_else(|| self.malformed("a mode beyond 7777"))?;
        let (uid, gid) = (self.small()?, self.small()?);
        let zigzag = self.number()?;
        let secs = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        let nanos = self.small()?;
        if nanos >= 1_000_000_000 {
            return Err(self.malformed("nanoseconds beyond a second"));
        }
        let xattrs = self.xattrs()?;
        Ok(Meta { mode, uid, gid, mtime: Mtime { secs, nanos }, xattrs })
    }

    fn xattrs(&mut self) -> Result<Vec<Xattr>, TocError> {
        let count = self.length()?;
        let mut xattrs: Vec<Xattr> = Vec::new();
        for _ in 0..count {
            let (name, value) = (self.text()?.to_vec(), self.text()?.to_vec());
            if xattrs.last().is_some_and(|(last, _)| *last >= name) {
                return Err(self.malformed("xattrs out of order"));
            }
            xattrs.push((name, value));
        }
        Ok(xattrs)
    }

    fn number(&mut self) -> Result<u64, TocError> {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)?[0];
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(self.malformed("a number beyond 64 bits"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                // One value has one encoding, else equal tables could have different bytes.
                let padded = byte == 0 && shift > 0;
                return if padded { Err(self.malformed("a padded number")) } else { Ok(value) };
            }
            if shift == 63 {
                break;
            }
        }
        Err(self.malformed("a number beyond 64 bits"))
    }

    fn small(&mut self) -> Result<u32, TocError> {
        u32::try_from(self.number()?).map_err(|_| self.malformed("a number beyond 32 bits"))
    }

    fn length(&mut self) -> Result<usize, TocError> {
        usize::try_from(self.number()?).map_err(|_| self.malformed("a length beyond memory"))
    }

    fn text(&mut self) -> Result<&'a [u8], TocError> {
        let len = self.length()?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], TocError> {
        let taken = self.bytes[self.at..].get(..len).ok_or_else(|| self.malformed("cut short"))?;
        self.at += len;
        Ok(taken)
    }

    fn malformed(&self, what: &'static str) -> TocError {
        TocError::Malformed { offset: self.at, what }
    }
}

/// Whether an entry may come right after another: a later path, or the opaque mark of the same directory.
fn follows(previous: &TocEntry, path: &ImagePath, node: &Node) -> bool {
    match layer_order(previous.path.as_bytes(), path.as_bytes()) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => *node == Node::Opaque && previous.node != Node::Opaque,
        std::cmp::Ordering::Greater => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = ImagePath> {
        prop::collection::vec("[a-c.]{1,3}", 0..4)
            .prop_filter_map("dots", |names| ImagePath::parse(names.join("/").as_bytes()).ok())
    }

    fn meta() -> impl Strategy<Value = Meta> {
        let xattrs = prop::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..3);
        (0..=0o7777u16, any::<u32>(), any::<u32>(), any::<i64>(), 0..1_000_000_000u32, xattrs).prop_map(
            |(mode, uid, gid, secs, nanos, xattrs)| Meta {
                mode,
                uid,
                gid,
                mtime: Mtime { secs, nanos },
                xattrs: xattrs.into_iter().collect(),
            },
        )
    }

    fn node() -> impl Strategy<Value = Node> {
        prop_oneof![
            Just(Node::Dir),
            (any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(size, offset, content)| Node::File {
                size,
                offset,
                content: ContentDigest::from_bytes(content)
            }),
            path().prop_map(Node::Hardlink),
            any::<Vec<u8>>().prop_map(Node::Symlink),
            (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Node::Char { major, minor }),
            (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Node::Block { major, minor }),
            Just(Node::Fifo),
            Just(Node::Whiteout),
            Just(Node::Opaque),
        ]
    }

    fn toc() -> impl Strategy<Value = Toc> {
        prop::collection::btree_map(path(), (meta(), node()), 0..12).prop_map(|entries| {
            let entries = entries.into_iter().map(|(path, (meta, node))| {
                let meta = if matches!(node, Node::Whiteout | Node::Opaque) { Meta::default() } else { meta };
                TocEntry { path, meta, node }
            });
            Toc::new(entries.collect())
        })
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_wrote(toc in toc()) {
            prop_assert_eq!(Toc::decode(&toc.encode()).unwrap(), toc);
        }

        /// The checksum is made good again, so that the parser itself meets the damage.
        #[test]
        fn damage_never_panics_and_decodes_only_to_its_own_encoding(
            toc in toc(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut bytes = toc.encode();
            let body = bytes.len() - CHECKSUM;
            let at = at.index(body);
            bytes[at] = byte;
            bytes.truncate(body);
            let sum = blake3::hash(&bytes);
            bytes.extend_from_slice(sum.as_bytes());
            if let Ok(other) = Toc::decode(&bytes) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Toc::decode(&bytes);
        }
    }

    fn sample() -> Toc {
        let path = |t: &str| ImagePath::parse(t.as_bytes()).unwrap();
        let meta = Meta {
            mode: 0o4755,
            uid: 1000,
            gid: 5,
            mtime: Mtime { secs: -1, nanos: 5 },
            xattrs: vec![(b"user.a".to_vec(), b"\0b".to_vec())],
        };
        let node = Node::File { size: 3, content: ContentDigest::of(b"abc"), offset: 1024 };
        Toc::new(vec![
            TocEntry { path: path("etc"), meta: Meta { mode: 0o755, ..Meta::default() }, node: Node::Dir },
            TocEntry { path: path("etc"), meta: Meta::default(), node: Node::Opaque },
            TocEntry { path: path("etc/a"), meta: meta.clone(), node },
            TocEntry { path: path("etc/b"), meta, node: Node::Hardlink(path("etc/a")) },
            TocEntry { path: path("etc/c"), meta: Meta::default(), node: Node::Whiteout },
        ])
    }

    #[test]
    fn pinned_vector() {
        // spec/toc.md: a change of this value is a change of format and needs a new version.
        assert_eq!(crate::digest::hex(&sample().encode()), PINNED);
    }

    #[test]
    fn errors_name_the_fault() {
        let good = sample().encode();
        assert_eq!(Toc::decode(b"LITH"), Err(TocError::Magic));
        let mut other = good.clone();
        other[7] = 9;
        assert_eq!(Toc::decode(&other), Err(TocError::Version(9)));
        let mut flipped = good.clone();
        flipped[20] ^= 1;
        assert_eq!(Toc::decode(&flipped), Err(TocError::Checksum));
        assert_eq!(Toc::decode(&good[..good.len() - 1]), Err(TocError::Checksum));
    }

    const PINNED: &str = "4c495448544f430105000365746301ed03000000000003000903022f61020380086437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85ed13e8070501050106757365722e6102006204016203056574632f61ed13e8070501050106757365722e6102006204016308bdb24014947a11805d993a2070aed5d18f77613e16ba11662f51f1cade445a67";
}
