//! One repository of a registry, and the servers that answer for it.

use super::host::Host;
use super::{Registry, RegistryError, Target};
use crate::oci::Reference;

/// A repository: pulled from by way of its mirrors, pushed to without them.
pub struct Repository<'a> {
    registry: &'a Registry,
    /// `docker.io/library/alpine`, for messages.
    name: String,
    path: String,
    /// Mirrors in their order; the registry itself is last.
    hosts: Vec<Host<'a>>,
}

impl<'a> Repository<'a> {
    pub(super) fn new(registry: &'a Registry, name: &Reference) -> Result<Self, RegistryError> {
        let of = name.registry();
        let own = registry.options.own(of);
        let mirrors = registry.options.mirrors(of).iter().map(|mirror| Host::new(registry, of, mirror, true));
        let hosts = mirrors.chain([Host::new(registry, of, &own, false)]).collect::<Result<_, _>>()?;
        let path = name.repository().to_owned();
        Ok(Self { registry, name: format!("{of}/{path}"), path, hosts })
    }

    pub(super) fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// Registry and path.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The registry itself.
    pub(super) fn own(&self) -> &Host<'a> {
        self.hosts.last().expect("a registry is behind its mirrors")
    }

    /// What something of it is called in messages.
    pub(super) fn named(&self, target: &Target<'_>) -> String {
        match target {
            Target::Tag(tag) => format!("{}:{tag}", self.name),
            Target::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    pub(super) fn pulling(&self) -> Vec<String> {
        vec![scope(&self.path, "pull")]
    }

    pub(super) fn pushing(&self) -> Vec<String> {
        vec![scope(&self.path, "pull,push")]
    }

    pub(super) fn deleting(&self) -> Vec<String> {
        vec![scope(&self.path, "delete,pull")]
    }

    /// Asks one server after the other until one has it. What the registry itself says is what is said in the end; why
    /// a mirror was passed over is warned of, unless it just does not have it.
    pub(super) fn first<'s, T>(
        &'s self,
        ask: impl Fn(&'s Host<'a>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        for mirror in self.hosts.iter().filter(|host| host.is_mirror()) {
            match ask(mirror) {
                Ok(answer) => return Ok(answer),
                Err(error @ RegistryError::Store(_)) => return Err(error),
                Err(error) if error.is_missing() => {}
                Err(error) => self.registry.options.watch.warn(&format!("mirror passed over: {error}")),
            }
        }
        ask(self.own())
    }
}

/// What a token allows (distribution, "Token Scope Documentation").
pub(super) fn scope(path: &str, actions: &str) -> String {
    format!("repository:{path}:{actions}")
}
