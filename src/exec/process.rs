//! The process of an image: what its config says, and what a caller says instead.
//!
//! Owns: how the two come together, as docker's `run` has it: argv, environment, directory and user, all settled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::observe::{Observer, Rootfs};
use super::{ExecError, users};
use crate::layer::tree::Tree;
use crate::oci::{ImageConfig, RunConfig};
use crate::sandbox::spec::Ids;
use crate::store::{LayerRef, Store, StoreError};

/// Where programs are looked for if neither the image nor the caller says so: docker's.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a caller wants otherwise than the image has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Instead of the image's entrypoint, and then its CMD is left out too. An empty one is none.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's CMD, unless empty.
    pub command: Vec<String>,
    /// In order.
    pub env: Vec<Variable>,
    /// Absolute.
    pub cwd: Option<String>,
    /// `user[:group]`, names or numbers.
    pub user: Option<String>,
}

/// A change of one variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    Set { name: String, value: String },
    Unset { name: String },
}

impl Variable {
    fn apply(&self, env: &mut Vec<(String, String)>) {
        match self {
            Self::Set { name, value } => set(env, name, value),
            Self::Unset { name } => env.retain(|(known, _)| known != name),
        }
    }
}

/// All that is to be known to start it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageProcess {
    /// Not empty.
    pub argv: Vec<String>,
    /// `NAME=value`, each name once; with PATH and HOME.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    pub user: Ids,
}

/// Why an image has no such process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("the image names no command; give one behind it")]
    NoCommand,
    #[error("{cwd:?} is no absolute path, so it cannot be the working directory; write /{cwd}")]
    RelativeDirectory { cwd: String },
    #[error(transparent)]
    User(#[from] ExecError),
}

impl From<StoreError> for ProcessError {
    fn from(error: StoreError) -> Self {
        Self::User(error.into())
    }
}

/// The process of an image of the store. Names of users are looked up in its own files.
pub fn resolve(
    store: &Store,
    config: &ImageConfig,
    overrides: &Overrides,
) -> Result<ImageProcess, ProcessError> {
    let run = &config.config;
    let argv = argv(run, overrides)?;
    let cwd = cwd(run, overrides)?;
    let rootfs = rootfs(store, config)?;
    // All of it will be mounted.
    store.bring_all(&rootfs)?;
    let tree = Tree::new(rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?);
    let observer = Observer::new(store, &rootfs, Arc::new(tree));
    let user = users::process(user(run, overrides), &observer)?;
    let env = env(run, overrides, &users::home(user.uid, &observer)?);
    Ok(ImageProcess { argv, env, cwd, user })
}

/// The layers of an image with their sizes.
pub fn rootfs(store: &Store, config: &ImageConfig) -> Result<Rootfs, StoreError> {
    let layer = |diff_id| Ok(LayerRef { diff_id, size: store.layer_size(diff_id)? });
    config.rootfs.diff_ids.iter().copied().map(layer).collect()
}

fn argv(run: &RunConfig, overrides: &Overrides) -> Result<Vec<String>, ProcessError> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (mut argv, default) = match &overrides.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), Vec::new()),
        None => (list(&run.entrypoint), list(&run.cmd)),
    };
    argv.extend(if overrides.command.is_empty() { default } else { overrides.command.clone() });
    if argv.first().is_none_or(String::is_empty) {
        return Err(ProcessError::NoCommand);
    }
    Ok(argv)
}

fn cwd(run: &RunConfig, overrides: &Overrides) -> Result<String, ProcessError> {
    let cwd = overrides.cwd.as_ref().unwrap_or(&run.working_dir);
    match cwd.as_str() {
        "" => Ok("/".to_owned()),
        absolute if absolute.starts_with('/') => Ok(absolute.to_owned()),
        relative => Err(ProcessError::RelativeDirectory { cwd: relative.to_owned() }),
    }
}

/// An image that names none means root with its groups, as in docker.
fn user<'a>(run: &'a RunConfig, overrides: &'a Overrides) -> &'a str {
    match overrides.user.as_ref().unwrap_or(&run.user).as_str() {
        "" => "0",
        named => named,
    }
}

/// PATH goes first if nobody names it, HOME last; a name that is set again keeps its place.
fn env(run: &RunConfig, overrides: &Overrides, home: &str) -> Vec<String> {
    let mut env: Vec<(String, String)> = vec![("PATH".into(), DEFAULT_PATH.into())];
    for text in &run.env {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        set(&mut env, name, value);
    }
    overrides.env.iter().for_each(|variable| variable.apply(&mut env));
    if !env.iter().any(|(name, _)| name == "HOME") {
        set(&mut env, "HOME", home);
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// An environment after some changes.
pub fn changed(env: &[String], changes: &[Variable]) -> Vec<String> {
    let split = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env: Vec<(String, String)> = env.iter().filter_map(split).collect();
    changes.iter().for_each(|variable| variable.apply(&mut env));
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Who `user[:group]` is in an image's own files.
pub fn user_of(store: &Store, rootfs: &[LayerRef], text: &str) -> Result<Ids, ExecError> {
    let tree = Tree::new(rootfs.iter().map(|layer| store.toc(layer.diff_id)).collect::<Result<_, _>>()?);
    users::process(text, &Observer::new(store, rootfs, Arc::new(tree)))
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: Some(strings(&["/init", "-v"])),
            cmd: Some(strings(&["serve"])),
            env: strings(&["A=1", "B=2", "A=3", "EMPTY"]),
            ..RunConfig::default()
        }
    }

    fn with(entrypoint: Option<&[&str]>, command: &[&str]) -> Overrides {
        let (entrypoint, command) = (entrypoint.map(strings), strings(command));
        Overrides { entrypoint, command, ..Overrides::default() }
    }

    #[test]
    fn a_command_replaces_cmd_and_an_entrypoint_replaces_both() {
        let run = image();
        assert_eq!(argv(&run, &with(None, &[])).unwrap(), ["/init", "-v", "serve"]);
        assert_eq!(argv(&run, &with(None, &["x", "y"])).unwrap(), ["/init", "-v", "x", "y"]);
        assert_eq!(argv(&run, &with(Some(&["sh"]), &[])).unwrap(), ["sh"]);
        assert_eq!(argv(&run, &with(Some(&["sh"]), &["-c"])).unwrap(), ["sh", "-c"]);
        assert_eq!(argv(&run, &with(Some(&[]), &["ls"])).unwrap(), ["ls"]);
        assert!(matches!(argv(&run, &with(Some(&[]), &[])), Err(ProcessError::NoCommand)));
        assert!(matches!(argv(&RunConfig::default(), &with(None, &[])), Err(ProcessError::NoCommand)));
        assert!(matches!(argv(&run, &with(Some(&[""]), &[])), Err(ProcessError::NoCommand)));
    }

    #[test]
    fn variables_are_set_once_in_the_order_they_came() {
        let path = format!("PATH={DEFAULT_PATH}");
        let of = |overrides| env(&image(), &Overrides { env: overrides, ..Overrides::default() }, "/root");
        assert_eq!(of(vec![]), [path.as_str(), "A=3", "B=2", "EMPTY=", "HOME=/root"]);
        let set = |name: &str, value: &str| Variable::Set { name: name.into(), value: value.into() };
        let changed = of(vec![
            set("PATH", "/bin"),
            Variable::Unset { name: "B".into() },
            set("HOME", "/h"),
            set("C", "a=b"),
        ]);
        assert_eq!(changed, ["PATH=/bin", "A=3", "EMPTY=", "HOME=/h", "C=a=b"]);
    }

    #[test]
    fn the_directory_is_absolute() {
        let of = |image: &str, own: Option<&str>| {
            let run = RunConfig { working_dir: image.into(), ..RunConfig::default() };
            cwd(&run, &Overrides { cwd: own.map(str::to_owned), ..Overrides::default() })
        };
        assert_eq!(of("", None).unwrap(), "/");
        assert_eq!(of("/app", None).unwrap(), "/app");
        assert_eq!(of("/app", Some("/x")).unwrap(), "/x");
        assert!(matches!(of("/app", Some("x")), Err(ProcessError::RelativeDirectory { cwd }) if cwd == "x"));
    }
}
