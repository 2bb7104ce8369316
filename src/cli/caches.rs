//! `lith cache`: what cache mounts keep from build to build.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::session::{self, Need};
use super::{CliError, out};
use crate::epoch::Epoch;
use crate::store::caches::{CacheUse, Removal};
use crate::store::{Store, StoreError};

/// What to do with caches.
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// List caches
    Ls(Ls),
    /// Remove caches that no step uses
    Rm(Rm),
    /// Write a cache's files to a tar
    Export(Export),
    /// Make a cache of a tar's files; what it had is gone
    Import(Import),
}

/// Arguments of `lith cache ls`.
#[derive(Debug, Args)]
pub struct Ls {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

/// Arguments of `lith cache rm`.
#[derive(Debug, Args)]
pub struct Rm {
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// All caches
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// Arguments of `lith cache export`.
#[derive(Debug, Args)]
pub struct Export {
    name: String,
    /// The tar to write
    file: PathBuf,
}

/// Arguments of `lith cache import`.
#[derive(Debug, Args)]
pub struct Import {
    name: String,
    /// A tar, not compressed
    file: PathBuf,
}

impl CacheVerb {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::FileSystems)?.store;
        match self {
            Self::Ls(verb) => verb.run(&store),
            Self::Rm(verb) => verb.run(&store),
            Self::Export(verb) => verb.run(&store),
            Self::Import(verb) => verb.run(&store),
        }
    }
}

impl Ls {
    fn run(&self, store: &Store) -> Result<(), CliError> {
        let caches = store.caches()?;
        let date = |seconds| Epoch::from_seconds(seconds).map_or_else(String::new, Epoch::rfc3339);
        if self.format == Format::Json {
            for cache in &caches {
                let line = json!({
                    "name": cache.name, "instances": cache.instances, "size": cache.size, "used": date(cache.used),
                });
                out::print(&format!("{line}\n"));
            }
            return Ok(());
        }
        let header = ["NAME", "INSTANCES", "SIZE", "LAST USED"].map(str::to_owned).to_vec();
        let rows = caches.iter().map(|cache| {
            vec![
                crate::diag::escape(cache.name.as_bytes()),
                cache.instances.to_string(),
                out::size(cache.size),
                date(cache.used),
            ]
        });
        out::print(&out::table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
        Ok(())
    }
}

impl Rm {
    fn run(self, store: &Store) -> Result<(), CliError> {
        let names = match self.all {
            true => store.caches()?.into_iter().map(|cache| cache.name).collect(),
            false => self.names,
        };
        let mut in_use = Vec::new();
        for name in names {
            match store.remove_cache(&name)? {
                Removal::Removed => out::print(&format!("Removed: {name}\n")),
                Removal::InUse => in_use.push(name),
                Removal::Missing => return Err(missing(store, &name)),
            }
        }
        if in_use.is_empty() {
            return Ok(());
        }
        Err(CliError::Failed(format!("in use by a running build: {}", in_use.join(", "))))
    }
}

impl Export {
    fn run(&self, store: &Store) -> Result<(), CliError> {
        if !store.caches()?.iter().any(|cache| cache.name == self.name) {
            return Err(missing(store, &self.name));
        }
        let nothing = |_: &Path| Ok::<(), StoreError>(());
        let waits = || out::err("waiting for a step that uses the cache\n");
        let cache = store.use_cache(&self.name, CacheUse::Alone, nothing, waits)?;
        let failed = || CliError::io(format!("write {}", self.file.display()));
        let file = File::create(&self.file).map_err(failed())?;
        let mut tar = tar::Builder::new(BufWriter::new(file));
        tar.follow_symlinks(false);
        tar.append_dir_all(".", cache.data()).map_err(failed())?;
        tar.into_inner().and_then(|writer| writer.into_inner().map_err(Into::into)).map_err(failed())?;
        Ok(())
    }
}

impl Import {
    fn run(&self, store: &Store) -> Result<(), CliError> {
        let failed = || CliError::io(format!("read {}", self.file.display()));
        let file = File::open(&self.file).map_err(failed())?;
        let fill = |dir: &Path| {
            let mut tar = tar::Archive::new(BufReader::new(&file));
            tar.set_preserve_permissions(true);
            tar.set_preserve_ownerships(true);
            tar.unpack(dir).and_then(|()| own_metadata(&self.file, dir)).map_err(failed())
        };
        match store.replace_cache(&self.name, fill)? {
            true => Ok(()),
            false => Err(CliError::Failed(format!("in use by a running build: {}", self.name))),
        }
    }
}

/// Mode and owner of the cache's directory itself, if the tar has them: unpacking leaves the top alone.
fn own_metadata(tar: &Path, dir: &Path) -> io::Result<()> {
    let mut tar = tar::Archive::new(BufReader::new(File::open(tar)?));
    let Some(first) = tar.entries()?.next().transpose()? else { return Ok(()) };
    let header = first.header();
    if !header.entry_type().is_dir() || !matches!(first.path_bytes().as_ref(), b"." | b"./") {
        return Ok(());
    }
    let id = |id: u64| u32::try_from(id).ok();
    chown(dir, id(header.uid()?), id(header.gid()?))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(header.mode()? & 0o7777))
}

fn missing(store: &Store, name: &str) -> CliError {
    let known: Vec<String> = store.caches().unwrap_or_default().into_iter().map(|cache| cache.name).collect();
    let similar = crate::diag::suggest(name, known.iter().map(String::as_str));
    let hint =
        similar.map_or_else(|| "`lith cache ls` lists them".to_owned(), |s| format!("did you mean {s}?"));
    CliError::Usage(format!("there is no cache {name}; {hint}"))
}
