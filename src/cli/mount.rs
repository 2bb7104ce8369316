//! `lith mount` and `lith umount`.

use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::geteuid;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::image::StoredImage;
use crate::store::Store;
use crate::view::{self, View, ViewError};

/// Arguments of `lith mount`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dir=$(lith mount app:latest) && ls $dir; lith umount app:latest\n  lith mount"
)]
pub struct Mount {
    /// A name, an id or a digest; without one, what is mounted is listed
    image: Option<String>,
    /// Where; it has to be there [default: a directory of the store's, which is printed]
    dir: Option<PathBuf>,
}

/// Arguments of `lith umount`.
#[derive(Debug, Args)]
pub struct Umount {
    /// Where an image is mounted, or an image that is mounted once
    #[arg(required = true, value_name = "DIR|IMAGE")]
    targets: Vec<String>,
}

impl Mount {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let Some(text) = &self.image else { return list(root) };
        check_root("mounts", text)?;
        let store = session::open(root, Need::FileSystems)?.store;
        let record = find::image(&store, text)?;
        let manifest = record.manifest.ok_or_else(|| {
            CliError::Usage(format!("{text} is an intermediate image and cannot be mounted"))
        })?;
        let image = StoredImage::open(&store, manifest)?;
        let dir = view::mount(&store, &image, self.dir.as_deref())?;
        if self.dir.is_none() {
            out::print(&format!("{}\n", dir.display()));
        }
        Ok(())
    }
}

impl Umount {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        check_root("unmounts", "IMAGE")?;
        let store = session::open(root, Need::FileSystems)?.store;
        for text in &self.targets {
            view::unmount(&store, &target(&store, text)?)?;
        }
        Ok(())
    }
}

/// A mount that others see is root's to make.
fn check_root(does: &str, image: &str) -> Result<(), CliError> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(CliError::Environment(format!(
        "only root {does} what other processes see; `lith run {image} COMMAND` looks at the files, \
         `lith bundle {image} DIR` writes them to a directory, and `lith save {image}` to an archive"
    )))
}

fn list(root: Option<&Path>) -> Result<(), CliError> {
    let store = session::open(root, Need::Store)?.store;
    let views = view::list().map_err(CliError::io("list what is mounted"))?;
    let mut table = vec![["IMAGE ID", "NAMES", "DIRECTORY"].map(str::to_owned).to_vec()];
    for View { image, dir } in views {
        let names = find::names(&store, &image)?.join(",");
        let names = if names.is_empty() { "<none>".to_owned() } else { names };
        table.push(vec![image.short(), names, dir.display().to_string()]);
    }
    out::print(&out::table(&table));
    Ok(())
}

/// Where what a person means is mounted: a directory, else an image.
fn target(store: &Store, text: &str) -> Result<PathBuf, CliError> {
    let views = view::list().map_err(CliError::io("list what is mounted"))?;
    let real = std::fs::canonicalize(text).ok();
    if views.iter().any(|view| Some(&view.dir) == real.as_ref()) {
        return Ok(text.into());
    }
    let image = match find::image(store, text) {
        Ok(record) => record.id,
        Err(_) if real.is_some() => return Err(ViewError::NotMounted { dir: text.into() }.into()),
        Err(error) => return Err(error),
    };
    let dirs: Vec<PathBuf> =
        views.into_iter().filter(|view| view.image == image).map(|view| view.dir).collect();
    match &dirs[..] {
        [only] => Ok(only.clone()),
        [] => Err(CliError::Usage(format!("{text} is not mounted; `lith mount` lists what is"))),
        several => {
            let names: Vec<String> = several.iter().map(|dir| dir.display().to_string()).collect();
            Err(CliError::Usage(format!("{text} is mounted several times; name one of {}", names.join(", "))))
        }
    }
}

/// What a person can do better is wrong usage.
impl From<ViewError> for CliError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Store(error) => Self::Store(error),
            ViewError::NotADirectory { .. } | ViewError::Taken { .. } | ViewError::NotMounted { .. } => {
                Self::Usage(error.to_string())
            }
            ViewError::Mount { .. } => Self::Environment(error.to_string()),
            ViewError::Io(_) | ViewError::Busy { .. } | ViewError::Unmount { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}
