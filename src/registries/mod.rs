//! What the user says of registries: mirrors, which may be asked without TLS, whose certificates count, and what short
//! names stand for (spec/registry-config.md). Values only: nothing here reads a file or asks a server.

mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::oci::{Reference, ReferenceError};

/// The largest file, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// All that is said; without a file nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    registries: BTreeMap<String, Registry>,
    /// Short names, and the registry and repository that they stand for.
    aliases: BTreeMap<String, String>,
}

/// What is said of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// Asked in this order before the registry itself.
    pub mirrors: Vec<Mirror>,
    pub transport: Transport,
    /// A file of certificates in PEM that count besides those of the system, for this registry alone.
    pub ca: Option<PathBuf>,
}

/// A registry that has what another one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What is said of it stands under its own name.
    pub registry: String,
    /// What its repositories have before the other's names; may be empty.
    pub prefix: String,
}

impl Mirror {
    /// The repository of the mirror that has another's.
    pub fn repository(&self, repository: &str) -> String {
        match self.prefix.as_str() {
            "" => repository.to_owned(),
            prefix => format!("{prefix}/{repository}"),
        }
    }
}

/// How a registry may be talked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// TLS, always.
    #[default]
    Https,
    /// In the open, if it has no TLS.
    HttpAllowed,
}

const NOTHING: &Registry = &Registry { mirrors: Vec::new(), transport: Transport::Https, ca: None };

impl Registries {
    /// What holds for a registry, by its host with the port, exactly.
    pub fn of(&self, registry: &str) -> &Registry {
        self.registries.get(registry).unwrap_or(NOTHING)
    }

    /// The image that a person's text names: what a short name stands for, else docker's; nobody else is asked.
    pub fn image(&self, text: &str) -> Result<Reference, ReferenceError> {
        let end = text.find('@').unwrap_or(text.len());
        let last = text[..end].rfind('/').map_or(0, |at| at + 1);
        let end = text[last..end].find(':').map_or(end, |at| last + at);
        let (name, rest) = text.split_at(end);
        match self.aliases.get(name) {
            Some(full) => format!("{full}{rest}").parse(),
            None => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_alias() -> Registries {
        let aliases = BTreeMap::from([
            ("redis".to_owned(), "a.example/cache/redis".to_owned()),
            ("team/app".to_owned(), "b.example:5000/app".to_owned()),
            ("localhost".to_owned(), "b.example/localhost".to_owned()),
        ]);
        Registries { aliases, ..Registries::default() }
    }

    #[test]
    fn c02_short_names_are_dockers_or_an_alias() {
        let registries = with_alias();
        let of = |text: &str| registries.image(text).unwrap().to_string();
        assert_eq!(of("redis"), "a.example/cache/redis:latest");
        assert_eq!(of("redis:7"), "a.example/cache/redis:7");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(of(&format!("redis@{digest}")), format!("a.example/cache/redis@{digest}"));
        assert_eq!(of("team/app:1"), "b.example:5000/app:1");
        // Only the whole name is the alias.
        assert_eq!(of("library/redis"), "docker.io/library/redis:latest");
        assert_eq!(of("docker.io/redis"), "docker.io/library/redis:latest");
        assert_eq!(of("redis2"), "docker.io/library/redis2:latest");
        assert_eq!(of("localhost:5000/redis"), "localhost:5000/redis:latest");
        assert_eq!(
            Registries::default().image("redis").unwrap().to_string(),
            "docker.io/library/redis:latest"
        );
        assert_eq!(of("localhost:1"), "b.example/localhost:1");
        assert!(registries.image("redis:").is_err() && registries.image("").is_err());
    }

    #[test]
    fn what_nobody_speaks_of_is_asked_with_tls() {
        assert_eq!(*Registries::default().of("a.example"), Registry::default());
        assert_eq!(Registry::default().transport, Transport::Https);
    }
}
