//! What verbs that speak to registries share.

use std::collections::BTreeMap;

use clap::Args;

use super::CliError;
use super::network::{fetch_options, proxy};
use super::registries::registries;
use crate::fetch::Watcher;
use crate::login::{Login, LoginError, Logins};
use crate::oci::Reference;
use crate::registries::{Registries, Transport};
use crate::registry::{Endpoint, Endpoints, Options, Proxies, Registry, Scheme, host_of};

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
        names: impl IntoIterator<Item = &'a str>,
        said: &Registries,
        logins: Box<dyn Logins>,
        watch: Watcher,
    ) -> Result<Registry, CliError> {
        client(names, self.plain_http, said, logins, watch)
    }
}

/// A client for the registries of some names; `plain_http`: these are asked in the clear, whatever the user says of them.
pub fn client<'a>(
    names: impl IntoIterator<Item = &'a str>,
    plain_http: bool,
    said: &Registries,
    logins: Box<dyn Logins>,
    watch: Watcher,
) -> Result<Registry, CliError> {
    let mut known = BTreeMap::new();
    for name in names {
        let mut endpoints = endpoints(name, said)?;
        if plain_http {
            let usual = || Endpoint { host: host_of(name).to_owned(), ..Endpoint::default() };
            let own = endpoints.own.unwrap_or_else(usual);
            endpoints.own = Some(Endpoint { scheme: Scheme::Http, ..own });
        }
        known.insert(name.to_owned(), endpoints);
    }
    let proxies =
        Proxies { http: proxy("http_proxy"), https: proxy("https_proxy"), except: proxy("no_proxy") };
    let roots = fetch_options().roots;
    let options = Options { registries: known, roots, proxies, watch, ..Options::default() };
    Ok(Registry::new(options, logins)?)
}

/// Where a registry is asked, by what the user says of it.
fn endpoints(name: &str, said: &Registries) -> Result<Endpoints, CliError> {
    let of = said.of(name);
    let mirror = |mirror: &crate::registries::Mirror| endpoint(&mirror.registry, mirror.prefix.clone(), said);
    let mirrors = of.mirrors.iter().map(mirror).collect::<Result<_, CliError>>()?;
    // One of which nothing is said is where its name says.
    let own = match (of.transport, &of.ca) {
        (Transport::Https, None) => None,
        (Transport::Https | Transport::HttpAllowed, _) => Some(endpoint(name, String::new(), said)?),
    };
    Ok(Endpoints { mirrors, own })
}

fn endpoint(name: &str, below: String, said: &Registries) -> Result<Endpoint, CliError> {
    let of = said.of(name);
    let scheme = match of.transport {
        Transport::Https => Scheme::Https,
        Transport::HttpAllowed => Scheme::Http,
    };
    let roots = match &of.ca {
        None => vec![],
        Some(file) => std::fs::read(file).map_err(CliError::io(format!("read {}", file.display())))?,
    };
    Ok(Endpoint { host: host_of(name).to_owned(), scheme, below, roots })
}

/// What the user says of registries, and the images that their names mean.
pub struct Named {
    pub registries: Registries,
    pub names: Vec<Reference>,
}

impl Named {
    pub fn read(texts: &[String]) -> Result<Self, CliError> {
        let registries = registries()?;
        let parse =
            |text: &String| registries.image(text).map_err(|error| CliError::Usage(error.to_string()));
        let names = texts.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { registries, names })
    }
}

/// One login and no other: to see whether a registry takes it.
pub struct Only {
    pub registry: String,
    pub login: Login,
}

impl Logins for Only {
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError> {
        Ok((registry == self.registry).then(|| self.login.clone()))
    }
}
