//! The bytes of the few files that differ, of one side: from where they lie, or from a second reading of their layer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};

use super::DiffError;
use super::content::Input;
use super::items::{Item, What};
use super::stack::{Bytes, Layer, unpacked};
use crate::sys::file::Unnamed;
use crate::sys::{beneath, several};

/// How much is copied at once.
const BUFFER: usize = 256 << 10;
/// How many layers are read at once.
const READERS: usize = 2;

/// Where the bytes of one side's files can be had.
pub(super) struct Bodies<'a, 'b> {
    layers: &'b [Layer<'a>],
    /// Opened tars of layers that lie in a file.
    tars: Vec<OnceLock<File>>,
    /// What was read of layers that do not: one file, and where in it the bytes of a layer's offset begin.
    spool: Option<Unnamed>,
    spooled: BTreeMap<(usize, u64), u64>,
}

impl<'a, 'b> Bodies<'a, 'b> {
    /// Makes the bytes of these files ready to be read.
    pub fn of(layers: &'b [Layer<'a>], wanted: &[Item<'_>], scratch: &Path) -> Result<Self, DiffError> {
        let tars = layers.iter().map(|_| OnceLock::new()).collect();
        let mut bodies = Self { layers, tars, spool: None, spooled: BTreeMap::new() };
        let mut ranges: BTreeMap<usize, BTreeMap<u64, u64>> = BTreeMap::new();
        for item in wanted {
            let What::File { size, offset, .. } = item.what else { continue };
            if matches!(layers[item.layer].bytes, Bytes::Blob(..)) {
                ranges.entry(item.layer).or_default().insert(offset, size);
            }
        }
        if ranges.is_empty() {
            return Ok(bodies);
        }
        let spool = Unnamed::new(scratch).map_err(DiffError::Scratch)?;
        let mut at = 0;
        for (layer, parts) in &ranges {
            for (offset, size) in parts {
                bodies.spooled.insert((*layer, *offset), at);
                at += size;
            }
        }
        let ranges: Vec<(usize, BTreeMap<u64, u64>)> = ranges.into_iter().collect();
        several::each(READERS, &ranges, |(layer, parts)| bodies.lay_down(*layer, parts, spool.file()))?;
        bodies.spool = Some(spool);
        Ok(bodies)
    }

    /// Reads a layer up to the last of these files, and writes their bytes to the spool.
    fn lay_down(&self, layer: usize, parts: &BTreeMap<u64, u64>, spool: &File) -> Result<(), DiffError> {
        let Bytes::Blob(source, blob, _) = &self.layers[layer].bytes else {
            unreachable!("only blobs are spooled")
        };
        let read = || -> io::Result<()> {
            let mut plain = unpacked(*source, blob)?;
            let (mut position, mut buffer) = (0, vec![0; BUFFER]);
            for (offset, size) in parts {
                skip(&mut plain, offset - position, &mut buffer)?;
                let mut to = self.spooled[&(layer, *offset)];
                let mut left = *size;
                while left > 0 {
                    let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let count = plain.read(&mut buffer[..most])?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    spool.write_all_at(&buffer[..count], to)?;
                    to += count as u64;
                    left -= count as u64;
                }
                position = offset + size;
            }
            Ok(())
        };
        read().map_err(|source| DiffError::Read { digest: blob.digest, source })
    }

    /// A file's bytes, by themselves.
    pub fn open(&self, item: &Item<'_>, scratch: &Path) -> io::Result<Input> {
        let What::File { size, offset, holder, .. } = item.what else {
            return Err(io::Error::other("not a regular file"));
        };
        match &self.layers[item.layer].bytes {
            Bytes::Stored(store, diff) => {
                let tar = match self.tars[item.layer].get() {
                    Some(tar) => tar,
                    None => {
                        let opened = store.layer_tar(*diff).map_err(io::Error::other)?;
                        self.tars[item.layer].get_or_init(|| opened)
                    }
                };
                copied(tar, offset, size, scratch)
            }
            Bytes::Tar(tar, _) => copied(tar, offset, size, scratch),
            Bytes::Blob(..) => {
                let spool = self.spool.as_ref().expect("it was asked for");
                copied(spool.file(), self.spooled[&(item.layer, offset)], size, scratch)
            }
            Bytes::Directory(root, _) => {
                // A directory that is being changed may have something else there by now.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = File::from(beneath::open(root.as_fd(), holder, flags, Mode::empty())?);
                let meta = file.metadata()?;
                if !meta.is_file() || meta.len() != size {
                    return Err(io::Error::other("it changed while it was compared"));
                }
                Ok(Input { file, size })
            }
        }
    }
}

fn skip(reader: &mut impl Read, mut count: u64, buffer: &mut [u8]) -> io::Result<()> {
    while count > 0 {
        let most = buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        match reader.read(&mut buffer[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => count -= read as u64,
        }
    }
    Ok(())
}

/// A part of a file as a file of its own.
fn copied(from: &File, offset: u64, size: u64, scratch: &Path) -> io::Result<Input> {
    let mut to = Unnamed::new(scratch)?;
    let mut buffer = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER).max(1))];
    let mut at = 0;
    while at < size {
        let most = buffer.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
        let count = from.read_at(&mut buffer[..most], offset + at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..count])?;
        at += count as u64;
    }
    let mut file = to.file().try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Input { file, size })
}
