//! Named build contexts: what takes the place of images and stages in a file.

use std::collections::BTreeMap;

use crate::oci::Reference;
use crate::platform::Platform;

/// What a named context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// A tree of files: a directory, a repository, an archive by URL.
    Files,
    Image,
}

/// Build contexts by the names they were given, each perhaps for one platform alone (`name::os/arch`).
#[derive(Debug, Clone, Default)]
pub struct NamedContexts(BTreeMap<String, ContextKind>);

impl NamedContexts {
    /// Adds one; a later one of the same name takes its place. Gives the name as it is kept.
    pub fn insert(&mut self, name: &str, kind: ContextKind) -> String {
        let key = match name.split_once("::") {
            None => familiar(name),
            Some((name, platform)) => qualified(&familiar(name), platform),
        };
        self.0.insert(key.clone(), kind);
        key
    }

    /// What takes the place of a name for a platform: a context for that platform before one for any.
    pub fn find(&self, name: &str, platform: &Platform) -> Option<(&str, ContextKind)> {
        if self.0.is_empty() {
            return None;
        }
        let name = familiar(name);
        let own = self.0.get_key_value(&qualified(&name, &platform.to_string()));
        own.or_else(|| self.0.get_key_value(&name)).map(|(key, kind)| (key.as_str(), *kind))
    }
}

fn qualified(name: &str, platform: &str) -> String {
    let platform = platform.parse::<Platform>().map_or_else(|_| platform.to_owned(), |p| p.to_string());
    format!("{name}::{platform}")
}

/// As docker shows an image, without the tag that every image has if it has none; lower case.
fn familiar(name: &str) -> String {
    let folded = name.to_lowercase();
    match folded.parse::<Reference>() {
        Err(_) => folded,
        Ok(reference) => {
            let shown = reference.familiar();
            shown.strip_suffix(":latest").map_or_else(|| shown.clone(), str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_for_the_platform_goes_first() {
        let mut contexts = NamedContexts::default();
        contexts.insert("Alpine:latest", ContextKind::Image);
        contexts.insert("alpine::linux/arm64", ContextKind::Files);
        contexts.insert("quay.io/a/b:1", ContextKind::Files);
        let find = |name: &str, platform: &str| contexts.find(name, &platform.parse().unwrap());
        assert_eq!(find("alpine", "linux/amd64"), Some(("alpine", ContextKind::Image)));
        assert_eq!(
            find("docker.io/library/alpine:latest", "linux/amd64"),
            Some(("alpine", ContextKind::Image))
        );
        assert_eq!(find("ALPINE", "linux/arm64"), Some(("alpine::linux/arm64", ContextKind::Files)));
        assert_eq!(find("alpine:3", "linux/amd64"), None);
        assert_eq!(find("quay.io/a/b:1", "linux/amd64"), Some(("quay.io/a/b:1", ContextKind::Files)));
    }
}
