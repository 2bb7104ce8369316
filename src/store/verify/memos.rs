//! What is remembered and can be found out again: packed forms of layers, action records, builds, downloads, choices.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Finding;
use crate::digest::{BlobDigest, DiffId};
use crate::store::actions::is_sealed;
use crate::store::{Store, StoreError};
use crate::sys::{dir, file};

/// Directories of sealed files, and the kind that each names in its seal.
const SEALED: [(&str, &str); 7] = [
    ("actions", "action"),
    ("builds", "build"),
    ("downloads", "download"),
    ("image-builds", "build"),
    ("packages", "packages"),
    ("promises", "promise"),
    ("pulls", "pull"),
];
/// More bytes than a memo has.
const MEMO: u64 = 256;
/// More bytes than a sealed file has.
const RECORD: u64 = 256 << 20;

impl Store {
    /// Sealed files whose checksum does not match.
    pub(super) fn damaged_seals(&self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for (sub, kind) in SEALED {
            let top = self.root.join(sub);
            for path in files_below(&top)? {
                let why = match file::read_regular(&path, RECORD) {
                    Ok(bytes) if is_sealed(kind, &bytes) => continue,
                    Ok(_) => "its checksum does not match".to_owned(),
                    Err(error) => error.to_string(),
                };
                findings.push(Finding::Memo { path, why });
            }
        }
        Ok(findings)
    }

    /// Memos of packed layers that name no blob, or one of another size. A blob that is gone is no damage: the layer is
    /// packed again.
    pub(super) fn damaged_packings(&self, diffs: &BTreeSet<DiffId>) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for path in files_below(&self.root.join("compressed"))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let diff = name.split('.').next().and_then(|hex| DiffId::from_hex(hex).ok());
            if !diff.is_some_and(|diff| diffs.contains(&diff)) {
                continue;
            }
            let why = match file::read_regular(&path, MEMO) {
                Ok(bytes) => match parse(&bytes) {
                    None => "it is not a digest and a size".to_owned(),
                    Some((digest, size)) => match self.open_here(&digest) {
                        Ok((_, found)) if found != size => {
                            format!("blob {digest} has {found} bytes, not {size}")
                        }
                        Ok(_) | Err(_) => continue,
                    },
                },
                Err(error) => error.to_string(),
            };
            findings.push(Finding::Memo { path, why });
        }
        Ok(findings)
    }
}

fn parse(memo: &[u8]) -> Option<(BlobDigest, u64)> {
    let (digest, size) = std::str::from_utf8(memo).ok()?.trim().split_once(' ')?;
    Some((digest.parse().ok()?, size.parse().ok()?))
}

/// Everything below a directory, or in the directories of it, that is no directory. Half-written files are left out.
fn files_below(top: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(at) = dirs.pop() {
        let entries = match dir::list_path(&at) {
            Ok(entries) => entries,
            // A store of an earlier version has fewer directories.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(file::context(error, "list", &at).into()),
        };
        for entry in entries.iter().filter(|entry| !entry.name.starts_with(b".")) {
            let path = at.join(OsStr::from_bytes(&entry.name));
            if entry.kind == FileType::Directory {
                dirs.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
