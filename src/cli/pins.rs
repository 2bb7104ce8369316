//! The lock that a build goes by: where it is, and how strictly it is kept.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use super::files::Files;
use super::network::fetch_options;
use crate::diag::Source;
use crate::engine::pins::Pins;
use crate::fetch::{FetchOptions, Fetching, Vendored};
use crate::lock::{LARGEST, Lock};
use crate::sys::file::{self, Durability, Lock as DirectoryLock, open_regular};

/// Options about the lock.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// Take only what the lock pins; a source without a pin is an error
    #[arg(long)]
    locked: bool,
    /// Ask no other machine for sources: what the store and the lock have must do
    #[arg(long)]
    offline: bool,
    /// What `lith vendor` wrote: looked into for everything that is pinned before a server is asked
    #[arg(long, value_name = "DIR")]
    vendored: Option<PathBuf>,
    /// The lock [default: lith.lock beside a Dockerfile, NAME.lock beside other files]
    #[arg(long, value_name = "FILE")]
    lock_file: Option<PathBuf>,
}

impl PinArgs {
    /// Where the lock is or would be.
    pub fn path(&self, files: &Files) -> Option<PathBuf> {
        self.lock_file.clone().or_else(|| files.lock())
    }

    /// Whether no other machine is asked.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The pins of the lock; there are none without one. A lock that is asked for must be there.
    pub fn read(&self, files: &Files) -> Result<Pins, CliError> {
        let pins = self.read_if_there(files)?;
        match pins {
            Some(pins) => Ok(Pins { locked: self.locked, ..pins }),
            None if self.locked || self.lock_file.is_some() => {
                let flag = if self.lock_file.is_some() { "--lock-file" } else { "--locked" };
                let shown = self.shown(files);
                Err(CliError::Usage(format!("{flag}: there is no {shown}; write it with `lith lock`")))
            }
            None => Ok(Pins { file: self.shown(files), ..Pins::default() }),
        }
    }

    /// The pins of the lock, if there is one.
    pub fn read_if_there(&self, files: &Files) -> Result<Option<Pins>, CliError> {
        let lock = self.path(files).map(|path| read(&path)).transpose()?.flatten();
        Ok(lock.map(|lock| Pins { lock, file: self.shown(files), locked: false }))
    }

    fn shown(&self, files: &Files) -> String {
        self.path(files).map_or_else(|| "lith.lock".to_owned(), |path| path.display().to_string())
    }

    /// Where sources are looked for.
    pub fn fetch_options(&self) -> Result<FetchOptions, CliError> {
        let open = |dir: &PathBuf| {
            let why = "--vendored: this is no directory that `lith vendor` wrote";
            Vendored::open(dir).map_err(|error| CliError::Usage(format!("{why}: {error}")))
        };
        Ok(FetchOptions {
            fetching: if self.offline { Fetching::Offline } else { Fetching::Allowed },
            vendored: self.vendored.as_ref().map(open).transpose()?,
            ..fetch_options()
        })
    }
}

/// Writes a lock that a build added pins to, or renewed some in. What another build added in the meantime stays.
pub fn write_completed(path: &Path, lock: &Lock) -> Result<(), CliError> {
    let _alone = alone(path)?;
    let mut whole = read(path)?.unwrap_or_default();
    whole.extend(lock.clone());
    replace(path, &whole)
}

/// Keeps others from writing a lock meanwhile: what is read and what is written belong together.
pub fn alone(path: &Path) -> Result<DirectoryLock, CliError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirectoryLock::directory(dir).map_err(CliError::io(format!("lock {}", dir.display())))
}

/// Writes a lock whole or not at all.
pub fn replace(path: &Path, lock: &Lock) -> Result<(), CliError> {
    file::replace(path, lock.text().as_bytes(), Durability::Synced)
        .map_err(|error| CliError::Failed(format!("write {}: {error}", path.display())))
}

/// Reads a lock; `None` if there is none.
fn read(path: &Path) -> Result<Option<Lock>, CliError> {
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    let result = open_regular(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes));
    let text = match result {
        Ok(_) => String::from_utf8(bytes)
            .map_err(|error| CliError::Usage(format!("{shown} is no lock: {}", error.utf8_error())))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::Usage(format!("read {shown}: {error}"))),
    };
    match Lock::parse(&text) {
        Ok(lock) => Ok(Some(lock)),
        Err(diagnostics) => Err(CliError::File { file: Box::new(Source { name: shown, text }), diagnostics }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::BlobDigest;
    use crate::lock::UrlPin;

    fn lock(pins: &[(&str, &str)]) -> Lock {
        let mut lock = Lock::default();
        for (name, text) in pins {
            let pin = UrlPin { sha256: BlobDigest::of(text.as_bytes()), size: 1 };
            lock.urls.insert((*name).to_owned(), pin);
        }
        lock
    }

    #[test]
    fn what_a_build_renewed_is_written_and_what_others_added_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lith.lock");
        write_completed(&path, &lock(&[("renewed", "old")])).unwrap();
        replace(&path, &lock(&[("renewed", "old"), ("of another", "x")])).unwrap();
        write_completed(&path, &lock(&[("renewed", "new"), ("added", "y")])).unwrap();
        let expected = lock(&[("added", "y"), ("of another", "x"), ("renewed", "new")]);
        assert_eq!(read(&path).unwrap(), Some(expected));
    }
}
