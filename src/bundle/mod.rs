//! OCI runtime bundles: an image as a directory that another runtime starts (`crun run -b DIR ID`).
//!
//! Owns: spec/bundle.md. Says to the other runtime what the sandbox would do itself. Starts nothing.

mod annotations;
mod config;
mod place;
mod seccomp;

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps};

use crate::capabilities::Capabilities;
use crate::exec::process::ImageProcess;
use crate::image::flatten::{merged, open_tars};
use crate::image::{ExportError, StoredImage};
use crate::layer::{Devices, Node, TreeOwners, UnpackError, unpack_tree};
use crate::limits::Ulimit;
use crate::path::ImagePath;
use crate::sandbox::spec::Net;
use crate::sandbox::userns::IdMaps;
use crate::store::{Store, Unpacking};
use crate::sys::file;
use place::Place;

/// What runs from a bundle, and how.
#[derive(Debug, Clone)]
pub struct Options {
    pub process: ImageProcess,
    pub capabilities: Capabilities,
    pub ulimits: Vec<Ulimit>,
    pub network: Net,
    pub hostname: String,
    /// Whether the root is for reading only.
    pub read_only: bool,
    /// The user namespace that the bundle is for; `None` for real root.
    pub ids: Option<IdMaps>,
}

/// What a bundle could not take over from its image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// Device nodes, which only real root can make.
    pub devices: Vec<ImagePath>,
    /// Files of others than root, which are root's in a namespace without other ids.
    pub owners: usize,
    /// Labels that a runtime would take for orders.
    pub labels: Vec<String>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("{dest} is not empty; name a directory that is new or empty")]
    NotEmpty { dest: PathBuf },
    #[error("{dest} is not a directory; name one that is new or empty")]
    NotADirectory { dest: PathBuf },
    #[error("{parent} is not there, so {dest} cannot be made in it; make it first")]
    NoParent { dest: PathBuf, parent: PathBuf },
    #[error("another lith is writing {dest}")]
    Busy { dest: PathBuf },
    #[error("{path} is in the way, and not what a killed lith of this user left; remove it")]
    InTheWay { path: PathBuf },
    #[error("{0:?} is no host name; expected 1 to 64 characters, none of them a zero byte")]
    Hostname(String),
    #[error(
        "user {uid} cannot be had in a user namespace with one id; give this user a range in /etc/subuid and \
         /etc/subgid, with newuidmap installed, or choose --user 0"
    )]
    OneId { uid: u32 },
    #[error("files of the image: {0}")]
    Files(#[from] ExportError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The most that sethostname(2) takes.
const MAX_HOSTNAME: usize = 64;

/// Writes a bundle of an image to `dest`, which is new or empty. It appears there when it is whole.
pub fn write(
    store: &Store,
    image: &StoredImage,
    dest: &Path,
    options: &Options,
) -> Result<Lost, BundleError> {
    check(store.unpacking(), options)?;
    let place = Place::claim(dest)?;
    let mut lost = rootfs(store, image, &place.dir().join("rootfs"))?;
    let (annotations, orders) = annotations::of(&image.config);
    lost.labels = orders;
    let text = config::text(&annotations, options);
    write_file(&place.dir().join("config.json"), text.as_bytes())?;
    set_time(&File::open(place.dir())?)?;
    place.finish()?;
    Ok(lost)
}

fn check(unpacking: Unpacking, options: &Options) -> Result<(), BundleError> {
    let name = &options.hostname;
    if name.is_empty() || name.len() > MAX_HOSTNAME || name.contains('\0') {
        return Err(BundleError::Hostname(name.clone()));
    }
    let uid = options.process.user.uid;
    if unpacking == Unpacking::SingleId && (uid, options.process.user.gid) != (0, 0) {
        return Err(BundleError::OneId { uid });
    }
    Ok(())
}

/// The files of the image, as they are, in a new directory.
fn rootfs(store: &Store, image: &StoredImage, dest: &Path) -> Result<Lost, BundleError> {
    fs::create_dir(dest).map_err(|e| file::context(e, "create", dest))?;
    let (owners, devices) = store.unpacking().plain_tree();
    let (tree, tars) = (merged(store, image)?, open_tars(store, image)?);
    unpack_tree(&tars, &tree, &ImagePath::root(), dest, owners, devices)?;
    let mut lost = Lost::default();
    for found in tree.walk(&ImagePath::root()) {
        let entry = found.entry;
        if devices == Devices::Record && matches!(entry.node, Node::Char { .. } | Node::Block { .. }) {
            lost.devices.push(entry.path.clone());
        }
        lost.owners += usize::from(owners == TreeOwners::Root && (entry.meta.uid, entry.meta.gid) != (0, 0));
    }
    Ok(lost)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        // Under any umask.
        file.set_permissions(Permissions::from_mode(0o644))?;
        set_time(&file)
    };
    write().map_err(|e| file::context(e, "write", path))
}

/// No clock shows in a bundle.
fn set_time(file: &File) -> io::Result<()> {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: zero, last_modification: zero })?)
}
