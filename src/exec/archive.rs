//! ADD of a local archive: a regular file that decompresses to a tar brings the archive's entries instead of itself.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use super::ExecError;
use super::source::{Body, Entry, Form, Source, SourceNode};
use crate::layer::compress::Decompressor;
use crate::layer::read::{self, Fault, Limits, Purpose};
use crate::layer::{Meta, Node};
use crate::store::Store;
use crate::sys::file::Section;

/// The archive's entries as a directory source, or `None` if the file is no archive.
pub fn open(store: &Store, source: &Source) -> Result<Option<Source>, ExecError> {
    let SourceNode::File { body, size, .. } = &source.top.node else { return Ok(None) };
    if !looks_like_tar(store, body, *size)? {
        return Ok(None);
    }
    let error = |error| ExecError::Archive { name: source.shown.clone(), source: error };
    let mut plain = crate::sys::file::Unnamed::new(&store.root().join("tmp"))?;
    let limits = Limits::default();
    let mut reader =
        Decompressor::new(reader(store, body, *size)?, limits.unpacking()).map_err(ExecError::Io)?;
    let copied = io::copy(&mut reader, &mut plain).and_then(|_| plain.flush());
    copied.map_err(ExecError::Io)?;
    let mut file = plain.file().try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let indexed = read::index_for(io::BufReader::with_capacity(1 << 18, &file), &limits, Purpose::Archive);
    let indexed = indexed.map_err(error)?;
    if indexed.eof == read::Eof::Missing {
        return Err(ExecError::ArchiveCut { name: source.shown.clone() });
    }
    Ok(Some(directory(source, Arc::new(file), indexed.toc.entries())))
}

fn directory(source: &Source, tar: Arc<File>, entries: &[crate::layer::TocEntry]) -> Source {
    let below = entries
        .iter()
        .filter(|entry| !entry.path.is_root())
        .filter_map(|entry| {
            let node = match &entry.node {
                Node::Dir => SourceNode::Dir,
                Node::File { size, content, offset } => SourceNode::File {
                    size: *size,
                    content: *content,
                    body: Body::Tar { tar: tar.clone(), offset: *offset },
                },
                Node::Hardlink(to) => SourceNode::Hardlink(to.clone()),
                // A layer's marks mean nothing in an archive that is added.
                Node::Whiteout | Node::Opaque => return None,
                Node::Symlink(_) | Node::Char { .. } | Node::Block { .. } | Node::Fifo => {
                    SourceNode::Other(entry.node.clone())
                }
            };
            Some((entry.path.clone(), Entry { meta: entry.meta.clone(), node }))
        })
        .collect();
    let top = Entry { meta: Meta { mode: 0o755, ..Meta::default() }, node: SourceNode::Dir };
    Source { name: source.name.clone(), shown: source.shown.clone(), top, below, form: Form::Archive }
}

/// The kinds BuildKit unpacks: gzip, bzip2, xz, zstd or nothing, around a sound first tar entry.
fn looks_like_tar(store: &Store, body: &Body, size: u64) -> Result<bool, ExecError> {
    let Ok(reader) = Decompressor::new(reader(store, body, size)?, Limits::default().unpacking()) else {
        return Ok(false);
    };
    let first = read::archive_entries(reader, &Limits::default(), |_, _| Err(First::Entry));
    Ok(matches!(first, Err(First::Entry)))
}

/// What ends the look at an archive. A sound header with something in it that is not taken is an archive too: the
/// reason comes when it is read.
enum First {
    Entry,
    NoTar,
}

impl From<read::ReadError> for First {
    fn from(error: read::ReadError) -> Self {
        let sound = matches!(error.what, Fault::Sparse | Fault::Type(_) | Fault::Path(_));
        if sound { Self::Entry } else { Self::NoTar }
    }
}

fn reader(store: &Store, body: &Body, size: u64) -> Result<Box<dyn Read + Send>, ExecError> {
    Ok(match body {
        Body::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        Body::Context { context, path, stamp } => Box::new(context.open_file(path, stamp)?),
        Body::Blob(file) => Box::new(Section { file: file.clone(), at: 0, left: size }),
        Body::Layer { tar, offset } => {
            Box::new(Section { file: Arc::new(tar.open(store)?.try_clone()?), at: *offset, left: size })
        }
        Body::Tar { tar, offset } => Box::new(Section { file: tar.clone(), at: *offset, left: size }),
    })
}
