//! What a build says about its file from outside.

use crate::platform::Platform;

use super::contexts::NamedContexts;
use super::env::Env;

/// Build options that the language sees.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--build-arg`, name and value; later ones win.
    pub build_args: Vec<(String, String)>,
    /// `--label`, put on the target after all its instructions.
    pub labels: Vec<(String, String)>,
    /// `--target`, each a stage's name in any case, or its number from 0. The last stage if there is none.
    pub targets: Vec<String>,
    /// What is built for.
    pub platform: Platform,
    /// What is built on.
    pub build_platform: Platform,
    /// Whether `RUN --security=insecure` is allowed.
    pub insecure: bool,
    pub named_contexts: NamedContexts,
}

/// Arguments that steer BuildKit, not the file.
const RESERVED: [&str; 11] = [
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SBOM_SCAN_CONTEXT",
    "BUILDKIT_SBOM_SCAN_STAGE",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
];

/// Proxy variables that need no ARG, upper case.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

impl Options {
    /// The value given for an argument.
    pub(super) fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The arguments that every file can use in FROM, and after a bare ARG in a stage.
    pub(super) fn automatic(&self) -> Env {
        let mut env = Env::default();
        for (side, platform) in [("BUILD", &self.build_platform), ("TARGET", &self.platform)] {
            let parts = [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("OSVERSION", String::new()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", platform.variant.clone().unwrap_or_default()),
            ];
            for (part, value) in parts {
                self.set_automatic(&mut env, &format!("{side}{part}"), value);
            }
        }
        // Stages that several targets share are built once, so they cannot see for which.
        let target = match self.targets.as_slice() {
            [target] => target.as_str(),
            _ => "default",
        };
        self.set_automatic(&mut env, "TARGETSTAGE", target.to_owned());
        env
    }

    fn set_automatic(&self, env: &mut Env, name: &str, value: String) {
        env.set(name, self.build_arg(name).map_or(value, str::to_owned));
    }

    /// Proxy variables for processes, both cases of each.
    pub(super) fn proxies(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for name in PROXIES {
            let given = self.build_args.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(name));
            if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
                found.push((name.to_owned(), value.clone()));
                found.push((name.to_ascii_lowercase(), value.clone()));
            }
        }
        found
    }

    /// What keeps the cache mounts of one project from those of another (`BUILDKIT_CACHE_MOUNT_NS`).
    pub fn cache_namespace(&self) -> &str {
        self.build_arg("BUILDKIT_CACHE_MOUNT_NS").unwrap_or_default()
    }

    /// Build arguments that mean something without an ARG in the file.
    pub(super) fn needs_no_arg(&self, name: &str) -> bool {
        PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
            || RESERVED.contains(&name)
            || self.automatic().get(name).is_some()
    }
}
