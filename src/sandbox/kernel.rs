//! `/proc` and `/sys`: fresh, without what would show or change the host.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statfs};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::sys;
use crate::sys::mount::{Opt, Reach};

use super::devices::Devices;
use super::failure::{Doing as _, SetupError};
use super::root::Staging;
use super::spec::World;
use super::target::Tree;
use super::{files, world};

/// Hidden: containers' customary list (moby `oci/defaults.go`).
const MASKED_PROC: [&CStr; 11] = [
    c"acpi",
    c"asound",
    c"interrupts",
    c"kcore",
    c"keys",
    c"latency_stats",
    c"sched_debug",
    c"scsi",
    c"timer_list",
    c"timer_stats",
    c"kpagecount",
];
const MASKED_SYS: [&CStr; 2] = [c"firmware", c"devices/virtual/powercap"];
/// Shown, never to be written.
const READ_ONLY_PROC: [&CStr; 5] = [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];

/// Absolute paths that a process finds empty.
pub fn masked() -> Vec<String> {
    let sys = MASKED_SYS.iter().map(|name| shown("/sys", name));
    MASKED_PROC.iter().map(|name| shown("/proc", name)).chain(sys).collect()
}

/// Absolute paths that a process can only read, besides `/sys`, which is so as a whole.
pub fn read_only() -> Vec<String> {
    READ_ONLY_PROC.iter().map(|name| shown("/proc", name)).collect()
}

fn shown(dir: &str, name: &CStr) -> String {
    format!("{dir}/{}", name.to_string_lossy())
}

const LOCKED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const READ_ONLY: MountAttrFlags = LOCKED.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Mounts a `/proc` of this pid namespace, masked.
pub(super) fn mount_proc(tree: &mut Tree, staging: &Staging, devices: &Devices) -> Result<(), SetupError> {
    let target = tree.mount_point("proc")?;
    let proc = sys::mount::file_system("proc", &[], LOCKED).doing("make", "/proc")?;
    sys::mount::attach(&proc, target).doing("mount", "/proc")?;
    let empty = staging.subdirectory("empty-proc")?;
    for name in READ_ONLY_PROC {
        let shown = shown("/proc", name);
        if let Some(place) = find(&proc, name).doing("open", &shown)? {
            sys::mount::clone(&proc, name, Reach::Tree, READ_ONLY)
                .and_then(|mount| sys::mount::attach(mount, place))
                .doing("make read-only", &shown)?;
        }
    }
    for name in MASKED_PROC {
        mask(&proc, name, &empty, devices.null()).doing("mask", shown("/proc", name))?;
    }
    Ok(())
}

/// Shows files of `/proc` and `/sys` as they are in another world, where the kernel has such files at all.
pub(super) fn show_world(tree: &Tree, staging: &Staging, world: &World) -> Result<(), SetupError> {
    let proc = world::proc_files(world);
    let files = [("proc", proc), ("sys", world::sys_files(world.processors))];
    for (number, (dir, files)) in files.into_iter().enumerate() {
        for (at, (name, text)) in files.into_iter().enumerate() {
            let path = CString::new(format!("{dir}/{name}")).expect("no zero byte in it");
            let shown = format!("/{dir}/{name}");
            if let Some(place) = find(tree.root(), &path).doing("open", &shown)? {
                let file = format!("world-{number}-{at}");
                let mount = files::read_only(staging, &file, text.as_bytes(), (0o444, 0, 0))?;
                sys::mount::attach(mount, place).doing("mount", &shown)?;
            }
        }
    }
    Ok(())
}

/// Mounts `/proc` and `/sys` as they are, for a step that is to have all powers.
pub(super) fn mount_open(tree: &mut Tree, hermetic: bool) -> Result<(), SetupError> {
    let target = tree.mount_point("proc")?;
    let proc = sys::mount::file_system("proc", &[], LOCKED).doing("make", "/proc")?;
    sys::mount::attach(&proc, target).doing("mount", "/proc")?;
    let target = tree.mount_point("sys")?;
    let sys = sysfs(LOCKED)?;
    sys::mount::attach(&sys, target).doing("mount", "/sys")?;
    mount_cgroups(&sys, hermetic, LOCKED)
}

/// Mounts `/sys` read-only, with a view of cgroups that changes nothing.
pub(super) fn mount_sys(tree: &mut Tree, staging: &Staging, hermetic: bool) -> Result<(), SetupError> {
    let target = tree.mount_point("sys")?;
    let sys = sysfs(READ_ONLY)?;
    sys::mount::attach(&sys, target).doing("mount", "/sys")?;
    let empty = staging.subdirectory("empty-sys")?;
    for name in MASKED_SYS {
        mask(&sys, name, &empty, &empty).doing("mask", shown("/sys", name))?;
    }
    mount_cgroups(&sys, hermetic, READ_ONLY)
}

fn mount_cgroups(sys: &OwnedFd, hermetic: bool, attributes: MountAttrFlags) -> Result<(), SetupError> {
    let Some(place) = find(sys, c"fs/cgroup").doing("open", "/sys/fs/cgroup")? else { return Ok(()) };
    sys::mount::attach(cgroups(hermetic, attributes)?, place).doing("mount", "/sys/fs/cgroup")
}

/// A sysfs of the network namespace; the host's where that namespace belongs to somebody else.
fn sysfs(attributes: MountAttrFlags) -> Result<OwnedFd, SetupError> {
    match sys::mount::file_system("sysfs", &[], attributes) {
        Ok(mount) => Ok(mount),
        Err(error) if error.errno == Errno::PERM => {
            sys::mount::clone(CWD, c"/sys", Reach::Tree, attributes).doing("mount", "the host's /sys")
        }
        Err(error) => Err(error).doing("make", "/sys"),
    }
}

/// The cgroup the sandbox is in, as its root; an empty directory for a hermetic step or an old hierarchy.
fn cgroups(hermetic: bool, attributes: MountAttrFlags) -> Result<OwnedFd, SetupError> {
    let unified = statfs(c"/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC);
    if unified
        && !hermetic
        && let Ok(mount) = sys::mount::file_system("cgroup2", &[], attributes)
    {
        return Ok(mount);
    }
    sys::mount::file_system("tmpfs", &[Opt::Value("mode", "0755")], READ_ONLY).doing("make", "/sys/fs/cgroup")
}

/// Covers a file with the null device or a directory with an empty one. What is not there needs no mask.
fn mask(fs: &OwnedFd, name: &CStr, empty: &OwnedFd, null: &OwnedFd) -> rustix::io::Result<()> {
    let Some(place) = find(fs, name)? else { return Ok(()) };
    let directory = FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory;
    let cover = if directory {
        sys::mount::clone(empty, c"", Reach::One, READ_ONLY)?
    } else {
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        sys::mount::clone(null, c"", Reach::One, flags)?
    };
    sys::mount::attach(cover, place)
}

/// Opens a path within one mounted kernel file system.
fn find(fs: impl AsFd, name: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(fs, CString::from(name), flags, Mode::empty(), inside) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
