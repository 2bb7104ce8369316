//! Values that steps may see and nothing else may show (spec/secrets.md).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::mask::Needles;

/// The secrets and agents of a build, by id.
#[derive(Default)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
    /// Sockets.
    agents: BTreeMap<String, PathBuf>,
}

/// One value, and what the user says of it.
struct Secret {
    value: Vec<u8>,
    version: Option<String>,
}

impl Secrets {
    /// Adds one; a later one of the same id takes its place. `version` is text that stands for the value in the keys of
    /// steps.
    pub fn add(&mut self, id: String, value: Vec<u8>, version: Option<String>) {
        self.values.insert(id, Secret { value, version });
    }

    /// Adds the socket of an ssh agent.
    pub fn add_agent(&mut self, id: String, socket: PathBuf) {
        self.agents.insert(id, socket);
    }

    /// The socket of an agent.
    pub fn agent(&self, id: &str) -> Option<&Path> {
        self.agents.get(id).map(PathBuf::as_path)
    }

    /// What to look for in the output of a step with these secrets.
    pub fn needles<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Needles {
        Needles::new(ids.filter_map(|id| self.value(id)))
    }

    /// The value of a secret.
    pub fn value(&self, id: &str) -> Option<&[u8]> {
        self.values.get(id).map(|secret| secret.value.as_slice())
    }

    /// What stands for its value in keys.
    pub fn version(&self, id: &str) -> Option<String> {
        self.values.get(id).and_then(|secret| secret.version.clone())
    }
}

/// For repositories that are not public.
impl crate::fetch::git::SecretSource for Secrets {
    fn secret(&self, id: &str) -> Option<&[u8]> {
        self.value(id)
    }
}

/// Never the values.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys().chain(self.agents.keys())).finish()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // Best effort: what the kernel or a caller copied is out of reach.
        self.value.fill(0);
        std::hint::black_box(&self.value);
    }
}
