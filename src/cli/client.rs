//! What verbs that speak to registries share.

use clap::Args;

use super::CliError;
use super::network::{fetch_options, proxy};
use crate::fetch::Watcher;
use crate::login::{Login, LoginError, Logins};
use crate::oci::Reference;
use crate::registry::{Endpoint, Endpoints, Options, Proxies, Registry, Scheme};

/// How registries are spoken to.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// Speak to the registry in the clear: anybody on the way can read and change what is sent
    #[arg(long)]
    plain_http: bool,
}

impl RegistryArgs {
    /// A client for the registries of some names.
    pub fn client<'a>(
        &self,
        registries: impl IntoIterator<Item = &'a str>,
        logins: &'a dyn Logins,
        watch: Watcher,
    ) -> Result<Registry<'a>, CliError> {
        let plain = |registry: &str| {
            let own = Endpoint { host: registry.to_owned(), scheme: Scheme::Http };
            (registry.to_owned(), Endpoints { own: Some(own), ..Endpoints::default() })
        };
        let registries = registries.into_iter().filter(|_| self.plain_http).map(plain).collect();
        let proxies =
            Proxies { http: proxy("http_proxy"), https: proxy("https_proxy"), except: proxy("no_proxy") };
        let options =
            Options { registries, roots: fetch_options().roots, proxies, watch, ..Options::default() };
        Ok(Registry::new(options, logins)?)
    }
}

/// One login and no other: to see whether a registry takes it.
pub struct Only<'a> {
    pub registry: &'a str,
    pub login: &'a Login,
}

impl Logins for Only<'_> {
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError> {
        Ok((registry == self.registry).then(|| self.login.clone()))
    }
}

/// A name that a registry knows something by.
pub fn parse(text: &str) -> Result<Reference, CliError> {
    text.parse().map_err(|error: crate::oci::ReferenceError| CliError::Usage(error.to_string()))
}
