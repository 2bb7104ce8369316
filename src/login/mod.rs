//! Who one is to a registry: what `login` wrote down, and what credential helpers say.
//!
//! Credentials belong to one host with its port, and are shown to nobody (spec/login.md). Nothing here reads the
//! environment: [`Places`] are values.

mod document;
mod files;
mod helper;
mod places;
mod scope;
mod write;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use files::{AuthFiles, Kept};
pub use helper::Helpers;
pub use places::Places;
pub use scope::registry_of;

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
pub trait Logins: Send + Sync {
    /// The login for a registry: a host as it stands in an image's name, with the port if it names one. The host matches
    /// exactly or not at all.
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError>;

    /// The login for one repository of a registry: where logins differ by repository, the one for the longest part of
    /// its path.
    fn login_to(&self, registry: &str, repository: &str) -> Result<Option<Login>, LoginError> {
        let _ = repository;
        self.login(registry)
    }
}

/// Nobody in particular, to every registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Logins for Anonymous {
    fn login(&self, _: &str) -> Result<Option<Login>, LoginError> {
        Ok(None)
    }
}

/// Why a login cannot be told, kept or forgotten. No message holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: REGISTRY_AUTH_FILE names this file, and it is not there", .0.display())]
    Named(PathBuf),
    #[error("{file}:{line}:{column}: {reason}")]
    Json { file: String, line: usize, column: usize, reason: String },
    #[error("{file}: {reason}")]
    NotJson { file: String, reason: String },
    #[error("{file}: the login for {key} is broken: {reason}")]
    Broken { file: String, key: String, reason: &'static str },
    #[error(
        "{file}: {name:?} cannot be the name of a credential helper; expected letters, digits, '.', '_' and '-'"
    )]
    HelperName { file: String, name: String },
    #[error("{file} has logins kept by docker-credential-{name}, and no directory of PATH has that program")]
    NoHelper { file: String, name: String },
    #[error("docker-credential-{name} {act}: {reason}")]
    Helper { name: String, act: &'static str, reason: String },
    #[error(
        "DOCKER_AUTH_CONFIG holds a login for {registry}, which would go before the one to be kept; unset it"
    )]
    Given { registry: String },
    #[error("there is no file to keep logins in: neither HOME nor DOCKER_CONFIG says where")]
    NoFile,
    #[error("write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

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
