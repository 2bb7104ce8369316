//! An image's files to look at: a read-only overlay mount of its layers, without a container.
//!
//! Owns: spec/cli.md, "Views". What is mounted is what the kernel says is mounted; nothing is written down besides.

mod overlay;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::digest::ImageId;
use crate::exec::process::rootfs;
use crate::image::StoredImage;
use crate::store::{Store, StoreError};
use crate::sys;
use crate::sys::file;
use crate::sys::mountinfo::{self, Mount};

/// What the source of a view begins with; the image's id follows.
const SOURCE: &str = "lith:";
/// Held by who mounts or unmounts.
const LOCK: &str = "mounts";

/// A mounted image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub image: ImageId,
    pub dir: PathBuf,
}

/// Why an image was not mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{dir} is not a directory; make one to mount the image at, or name none")]
    NotADirectory { dir: PathBuf },
    #[error("image {} is mounted at {dir}; unmount it first (lith umount)", image.short())]
    Taken { dir: PathBuf, image: ImageId },
    #[error("mount the overlay: {reason}")]
    Mount { reason: String },
    #[error("nothing that lith mounted is at {dir}; `lith mount` lists what is")]
    NotMounted { dir: PathBuf },
    #[error("{dir} is in use; end what has its files open or works in it (`fuser -vm` lists them)")]
    Busy { dir: PathBuf },
    #[error("unmount {dir}: {source}")]
    Unmount { dir: PathBuf, source: io::Error },
}

/// Mounts an image at a directory, or at one of the store's own; gives where. An image that is there already stays.
pub fn mount(store: &Store, image: &StoredImage, dir: Option<&Path>) -> Result<PathBuf, ViewError> {
    let lowers = store.lowers(&rootfs(store, &image.config)?)?;
    let _alone = store.work_lock(LOCK)?;
    let dir = match dir {
        Some(dir) => real_dir(dir)?,
        None => store.mount_dir(&image.id)?,
    };
    match at(&dir)? {
        Some(there) if there.image == image.id => return Ok(dir),
        Some(there) => return Err(ViewError::Taken { dir, image: there.image }),
        None => {}
    }
    let source = format!("{SOURCE}{}", image.id.hex());
    overlay::mount(&source, &lowers, &store.empty_dirs()?, store.unpacking().marks(), &dir)?;
    Ok(dir)
}

/// Every image that is mounted, in the order of mounting, whichever store it is of.
pub fn list() -> io::Result<Vec<View>> {
    Ok(mountinfo::own()?.iter().filter_map(view).collect())
}

/// Unmounts the image that is at a directory. A directory of the store's own goes too.
pub fn unmount(store: &Store, dir: &Path) -> Result<(), ViewError> {
    let _alone = store.work_lock(LOCK)?;
    let shown = dir;
    let dir = real_dir(dir)?;
    if at(&dir)?.is_none() {
        return Err(ViewError::NotMounted { dir: shown.to_owned() });
    }
    match sys::mount::unmount(&dir) {
        Ok(()) => {}
        Err(Errno::BUSY) => return Err(ViewError::Busy { dir }),
        Err(errno) => return Err(ViewError::Unmount { dir, source: errno.into() }),
    }
    if store.is_mount_dir(&dir) {
        // Below another mount of the same place it stays.
        let _ = fs::remove_dir(&dir);
    }
    Ok(())
}

/// A directory as the kernel names it.
fn real_dir(dir: &Path) -> Result<PathBuf, ViewError> {
    match fs::canonicalize(dir) {
        Ok(real) if real.is_dir() => Ok(real),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file::context(error, "open", dir).into())
        }
        Ok(_) | Err(_) => Err(ViewError::NotADirectory { dir: dir.to_owned() }),
    }
}

/// The image that is seen at a directory.
fn at(dir: &Path) -> io::Result<Option<View>> {
    Ok(mountinfo::own()?.iter().rfind(|mount| mount.point == dir).and_then(view))
}

fn view(mount: &Mount) -> Option<View> {
    let image = mount.source.strip_prefix(SOURCE).filter(|_| mount.kind == "overlay")?;
    Some(View { image: ImageId::from_hex(image).ok()?, dir: mount.point.clone() })
}
