//! Mounts without paths: file systems and clones of mounts as descriptors (fsopen(2), open_tree(2),
//! mount_setattr(2), move_mount(2)).

#![allow(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, move_mount,
    open_tree,
};

/// One option of a file system.
#[derive(Debug, Clone, Copy)]
pub enum Opt<'a> {
    Flag(&'a str),
    Value(&'a str, &'a str),
}

/// Why a file system could not be made.
#[derive(Debug)]
pub struct FsError {
    pub errno: Errno,
    /// What the file system itself said, if anything.
    pub log: String,
}

/// A file system under construction.
pub struct Config(OwnedFd);

impl Config {
    /// Starts on a file system of the given type.
    pub fn open(kind: &str) -> std::result::Result<Self, FsError> {
        let fd = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| FsError { errno, log: String::new() })?;
        Ok(Self(fd))
    }

    /// Sets an option.
    pub fn set(&self, option: Opt<'_>) -> std::result::Result<(), FsError> {
        let done = match option {
            Opt::Flag(key) => fsconfig_set_flag(self.0.as_fd(), key),
            Opt::Value(key, value) => fsconfig_set_string(self.0.as_fd(), key, value),
        };
        done.map_err(|errno| self.error(errno))
    }

    /// Makes the file system and a mount of it that is nowhere yet.
    pub fn mount(self, attributes: MountAttrFlags) -> std::result::Result<OwnedFd, FsError> {
        fsconfig_create(self.0.as_fd()).map_err(|errno| self.error(errno))?;
        fsmount(self.0.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|errno| self.error(errno))
    }

    /// Takes up the file system that is mounted at a path, to change it.
    fn pick(path: &std::ffi::CStr) -> std::result::Result<Self, FsError> {
        let fd = fspick(rustix::fs::CWD, path, FsPickFlags::FSPICK_CLOEXEC)
            .map_err(|errno| FsError { errno, log: String::new() })?;
        Ok(Self(fd))
    }

    fn error(&self, errno: Errno) -> FsError {
        let mut log = Vec::new();
        let mut line = [0; 512];
        while let Ok(length @ 1..) = rustix::io::read(&self.0, &mut line) {
            log.extend_from_slice(&line[..length]);
        }
        FsError { errno, log: String::from_utf8_lossy(&log).trim().to_owned() }
    }
}

/// Makes a file system in one go.
pub fn file_system(
    kind: &str,
    options: &[Opt<'_>],
    attributes: MountAttrFlags,
) -> std::result::Result<OwnedFd, FsError> {
    let config = Config::open(kind)?;
    config.set(Opt::Value("source", kind))?;
    options.iter().try_for_each(|option| config.set(*option))?;
    config.mount(attributes)
}

/// Makes the file system that is mounted at a path read-only, in every mount of it and for every descriptor.
///
/// # Errors
/// `EBUSY` while somebody has a file of it open for writing, or one that has no name left open at all.
pub fn make_read_only(path: &std::ffi::CStr) -> std::result::Result<(), FsError> {
    let config = Config::pick(path)?;
    config.set(Opt::Flag("ro"))?;
    fsconfig_reconfigure(config.0.as_fd()).map_err(|errno| config.error(errno))
}

/// How far a clone of a mount reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount that holds the path.
    One,
    /// That and all mounted below it.
    Tree,
}

/// Clones the mount that holds `path` below `dir`, with the path as its root; `""` is `dir` itself. Attributes
/// are added to the clone before anyone can see it.
pub fn clone(
    dir: impl AsFd,
    path: &std::ffi::CStr,
    reach: Reach,
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let mount = open_tree(dir, path, flags)?;
    set_attributes(&mount, reach, attributes, MountAttrFlags::empty())?;
    Ok(mount)
}

/// Lets programs of a mount be executed, which the one that it was cloned from forbids.
pub fn allow_execution(mount: &OwnedFd) -> Result<()> {
    set_attributes(mount, Reach::One, MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// Adds attributes to a mount, or to it and all below, and takes others away.
fn set_attributes(mount: &OwnedFd, reach: Reach, set: MountAttrFlags, clear: MountAttrFlags) -> Result<()> {
    /// `struct mount_attr` of mount_setattr(2).
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let (set, clear) = (u64::from(set.bits()), u64::from(clear.bits()));
    let attr = MountAttr { set, clear, propagation: 0, user_namespace: 0 };
    let flags = match reach {
        Reach::One => libc::AT_EMPTY_PATH,
        Reach::Tree => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: the empty path is a C string, the struct has the size given and outlives the call, which reads it.
    let code = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Puts a mount on top of what `target` names, a descriptor opened beforehand.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Takes a mount off a directory below `dir`; what still uses it keeps it.
pub fn detach(name: &std::ffi::CStr, dir: impl AsFd) -> Result<()> {
    use rustix::mount::{UnmountFlags, unmount};
    use rustix::process::fchdir;
    // umount2(2) takes no descriptor of a directory to begin at.
    fchdir(dir)?;
    unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// Takes a mount off a directory.
///
/// # Errors
/// `EBUSY` while something uses it.
pub fn unmount(dir: &std::path::Path) -> Result<()> {
    rustix::mount::unmount(dir, rustix::mount::UnmountFlags::NOFOLLOW)
}

/// Cuts all mounts of the calling thread's namespace off from those they were copied from.
pub fn make_private() -> Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Makes the mount `over`, which lies on the root, and then the mount `root` in it, the root of the calling
/// thread's namespace, and cuts off all others. `over` must have an empty directory of the name given.
///
/// In two steps since "the mount on top of the new root", which a single step would have to take off, is `over` and
/// not the old root: the host would stay reachable below.
pub fn pivot(over: impl AsFd, directory: &std::ffi::CStr, root: impl AsFd) -> Result<()> {
    use rustix::mount::{UnmountFlags, unmount};
    use rustix::process::{chdir, fchdir, pivot_root};
    fchdir(over)?;
    pivot_root(c".", directory)?;
    unmount(directory, UnmountFlags::DETACH)?;
    // More than one if something covered the host's root.
    while unmount(directory, UnmountFlags::DETACH).is_ok() {}
    fchdir(root)?;
    // The old root lands on top of the new one, from where it is taken off again: no directory is needed for it.
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}
