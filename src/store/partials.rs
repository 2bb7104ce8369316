//! Downloads that are not whole yet (spec/fetch.md, "Going on"): what came of a file, and what it is a part of.
//!
//! `partial/<key>` holds the bytes, `partial/<key>.of` says what they are of. Whoever touches them holds the work lock
//! `fetch-<key>`, so no two processes write one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::blobs::BlobWriter;
use super::{Store, StoreError};
use crate::sys::dir;
use crate::sys::file::{self, Durability, Hold, Lock};

/// The version of the format.
pub const PARTIAL_VERSION: u32 = 1;

/// How many are kept: the oldest make room.
const MOST: usize = 16;

/// What the name of a description ends in.
const OF: &str = ".of";

/// What a part is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// Bytes of the whole file, as its server says.
    pub total: u64,
    /// What the server calls this state of the file, and when it was made.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// The one of them that tells this state from every other, if one does.
    pub strong: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    whole: Whole,
    /// Bytes that no digest is known of count in the boot they were written in: a power cut may leave holes.
    boot: String,
}

/// The file of a part.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) file: File,
    path: PathBuf,
}

impl Partial {
    /// Moves the bytes, which are whole now, to their name.
    pub(super) fn publish(self, dest: &Path) -> io::Result<()> {
        let _ = fs::remove_file(of(&self.path));
        fs::rename(&self.path, dest).map_err(|e| file::context(e, "rename", dest))
    }
}

/// Whether the bytes of a part are known to be checked in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The digest of the whole decides.
    Digest,
    /// The server's word that the file is still the same is all there is.
    Server,
}

impl Store {
    /// Goes on with what is left of a download; `None` if nothing is. Every byte that is there is hashed again, and
    /// shown to `each`.
    pub fn resume_blob(
        &self,
        key: &str,
        trust: Trust,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<(BlobWriter, Whole)>, StoreError> {
        let path = self.partial_path(key);
        let sealed = fs::read(of(&path)).ok();
        let sealed = sealed.and_then(|bytes| open_sealed::<Sealed>("partial", PARTIAL_VERSION, &bytes));
        let Some(Sealed { whole, boot }) = sealed else { return Ok(None) };
        if trust == Trust::Server && (boot != file::boot_id()? || whole.strong.is_none()) {
            return Ok(None);
        }
        let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&path) else { return Ok(None) };
        let mut writer = self.writer_of(file.try_clone()?, &path);
        let mut buffer = vec![0; 1 << 18];
        file.seek(SeekFrom::Start(0))?;
        loop {
            match file.read(&mut buffer).map_err(|e| file::context(e, "read", &path))? {
                0 => return Ok((writer.size() <= whole.total).then_some((writer, whole))),
                got => {
                    writer.hash_again(&buffer[..got]);
                    each(&buffer[..got]);
                }
            }
        }
    }

    /// Starts a blob whose bytes outlive this process if they do not become whole in it.
    pub fn resumable_blob(&self, key: &str, whole: &Whole) -> Result<BlobWriter, StoreError> {
        self.drop_partial(key);
        let path = self.partial_path(key);
        let io = |error| file::context(error, "create", &path);
        fs::create_dir_all(path.parent().expect("a file of the store")).map_err(io)?;
        self.make_room()?;
        // Bytes without a description are nothing, so it comes after the old bytes went and before new ones come.
        let sealed = Sealed { whole: whole.clone(), boot: file::boot_id()? };
        file::replace(&of(&path), &seal("partial", PARTIAL_VERSION, &sealed), Durability::Cached)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o644).open(&path).map_err(io)?;
        Ok(self.writer_of(file, &path))
    }

    /// Forgets what is left of a download.
    pub fn drop_partial(&self, key: &str) {
        remove(&self.partial_path(key));
    }

    fn partial_path(&self, key: &str) -> PathBuf {
        self.root.join("partial").join(key)
    }

    fn writer_of(&self, file: File, path: &Path) -> BlobWriter {
        BlobWriter::kept(Partial { file, path: path.to_owned() }, self.root.join("blobs/sha256"))
    }

    /// Removes the oldest parts until one more may come; those that somebody works on stay.
    fn make_room(&self) -> Result<(), StoreError> {
        let dir = self.root.join("partial");
        let names = dir::list_path(&dir)?.into_iter();
        let names = names.map(|entry| String::from_utf8_lossy(&entry.name).into_owned());
        let age = |name: &String| fs::metadata(dir.join(name)).map_or(i64::MIN, |meta| meta.mtime());
        let mut parts: Vec<(i64, String)> =
            names.filter(|name| !name.ends_with(OF)).map(|name| (age(&name), name)).collect();
        parts.sort();
        let surplus = (parts.len() + 1).saturating_sub(MOST);
        for (_, key) in parts.into_iter().take(surplus) {
            let lock = self.root.join("locks").join(download_lock(&key));
            if Lock::attempt(&lock, Hold::Exclusive)?.is_some() {
                self.drop_partial(&key);
            }
        }
        Ok(())
    }
}

/// The work lock of whoever fetches what has this key.
pub fn download_lock(key: &str) -> String {
    format!("fetch-{key}")
}

fn of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OF);
    name.into()
}

fn remove(path: &Path) {
    let _ = fs::remove_file(of(path));
    let _ = fs::remove_file(path);
}
