//! The sequence of entries: extended headers joined to the header they belong to, bodies bounded.

use std::io::{self, Read};

use super::fault::{Fault, ReadError};
use super::fields::Fields;
use super::pax::{self, Records};
use super::source::Source;
use super::{Eof, Limits, Purpose};
use crate::diag::escape;
use crate::digest::DiffId;
use crate::layer::entry::{Meta, Mtime};
use crate::layer::hash::DiffHasher;
use crate::layer::header::MAX_EXTENDED;

/// What the type flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Hardlink,
    Symlink,
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Dir,
    Fifo,
}

/// One entry as the tar has it; names are not yet judged.
pub(super) struct Raw {
    /// Where the entry's first header, extended or not, begins.
    pub offset: u64,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    pub size: u64,
    pub meta: Meta,
}

/// A tar being read.
pub(super) struct Tar<R> {
    source: Source<R>,
    /// Bytes of the current body not yet taken, and its padding.
    body: u64,
    padding: u64,
    entries: usize,
    metadata: u64,
    limits: Limits,
    purpose: Purpose,
    /// For errors: where the current entry begins, and its name.
    offset: u64,
    name: Option<String>,
    eof: Option<Eof>,
}

/// Extended headers waiting for their entry.
#[derive(Default)]
struct Pending {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Tar<R> {
    pub fn new(reader: R, hash: DiffHasher, limits: &Limits, purpose: Purpose) -> Self {
        Self {
            source: Source::new(reader, hash, limits.max_size),
            body: 0,
            padding: 0,
            entries: 0,
            metadata: 0,
            limits: *limits,
            purpose,
            offset: 0,
            name: None,
            eof: None,
        }
    }

    /// An error at the current entry.
    pub fn error(&self, what: Fault) -> ReadError {
        ReadError { offset: self.offset, entry: self.name.clone(), what }
    }

    /// The next entry; `None` at the end of the tar. What is left of the body before is skipped.
    pub fn next(&mut self) -> Result<Option<Raw>, ReadError> {
        if self.eof.is_some() {
            return Ok(None);
        }
        self.advance().map_err(|what| self.error(what))
    }

    /// Where the current body begins, if none of it was taken yet.
    pub fn body_offset(&self) -> u64 {
        self.source.position()
    }

    /// Takes a part of the current body; none at its end.
    pub fn body(&mut self) -> Result<&[u8], ReadError> {
        if self.body == 0 {
            return Ok(&[]);
        }
        // The error needs what the chunk still borrows.
        let (offset, name) = (self.offset, self.name.clone());
        match self.source.chunk(self.body) {
            Ok([]) => Err(ReadError { offset, entry: name, what: Fault::Truncated }),
            Ok(chunk) => {
                self.body -= chunk.len() as u64;
                Ok(chunk)
            }
            Err(what) => Err(ReadError { offset, entry: name, what }),
        }
    }

    /// Reads on to the end of the input: diff id, size, how the tar ended, and whether anything stands behind its end.
    pub fn finish(mut self) -> Result<Ended, ReadError> {
        let trailing = self.source.rest().map_err(|what| self.error(what))?;
        let size = self.source.position();
        let eof = self.eof.unwrap_or(Eof::Missing);
        Ok(Ended { diff_id: self.source.finish(), size, eof, trailing })
    }

    fn advance(&mut self) -> Result<Option<Raw>, Fault> {
        self.source.skip(self.body + self.padding)?;
        (self.body, self.padding) = (0, 0);
        (self.offset, self.name) = (self.source.position(), None);
        let mut pending = Pending::default();
        loop {
            let Some(block) = self.source.block()? else {
                return self.end(Eof::Missing, &pending);
            };
            if block == [0; 512] {
                return match self.source.block()? {
                    Some(second) if second == [0; 512] => self.end(Eof::Marked, &pending),
                    Some(_) => Err(Fault::LoneZeroBlock),
                    None => self.end(Eof::Missing, &pending),
                };
            }
            let fields = Fields::new(block, self.purpose)?;
            match fields.kind() {
                b'x' => pending.pax(Records::parse(&self.extended(&fields)?)?)?,
                b'L' => pending.long_name(long(self.extended(&fields)?)?)?,
                b'K' => pending.long_link(long(self.extended(&fields)?)?)?,
                b'g' if pending.is_empty() => pax::check_global(&self.extended(&fields)?)?,
                b'g' => return Err(Fault::Mixed),
                kind => return self.entry(&fields, kind, pending).map(Some),
            }
        }
    }

    fn end(&mut self, eof: Eof, pending: &Pending) -> Result<Option<Raw>, Fault> {
        if !pending.is_empty() {
            return Err(Fault::Dangling);
        }
        if eof == Eof::Missing && self.entries == 0 && self.source.position() == 0 {
            return Err(Fault::Empty);
        }
        self.eof = Some(eof);
        Ok(None)
    }

    /// The body of an extended header.
    fn extended(&mut self, fields: &Fields) -> Result<Vec<u8>, Fault> {
        let size = fields.size()?;
        let len = usize::try_from(size).ok().filter(|len| *len <= MAX_EXTENDED);
        let len = len.ok_or(Fault::ExtendedTooLong(MAX_EXTENDED as u64))?;
        let body = self.source.bytes(len)?;
        self.source.skip(padding(size))?;
        Ok(body)
    }

    fn entry(&mut self, fields: &Fields, flag: u8, pending: Pending) -> Result<Raw, Fault> {
        let Pending { pax, long_name, long_link } = pending;
        let pax = pax.unwrap_or_default();
        let name = pax.path.or(long_name).unwrap_or_else(|| fields.name());
        self.name = Some(escape(&name[..name.len().min(300)]));
        if name.is_empty() {
            return Err(Fault::NoName);
        }
        let kind = kind(fields, flag, &name)?;
        let size = pax.size.map_or_else(|| fields.size(), Ok)?;
        if i64::try_from(size).is_err() {
            return Err(Fault::Range { field: "size" });
        }
        if kind != Kind::File && size > 0 {
            return Err(Fault::Body(size));
        }
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => Mtime { secs: fields.mtime()?, nanos: 0 },
        };
        let meta = Meta {
            mode: fields.mode()?,
            uid: pax.uid.map_or_else(|| fields.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| fields.gid(), Ok)?,
            mtime,
            xattrs: pax.xattrs,
        };
        let link = pax.link.or(long_link).unwrap_or_else(|| fields.link().to_vec());
        let xattrs: usize = meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.count(name.len() + link.len() + xattrs)?;
        (self.body, self.padding) = (size, padding(size));
        Ok(Raw { offset: self.offset, name, link, kind, size, meta })
    }

    /// Counts an entry and what of it has to be kept.
    fn count(&mut self, metadata: usize) -> Result<(), Fault> {
        self.entries += 1;
        self.metadata += metadata as u64;
        if self.entries > self.limits.max_entries {
            return Err(Fault::TooManyEntries(self.limits.max_entries));
        }
        if self.metadata > self.limits.max_metadata {
            return Err(Fault::TooMuchMetadata(self.limits.max_metadata));
        }
        Ok(())
    }
}

/// How a tar came to its end.
pub(super) struct Ended {
    pub diff_id: Option<DiffId>,
    pub size: u64,
    pub eof: Eof,
    /// Something other than zeros stands behind the end.
    pub trailing: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    fn pax(&mut self, records: Records) -> Result<(), Fault> {
        if !self.is_empty() {
            return Err(Fault::Mixed);
        }
        self.pax = Some(records);
        Ok(())
    }

    fn long_name(&mut self, name: Vec<u8>) -> Result<(), Fault> {
        if self.pax.is_some() || self.long_name.replace(name).is_some() {
            return Err(Fault::Mixed);
        }
        Ok(())
    }

    fn long_link(&mut self, link: Vec<u8>) -> Result<(), Fault> {
        if self.pax.is_some() || self.long_link.replace(link).is_some() {
            return Err(Fault::Mixed);
        }
        Ok(())
    }
}

fn kind(fields: &Fields, flag: u8, name: &[u8]) -> Result<Kind, Fault> {
    let slash = name.ends_with(b"/");
    let kind = match flag {
        // Before there was a type for directories, a slash told them.
        0 if slash => Kind::Dir,
        b'0' | 0 => Kind::File,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' | b'4' => {
            let (major, minor) = fields.device()?;
            if flag == b'3' { Kind::Char { major, minor } } else { Kind::Block { major, minor } }
        }
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        b'S' => return Err(Fault::Sparse),
        other => return Err(Fault::Type(other)),
    };
    if slash && kind != Kind::Dir {
        return Err(Fault::TrailingSlash);
    }
    Ok(kind)
}

/// GNU long names end with a zero byte, some writers' with none.
fn long(mut body: Vec<u8>) -> Result<Vec<u8>, Fault> {
    while body.last() == Some(&0) {
        body.pop();
    }
    if body.is_empty() || body.contains(&0) {
        return Err(Fault::LongName);
    }
    Ok(body)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % 512
}

/// The current body as a reader.
pub(super) struct Body<'a, R>(pub &'a mut Tar<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let tar = &mut *self.0;
        if tar.body == 0 || into.is_empty() {
            return Ok(0);
        }
        let most = tar.body.min(into.len() as u64);
        let chunk = match tar.source.chunk(most) {
            Ok(chunk) => chunk,
            Err(Fault::Io(error)) => return Err(error),
            Err(fault) => return Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        };
        if chunk.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Fault::Truncated));
        }
        into[..chunk.len()].copy_from_slice(chunk);
        tar.body -= chunk.len() as u64;
        Ok(chunk.len())
    }
}
