//! Where the environment says that logins are.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::CliError;
use super::session::variable;
use crate::login::{AuthFiles, Helpers, Places};

/// The logins of the user.
pub fn logins() -> Result<AuthFiles, CliError> {
    let path = variable("PATH").unwrap_or_default();
    let logins = AuthFiles::new(&places(), Helpers::on(OsStr::new(&path)));
    match set("DOCKER_AUTH_CONFIG") {
        Some(text) => Ok(logins.with_given(&text)?),
        None => Ok(logins),
    }
}

fn places() -> Places {
    let file = |name| set(name).map(PathBuf::from);
    // The XDG base directory specification has relative ones ignored.
    let absolute = |name| file(name).filter(|dir| dir.is_absolute());
    Places {
        registry_auth_file: file("REGISTRY_AUTH_FILE"),
        docker_config: file("DOCKER_CONFIG"),
        runtime_dir: absolute("XDG_RUNTIME_DIR"),
        config_home: absolute("XDG_CONFIG_HOME"),
        home: absolute("HOME"),
        user: rustix::process::getuid().as_raw(),
    }
}

fn set(name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}
