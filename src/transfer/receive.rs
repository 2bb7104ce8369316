//! A tar as files below a directory, whatever the tar says and whoever else writes there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown,
    fstat, ftruncate, futimens, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::place::Wanted;
use super::{Ending, Form, Incoming, Owners, Place, TransferError, bytes, shown};
use crate::path::{ImagePath, MAX_PATH};
use crate::sys::beneath;

/// How often something that others put back all the time is taken away.
const TRIES: u32 = 100;

/// Puts the files of a tar where they are wanted. What is left out, devices, is told one line each.
pub fn receive(
    place: Place,
    what: &Incoming,
    from: impl Read,
    warn: &mut dyn FnMut(String),
) -> Result<(), TransferError> {
    let wanted = place.wanted(&what.path)?;
    let mut archive = Archive::new(from);
    let mut entries = archive.entries().map_err(TransferError::Archive)?;
    let (mut receiver, mut first) = match what.form {
        Form::Archive => {
            let target = Target { dir: directory(place, &wanted)?, path: wanted.path, put: None };
            (Receiver::new(place, what.owners, target, None, warn), None)
        }
        Form::Tree => {
            let first = entries.next().ok_or(TransferError::Cut)?.map_err(TransferError::Archive)?;
            let root = Root::of(&first);
            let target = target(place, &wanted, &root)?;
            (Receiver::new(place, what.owners, target, root.name, warn), Some(Ok(first)))
        }
    };
    while let Some(entry) = first.take().or_else(|| entries.next()) {
        receiver.entry(entry.map_err(TransferError::Archive)?)?;
    }
    receiver.finish_directories()?;
    // To the end, so that whoever writes it can.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop).map_err(TransferError::Stream)
}

/// The first entry of a tree.
struct Root {
    is_dir: bool,
    /// `None` if only what it holds is meant.
    name: Option<Vec<u8>>,
}

impl Root {
    fn of<R: Read>(entry: &Entry<'_, R>) -> Self {
        let path = entry.path_bytes();
        let name = path.strip_suffix(b"/").unwrap_or(&path);
        let name = (name != b".").then(|| name.to_vec());
        Self { is_dir: entry.header().entry_type() == EntryType::Directory, name }
    }
}

const FOUND: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// A directory that must be there.
fn directory(place: Place, wanted: &Wanted) -> Result<OwnedFd, TransferError> {
    let path = || shown(bytes(&wanted.path));
    place.open(&wanted.path, FOUND).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => TransferError::Missing { path: path() },
        Some(Errno::NOTDIR) => TransferError::NotADirectory { path: path() },
        _ => TransferError::io("open", bytes(&wanted.path))(error),
    })
}

/// Where files go.
struct Target {
    dir: OwnedFd,
    /// Where that is, for people.
    path: PathBuf,
    /// What the root of a tree is called there, unless it is the directory.
    put: Option<ImagePath>,
}

/// Where a tree goes: docker's rules.
fn target(place: Place, wanted: &Wanted, root: &Root) -> Result<Target, TransferError> {
    let path = || shown(bytes(&wanted.path));
    let error = match place.open(&wanted.path, FOUND) {
        Ok(dir) => {
            let put = root.name.as_deref().map(name).transpose()?;
            return Ok(Target { dir, path: wanted.path.clone(), put });
        }
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR) if wanted.ending != Ending::Name => {
            Err(TransferError::NotADirectory { path: path() })
        }
        Some(Errno::NOTDIR) if root.is_dir => Err(TransferError::DirectoryOverFile { path: path() }),
        Some(Errno::NOENT) if wanted.ending != Ending::Name && !root.is_dir => {
            Err(TransferError::Missing { path: path() })
        }
        Some(Errno::NOTDIR | Errno::NOENT) => new_name(place, wanted.path.clone()),
        _ => Err(TransferError::io("open", bytes(&wanted.path))(error)),
    }
}

/// The directory of a path that leads to no directory, and the name in it; a symlink there leads on.
fn new_name(place: Place, mut path: PathBuf) -> Result<Target, TransferError> {
    for _ in 0..crate::layer::tree::MAX_LINKS {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("/"),
        };
        let found = Wanted { path: parent.to_owned(), ending: Ending::Name, name: None };
        let dir = directory(place, &found)?;
        let last = bytes(path.file_name().map_or(Path::new(""), Path::new)).to_vec();
        match readlinkat(&dir, last.as_slice(), Vec::new()) {
            Ok(link) => path = parent.join(OsStr::from_bytes(link.as_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => {
                return Ok(Target { dir, path: parent.to_owned(), put: Some(name(&last)?) });
            }
            Err(errno) => return Err(TransferError::io("look at", bytes(&path))(errno)),
        }
    }
    Err(TransferError::io("open", bytes(&path))(Errno::LOOP))
}

fn name(bytes: &[u8]) -> Result<ImagePath, TransferError> {
    crate::path::is_name(bytes)
        .then(|| ImagePath::root().child(bytes))
        .ok_or_else(|| TransferError::Name { path: shown(bytes) })
}

/// What entries are called where they go.
struct Names {
    /// The first part of each, which goes.
    strip: Option<Vec<u8>>,
    /// What comes in its place.
    put: Option<ImagePath>,
}

impl Names {
    fn of(&self, path: &[u8]) -> Result<ImagePath, TransferError> {
        let wrong = || TransferError::Name { path: shown(&path[..path.len().min(MAX_PATH)]) };
        let parsed = ImagePath::parse(path).map_err(|_| wrong())?;
        let rest = match &self.strip {
            None => parsed,
            Some(root) => parsed.strip_prefix(&name(root)?).ok_or_else(wrong)?,
        };
        Ok(self.put.as_ref().map_or(rest.clone(), |put| put.join(&rest)))
    }
}

/// What is made of an entry's header.
#[derive(Clone)]
struct Meta {
    mode: Mode,
    owner: Option<(Uid, Gid)>,
    times: Timestamps,
}

struct Receiver<'a> {
    dir: OwnedFd,
    names: Names,
    place: Place,
    owners: Owners,
    /// Where the directory is, for people.
    shown: PathBuf,
    /// What was made, for hard links.
    files: BTreeSet<ImagePath>,
    /// New directories, which get what they are to be when everything is in them.
    directories: Vec<(ImagePath, Meta)>,
    warn: &'a mut dyn FnMut(String),
}

impl<'a> Receiver<'a> {
    fn new(
        place: Place,
        owners: Owners,
        target: Target,
        strip: Option<Vec<u8>>,
        warn: &'a mut dyn FnMut(String),
    ) -> Self {
        Self {
            dir: target.dir,
            names: Names { strip, put: target.put },
            place,
            owners,
            shown: target.path,
            files: BTreeSet::new(),
            directories: vec![],
            warn,
        }
    }

    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), TransferError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let path = self.names.of(&entry.path_bytes())?;
        if path.is_root() {
            // The directory that was there.
            return Ok(());
        }
        let meta = self.meta(&entry)?;
        let holder = self.holder(&path)?;
        match kind {
            EntryType::Directory => self.directory(&holder, path, meta),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&holder, &path, &meta, &mut entry)?;
                self.files.insert(path);
                Ok(())
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.replace(&holder, &path, || symlinkat(target.as_slice(), &holder, path.name()))?;
                self.settle(&holder, &path, &meta)
            }
            EntryType::Fifo => {
                let mode = meta.mode;
                self.replace(&holder, &path, || mknodat(&holder, path.name(), FileType::Fifo, mode, 0))?;
                self.settle(&holder, &path, &meta)
            }
            EntryType::Link => self.link(&holder, &path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Char | EntryType::Block => {
                let name = self.name(&path);
                (self.warn)(format!("{name} is a device and is left out"));
                Ok(())
            }
            _ => {
                let name = self.name(&path);
                (self.warn)(format!("{name} is of a kind that is not known and is left out"));
                Ok(())
            }
        }
    }

    fn meta<R: Read>(&self, entry: &Entry<'_, R>) -> Result<Meta, TransferError> {
        let header = entry.header();
        let mode = header.mode().map_err(TransferError::Archive)?;
        // Another's rights are not for whoever receives the file: set-user-id is for the owner that it had.
        let mask = match (self.place, self.owners) {
            (Place::Caller, Owners::Receiver) => 0o1777,
            (Place::Container, _) | (_, Owners::Kept) => 0o7777,
        };
        let id = |id: io::Result<u64>| {
            let id = id.map_err(TransferError::Archive)?;
            u32::try_from(id).map_err(|error| TransferError::Archive(io::Error::other(error)))
        };
        let owner = match self.owners {
            Owners::Receiver => None,
            Owners::Kept => Some((Uid::from_raw(id(header.uid())?), Gid::from_raw(id(header.gid())?))),
        };
        let seconds = header.mtime().map_err(TransferError::Archive)?;
        let tv_sec = i64::try_from(seconds).unwrap_or(0);
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec: 0 },
        };
        Ok(Meta { mode: Mode::from_raw_mode(mode & mask), owner, times })
    }

    /// The directory that an entry goes into. One that the archive lacks is made.
    fn holder(&mut self, path: &ImagePath) -> Result<OwnedFd, TransferError> {
        let parent = path.parent().unwrap_or_default();
        match self.open(&parent) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            opened => return opened.map_err(TransferError::io("open", bytes(&self.whole(&parent)))),
        }
        let mut above: Vec<ImagePath> = parent.ancestors().filter(|path| !path.is_root()).collect();
        above.sort();
        for missing in above.into_iter().chain([parent.clone()]) {
            let holder = self.open(&missing.parent().unwrap_or_default());
            let holder = holder.map_err(TransferError::io("open", bytes(&self.whole(&missing))))?;
            match mkdirat(&holder, missing.name(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(TransferError::io("make", bytes(&self.whole(&missing)))(errno)),
            }
        }
        self.open(&parent).map_err(TransferError::io("open", bytes(&self.whole(&parent))))
    }

    /// A directory below, through no symlink: one may have been put in its way since it was made.
    fn open(&self, path: &ImagePath) -> io::Result<OwnedFd> {
        if path.is_root() {
            return Ok(self.dir.try_clone()?);
        }
        beneath::open_dir(&self.dir, path)
    }

    fn directory(&mut self, holder: &OwnedFd, path: ImagePath, meta: Meta) -> Result<(), TransferError> {
        match mkdirat(holder, path.name(), Mode::RWXU) {
            Ok(()) => {
                self.directories.push((path, meta));
                Ok(())
            }
            // What is there stays as it is, and is added to.
            Err(Errno::EXIST) => match self.open(&path) {
                Ok(_) => Ok(()),
                Err(_) => Err(TransferError::DirectoryOverFile { path: self.name(&path) }),
            },
            Err(errno) => Err(TransferError::io("make", bytes(&self.whole(&path)))(errno)),
        }
    }

    fn file<R: Read>(
        &self,
        holder: &OwnedFd,
        path: &ImagePath,
        meta: &Meta,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), TransferError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let made = self.replace(holder, path, || openat(holder, path.name(), flags, mode))?;
        let whole = self.whole(path);
        let at = bytes(&whole);
        let (fd, is_new) = match made {
            Some(fd) => (fd, true),
            None => (self.mounted(holder, path)?, false),
        };
        let mut file = File::from(fd);
        let size = entry.size();
        let copied = io::copy(&mut entry.take(size), &mut file).map_err(TransferError::io("write", at))?;
        if copied < size {
            return Err(TransferError::Cut);
        }
        if is_new { set(&file, meta, at) } else { Ok(()) }
    }

    /// A file that something is mounted on: its bytes are replaced, it is what it was.
    fn mounted(&self, holder: &OwnedFd, path: &ImagePath) -> Result<OwnedFd, TransferError> {
        let whole = self.whole(path);
        let io = |errno: Errno| TransferError::io("write", bytes(&whole))(errno);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(holder, path.name(), flags, Mode::empty()).map_err(io)?;
        if FileType::from_raw_mode(fstat(&file).map_err(io)?.st_mode) != FileType::RegularFile {
            return Err(io(Errno::BUSY));
        }
        ftruncate(&file, 0).map_err(io)?;
        Ok(file)
    }

    /// Makes something in the place of whatever is there, if that is no directory. `None` if it cannot be taken away, since
    /// something is mounted on it.
    fn replace<T>(
        &self,
        holder: &OwnedFd,
        path: &ImagePath,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<Option<T>, TransferError> {
        let whole = self.whole(path);
        let at = bytes(&whole);
        for _ in 0..TRIES {
            match make() {
                Err(Errno::EXIST) => {}
                made => return made.map(Some).map_err(TransferError::io("make", at)),
            }
            match unlinkat(holder, path.name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY) => return Ok(None),
                Err(Errno::ISDIR) => return Err(TransferError::FileOverDirectory { path: self.name(path) }),
                Err(errno) => return Err(TransferError::io("replace", at)(errno)),
            }
        }
        Err(TransferError::io("replace", at)(Errno::EXIST))
    }

    fn link(&self, holder: &OwnedFd, path: &ImagePath, target: &[u8]) -> Result<(), TransferError> {
        let unknown = || TransferError::Link { path: self.name(path), target: shown(target) };
        let first = self.names.of(target)?;
        if !self.files.contains(&first) {
            return Err(unknown());
        }
        let from = self.open(&first.parent().unwrap_or_default());
        let from = from.map_err(TransferError::io("open", bytes(&self.whole(&first))))?;
        let link = || linkat(&from, first.name(), holder, path.name(), AtFlags::empty());
        self.replace(holder, path, link)?.ok_or_else(unknown)
    }

    /// Owner and time of what cannot be opened.
    fn settle(&self, holder: &OwnedFd, path: &ImagePath, meta: &Meta) -> Result<(), TransferError> {
        let whole = self.whole(path);
        let at = bytes(&whole);
        if let Some((uid, gid)) = meta.owner {
            chownat(holder, path.name(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(TransferError::io("set the owner of", at))?;
        }
        utimensat(holder, path.name(), &meta.times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(TransferError::io("set the time of", at))
    }

    fn finish_directories(&mut self) -> Result<(), TransferError> {
        for (path, meta) in std::mem::take(&mut self.directories).into_iter().rev() {
            let whole = self.whole(&path);
            let opened = self.open(&path).map_err(TransferError::io("open", bytes(&whole)))?;
            set(&opened, &meta, bytes(&whole))?;
        }
        Ok(())
    }

    fn whole(&self, path: &ImagePath) -> PathBuf {
        self.shown.join(path.as_os_str())
    }

    fn name(&self, path: &ImagePath) -> String {
        shown(bytes(&self.whole(path)))
    }
}

fn set(fd: impl AsFd, meta: &Meta, at: &[u8]) -> Result<(), TransferError> {
    if let Some((uid, gid)) = meta.owner {
        fchown(&fd, Some(uid), Some(gid)).map_err(TransferError::io("set the owner of", at))?;
    }
    // The owner's change takes set-user-id away.
    fchmod(&fd, meta.mode).map_err(TransferError::io("set the mode of", at))?;
    futimens(&fd, &meta.times).map_err(TransferError::io("set the time of", at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn header(name: &str, kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        (header.set_uid(0), header.set_gid(0), header.set_mtime(7), header.set_size(size));
        header
    }

    /// A tar of entries: name, kind, what a link leads to or a file holds.
    fn tar(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            let body = if is_link { "" } else { text };
            let mut header = header(name, *kind, body.len() as u64);
            if is_link {
                header.set_link_name_literal(text).unwrap();
            }
            header.set_cksum();
            builder.append(&header, body.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn put(dir: &Path, form: Form, tar: &[u8]) -> Result<Vec<String>, TransferError> {
        let what = Incoming { path: dir.join("in"), form, owners: Owners::Receiver };
        let mut left_out = Vec::new();
        receive(Place::Caller, &what, tar, &mut |line| left_out.push(line)).map(|()| left_out)
    }

    /// S29: whatever a container's side might send, and whatever is in the way here.
    #[test]
    fn nothing_lands_outside() {
        let (regular, directory) = (EntryType::Regular, EntryType::Directory);
        let hostile: [&[(&str, EntryType, &str)]; 8] = [
            &[("../x", regular, "bad")],
            &[("a/../../x", regular, "bad")],
            &[("way", EntryType::Symlink, ".."), ("way/x", regular, "bad")],
            &[("way", EntryType::Symlink, "../out"), ("way", directory, ""), ("way/x", regular, "bad")],
            &[("hard", EntryType::Link, "../out/kept"), ("hard", regular, "bad")],
            &[("hard", EntryType::Link, "there/kept"), ("hard", regular, "bad")],
            &[("there/x", regular, "bad")],
            &[("there", directory, ""), ("there/x", regular, "bad")],
        ];
        for entries in hostile {
            let scratch = tempfile::tempdir().unwrap();
            let (out, into) = (scratch.path().join("out"), scratch.path().join("in"));
            fs::create_dir(&out).unwrap();
            fs::create_dir(&into).unwrap();
            fs::write(out.join("kept"), "kept").unwrap();
            // The person's own link: nothing that is sent goes through it.
            symlink("../out", into.join("there")).unwrap();
            put(scratch.path(), Form::Archive, &tar(entries)).unwrap_err();
            assert_eq!(fs::read_to_string(out.join("kept")).unwrap(), "kept", "{entries:?}");
            assert!(!out.join("x").exists() && !scratch.path().join("x").exists(), "{entries:?}");
        }
    }

    #[test]
    fn links_are_replaced_and_rights_of_others_dropped() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = tempfile::tempdir().unwrap();
        let into = scratch.path().join("in");
        fs::create_dir(&into).unwrap();
        fs::write(scratch.path().join("kept"), "kept").unwrap();
        symlink("../kept", into.join("link")).unwrap();
        let entries = [
            ("link", EntryType::Regular, "new"),
            ("deep/er/file", EntryType::Regular, "x"),
            ("again", EntryType::Link, "deep/er/file"),
            ("null", EntryType::Char, ""),
        ];
        let left_out = put(scratch.path(), Form::Archive, &tar(&entries)).unwrap();
        assert!(left_out.len() == 1 && left_out[0].contains("null is a device"), "{left_out:?}");
        assert_eq!(fs::read_to_string(into.join("link")).unwrap(), "new");
        assert_eq!(fs::read_to_string(scratch.path().join("kept")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(into.join("again")).unwrap(), "x");
        assert_eq!(fs::metadata(into.join("link")).unwrap().permissions().mode() & 0o7777, 0o755);
        // A directory is never taken away for something else.
        let over = put(scratch.path(), Form::Archive, &tar(&[("deep", EntryType::Regular, "x")]));
        assert!(matches!(over, Err(TransferError::FileOverDirectory { .. })), "{over:?}");
        let whole = tar(&entries);
        let cut = put(scratch.path(), Form::Archive, &whole[..700]);
        assert!(cut.is_err());
    }
}
