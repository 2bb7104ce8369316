//! Files that appear whole or not at all, and advisory locks.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// Adds the act and the path to an error of the system.
pub fn context(error: io::Error, act: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{act} {}: {error}", path.display()))
}

/// A file without a name, on the file system of the directory it was made for. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    /// Set where the file system has no O_TMPFILE: a name in the same directory instead.
    named: Option<PathBuf>,
}

/// Whether publishing made the name or found it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    New,
    Existed,
}

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// What tells this process from others that had its number before.
static SALT: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

/// A name that no other process uses in the same directory, nor has used.
pub fn unique_name() -> String {
    format!("{}-{:016x}-{}", std::process::id(), *SALT, SERIAL.fetch_add(1, Ordering::Relaxed))
}

impl Unnamed {
    /// Opens an unnamed file for reading and writing in `dir`, mode 0644 under any umask.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(dir, flags, Mode::from_raw_mode(0o644)) {
            Ok(fd) => Ok(Self { file: File::from(fd), named: None }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
                Self::with_name(dir)
            }
            Err(error) => Err(context(error.into(), "create a temporary file in", dir)),
        }
    }

    fn with_name(dir: &Path) -> io::Result<Self> {
        let path = dir.join(unique_name());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| context(e, "create", &path))?;
        Ok(Self { file, named: Some(path) })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, unless something has that name already.
    pub fn publish(mut self, dest: &Path) -> io::Result<Published> {
        let linked = match self.named.take() {
            Some(path) => {
                let linked = fs::hard_link(&path, dest);
                fs::remove_file(&path).map_err(|e| context(e, "remove", &path))?;
                linked
            }
            None => {
                let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, source, CWD, dest, AtFlags::SYMLINK_FOLLOW).map_err(Into::into)
            }
        };
        match linked {
            Ok(()) => Ok(Published::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Existed),
            Err(error) => Err(context(error, "link", dest)),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            let _ = fs::remove_file(path);
        }
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a write must survive a power cut before the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Synced before it gets its name, and the name after.
    Synced,
    /// Whoever reads it checks it, and can make it again.
    Cached,
}

/// Opens a file that nobody may have named, or that is read whole: a FIFO or a device there must not hold a build up.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// Reads a small file whole, if it is one: no FIFO or device, no more than `limit` bytes.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Makes two directories change places, so that each path leads to a whole one at any moment. Where the file system
/// cannot, the second is away for a moment.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::RenameFlags;
    match rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let aside = a.with_file_name(unique_name());
            fs::rename(b, &aside).and_then(|()| fs::rename(a, b)).and_then(|()| fs::rename(&aside, a))
        }
        done => done.map_err(Into::into),
    }
    .map_err(|e| context(e, "put in place", b))
}

/// Replaces a file by new bytes: readers see the old or the new, never a part.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let dir = path.parent().expect("a file of the store has a directory");
    let temp = dir.join(format!(".{}", unique_name()));
    let written = write_new(&temp, bytes, durability).and_then(|()| fs::rename(&temp, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temp);
        return Err(context(error, "write", path));
    }
    if durability == Durability::Synced {
        sync_dir(dir)?;
    }
    Ok(())
}

/// Writes a file of a directory that nobody looks into yet.
pub fn create(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    write_new(path, bytes, durability).map_err(|e| context(e, "write", path))
}

fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Synced => file.sync_data(),
        Durability::Cached => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| context(e, "sync", dir))
}

/// How a lock is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Shared,
    Exclusive,
}

/// A kernel lock on a file; it ends with the value or with the process, whatever happens to it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the lock.
    pub fn wait(path: &Path, hold: Hold) -> io::Result<Self> {
        let file = open_lock(path)?;
        let locked = match hold {
            Hold::Shared => file.lock_shared(),
            Hold::Exclusive => file.lock(),
        };
        locked.map_err(|e| context(e, "lock", path))?;
        Ok(Self { file })
    }

    /// Waits for the lock on a directory that is there.
    pub fn directory(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.lock()?;
        Ok(Self { file })
    }

    /// Takes the lock on a directory that is there if nobody else holds it.
    pub fn attempt_directory(path: &Path) -> io::Result<Option<Self>> {
        Self::take(File::open(path)?, path, Hold::Exclusive)
    }

    /// Takes the lock if nobody else holds it in a way that excludes it.
    pub fn attempt(path: &Path, hold: Hold) -> io::Result<Option<Self>> {
        Self::take(open_lock(path)?, path, hold)
    }

    /// As [`Lock::attempt`], of a file that is there.
    pub fn attempt_existing(path: &Path, hold: Hold) -> io::Result<Option<Self>> {
        let file = File::open(path).map_err(|e| context(e, "open lock", path))?;
        Self::take(file, path, hold)
    }

    /// The lock that a descriptor came with: it is held as long as one of its copies is open anywhere.
    pub fn inherited(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }

    fn take(file: File, path: &Path, hold: Hold) -> io::Result<Option<Self>> {
        let locked = match hold {
            Hold::Shared => file.try_lock_shared(),
            Hold::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(Some(Self { file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(context(error, "lock", path)),
        }
    }
}

/// To be handed on to another process, which then holds it too.
impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .or_else(|error| match error.raw_os_error() {
            // A read-only store can still be read under a shared lock.
            Some(code) if code == rustix::io::Errno::ROFS.raw_os_error() => File::open(path),
            _ => Err(error),
        })
        .map_err(|e| context(e, "open lock", path))
}

/// What tells this boot of the machine from others.
pub fn boot_id() -> io::Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map_err(|e| context(e, "read", path))
}

/// A part of a file, read without moving its position.
pub struct Section<F> {
    pub file: F,
    /// Where the part begins, or what is left of it.
    pub at: u64,
    /// Bytes that are left.
    pub left: u64,
}

impl<F: std::ops::Deref<Target = File>> Read for Section<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unnamed_file_gets_its_name_once() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("x");
        for (bytes, published) in [(b"1", Published::New), (b"2", Published::Existed)] {
            let mut file = Unnamed::new(dir.path()).unwrap();
            file.write_all(bytes).unwrap();
            assert_eq!(file.publish(&dest).unwrap(), published);
        }
        assert_eq!(fs::read(&dest).unwrap(), b"1");
        drop(Unnamed::with_name(dir.path()).unwrap());
        let mut named = Unnamed::with_name(dir.path()).unwrap();
        named.write_all(b"3").unwrap();
        assert_eq!(named.publish(&dir.path().join("y")).unwrap(), Published::New);
        let left = rustix::fs::Dir::read_from(File::open(dir.path()).unwrap()).unwrap().count();
        assert_eq!(left, 4, ". .. x y and nothing else");
    }

    #[test]
    fn an_exclusive_lock_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::wait(&path, Hold::Exclusive).unwrap();
        assert!(Lock::attempt(&path, Hold::Shared).unwrap().is_none());
        drop(held);
        assert!(Lock::attempt(&path, Hold::Shared).unwrap().is_some());
    }
}
