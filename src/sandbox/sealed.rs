//! This program as a descriptor that can be executed but through which nobody can write to it.
//!
//! A process in a sandbox may get hold of the `/proc/PID/exe` of the helper that starts it, and open that for
//! writing once the helper is gone (CVE-2019-5736).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fstat, fstatvfs,
    memfd_create, openat,
};
use rustix::io::{Errno, Result};
use rustix::mount::MountAttrFlags;

use crate::sys::mount::{Reach, clone};

/// Opens a program behind a read-only mount that is nowhere, or where that cannot be, as a sealed copy. One that lies
/// behind a read-only mount already is only opened.
pub fn open(program: &Path) -> Result<OwnedFd> {
    let opened = openat(CWD, program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if fstatvfs(&opened)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(opened);
    }
    drop(opened);
    read_only_mount(program).or_else(|_| sealed_copy(program))
}

fn read_only_mount(program: &Path) -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    match clone(CWD, &path, Reach::One, attributes) {
        // A process that moved to another mount namespace was executed from a mount of the old one: the same
        // file is found by name in the new one.
        Err(Errno::INVAL) => clone(same_file_by_name(program)?, c"", Reach::One, attributes),
        other => other,
    }
}

fn same_file_by_name(program: &Path) -> Result<OwnedFd> {
    let name = rustix::fs::readlinkat(CWD, program, Vec::new())?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat(CWD, name.as_c_str(), flags, Mode::empty())?;
    let (wanted, got) = (rustix::fs::stat(program)?, fstat(&found)?);
    let same = (wanted.st_dev, wanted.st_ino) == (got.st_dev, got.st_ino);
    if same { Ok(found) } else { Err(Errno::NOENT) }
}

fn sealed_copy(program: &Path) -> Result<OwnedFd> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("lith", flags)?);
    std::io::copy(&mut File::open(program).map_err(io)?, &mut copy).map_err(io)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, seals)?;
    // Executing needs a descriptor that is not open for writing.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_copy_cannot_be_written_and_is_whole() {
        let copy = sealed_copy(Path::new("/proc/self/exe")).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
        let written = File::options().write(true).open(path).and_then(|mut file| file.write(b"x"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(1));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        File::from(copy).read_to_end(&mut a).unwrap();
        File::open("/proc/self/exe").unwrap().read_to_end(&mut b).unwrap();
        assert!(a == b);
    }
}
