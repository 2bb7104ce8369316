//! A new volume begins with what the image has at its place, as docker has it (spec/container-state.md, "Volumes").
//!
//! It is filled beside and renamed in, so that a kill leaves it empty or whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::config::Config;
use super::{ContainerError, volumes};
use crate::layer::tree::{FollowLast, Tree};
use crate::layer::unpack_tree;
use crate::path::ImagePath;
use crate::store::{Containers, Store, StoreError};
use crate::sys::{dir, file, xattr};

/// Fills an empty volume with what the image has at `target`, its own mode, owner and time too. The caller holds the
/// volume's lock.
pub fn fill(store: &Store, config: &Config, name: &str, target: &Path) -> Result<(), ContainerError> {
    let failed = |reason: String| ContainerError::Populate {
        name: name.to_owned(),
        target: target.to_owned(),
        reason,
    };
    let containers = Containers::of(store.root());
    let place = Place::of(&containers, name);
    // What a killed process was moving in comes first: it may be all there is.
    place.move_in().map_err(|error| failed(error.to_string()))?;
    if !place.is_empty().map_err(|error| failed(error.to_string()))? {
        return Ok(());
    }
    let tree = tree(store, config)?;
    let Some(top) = directory(&tree, target).map_err(failed)? else { return Ok(()) };
    let used = volumes::used(&containers)?.contains_key(name);
    let filling = store.root().join("tmp").join(file::unique_name());
    unpacked(store, config, &tree, &top, &filling)
        .and_then(|()| place.take(&filling, used).map_err(|error| error.to_string()))
        .map_err(|reason| {
            // What cannot be removed is garbage of `tmp`.
            let _ = dir::remove_all(&filling);
            failed(reason)
        })
}

/// What the image's layers show.
fn tree(store: &Store, config: &Config) -> Result<Tree, StoreError> {
    let tocs = config.layers.iter().map(|layer| store.toc(layer.diff_id));
    Ok(Tree::new(tocs.collect::<Result<_, _>>()?))
}

/// The directory of the image that a path leads to, if there is one.
fn directory(tree: &Tree, target: &Path) -> Result<Option<ImagePath>, String> {
    let path = ImagePath::clamped(target.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let top = tree.resolve(&path, FollowLast::Follow).map_err(|error| error.to_string())?.path;
    match tree.get(&top) {
        None => Ok(None),
        Some(found) if found.is_dir() => Ok(Some(top)),
        Some(_) => Err(format!("{top} is no directory; mount the volume elsewhere")),
    }
}

/// The files of a directory of the image in a new one, safe from a power cut.
fn unpacked(store: &Store, config: &Config, tree: &Tree, top: &ImagePath, dest: &Path) -> Result<(), String> {
    let tars = config.layers.iter().map(|layer| store.layer_tar(layer.diff_id));
    let tars = tars.collect::<Result<Vec<File>, _>>().map_err(|error| crate::diag::chain(&error))?;
    fs::create_dir(dest).map_err(|error| error.to_string())?;
    let (owners, devices) = store.unpacking().plain_tree();
    unpack_tree(&tars, tree, top, dest, owners, devices).map_err(|error| crate::diag::chain(&error))?;
    // A volume that has something is never filled again, so it must not be a part.
    let synced = File::open(dest).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    synced.map_err(|error| error.to_string())
}

/// A volume that is to be filled.
struct Place {
    data: PathBuf,
    /// What is on its way into a directory that cannot be replaced.
    coming: PathBuf,
}

impl Place {
    fn of(containers: &Containers, name: &str) -> Self {
        let coming = volumes::home(containers, name).join("_seed");
        Self { data: volumes::data(containers, name), coming }
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(dir::list_path(&self.data)?.is_empty())
    }

    /// Takes a whole tree. Of one that another container may have mounted the directory itself has to stay.
    fn take(&self, tree: &Path, used: bool) -> io::Result<()> {
        if !used {
            // Nothing but an empty directory is ever replaced.
            return fs::rename(tree, &self.data);
        }
        fs::rename(tree, &self.coming)?;
        self.move_in()
    }

    /// Moves in what is coming. What stands in its way by now stays.
    fn move_in(&self) -> io::Result<()> {
        let own = match fs::symlink_metadata(&self.coming) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            own => own?,
        };
        for entry in dir::list_path(&self.coming)? {
            let name = std::ffi::OsStr::from_bytes(&entry.name);
            let (from, to) = (self.coming.join(name), self.data.join(name));
            match rustix::fs::renameat_with(
                rustix::fs::CWD,
                &from,
                rustix::fs::CWD,
                &to,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(file::context(error.into(), "move in", &to)),
            }
        }
        chown(&self.data, Some(own.uid()), Some(own.gid()))?;
        for (name, value) in xattr::read(File::open(&self.coming)?, |_| true)? {
            xattr::set(File::open(&self.data)?, &name, &value)?;
        }
        fs::set_permissions(&self.data, fs::Permissions::from_mode(own.mode() & 0o7777))?;
        File::open(&self.data)?.set_modified(own.modified()?)?;
        dir::remove_all(&self.coming)
    }
}
