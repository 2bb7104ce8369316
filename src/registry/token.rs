//! Tokens of a token server: asked for, read, kept as long as they are good (distribution's token authentication, and
//! its OAuth2 form for identity tokens).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::Method;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use url::{Url, form_urlencoded};

use super::RegistryError;
use super::host::{Ask, Host, Payload, Repeat};
use super::said;
use crate::fetch::client::Tries;
use crate::fetch::shown;
use crate::login::Login;
use crate::oci::json;

/// What the server is told that asks.
const CLIENT: &str = "lith";

/// How long a token is good whose server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Realm {
    pub url: Url,
    pub service: Option<String>,
}

/// A token that nobody is shown.
#[derive(Clone)]
pub(super) struct Token {
    pub value: String,
    /// When it is too old to begin anything with.
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds; a server that says anything else says nothing.
    expires_in: Option<serde_json::Value>,
}

impl Token {
    fn new(value: String, life: Duration, asked: Instant) -> Self {
        // Renewed a little before it ends, so that what begins with it is not refused on the way.
        let margin = (life / 10).min(Duration::from_secs(10));
        let life = (life - margin).min(Duration::from_secs(24 * 3600));
        Self { value, until: asked + life }
    }

    pub fn is_good(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Asks for a token. Credentials go to an encrypted realm, or to the registry's own server if somebody said that it
/// may be spoken to in the clear.
pub(super) fn fetch(
    host: &Host<'_>,
    realm: &Realm,
    scopes: &[String],
    login: Option<&Login>,
    what: &str,
) -> Result<Token, RegistryError> {
    check(host, realm, login.is_some(), what)?;
    let (method, url, body) = match login {
        Some(Login::IdentityToken(token)) => {
            (Method::POST, realm.url.clone(), form(realm, scopes, token.reveal()))
        }
        Some(Login::Password { .. }) | None => (Method::GET, query(realm, scopes, login), String::new()),
    };
    let asked = Instant::now();
    let headers = match login {
        Some(Login::Password { user, password }) => vec![(AUTHORIZATION, basic(user, password.reveal()))],
        Some(Login::IdentityToken(_)) => {
            vec![(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())]
        }
        None => Vec::new(),
    };
    let is_post = method == Method::POST;
    let ask = Ask {
        method,
        url,
        headers,
        body: if is_post { Payload::Bytes(body.as_bytes()) } else { Payload::Nothing },
        scopes: &[],
        repeat: if is_post { Repeat::Refused } else { Repeat::Always },
        what,
    };
    let mut tries = Tries::new(host.options().retries, host.options().longest_wait);
    let answered = host.send_as_it_is(&ask, &mut tries)?;
    let server = shown(&realm.url);
    let fail =
        |reason: String| RegistryError::Token { what: what.to_owned(), server: server.clone(), reason };
    let status = answered.response.status();
    let secrets = login.map(secrets).unwrap_or_default();
    if !status.is_success() {
        let said = said::reason(answered.response, host.options().patience, &secrets);
        if matches!(status.as_u16(), 401 | 403) {
            return Err(host.denied(what, &server, login.is_some(), said));
        }
        return Err(fail(format!("it answered {}{said}", status.as_u16())));
    }
    let bytes = said::read(answered.response, said::MOST, host.options().patience)
        .map_err(|error| fail(error.to_string()))?
        .ok_or_else(|| fail(format!("its answer is larger than {} bytes", said::MOST)))?;
    let answer: Answer =
        json::parse(&bytes, bytes.len()).map_err(|_| fail("its answer is no token".into()))?;
    let value = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let value = value.ok_or_else(|| fail("its answer has no token".into()))?;
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fail("its token has characters that no header may have".into()));
    }
    let life = answer.expires_in.and_then(|life| life.as_u64()).filter(|life| *life > 0);
    let life = life.map_or(DEFAULT_LIFE, Duration::from_secs);
    Ok(Token::new(value, life, asked))
}

/// Refuses a realm that credentials may not go to (R3).
fn check(host: &Host<'_>, realm: &Realm, has_login: bool, what: &str) -> Result<(), RegistryError> {
    let is_own = realm.url.origin() == host.base().origin();
    let is_open = host.base().scheme() == "http" && realm.url.scheme() == "http";
    if realm.url.scheme() == "https" || (is_open && (is_own || !has_login)) {
        return Ok(());
    }
    Err(RegistryError::Realm { what: what.to_owned(), host: host.shown(), realm: shown(&realm.url) })
}

fn query(realm: &Realm, scopes: &[String], login: Option<&Login>) -> Url {
    let mut url = realm.url.clone();
    let mut pairs = url.query_pairs_mut();
    if let Some(Login::Password { user, .. }) = login {
        pairs.append_pair("account", user);
    }
    pairs.append_pair("client_id", CLIENT);
    if let Some(service) = &realm.service {
        pairs.append_pair("service", service);
    }
    for scope in scopes {
        pairs.append_pair("scope", scope);
    }
    drop(pairs);
    url
}

fn form(realm: &Realm, scopes: &[String], token: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT);
    if let Some(service) = &realm.service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &scopes.join(" ")).append_pair("refresh_token", token);
    form.finish()
}

/// `Authorization` of a user and a password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What of a login no message may repeat.
pub(super) fn secrets(login: &Login) -> Vec<String> {
    match login {
        Login::Password { user, password } => {
            let secret = password.reveal();
            vec![basic(user, secret).split_off("Basic ".len()), secret.to_owned()]
        }
        Login::IdentityToken(token) => vec![token.reveal().to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = Instant::now();
        let token = |life: u64, age: u64| {
            let asked = now.checked_sub(Duration::from_secs(age)).unwrap();
            Token::new("t".into(), Duration::from_secs(life), asked).is_good()
        };
        assert!(token(300, 0) && token(300, 285));
        assert!(!token(300, 291), "ten seconds before its end it is too old");
        assert!(!token(10, 9), "a tenth of its life, if that is less");
        assert!(token(u64::MAX, 0));
    }
}
