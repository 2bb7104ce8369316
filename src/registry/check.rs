//! Whether a registry takes a login (distribution-spec, "Determining Support").

use ureq::http::{Method, StatusCode};

use super::host::{Ask, Host, Payload, Repeat};
use super::{Registry, RegistryError};

impl Registry {
    /// Asks a registry at the foot of its API, with the login that there is for it. One that wants none takes any.
    pub fn check(&self, registry: &str) -> Result<(), RegistryError> {
        let host = Host::new(self, registry, &self.options.own(registry), false)?;
        let ask = Ask {
            method: Method::GET,
            url: host.base().clone(),
            headers: vec![],
            body: Payload::Nothing,
            scopes: &[],
            repeat: Repeat::Always,
            what: registry,
        };
        let answered = host.send(&ask, &mut host.tries())?;
        match answered.response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(host.refused(registry, answered)),
        }
    }
}
