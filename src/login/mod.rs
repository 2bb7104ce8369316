//! Who one is to a registry: what `login` wrote down, and what credential helpers say.
//!
//! Credentials belong to one host with its port, and are shown to nobody (spec/registry.md).

use std::fmt;

/// What a registry is told to know who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password, or what stands for one.
    Password { user: String, password: Secret },
    /// A refresh token of OAuth2, which docker calls an identity token.
    IdentityToken(Secret),
}

/// A text that no message, log or debug output holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it where it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

/// Where logins are looked up.
pub trait Logins: Sync {
    /// The login for a registry: a host as it stands in an image's name, with the port if it names one. The host matches
    /// exactly or not at all.
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError>;
}

/// Nobody in particular, to every registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Logins for Anonymous {
    fn login(&self, _: &str) -> Result<Option<Login>, LoginError> {
        Ok(None)
    }
}

/// Why a login cannot be told. No message holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let login = Login::Password { user: "me".into(), password: Secret::new("hunter2") };
        let shown = format!("{login:?} {:?}", Login::IdentityToken(Secret::new("hunter2")));
        assert_eq!(shown, "Password(me, …) IdentityToken(…)");
    }
}
