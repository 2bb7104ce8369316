//! Connections: one pool for what goes through no proxy, one for each proxy.

use std::collections::{BTreeMap, BTreeSet};

use ureq::{Agent, Proxy, ProxyProtocol};
use url::Url;

use super::RegistryError;
use super::options::{Options, Scheme};
use crate::fetch::client;
use crate::remote::percent_decoded;

pub(super) struct Agents {
    http: Agent,
    /// By the certificates that vouch besides those that vouch for all.
    https: BTreeMap<Vec<u8>, Agent>,
}

impl Agents {
    pub fn new(options: &Options) -> Result<Self, RegistryError> {
        let agent = |proxy: &Option<String>, more: &[u8]| -> Result<Agent, RegistryError> {
            let proxy = proxy.as_deref().filter(|proxy| !proxy.trim().is_empty());
            let except = options.proxies.except.as_deref().unwrap_or_default();
            let proxy = proxy.map(|proxy| parse(proxy, except)).transpose()?;
            let roots = [&options.roots, more].concat();
            Ok(client::config(options.patience, &roots).proxy(proxy).build().into())
        };
        let endpoints = options.registries.values().flat_map(|known| known.mirrors.iter().chain(&known.own));
        let more: BTreeSet<&[u8]> =
            endpoints.map(|endpoint| endpoint.roots.as_slice()).chain([&[][..]]).collect();
        let https = |more: &[u8]| Ok((more.to_vec(), agent(&options.proxies.https, more)?));
        let https = more.into_iter().map(https).collect::<Result<_, RegistryError>>()?;
        Ok(Self { http: agent(&options.proxies.http, &[])?, https })
    }

    /// `roots`: those of an endpoint of the options, or none.
    pub fn of(&self, scheme: Scheme, roots: &[u8]) -> &Agent {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https[roots],
        }
    }
}

/// A proxy as its variable says it, the scheme left out as people do.
fn parse(text: &str, except: &str) -> Result<Proxy, RegistryError> {
    let text = text.trim();
    let error = || RegistryError::Proxy { proxy: crate::remote::shown_broken(text) };
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|_| error())?;
    let protocol = match url.scheme() {
        "http" => ProxyProtocol::Http,
        "https" => ProxyProtocol::Https,
        _ => return Err(error()),
    };
    let decoded = |text: &str| String::from_utf8(percent_decoded(text)).map_err(|_| error());
    let mut proxy = Proxy::builder(protocol).host(url.host_str().ok_or_else(error)?);
    if let Some(port) = url.port_or_known_default() {
        proxy = proxy.port(port);
    }
    if !url.username().is_empty() {
        proxy = proxy.username(&decoded(url.username())?);
    }
    if let Some(password) = url.password() {
        proxy = proxy.password(&decoded(password)?);
    }
    for host in except.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        proxy = proxy.no_proxy(host);
        // As curl and Go read it: a domain stands for what is below it too.
        if !host.starts_with(['.', '*']) {
            proxy = proxy.no_proxy(&format!(".{host}"));
        }
    }
    proxy.build().map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_as_others_read_them() {
        let proxy = parse("u:p%40@proxy.invalid:3128", "a.invalid, .b.invalid").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.invalid", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("u"), Some("p@")));
        let is_direct = |url: &str| proxy.is_no_proxy(&url.parse().unwrap());
        for direct in ["https://a.invalid/", "https://x.a.invalid/", "https://x.b.invalid/"] {
            assert!(is_direct(direct), "{direct}");
        }
        for proxied in ["https://b.invalid/", "https://xa.invalid/", "https://c.invalid/"] {
            assert!(!is_direct(proxied), "{proxied}");
        }
    }

    /// R22: a proxy that is not understood is named without its password.
    #[test]
    fn r22_errors_about_proxies_show_no_password() {
        for broken in ["ftp://me:hunter2@proxy", "http://me:hunter2@[proxy", "socks5://me:hunter2@h"] {
            let error = parse(broken, "").unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
