//! Who asks: the dance of a 401, and what is remembered of it for one endpoint (spec/registry.md, "Who asks").
//!
//! Nothing is sent before the server asked for it, and a token is for its exact scopes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ureq::Body;
use ureq::http::Response;
use ureq::http::header::WWW_AUTHENTICATE;
use url::Url;

use super::RegistryError;
use super::challenge::{self, Challenge};
use super::host::Host;
use super::token::{self, Realm, Token};
use crate::login::Login;

/// What one endpoint wants, and what it was given.
#[derive(Default)]
pub(super) struct Auth(Mutex<State>);

#[derive(Default)]
struct State {
    wanted: Option<Wanted>,
    /// By their scopes.
    tokens: BTreeMap<Vec<String>, Token>,
    /// Looked up once.
    login: Option<Option<Login>>,
}

#[derive(Clone, PartialEq, Eq)]
enum Wanted {
    Basic,
    Bearer(Realm),
}

impl Auth {
    /// The header of a request, if the server is known to want one.
    pub fn header(
        &self,
        host: &Host<'_>,
        scopes: &[String],
        what: &str,
    ) -> Result<Option<String>, RegistryError> {
        let mut state = self.0.lock().expect("no panic while held");
        match state.wanted.clone() {
            None => Ok(None),
            Some(Wanted::Basic) => {
                let login = state.login(host, what)?;
                Ok(login.and_then(|login| match login {
                    Login::Password { user, password } => Some(token::basic(user, password.reveal())),
                    Login::IdentityToken(_) => None,
                }))
            }
            Some(Wanted::Bearer(realm)) => {
                if let Some(token) = state.tokens.get(scopes).filter(|token| token.is_good()) {
                    return Ok(Some(bearer(token)));
                }
                state.ask(host, &realm, scopes, what).map(Some)
            }
        }
    }

    /// Does what a 401 asks for. False if there is nothing that was not tried: then the 401 stands. `sent`: the header
    /// that was refused.
    pub fn renew(
        &self,
        host: &Host<'_>,
        scopes: &[String],
        refusal: &Response<Body>,
        sent: Option<&str>,
        what: &str,
    ) -> Result<bool, RegistryError> {
        // Held while a token is asked for: whoever else needs it waits for this one.
        let mut state = self.0.lock().expect("no panic while held");
        let wanted = wanted(host, &challenges(refusal), what)?;
        state.wanted = Some(wanted.clone());
        match wanted {
            Wanted::Basic => {
                let known =
                    state.login(host, what)?.is_some_and(|login| matches!(login, Login::Password { .. }));
                Ok(known && sent.is_none())
            }
            Wanted::Bearer(realm) => {
                let current = state.tokens.get(scopes).filter(|token| token.is_good()).map(bearer);
                if current.is_none() || current.as_deref() == sent {
                    state.tokens.remove(scopes);
                    state.ask(host, &realm, scopes, what)?;
                }
                Ok(true)
            }
        }
    }

    /// Whether there is a login for this endpoint, as far as anybody asked.
    pub fn has_login(&self) -> bool {
        matches!(self.0.lock().expect("no panic while held").login, Some(Some(_)))
    }

    /// What no message may repeat.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.0.lock().expect("no panic while held");
        let tokens = state.tokens.values().map(|token| token.value.clone());
        tokens.chain(state.login.iter().flatten().flat_map(token::secrets)).collect()
    }
}

impl State {
    fn login(&mut self, host: &Host<'_>, what: &str) -> Result<Option<&Login>, RegistryError> {
        if self.login.is_none() {
            self.login = Some(host.login(what)?);
        }
        Ok(self.login.as_ref().and_then(Option::as_ref))
    }

    fn ask(
        &mut self,
        host: &Host<'_>,
        realm: &Realm,
        scopes: &[String],
        what: &str,
    ) -> Result<String, RegistryError> {
        let login = self.login(host, what)?.cloned();
        let token = token::fetch(host, realm, scopes, login.as_ref(), what)?;
        let header = bearer(&token);
        self.tokens.insert(scopes.to_vec(), token);
        Ok(header)
    }
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.value)
}

fn challenges(refusal: &Response<Body>) -> Vec<Challenge> {
    let headers = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
    headers.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
}

/// What is done about several challenges: a token goes before a password.
fn wanted(host: &Host<'_>, challenges: &[Challenge], what: &str) -> Result<Wanted, RegistryError> {
    let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let fail =
        |reason: String| RegistryError::Challenge { what: what.to_owned(), host: host.shown(), reason };
    if let Some(bearer) = find("bearer") {
        let realm =
            bearer.param("realm").ok_or_else(|| fail("a token, and from whom it does not say".into()))?;
        let mut url = Url::parse(realm).map_err(|_| fail("a token from what is no URL".into()))?;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        return Ok(Wanted::Bearer(Realm { url, service: bearer.param("service").map(str::to_owned) }));
    }
    if find("basic").is_some() {
        return Ok(Wanted::Basic);
    }
    let names: Vec<String> =
        challenges.iter().map(|challenge| crate::diag::escape(challenge.scheme.as_bytes())).collect();
    Err(fail(if names.is_empty() { "it names none".into() } else { names.join(", ") }))
}
