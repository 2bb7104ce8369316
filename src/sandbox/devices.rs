//! `/dev`: the devices every program may expect, and nothing of the host's.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fstat, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::sys;
use crate::sys::mount::{Opt, Reach};

use super::failure::{Doing as _, SetupError};
use super::root::Staging;
use super::spec::{Spec, Stdio, World};
use super::target::Tree;
use super::world::{Pool, open_pool};

/// Name, major and minor number (Documentation/admin-guide/devices.txt).
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What a step with all powers finds beside, as `RUN --security=insecure` does in BuildKit.
const MORE: [(&str, u32, u32); 5] =
    [("kmsg", 1, 11), ("cuse", 10, 203), ("fuse", 10, 229), ("kvm", 10, 232), ("loop-control", 10, 237)];
/// Loop devices it finds.
const LOOPS: u32 = 16;

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;

/// Those that a seeded pool takes the place of.
const RANDOM: [&str; 2] = ["random", "urandom"];

/// The nodes, each open as a path, checked to be what its name says.
pub(super) struct Devices(Vec<(&'static str, OwnedFd)>);

impl Devices {
    /// Makes nodes of our own, or where that is not allowed takes the host's.
    /// Where randomness is seeded one named pipe, which is given back as well, stands for both of its devices.
    pub(super) fn gather(staging: &Staging, seeded: bool) -> Result<(Self, Option<Pool>), SetupError> {
        let pool = if seeded { Some(pool(staging).doing("make", "a pool of randomness")?) } else { None };
        let nodes = NODES.into_iter().map(|(name, major, minor)| {
            let fd = match &pool {
                Some((_, path)) if RANDOM.contains(&name) => {
                    path.try_clone().map_err(|_| Errno::MFILE).doing("open once more", name)?
                }
                Some(_) | None => node(staging, name, major, minor).doing("make device", name)?,
            };
            Ok((name, fd))
        });
        Ok((Self(nodes.collect::<Result<_, SetupError>>()?), pool.map(|(pool, _)| pool)))
    }

    /// Whether a device of this name belongs to this sandbox alone.
    pub(super) fn is_own(&self, staging: &Staging, name: &str) -> bool {
        let device = |fd: &OwnedFd| fstat(fd).map(|stat| stat.st_dev).ok();
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.is_some_and(|(_, fd)| device(fd) == device(staging.dir()))
    }

    /// The null device.
    pub(super) fn null(&self) -> &OwnedFd {
        &self.0[0].1
    }
}

/// A named pipe, open for both ends, and as a path.
fn pool(staging: &Staging) -> rustix::io::Result<(Pool, OwnedFd)> {
    mknodat(staging.dir(), c"pool", FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok((open_pool(c"pool", staging.dir())?, openat(staging.dir(), c"pool", flags, Mode::empty())?))
}

fn node(staging: &Staging, name: &str, major: u32, minor: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let device = makedev(major, minor);
    let fd = match mknodat(staging.dir(), name, FileType::CharacterDevice, mode, device) {
        Ok(()) => openat(staging.dir(), name, flags, Mode::empty())?,
        Err(Errno::PERM) => openat(CWD, format!("/dev/{name}"), flags, Mode::empty())?,
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&fd)?;
    let right = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == device;
    if right { Ok(fd) } else { Err(Errno::NODEV) }
}

/// Mounts `/dev`. It takes no device nodes but those mounted into it here: a step may make others, not open them.
/// A step with all powers may open what it makes.
pub(super) fn mount_dev(tree: &mut Tree, devices: &Devices, spec: &Spec) -> Result<(), SetupError> {
    let attributes = if spec.process.insecure { NOSUID | NOEXEC } else { NOSUID | NODEV | NOEXEC };
    let target = tree.mount_point("dev")?;
    let options = [Opt::Value("mode", "0755"), Opt::Value("size", "65536k")];
    let dev = sys::mount::file_system("tmpfs", &options, attributes).doing("make", "/dev")?;
    sys::mount::attach(&dev, target).doing("mount", "/dev")?;
    for (name, node) in &devices.0 {
        let place = empty_file(&dev, name).doing("make", format_args!("/dev/{name}"))?;
        sys::mount::clone(node, c"", Reach::One, NOSUID | NOEXEC)
            .and_then(|mount| sys::mount::attach(mount, place))
            .doing("mount", format_args!("/dev/{name}"))?;
    }
    if spec.process.insecure {
        make_more(&dev)?;
    }
    if let Stdio::Terminal(_) = spec.process.stdio {
        empty_file(&dev, "console").doing("make", "/dev/console")?;
    }
    for (name, to) in LINKS {
        symlinkat(to, &dev, name).doing("make", format_args!("/dev/{name}"))?;
    }
    let shm_size = spec.shm_size.to_string();
    mount_in(&dev, "shm", "tmpfs", &[Opt::Value("mode", "1777"), Opt::Value("size", &shm_size)], NODEV)?;
    mount_pts(&dev)?;
    match mount_in(&dev, "mqueue", "mqueue", &[], NODEV) {
        // A kernel without POSIX message queues.
        Ok(()) | Err(SetupError::Refused { .. }) => {}
        Err(other) => return Err(other),
    }
    if let Some(world) = &spec.process.world {
        date(&dev, world);
    }
    Ok(())
}

/// All of it was made just now; a world has another clock. What cannot be given its time is not ours: the host's nodes in a
/// user namespace, whose times say when that machine started.
fn date(dev: &OwnedFd, world: &World) {
    let mounts = ["shm", "pts", "mqueue"];
    let names = NODES.iter().map(|(name, ..)| *name).chain(LINKS.iter().map(|(name, _)| *name)).chain(mounts);
    for name in names.chain(["."]) {
        let _ = utimensat(dev, name, &world.time_of_what_is_there(), AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// Makes the further nodes. In a user namespace nobody can, and nobody could open them.
fn make_more(dev: &OwnedFd) -> Result<(), SetupError> {
    let mode = Mode::from_raw_mode(0o666);
    let make = |name: &str, kind, major, minor| mknodat(dev, name, kind, mode, makedev(major, minor));
    mkdirat(dev, "net", Mode::from_raw_mode(0o755)).doing("make", "/dev/net")?;
    match make("net/tun", FileType::CharacterDevice, 10, 200) {
        Err(Errno::PERM) => return Ok(()),
        other => other.doing("make", "/dev/net/tun")?,
    }
    for (name, major, minor) in MORE {
        make(name, FileType::CharacterDevice, major, minor).doing("make", format_args!("/dev/{name}"))?;
    }
    for number in 0..LOOPS {
        let name = format!("loop{number}");
        make(&name, FileType::BlockDevice, 7, number).doing("make", format_args!("/dev/{name}"))?;
    }
    Ok(())
}

/// Terminals of their own. Group 5 owns them by custom (tty), where the user namespace has such a group.
fn mount_pts(dev: &OwnedFd) -> Result<(), SetupError> {
    let flags = MountAttrFlags::empty();
    let options = [Opt::Value("ptmxmode", "0666"), Opt::Value("mode", "0620")];
    let with_group = [options[0], options[1], Opt::Value("gid", "5")];
    mkdirat(dev, "pts", Mode::from_raw_mode(0o755)).doing("make", "/dev/pts")?;
    let make = |options: &[Opt<'_>]| sys::mount::file_system("devpts", options, flags | NOSUID | NOEXEC);
    let mount = make(&with_group).or_else(|_| make(&options)).doing("make", "/dev/pts")?;
    attach_at(dev, "pts", &mount)
}

fn mount_in(
    dev: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[Opt<'_>],
    flags: MountAttrFlags,
) -> Result<(), SetupError> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755)).doing("make", format_args!("/dev/{name}"))?;
    let mount = sys::mount::file_system(kind, options, flags | NOSUID | NOEXEC)
        .doing("make", format_args!("/dev/{name}"))?;
    attach_at(dev, name, &mount)
}

fn attach_at(dev: &OwnedFd, name: &str, mount: &OwnedFd) -> Result<(), SetupError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(dev, name, flags, Mode::empty())
        .and_then(|place| sys::mount::attach(mount, place))
        .doing("mount", format_args!("/dev/{name}"))
}

fn empty_file(dir: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(0o666))
}
