//! Where docker and podman keep logins, in the order in which they are asked (containers-auth.json(5)).

use std::path::PathBuf;

/// What the environment says of it.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `REGISTRY_AUTH_FILE`: podman's first file by another name.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the directory of docker's file.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The user's number, for where podman keeps logins without a runtime directory.
    pub user: u32,
}

impl Places {
    /// All files, those asked first first. They need not be there.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let first = match (&self.registry_auth_file, &self.runtime_dir) {
            (Some(named), _) => named.clone(),
            (None, Some(runtime)) => runtime.join(PODMAN),
            (None, None) => format!("/run/containers/{}/auth.json", self.user).into(),
        };
        let config = self.config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        [Some(first), config.map(|dir| dir.join(PODMAN)), self.docker()].into_iter().flatten().collect()
    }

    /// The file where a new login goes.
    pub(super) fn own(&self) -> Option<PathBuf> {
        self.registry_auth_file.clone().or_else(|| self.docker())
    }

    fn docker(&self) -> Option<PathBuf> {
        let directory = self.docker_config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")));
        Some(directory?.join("config.json"))
    }
}

const PODMAN: &str = "containers/auth.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: &Places) -> Vec<String> {
        places.files().iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn order_of_files() {
        let mut places = Places { home: Some("/h".into()), user: 7, ..Places::default() };
        let ends = ["/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(shown(&places), ["/run/containers/7/auth.json", ends[0], ends[1]]);
        places.runtime_dir = Some("/run/user/7".into());
        assert_eq!(shown(&places), ["/run/user/7/containers/auth.json", ends[0], ends[1]]);
        assert_eq!(places.own().unwrap(), PathBuf::from(ends[1]));
        places.registry_auth_file = Some("/a.json".into());
        places.config_home = Some("/c".into());
        places.docker_config = Some("/d".into());
        assert_eq!(shown(&places), ["/a.json", "/c/containers/auth.json", "/d/config.json"]);
        assert_eq!(places.own().unwrap(), PathBuf::from("/a.json"));
        assert_eq!(Places::default().own(), None);
    }
}
