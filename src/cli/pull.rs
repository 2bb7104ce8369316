//! `lith pull`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::client::{Named, RegistryArgs};
use super::logins::logins;
use super::session::{self, Need};
use super::{CliError, keys, out, progress};
use crate::fetch::Watcher;
use crate::oci::Reference;
use crate::platform::Platform;
use crate::registry::{Registry, Wanted};
use crate::sign::Trust;
use crate::store::Store;

/// Arguments of `lith pull`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith pull registry.example.com/team/app:1.2\n  lith pull --platform linux/arm64 debian:12\n\n\
    Prints the name with the digest of what it stands for now."
)]
pub struct Pull {
    /// Names, with a tag or a digest [default tag: latest]
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Which of an image's platforms [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Pull only what this key signed; of several the signature of one is enough
    #[arg(long, value_name = "PUBKEY")]
    verify_key: Vec<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl Pull {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let Named { registries, names } = Named::read(&self.images)?;
        let trust = match self.verify_key.is_empty() {
            true => None,
            false => Some(keys::trust("--verify-key", &self.verify_key)?),
        };
        let store = session::open(root, Need::Store)?.store;
        let logins = logins()?;
        let watch = Watcher::new(view(self.quiet));
        let client = self.registry.client(
            names.iter().map(Reference::registry),
            &registries,
            Box::new(logins),
            watch,
        )?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        for name in &names {
            pull(&store, &client, name, &platform, trust.as_ref())?;
        }
        Ok(())
    }
}

fn pull(
    store: &Store,
    client: &Registry,
    name: &Reference,
    platform: &Platform,
    trust: Option<&Trust>,
) -> Result<(), CliError> {
    let pulled = match trust {
        None => client.pull(store, name, platform)?,
        Some(trust) => {
            client.pull_signed(store, name, platform, Wanted { trust, annotations: &BTreeMap::new() })?
        }
    };
    for warning in &pulled.image.warnings {
        out::err(&format!("warning: {}: {warning}\n", name.familiar()));
    }
    // A digest is the image's own name already.
    if name.tag().is_some() {
        let named = name.without_digest();
        store.set_ref(&named.to_string(), pulled.image.digest, pulled.image.id)?;
    }
    out::print(&format!("{}@{}\n", name.familiar_name(), pulled.top.digest));
    Ok(())
}

/// A view of what is on its way.
pub fn view(quiet: bool) -> std::sync::Arc<dyn progress::Show> {
    match quiet {
        true => progress::start(progress::Mode::Quiet, Instant::now()),
        false => progress::of_fetching(),
    }
}
