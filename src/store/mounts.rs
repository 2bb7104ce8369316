//! Where images are mounted to be looked at, and which unpacked layers a mount needs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Store, StoreError, create_dir};
use crate::digest::ImageId;
use crate::sys::{dir, file, mountinfo};

/// Below the store's directory.
const DIR: &str = "mounts";

impl Store {
    /// The directory for a mount of an image, made if it is missing. One of an earlier boot is used again.
    pub fn mount_dir(&self, image: &ImageId) -> Result<PathBuf, StoreError> {
        let path = self.mounts()?.join(image.hex());
        create_dir(&path)?;
        Ok(path)
    }

    /// Whether a path is what [`Store::mount_dir`] gives for some image.
    pub fn is_mount_dir(&self, path: &Path) -> bool {
        let is_image =
            |name: &std::ffi::OsStr| name.to_str().is_some_and(|hex| ImageId::from_hex(hex).is_ok());
        let below = self.mounts().is_ok_and(|mounts| path.parent() == Some(&mounts));
        below && path.file_name().is_some_and(is_image)
    }

    /// Two directories without files, for stacks that need a layer more.
    pub fn empty_dirs(&self) -> Result<[PathBuf; 2], StoreError> {
        let paths = ["0", "1"].map(|name| self.root.join(DIR).join(".empty").join(name));
        for path in &paths {
            create_dir(path)?;
            // A root that no layer lists is as this.
            fs::set_permissions(path, PermissionsExt::from_mode(0o755))
                .map_err(|e| file::context(e, "chmod", path))?;
        }
        Ok(paths)
    }

    /// As the kernel names it.
    fn mounts(&self) -> Result<PathBuf, StoreError> {
        let path = self.root.join(DIR);
        create_dir(&path)?;
        Ok(fs::canonicalize(&path).map_err(|e| file::context(e, "open", &path))?)
    }

    /// Cache ids of unpacked layers that some mount is made of, by whomever and in whatever way: by their own name or
    /// by that of their short link.
    pub(super) fn mounted_caches(&self) -> Result<BTreeSet<String>, StoreError> {
        let mounts = mountinfo::all_text()?;
        let names = dir::list_path(&self.root.join("overlay"))?.into_iter();
        let names = names.map(|entry| String::from_utf8_lossy(&entry.name).into_owned());
        let is_mounted =
            |name: &String| mounts.contains(name.as_str()) || mounts.contains(&Self::short_link(name));
        Ok(names.filter(|name| name.len() == CACHE_ID && is_mounted(name)).collect())
    }
}

/// The length of a cache id; what else lies there is no layer.
const CACHE_ID: usize = 64;
