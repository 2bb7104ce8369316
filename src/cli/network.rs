//! How the surroundings say that things are fetched: who vouches for servers, which proxies lead to them.

use std::fs;

use super::session::variable;
use crate::fetch::FetchOptions;

/// Where Debian keeps those whom the machine trusts.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Options of fetching, from the environment.
pub fn fetch_options() -> FetchOptions {
    let roots = variable("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let file = roots.unwrap_or_else(|| TRUSTED.to_owned());
    FetchOptions {
        roots: fs::read(&file).unwrap_or_default(),
        roots_file: fs::exists(&file).unwrap_or_default().then(|| file.into()),
        proxies: proxies(),
        ..FetchOptions::default()
    }
}

/// Proxy variables as git reads them: lower case, whichever case they are set in.
fn proxies() -> Vec<(String, String)> {
    let names = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
    names.into_iter().filter_map(|name| Some((name.to_owned(), proxy(name)?))).collect()
}

/// The value of one of them.
pub fn proxy(name: &str) -> Option<String> {
    // The upper-case form of the first can be set by a request's header where a server runs programs.
    let upper = (name != "http_proxy").then(|| variable(&name.to_ascii_uppercase())).flatten();
    variable(name).or(upper)
}
