//! The root file system of a sandbox: overlay, kernel file systems, files, and the step into it.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, mkdirat, openat, utimensat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::mount::{OPTIONS, Overlay, OverlayMarks, Writable};
use crate::sys;
use crate::sys::mount::{Config, FsError, Opt, Reach};

use super::channel::Job;
use super::devices::{self, Devices};
use super::failure::{Doing as _, SetupError};
use super::launch::Writes;
use super::points::Points;
use super::spec::{Access, File, Spec, Stub};
use super::target::{Kind, Tree, no_place};
use super::world::Pool;
use super::{files, kernel, mounts};

/// What was found and made on the way into the root.
pub(super) struct Entered {
    pub stubs: Vec<Stub>,
    /// Where programs read seeded bytes from.
    pub pool: Option<Pool>,
    /// Whether the devices that give randomness are opened by nobody else.
    pub own_devices: bool,
}

/// Builds the root, with everything mounted, and makes it the root of this process' mount namespace.
pub(super) fn enter(job: &Job<'_>) -> Result<Entered, SetupError> {
    let world = job.spec.process.world.as_ref();
    sys::mount::make_private().doing("make private", "the mounts")?;
    let staging = Staging::new()?;
    let made = staging.make_mount_points(&job.spec)?;
    let root = staging.attach_root(job, made)?;
    let mut tree = Tree::new(root, job.spec.root.writable.as_ref())?;
    let (devices, pool) = Devices::gather(&staging, world.is_some_and(|world| world.seed.is_some()))?;
    let own_devices = devices.is_own(&staging, "urandom");
    if job.spec.process.insecure {
        kernel::mount_open(&mut tree, world.is_some())?;
    } else {
        kernel::mount_proc(&mut tree, &staging, &devices)?;
        kernel::mount_sys(&mut tree, &staging, world.is_some())?;
    }
    if let Some(world) = world {
        kernel::show_world(&tree, &staging, world)?;
    }
    devices::mount_dev(&mut tree, &devices, &job.spec)?;
    files::mount(&mut tree, &staging, &job.spec.files)?;
    mounts::mount(&mut tree, &staging, &job.spec.mounts)?;
    if let Some(world) = world {
        // The upper directory is of now. One that is read-only shows the time of a layer.
        if fstat(tree.root()).is_ok_and(|stat| stat.st_mtime > world.clock) {
            let _ = utimensat(tree.root(), c"", &world.time_of_what_is_there(), AtFlags::EMPTY_PATH);
        }
    }
    staging.subdirectory("host")?;
    sys::mount::pivot(staging.dir(), c"host", tree.root()).doing("enter", "the root file system")?;
    Ok(Entered { stubs: tree.into_stubs(), pool, own_devices })
}

/// What an overlay is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stack {
    Root,
    /// Where mount points are made.
    Points,
    /// The mount of this number.
    Mount(usize),
}

impl Stack {
    /// The name of a staging directory of its own.
    pub(super) fn name(self, what: &str) -> String {
        match self {
            Self::Root => format!("root-{what}"),
            Self::Points => format!("points-{what}"),
            Self::Mount(number) => format!("mount-{number}-{what}"),
        }
    }
}

/// A small file system of our own over the host's root: where mounts are put together. Vanishes with the host's.
pub(super) struct Staging(OwnedFd);

impl Staging {
    fn new() -> Result<Self, SetupError> {
        let options = [Opt::Value("mode", "0700")];
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = sys::mount::file_system("tmpfs", &options, flags).doing("make", "a staging tmpfs")?;
        // The process' own root stays below, so host paths keep their meaning.
        let host = openat(CWD, c"/", PATH_DIR, Mode::empty()).doing("open", "/")?;
        sys::mount::attach(&mount, host).doing("mount", "a staging tmpfs")?;
        Ok(Self(mount))
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.0
    }

    /// Makes an empty directory.
    pub(super) fn subdirectory(&self, name: &str) -> Result<OwnedFd, SetupError> {
        mkdirat(&self.0, name, Mode::from_raw_mode(0o755)).doing("make staging directory", name)?;
        openat(&self.0, name, PATH_DIR, Mode::empty()).doing("open staging directory", name)
    }

    fn attach_root(&self, job: &Job<'_>, points: Option<&Path>) -> Result<OwnedFd, SetupError> {
        let (spec, writes) = (&job.spec, job.writes);
        // No cgroup guards devices here, and a step may make nodes; unless it is to have all powers.
        let mut attributes = match spec.process.insecure {
            true => MountAttrFlags::empty(),
            false => MountAttrFlags::MOUNT_ATTR_NODEV,
        };
        // Reading is to leave no mark that another run would not leave.
        if spec.process.world.is_some() {
            attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME;
        }
        if spec.root_access == Access::ReadOnly {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        let mount = match (&spec.root.lowers[..], points, &spec.root.writable) {
            ([only], None, None) if has_mount_points(only) => read_only(only)?,
            (_, None, _) => self.overlay(Stack::Root, &spec.root, writes, attributes)?,
            (lowers, Some(points), _) => {
                let lowers = lowers.iter().cloned().chain([points.to_owned()]).collect();
                let overlay = Overlay { lowers, ..spec.root.clone() };
                self.overlay(Stack::Root, &overlay, writes, attributes)?
            }
        };
        let place = self.subdirectory("root")?;
        sys::mount::attach(&mount, &place).doing("mount", "the root file system")?;
        Ok(mount)
    }

    /// Makes the mount points that the layers lack in the layer that is for them; gives its directory.
    fn make_mount_points<'a>(&self, spec: &'a Spec) -> Result<Option<&'a Path>, SetupError> {
        let Some(layer) = &spec.mount_points else { return Ok(None) };
        let below = match &spec.root.lowers[..] {
            [] => None,
            [only] => Some(openat(CWD, only, PATH_DIR, Mode::empty()).doing("open", only.display())?),
            _ => {
                let seen = Overlay { writable: None, ..spec.root.clone() };
                Some(self.overlay(Stack::Points, &seen, Writes::Volatile, READ_ONLY)?)
            }
        };
        let mut points = Points::new(layer, below)?;
        for name in MOUNT_POINTS {
            points.top(name).doing("make", name)?;
        }
        let shown = |path: &Path| path.display().to_string();
        for File { path, .. } in &spec.files {
            let made = points.place(path, Kind::File);
            made.map_err(|errno| SetupError::File { path: shown(path), errno: errno.into() })?;
        }
        for mount in &spec.mounts {
            let made = points.place(&mount.target, mounts::kind(mount)?);
            made.map_err(|errno| no_place(&mount.target, errno))?;
        }
        Ok(Some(layer))
    }

    /// overlayfs: https://docs.kernel.org/filesystems/overlayfs.html
    ///
    /// Layers go in by descriptor paths: a path may be longer than the 255 bytes an option takes, may hold any
    /// byte, and shows in the process' /proc/self/mountinfo.
    ///
    /// What it needs besides its layers is named after the stack.
    pub(super) fn overlay(
        &self,
        stack: Stack,
        overlay: &Overlay,
        writes: Writes,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd, SetupError> {
        let config = Config::open("overlay").doing("use", "overlayfs")?;
        let set = |option: Opt<'_>| config.set(option);
        set(Opt::Value("source", "overlay")).doing("name", "the overlay")?;
        // The topmost first.
        for lower in overlay.lowers.iter().rev() {
            with_directory(lower, |path| set(Opt::Value("lowerdir+", path)))?;
        }
        // Below all, since overlayfs wants a lower if there is an upper, and else two of them.
        if overlay.lowers.is_empty() || overlay.writable.is_none() {
            let bottom = self.bottom(stack, overlay.writable.is_none())?;
            set(Opt::Value("lowerdir+", &fd_path(&bottom))).doing("add", "a layer without files")?;
        }
        match &overlay.writable {
            Some(Writable { upper, work }) => {
                with_directory(upper, |path| set(Opt::Value("upperdir", path)))?;
                with_directory(work, |path| set(Opt::Value("workdir", path)))?;
                if writes != Writes::Durable {
                    forget_volatile(work)?;
                    set(Opt::Flag("volatile")).doing("set", "overlay option volatile")?;
                }
            }
            None if overlay.lowers.is_empty() => {
                let second = self.subdirectory(&stack.name("second"))?;
                set(Opt::Value("lowerdir+", &fd_path(&second))).doing("add", "a layer without files")?;
            }
            None => {}
        }
        for (key, value) in OPTIONS {
            set(Opt::Value(key, value)).doing("set overlay option", key)?;
        }
        match overlay.marks {
            OverlayMarks::User => set(Opt::Flag("userxattr")).doing("set", "overlay option userxattr")?,
            OverlayMarks::Trusted => {}
        }
        config.mount(attributes).doing("mount", "the overlay")
    }

    /// A layer without files; for the root with the mount points where they cannot be made later.
    fn bottom(&self, stack: Stack, read_only: bool) -> Result<OwnedFd, SetupError> {
        let bottom = self.subdirectory(&stack.name("bottom"))?;
        for name in MOUNT_POINTS.iter().filter(|_| read_only && stack == Stack::Root) {
            mkdirat(&bottom, *name, Mode::from_raw_mode(0o755)).doing("make staging directory", name)?;
        }
        Ok(bottom)
    }
}

const MOUNT_POINTS: [&str; 3] = ["dev", "proc", "sys"];
const PATH_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// What a link or a file there means is said later.
fn has_mount_points(layer: &Path) -> bool {
    MOUNT_POINTS.iter().all(|name| layer.join(name).symlink_metadata().is_ok())
}

/// A single layer needs no overlay to be looked at.
fn read_only(layer: &Path) -> Result<OwnedFd, SetupError> {
    let path = CString::new(layer.as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
    path.and_then(|path| sys::mount::clone(CWD, &path, Reach::One, READ_ONLY)).doing("mount", layer.display())
}

fn with_directory(path: &Path, use_it: impl FnOnce(&str) -> Result<(), FsError>) -> Result<(), SetupError> {
    let fd = openat(CWD, path, PATH_DIR, Mode::empty()).doing("open", path.display())?;
    use_it(&fd_path(&fd)).doing("use as a layer", path.display())
}

fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// overlayfs refuses a work directory that a volatile mount used before, since a crash could have left the upper
/// directory half written. Whoever gives one twice answers for that.
fn forget_volatile(work: &Path) -> Result<(), SetupError> {
    match std::fs::remove_dir_all(work.join("work/incompat")) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)).doing("clean", work.display()),
    }
}
