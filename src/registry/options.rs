//! Which registries there are and how patient one is with them: what a configuration comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::fetch::Watcher;

/// The most times that anything is asked for again.
pub const MOST_RETRIES: u32 = 5;

/// The registry of names that give none, and where it is.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What a client knows of registries.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is special about a registry, by the name that images call it; one that is not here is asked over https, at
    /// its name.
    pub registries: BTreeMap<String, Endpoints>,
    /// Certificates of those who may vouch for servers, as PEM; the built-in list if there are none.
    pub roots: Vec<u8>,
    pub proxies: Proxies,
    /// For finding a server and for each answer of it.
    pub patience: Duration,
    /// How often a server that is busy or gone is asked again: five times at most.
    pub retries: u32,
    /// The longest wait before it is, whatever it asks for.
    pub longest_wait: Duration,
    /// Of a blob, in bytes.
    pub largest: u64,
    /// Bytes of a part, where a blob is uploaded in parts; more if the registry wants more.
    pub chunk: u64,
    /// How many blobs are on their way at once.
    pub at_once: usize,
    /// Who is told how it goes.
    pub watch: Watcher,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            registries: BTreeMap::new(),
            roots: Vec::new(),
            proxies: Proxies::default(),
            patience: Duration::from_secs(60),
            retries: 3,
            longest_wait: Duration::from_secs(30),
            largest: 64 << 30,
            chunk: 16 << 20,
            at_once: 4,
            watch: Watcher::default(),
        }
    }
}

/// Where one registry is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Asked before the registry, in this order, for what is pulled.
    pub mirrors: Vec<Endpoint>,
    /// The registry itself, where it is not https at its name.
    pub own: Option<Endpoint>,
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A host, with a port if it is not the scheme's.
    pub host: String,
    pub scheme: Scheme,
    /// What its repositories are below; empty for a registry itself.
    pub below: String,
    /// Certificates that vouch for this server besides those that vouch for all, as PEM.
    pub roots: Vec<u8>,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    #[default]
    Https,
    /// In the clear: only where somebody said so, for loopback hosts too.
    Http,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Http => "http",
        })
    }
}

/// The values of `http_proxy`, `https_proxy` and `no_proxy`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts that are spoken to directly, between commas.
    pub except: Option<String>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |proxy: &Option<String>| proxy.as_ref().map(|_| "…");
        write!(f, "Proxies({:?}, {:?}, {:?})", known(&self.http), known(&self.https), self.except)
    }
}

impl Options {
    /// Mirrors of a registry.
    pub(super) fn mirrors(&self, registry: &str) -> &[Endpoint] {
        self.registries.get(registry).map_or(&[], |known| &known.mirrors)
    }

    /// The registry itself.
    pub(super) fn own(&self, registry: &str) -> Endpoint {
        let known = self.registries.get(registry).and_then(|known| known.own.clone());
        known.unwrap_or_else(|| Endpoint { host: host_of(registry).to_owned(), ..Endpoint::default() })
    }
}

/// Where a registry is, by the name that images call it.
pub fn host_of(registry: &str) -> &str {
    if registry == DOCKER_HUB.0 { DOCKER_HUB.1 } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_where_their_names_say() {
        let options = Options::default();
        let at = |registry: &str| {
            let own = options.own(registry);
            format!("{}://{}", own.scheme, own.host)
        };
        assert_eq!(at("docker.io"), "https://registry-1.docker.io");
        assert_eq!(at("localhost:5000"), "https://localhost:5000");
        assert!(options.mirrors("docker.io").is_empty());
    }

    #[test]
    fn proxies_show_no_password() {
        let proxies = Proxies { http: Some("http://u:p@proxy".into()), ..Proxies::default() };
        assert_eq!(format!("{proxies:?}"), "Proxies(Some(\"…\"), None, None)");
    }
}
