//! Bases that a build pulls.

use clap::ValueEnum;

use super::CliError;
use super::client::client;
use super::logins::logins;
use super::registries::registries;
use crate::digest::BlobDigest;
use crate::engine::bases::{Cause, Puller};
use crate::fetch::Watcher;
use crate::oci::Reference;
use crate::platform::Platform;
use crate::shared::Form;
use crate::store::Store;

/// When the registry is asked for a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Policy {
    /// Whenever the file names it
    Always,
    /// If it is not in the store
    #[default]
    Missing,
    Never,
}

/// Speaks to registries as `lith pull` does.
pub struct Pulling {
    pub watch: Watcher,
}

impl Pulling {
    /// The name in full; what registries.kdl calls an image by a short name is that image.
    fn client(&self, text: &str) -> Result<(crate::registry::Registry, Reference), CliError> {
        let said = registries()?;
        let name = said.image(text).map_err(|error| CliError::Usage(error.to_string()))?;
        let client = client([name.registry()], false, &said, Box::new(logins()?), self.watch.clone())?;
        Ok((client, name))
    }
}

impl Puller for Pulling {
    fn pull(
        &self,
        store: &Store,
        text: &str,
        digest: Option<BlobDigest>,
        platform: &Platform,
    ) -> Result<BlobDigest, Cause> {
        let (client, name) = self.client(text)?;
        let name = digest.map_or_else(|| name.clone(), |digest| name.with_digest(digest));
        let place = Form::Registry { name: name.clone(), insecure: false }.to_string();
        Ok(client.pull_promised(store, &name, platform, &place)?.image.digest)
    }
}
