//! Extended attributes of open files.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Attempts before an attribute that keeps growing is given up.
const ATTEMPTS: usize = 8;

/// Name and value of every attribute whose name is wanted, sorted by name. Empty where the file system has none.
///
/// # Errors
/// Of `flistxattr` and `fgetxattr`. An attribute that vanishes in between is left out.
pub fn read(fd: impl AsFd, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = grown(256, |buffer| rustix::fs::flistxattr(&fd, buffer));
    let list = match list {
        Ok(list) => list,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty() && wanted(name)) {
        if let Some(value) = get(&fd, name)? {
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// One attribute; `None` if it is not there or the file system has none.
pub fn get(fd: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match grown(128, |buffer| rustix::fs::fgetxattr(&fd, name, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets one attribute, new or not.
pub fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(fd, name, value, rustix::fs::XattrFlags::empty())?)
}

/// Removes one attribute; it is no error if it is not there.
pub fn remove(fd: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::fremovexattr(fd, name) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Calls with a larger buffer until the answer fits.
fn grown(start: usize, call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; start];
    for _ in 0..ATTEMPTS {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            // At least 64 KiB is the most that the VFS passes on, so the third attempt has room.
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 16, 0),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}
