//! A file or a directory as a tar: its root first, by its name, or by `.` if only what it holds is meant.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, readlinkat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::place::Wanted;
use super::{Ending, Outgoing, Place, TransferError, bytes, path, shown};
use crate::sys::dir;

/// File systems that the kernel makes up (statfs(2)): proc, sysfs, cgroup, cgroup2, devpts, mqueue.
const KERNELS: [u64; 6] = [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202];

/// Writes what is at a path. What is left out, devices and sockets, is told one line each.
pub fn send(
    place: Place,
    what: &Outgoing,
    to: impl Write,
    warn: &mut dyn FnMut(String),
) -> Result<(), TransferError> {
    let Wanted { path, ending, name } = place.wanted(&what.path)?;
    let follow = what.follow || ending != Ending::Name;
    let mut flags = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    if ending != Ending::Name {
        flags |= OFlags::DIRECTORY;
    }
    let name = match (ending, name) {
        (Ending::Contents, _) | (_, None) => b".".to_vec(),
        (Ending::Name | Ending::Slash, Some(name)) => name,
    };
    let shown_path = bytes(&path).to_vec();
    let mut walk = Walk { place, to: Builder::new(to), files: BTreeMap::new(), warn };
    let open = |more: OFlags| place.open(&path, flags | more);
    match walk.node(&open, &shown_path, &name, None) {
        Err(Fault::Gone(Errno::NOTDIR)) => {
            return Err(TransferError::NotADirectory { path: shown(&shown_path) });
        }
        Err(Fault::Gone(Errno::NOENT)) => return Err(TransferError::Missing { path: shown(&shown_path) }),
        Err(Fault::Gone(errno)) => return Err(TransferError::io("open", &shown_path)(errno)),
        Err(Fault::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let mut to = walk.to.into_inner().map_err(TransferError::Stream)?;
    to.flush().map_err(TransferError::Stream)
}

/// Why an entry was not written.
enum Fault {
    /// It is not there any more, or is something else by now; nothing was written of it.
    Gone(Errno),
    Error(TransferError),
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        Self::Error(error)
    }
}

struct Walk<'a, W: Write> {
    place: Place,
    to: Builder<W>,
    /// Files with several names, by device and inode: the name in the archive that has the bytes.
    files: BTreeMap<(u64, u64), Vec<u8>>,
    warn: &'a mut dyn FnMut(String),
}

impl<W: Write> Walk<'_, W> {
    /// One entry with all that is below it. `open` opens it by whatever leads to it, `at` is where that is for people, and
    /// `above` the device of the directory it is in.
    fn node(
        &mut self,
        open: &dyn Fn(OFlags) -> io::Result<OwnedFd>,
        at: &[u8],
        name: &[u8],
        above: Option<u64>,
    ) -> Result<(), Fault> {
        // Looked at before it is opened: to open a device does something.
        let found = open(OFlags::PATH).map_err(|error| fault(error, at))?;
        let stat = fstat(&found).map_err(TransferError::io("look at", at))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(&found, &stat, at, name, above),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = open(flags).map_err(|error| fault(error, at))?;
                let now = fstat(&file).map_err(TransferError::io("look at", at))?;
                if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
                    return Err(Fault::Gone(Errno::STALE));
                }
                Ok(self.file(file.into(), &now, at, name)?)
            }
            FileType::Symlink => {
                let target = readlinkat(&found, c"", Vec::new()).map_err(TransferError::io("read", at))?;
                let mut header = header(&stat, EntryType::Symlink, 0);
                let added = self.to.append_link(&mut header, path(name), path(target.as_bytes()));
                Ok(added.map_err(TransferError::Stream)?)
            }
            FileType::Fifo => self.plain(&stat, EntryType::Fifo, name),
            FileType::Socket => Ok((self.warn)(format!("{} is a socket and is left out", shown(at)))),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
                Ok((self.warn)(format!("{} is a device and is left out", shown(at))))
            }
        }
    }

    fn directory(
        &mut self,
        found: &OwnedFd,
        stat: &Stat,
        at: &[u8],
        name: &[u8],
        above: Option<u64>,
    ) -> Result<(), Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(found, c".", flags, Mode::empty()).map_err(TransferError::io("open", at))?;
        self.plain(stat, EntryType::Directory, &[name, b"/"].concat())?;
        if above.is_some_and(|above| above != stat.st_dev) && self.is_kernels(&opened, at) {
            return Ok(());
        }
        for entry in dir::list(&opened).map_err(TransferError::io("list", at))? {
            let child = entry.name;
            let at = join(at, &child);
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open =
                |more: OFlags| Ok(openat(opened.as_fd(), child.as_slice(), flags | more, Mode::empty())?);
            let inside = if name == b"." { child.clone() } else { join(name, &child) };
            match self.node(&open, &at, &inside, Some(stat.st_dev)) {
                // Whoever writes there has taken it away since it was listed.
                Err(Fault::Gone(_)) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Whether what is mounted in a container is the kernel's, or made of devices: nothing that could be put elsewhere.
    fn is_kernels(&self, dir: &OwnedFd, at: &[u8]) -> bool {
        let kind = fstatfs(dir).map(|stat| u64::from_ne_bytes(stat.f_type.to_ne_bytes()));
        self.place == Place::Container && (at == b"/dev" || kind.is_ok_and(|kind| KERNELS.contains(&kind)))
    }

    fn file(&mut self, file: File, stat: &Stat, at: &[u8], name: &[u8]) -> Result<(), TransferError> {
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.files.get(&inode) {
                let mut header = header(stat, EntryType::Link, 0);
                let added = self.to.append_link(&mut header, path(name), path(first));
                return added.map_err(TransferError::Stream);
            }
            self.files.insert(inode, name.to_vec());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = header(stat, EntryType::Regular, size);
        // A file that grows is as long as it was; one that shrinks cannot be.
        let mut body = Body { file: file.take(size), left: size, failed: None };
        let added = self.to.append_data(&mut header, path(name), &mut body);
        match (body.failed, body.left) {
            (Some(source), _) => Err(TransferError::io("read", at)(source)),
            (None, 1..) if added.is_ok() => Err(TransferError::Changed { path: shown(at) }),
            (None, _) => added.map_err(TransferError::Stream),
        }
    }

    fn plain(&mut self, stat: &Stat, kind: EntryType, name: &[u8]) -> Result<(), Fault> {
        let added = self.to.append_data(&mut header(stat, kind, 0), path(name), io::empty());
        Ok(added.map_err(TransferError::Stream)?)
    }
}

fn fault(error: io::Error, at: &[u8]) -> Fault {
    match Errno::from_io_error(&error) {
        Some(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::STALE)) => {
            Fault::Gone(errno)
        }
        _ => Fault::Error(TransferError::io("open", at)(error)),
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if dir.ends_with(b"/") { b"" } else { b"/" };
    [dir, slash, name].concat()
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header
}

/// The bytes of a file: how many are still to come, and why they do not.
struct Body {
    file: io::Take<File>,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
