//! What a verb needs of its surroundings: the store's place, how this process can unpack, the environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CliError, sharing};
use crate::sandbox::userns::{self, Entry};
use crate::shared::Fetcher;
use crate::store::{Store, Unpacking};

/// How much of a root file system a verb needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Only blobs and records.
    Store,
    /// Unpacking and mounting, where it can be had.
    FileSystems,
}

/// An open store and what this process can do with it.
pub struct Session {
    pub store: Store,
    /// Brings layers that are elsewhere.
    pub fetcher: Arc<Fetcher>,
    /// Why no process can be run, if so.
    pub no_sandbox: Option<String>,
}

impl Session {
    /// Whether root file systems can be looked at as they are.
    pub fn check(&self) -> Result<(), CliError> {
        self.no_sandbox.as_ref().map_or(Ok(()), |reason| Err(CliError::Environment(reason.clone())))
    }
}

/// Reads a variable of the environment.
#[expect(clippy::disallowed_methods, reason = "this is where the environment comes in")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the store is: an absolute path, since those who outlive a command have another directory.
pub fn root(given: Option<&Path>) -> Result<PathBuf, CliError> {
    let root = named_root(given)?;
    std::path::absolute(&root).map_err(CliError::io(format!("find {}", root.display())))
}

fn named_root(given: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(root) = given {
        return Ok(root.to_owned());
    }
    if let Some(root) = variable("LITH_ROOT").filter(|root| !root.is_empty()) {
        return Ok(root.into());
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/lith".into());
    }
    let data = variable("XDG_DATA_HOME").filter(|dir| dir.starts_with('/')).map(PathBuf::from);
    let home = || {
        variable("HOME").filter(|dir| dir.starts_with('/')).map(|home| Path::new(&home).join(".local/share"))
    };
    data.or_else(home).map(|dir| dir.join("lith")).ok_or_else(|| {
        CliError::Environment("neither LITH_ROOT nor HOME says where the store is; pass --root DIR".into())
    })
}

/// Opens the store. As a plain user a verb that needs file systems goes on as root of a user namespace of its own,
/// where one can be had.
pub fn open(given: Option<&Path>, need: Need) -> Result<Session, CliError> {
    let root = root(given)?;
    let (unpacking, no_sandbox) = enter(need);
    let store = Store::open(&root, unpacking)?;
    let fetcher = Arc::new(Fetcher::new(Box::new(sharing::open)));
    store.set_bringer(fetcher.clone());
    Ok(Session { store, fetcher, no_sandbox })
}

/// What this process can do with file systems, and why it cannot run processes, if so. To be called once, before
/// any thread is started.
pub fn enter(need: Need) -> (Unpacking, Option<String>) {
    match need {
        Need::Store => (Unpacking::Never, None),
        Need::FileSystems => match userns::enter() {
            Entry::Root => (Unpacking::Root, None),
            Entry::Mapped { .. } => (Unpacking::Mapped, None),
            Entry::SingleId => (Unpacking::SingleId, None),
            Entry::Unavailable(why) => (Unpacking::Never, Some(why)),
        },
    }
}
