//! Registries: images pulled from them and pushed to them (spec/registry.md; OCI distribution-spec 1.1).
//!
//! Owns: what is asked of a registry, what is believed of its answers, and which credentials go where. A client of
//! plain threads: nothing here waits on the threads that hash and unpack. Who a user is comes from `login`, which
//! registries there are from whoever reads the configuration.

mod agents;
mod auth;
mod blobs;
mod body;
mod challenge;
mod check;
mod error;
mod host;
mod manifests;
mod options;
mod pages;
mod pull;
mod push;
mod referrers;
mod repository;
mod said;
mod signatures;
mod stream;
mod tags;
mod token;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::login::Logins;
use crate::oci::Reference;

use agents::Agents;
use auth::Auth;
use options::MOST_RETRIES;

pub use error::RegistryError;
pub use manifests::{Resolved, Target};
pub use options::{Endpoint, Endpoints, Options, Proxies, Scheme, host_of};
pub use pull::Pulled;
pub use push::{Push, Pushed, copy, push};
pub use repository::Repository;
pub use signatures::{Sign, Wanted};

/// All registries, as one user sees them. Tokens are kept in it and nowhere else.
pub struct Registry {
    options: Options,
    logins: Box<dyn Logins>,
    agents: Agents,
    /// Of each endpoint, by its URL.
    auths: Mutex<BTreeMap<String, Arc<Auth>>>,
    /// Endpoints that take blobs as streams alone.
    streamed: Mutex<BTreeSet<String>>,
}

impl Registry {
    pub fn new(mut options: Options, logins: Box<dyn Logins>) -> Result<Self, RegistryError> {
        options.retries = options.retries.min(MOST_RETRIES);
        let agents = Agents::new(&options)?;
        Ok(Self { options, logins, agents, auths: Mutex::default(), streamed: Mutex::default() })
    }

    /// The repository of an image's name.
    pub fn repository(&self, name: &Reference) -> Result<Repository<'_>, RegistryError> {
        Repository::new(self, name)
    }

    fn auth(&self, endpoint: &str) -> Arc<Auth> {
        self.auths.lock().expect("no panic while held").entry(endpoint.to_owned()).or_default().clone()
    }
}
