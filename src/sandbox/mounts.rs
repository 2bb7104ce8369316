//! What a step asked to have mounted: other file systems, host directories, memory. In the order given, so that a later
//! one may lie inside an earlier one.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::mount::Overlay;
use crate::sys;
use crate::sys::mount::{Opt, Reach};

use super::failure::{Doing as _, SetupError};
use super::files;
use super::launch::Writes;
use super::root::{Stack, Staging};
use super::spec::{Access, Mount, Mounted};
use super::target::{Kind, Tree};

/// Devices never: no cgroup guards them. Set-user-id programs work, as they do in the root.
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;

/// Mounts all.
pub(super) fn mount(tree: &mut Tree, staging: &Staging, mounts: &[Mount]) -> Result<(), SetupError> {
    for (number, mount) in mounts.iter().enumerate() {
        let made = match &mount.what {
            Mounted::Overlay { overlay, source, access } => {
                overlay_path(staging, Stack::Mount(number), overlay, source, *access)?
            }
            Mounted::Directory { path, access } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = open(path, flags, Mode::empty()).doing("open", path.display())?;
                sys::mount::clone(&dir, c"", Reach::One, attributes(*access))
                    .doing("mount", path.display())?
            }
            Mounted::Host { path, access } => host(path, *access)?,
            Mounted::Socket { path } => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let socket = open(path, flags, Mode::empty()).doing("open", path.display())?;
                sys::mount::clone(&socket, c"", Reach::One, NODEV | NOSUID).doing("mount", path.display())?
            }
            Mounted::File { bytes, mode, uid, gid } => {
                files::read_only(staging, &Stack::Mount(number).name("file"), bytes, (*mode, *uid, *gid))?
            }
            Mounted::Tmpfs { size, access } => tmpfs(*size, *access)?,
        };
        let kind = match FileType::from_raw_mode(fstat(&made).doing("look at", "a mount")?.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        let target = tree.place(&mount.target, kind)?;
        sys::mount::attach(made, target).doing("mount at", mount.target.display())?;
    }
    Ok(())
}

fn attributes(access: Access) -> MountAttrFlags {
    match access {
        Access::ReadOnly => NODEV.union(MountAttrFlags::MOUNT_ATTR_RDONLY),
        Access::ReadWrite => NODEV,
    }
}

fn tmpfs(size: Option<u64>, access: Access) -> Result<OwnedFd, SetupError> {
    let size = size.map(|bytes| bytes.to_string());
    let mut options = vec![Opt::Value("mode", "1777")];
    options.extend(size.as_deref().map(|bytes| Opt::Value("size", bytes)));
    sys::mount::file_system("tmpfs", &options, attributes(access) | NOSUID).doing("make", "a tmpfs")
}

/// What a path of the host leads to, with its own mounts.
fn host(path: &Path, access: Access) -> Result<OwnedFd, SetupError> {
    let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing("open", path.display())?;
    sys::mount::clone(&found, c"", Reach::Tree, attributes(access)).doing("mount", path.display())
}

/// What a mount needs for a place.
pub(super) fn kind(mount: &Mount) -> Result<Kind, SetupError> {
    let of_type = |file_type| match file_type {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    match &mount.what {
        Mounted::Directory { .. } | Mounted::Tmpfs { .. } | Mounted::Overlay { .. } => Ok(Kind::Directory),
        Mounted::Socket { .. } | Mounted::File { .. } => Ok(Kind::File),
        Mounted::Host { path, .. } => {
            let stat = rustix::fs::stat(path).doing("look at", path.display())?;
            Ok(of_type(FileType::from_raw_mode(stat.st_mode)))
        }
    }
}

/// A file or directory of another root file system.
fn overlay_path(
    staging: &Staging,
    stack: Stack,
    overlay: &Overlay,
    source: &Path,
    access: Access,
) -> Result<OwnedFd, SetupError> {
    let whole = staging.overlay(stack, overlay, Writes::Volatile, NODEV)?;
    let place = staging.subdirectory(&stack.name("whole"))?;
    sys::mount::attach(&whole, place).doing("mount", "files for a mount")?;
    // It was resolved by whoever asked, so nothing on the way is a symbolic link.
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if source.as_os_str().is_empty() { Path::new(".") } else { source };
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
    let found = path.and_then(|path| openat2(&whole, path, flags, Mode::empty(), inside));
    let found = found.doing("open", source.display())?;
    sys::mount::clone(&found, c"", Reach::One, attributes(access)).doing("mount", source.display())
}
