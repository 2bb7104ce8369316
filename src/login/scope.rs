//! What a key of `auths` or `credHelpers` is for: a host with its port, or a part of one's repositories.

/// docker's registry, as images name it.
const DOCKER: &str = "docker.io";
/// The same as docker's files and helpers name it.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// Hosts that stand for it.
const DOCKER_HOSTS: [&str; 3] = [DOCKER, "index.docker.io", "registry-1.docker.io"];

/// What logins of a key are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// As an image's name has it.
    pub registry: &'a str,
    /// The beginning of repositories, whole parts of it; empty for all.
    pub path: &'a str,
}

impl<'a> Scope<'a> {
    /// Reads a key: `host[:port]`, podman's `host/part/of/path`, and what docker wrote over the years: with a scheme,
    /// with `/v1/` or `/v2/`. `None` if it is for no registry, as docker's `https://index.docker.io/v1/access-token`.
    pub fn of(key: &'a str) -> Option<Self> {
        let without = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
        let text = without.unwrap_or(key);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let path = path.trim_end_matches('/');
        let registry = if DOCKER_HOSTS.contains(&host) { DOCKER } else { host };
        match path {
            _ if !is_host(host) => None,
            "" | "v1" | "v2" => Some(Self { registry, path: "" }),
            _ if without.is_some() => None,
            path => Some(Self { registry, path }),
        }
    }

    /// Whether it covers a repository; without one, whether it covers the whole registry.
    pub fn covers(self, registry: &str, repository: Option<&str>) -> bool {
        let rest = repository.and_then(|repository| repository.strip_prefix(self.path));
        let within =
            self.path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.registry == registry && within
    }
}

/// A name or an address, with a port or without.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, port),
        Some(_) | None => (text, "0"),
    };
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-[]:".contains(&byte);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    !name.is_empty() && name.bytes().all(is_of_name) && is_port
}

/// The registry that a person means: `host[:port]`, or docker's forms of it. `None` for anything else.
pub fn registry_of(text: &str) -> Option<&str> {
    Scope::of(text).filter(|scope| scope.path.is_empty()).map(|scope| scope.registry)
}

/// The key under which docker and podman look for a registry.
pub fn key_of(registry: &str) -> &str {
    if registry == DOCKER { DOCKER_KEY } else { registry }
}

/// What a helper may know a registry by, the first that it has.
pub fn servers_of(registry: &str) -> Vec<&str> {
    if registry == DOCKER { vec![DOCKER_KEY, DOCKER] } else { vec![registry] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_docker_and_podman() {
        let of = |key| Scope::of(key).map(|scope| (scope.registry, scope.path));
        for key in
            ["a.example:5000", "https://a.example:5000", "http://a.example:5000/", "a.example:5000/v1/"]
        {
            assert_eq!(of(key), Some(("a.example:5000", "")), "{key}");
        }
        for key in [
            DOCKER_KEY,
            "docker.io",
            "https://index.docker.io/v2/",
            "registry-1.docker.io",
            "index.docker.io",
        ] {
            assert_eq!(of(key), Some(("docker.io", "")), "{key}");
        }
        assert_eq!(of("quay.io/team/app"), Some(("quay.io", "team/app")));
        assert_eq!(of("docker.io/library"), Some(("docker.io", "library")));
        assert_eq!(of("https://[::1]:5000/v2/"), Some(("[::1]:5000", "")));
        assert_eq!(of("[::1]"), Some(("[::1]", "")));
        for key in [
            "",
            "/",
            "https://",
            "https://index.docker.io/v1/access-token",
            "user@host",
            "a b",
            "ftp://a/",
            "a:",
            "a:b",
            ":1",
        ] {
            assert_eq!(of(key), None, "{key:?}");
        }
    }

    #[test]
    fn r06_hosts_match_whole_with_their_port() {
        let scope = Scope::of("a.example").unwrap();
        assert!(scope.covers("a.example", None) && scope.covers("a.example", Some("x/y")));
        for other in ["a.example:443", "a.example.evil", "aa.example", "A.example", "example", ""] {
            assert!(!scope.covers(other, None), "{other}");
        }
        assert!(!Scope::of("a.example:5000").unwrap().covers("a.example", None));
    }

    #[test]
    fn paths_match_in_whole_parts() {
        let scope = Scope::of("a.example/team").unwrap();
        assert!(scope.covers("a.example", Some("team")) && scope.covers("a.example", Some("team/app")));
        assert!(!scope.covers("a.example", Some("teams/app")) && !scope.covers("a.example", Some("other")));
        assert!(!scope.covers("a.example", None), "a part is no login for the whole");
    }
}
