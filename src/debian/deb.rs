//! One `.deb`: an `ar` archive of two tars (deb(5)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;

use super::control::{ControlError, Paragraph, paragraphs};
use crate::diag::escape;
use crate::layer::read::{self, Limits, Member, MemberKind, ReadError};
use crate::layer::{Decompressor, Eof, Node, Purpose, TocEntry};
use crate::recipe::Pin;
use crate::sys::file::Section;

/// What a package brings for dpkg: its fields, scripts and lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The text of its fields.
    pub fields: String,
    /// All other files by name: mode and bytes.
    pub files: BTreeMap<String, (u16, Vec<u8>)>,
}

/// Why a file is no package, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    #[error("read it: {0}")]
    Io(#[from] io::Error),
    #[error("it is no ar archive")]
    NoArchive,
    #[error("it is cut short, or its member {0} has a bad header")]
    Header(usize),
    #[error("it is of format {0:?}; expected 2.0")]
    Format(String),
    #[error("its members are not debian-binary, control.tar and data.tar")]
    Members,
    #[error("its {part}: {source}")]
    Tar { part: &'static str, source: ReadError },
    #[error("its {part} ends without the two zero blocks that end a tar")]
    Cut { part: &'static str },
    #[error("its control.tar has {0}, which is no plain file at its top")]
    ControlMember(String),
    #[error("its control file: {0}")]
    Control(#[from] ControlError),
    #[error("its control file is missing, is no text, or is not one paragraph")]
    NoControl,
    #[error("its control file says {field}: {found:?}, not {wanted:?} as the index does")]
    Other { field: &'static str, wanted: String, found: String },
    #[error("it holds {0}, a name that means a deletion in a layer")]
    Whiteout(String),
}

/// Every archive begins with it.
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;
/// The most that dpkg's own files of one package may take.
const LARGEST_CONTROL: u64 = 64 << 20;

/// A package whose parts were found.
#[derive(Debug)]
pub struct Deb<'a> {
    file: &'a File,
    control: Part,
    data: Part,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    size: u64,
}

impl<'a> Deb<'a> {
    /// Finds the parts of a package.
    pub fn open(file: &'a File) -> Result<Self, DebError> {
        let size = file.metadata()?.len();
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, 0).map_err(|_| DebError::NoArchive)?;
        if magic != *MAGIC {
            return Err(DebError::NoArchive);
        }
        let members = members(file, size)?;
        // Members with an underscore are for programs to come, which say there what can be ignored.
        let known: Vec<&(String, Part)> = members.iter().filter(|(name, _)| !name.starts_with('_')).collect();
        let [format, control, data, ..] = known.as_slice() else { return Err(DebError::Members) };
        let is = |member: &(String, Part), name: &str| {
            member.0.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if format.0 != "debian-binary" || !is(control, "control.tar") || !is(data, "data.tar") {
            return Err(DebError::Members);
        }
        let mut version = vec![0; usize::try_from(format.1.size.min(16)).expect("at most 16")];
        file.read_exact_at(&mut version, format.1.offset)?;
        if !version.starts_with(b"2.") {
            return Err(DebError::Format(escape(version.trim_ascii())));
        }
        Ok(Self { file, control: control.1, data: data.1 })
    }

    fn part(&self, part: Part) -> Result<impl Read + '_, DebError> {
        let section = Section { file: self.file, at: part.offset, left: part.size };
        Ok(Decompressor::new(section, Limits::default().unpacking())?)
    }

    /// What dpkg keeps of the package, which has to be the one of the pin.
    pub fn control(&self, pin: &Pin) -> Result<Control, DebError> {
        let mut files = BTreeMap::new();
        let limits = Limits { max_size: LARGEST_CONTROL, ..Limits::default() };
        read::archive_entries(self.part(self.control)?, &limits, |member, body| {
            control_file(member, body, &mut files)
        })?;
        let (_, bytes) = files.remove("control").ok_or(DebError::NoControl)?;
        let fields = String::from_utf8(bytes).map_err(|_| DebError::NoControl)?;
        let control = Control { fields, files };
        let paragraph = control.paragraph()?;
        for (field, wanted) in
            [("Package", &pin.name), ("Version", &pin.version), ("Architecture", &pin.architecture)]
        {
            let found = paragraph.get(field).unwrap_or_default();
            if found != wanted {
                return Err(DebError::Other { field, wanted: wanted.clone(), found: found.to_owned() });
            }
        }
        Ok(control)
    }

    /// The package's files in layer order. Their bytes go to `spool`, where the tar begins at `base`.
    pub fn files(&self, spool: &mut impl Write, base: u64) -> Result<(Vec<TocEntry>, u64), DebError> {
        let part = "data.tar";
        let tee = Tee { reader: self.part(self.data)?, sink: spool };
        let indexed = read::index_for(tee, &Limits::default(), Purpose::Archive)
            .map_err(|source| DebError::Tar { part, source })?;
        if indexed.eof == Eof::Missing {
            return Err(DebError::Cut { part });
        }
        let place = |entry: &TocEntry| {
            let mut entry = entry.clone();
            match &mut entry.node {
                Node::File { offset, .. } => *offset += base,
                Node::Whiteout | Node::Opaque => return Err(DebError::Whiteout(entry.path.to_string())),
                Node::Dir
                | Node::Hardlink(_)
                | Node::Symlink(_)
                | Node::Char { .. }
                | Node::Block { .. }
                | Node::Fifo => {}
            }
            Ok(entry)
        };
        let entries = indexed.toc.entries().iter().map(place).collect::<Result<_, _>>()?;
        Ok((entries, indexed.size))
    }
}

impl Control {
    /// The package's fields.
    pub fn paragraph(&self) -> Result<Paragraph<'_>, DebError> {
        paragraphs(&self.fields)?.into_iter().next().ok_or(DebError::NoControl)
    }

    /// The text of one of its files; empty if there is none.
    pub fn text(&self, name: &str) -> String {
        self.files.get(name).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }
}

fn members(file: &File, size: u64) -> Result<Vec<(String, Part)>, DebError> {
    let mut found = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < size {
        let bad = || DebError::Header(found.len() + 1);
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, at).map_err(|_| bad())?;
        let text = std::str::from_utf8(&header).map_err(|_| bad())?;
        let (name, len) = (text[..16].trim_end().trim_end_matches('/'), text[48..58].trim_end());
        let part = Part { offset: at + HEADER as u64, size: len.parse().map_err(|_| bad())? };
        let end = part.offset.checked_add(part.size).filter(|end| *end <= size).ok_or_else(bad)?;
        if !text.ends_with("`\n") {
            return Err(bad());
        }
        at = end + end % 2;
        found.push((name.to_owned(), part));
    }
    Ok(found)
}

/// Takes one member of control.tar into memory.
fn control_file(
    member: &Member,
    body: &mut dyn Read,
    files: &mut BTreeMap<String, (u16, Vec<u8>)>,
) -> Result<(), DebError> {
    let bad = || DebError::ControlMember(member.path.to_string());
    match member.kind {
        MemberKind::Dir if member.path.is_root() => Ok(()),
        MemberKind::File(_) => {
            let name = std::str::from_utf8(member.path.as_bytes()).map_err(|_| bad())?;
            if !super::relation::is_name(name) {
                return Err(bad());
            }
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
            files.insert(name.to_owned(), (member.meta.mode, bytes));
            Ok(())
        }
        MemberKind::Dir
        | MemberKind::Hardlink(_)
        | MemberKind::Symlink(_)
        | MemberKind::Char { .. }
        | MemberKind::Block { .. }
        | MemberKind::Fifo => Err(bad()),
    }
}

impl From<ReadError> for DebError {
    fn from(source: ReadError) -> Self {
        Self::Tar { part: "control.tar", source }
    }
}

/// Writes down what is read.
struct Tee<'a, R, W> {
    reader: R,
    sink: &'a mut W,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.sink.write_all(&buffer[..got])?;
        Ok(got)
    }
}
