//! An entry of the layer db: a directory named by a chain id that says which layer is on top of which stack, as docker's
//! does.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::sys::dir;
use crate::sys::file::{self, Durability};

/// Removes an entry, its size first: what a kill leaves of it is then no entry.
pub(super) fn remove(entry: &Path) -> io::Result<()> {
    match fs::remove_file(entry.join("size")) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(error)
        }
        Ok(()) | Err(_) => super::gc::remove(entry),
    }
}

/// More bytes than any file of an entry has.
const MOST: u64 = 1024;

/// What an entry should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChainEntry {
    pub dir: PathBuf,
    /// Names and texts; `size` comes last, so that an entry that has it was written to its end.
    pub files: Vec<(&'static str, String)>,
}

impl ChainEntry {
    fn has(&self, name: &[u8]) -> bool {
        self.files.iter().any(|(known, _)| known.as_bytes() == name)
    }

    /// What is not as it should be, one line each. Half-written files of killed processes do not count.
    pub fn faults(&self) -> Result<Vec<String>, StoreError> {
        let names = match dir::list_path(&self.dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec!["is missing".into()]),
            Err(error) if error.raw_os_error().is_some() => {
                return Ok(vec![format!("is no directory: {error}")]);
            }
            Err(error) => return Err(file::context(error, "list", &self.dir).into()),
        };
        let strange = names.iter().filter(|entry| !self.has(&entry.name) && !entry.name.starts_with(b"."));
        let mut faults: Vec<String> =
            strange.map(|entry| format!("{} was added", crate::diag::escape(&entry.name))).collect();
        for (name, expected) in &self.files {
            match file::read_regular(&self.dir.join(name), MOST) {
                Ok(found) if found == expected.as_bytes() => {}
                Ok(found) => {
                    let found = crate::diag::escape(&found[..found.len().min(100)]);
                    faults.push(format!("{name} is {found}, was {expected}"));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    faults.push(format!("{name} was removed"));
                }
                Err(error) => faults.push(format!("{name} cannot be read: {error}")),
            }
        }
        Ok(faults)
    }

    /// Makes the entry, whatever was there.
    pub fn write(&self) -> Result<(), StoreError> {
        self.clear()?;
        fs::create_dir_all(&self.dir).map_err(|e| file::context(e, "create", &self.dir))?;
        for (name, text) in &self.files {
            file::replace(&self.dir.join(name), text.as_bytes(), Durability::Cached)?;
        }
        Ok(())
    }

    /// Removes what is no file of an entry. Files are left: they are replaced as a whole, for whoever reads them.
    fn clear(&self) -> Result<(), StoreError> {
        let remove = |path: &Path| {
            super::gc::remove(path).map_err(|e| StoreError::from(file::context(e, "remove", path)))
        };
        let Ok(names) = dir::list_path(&self.dir) else { return remove(&self.dir) };
        for entry in names {
            let is_file = entry.kind == rustix::fs::FileType::RegularFile;
            if !is_file || !self.has(&entry.name) && !entry.name.starts_with(b".") {
                remove(&self.dir.join(OsStr::from_bytes(&entry.name)))?;
            }
        }
        Ok(())
    }
}
