//! Build contexts: directories of the host, and what comes as one from elsewhere: tars, repositories, files by URL.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pins::Pins;
use super::{BuildError, Options};
use crate::context::ignore::Ignore;
use crate::context::{Context, Filter, StatIndex, ignore_file};
use crate::epoch::Epoch;
use crate::exec::ExecError;
use crate::exec::files::{self, Files};
use crate::exec::observe::Rootfs;
use crate::exec::source::Source;
use crate::fetch::{Access, Commits, FetchError, FetchOptions, Fetcher};
use crate::path::ImagePath;
use crate::remote::{GitRepo, Remote};
use crate::store::Store;

/// The context of a build.
#[derive(Debug, Clone)]
pub enum ContextSource {
    /// A directory, with its ignore rules and the name of the file they came from.
    Directory {
        path: PathBuf,
        ignore: (Vec<u8>, String),
    },
    Packed(Packed),
}

/// A context that came as one. No ignore file applies to it.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// Its files; no layer if it has none.
    pub rootfs: Arc<Rootfs>,
    /// For people, and to tell one place from another.
    pub shown: String,
    /// When it was made, if it says so.
    pub time: Option<Epoch>,
}

/// `--build-context NAME=…`.
#[derive(Debug, Clone)]
pub enum NamedContext {
    /// What [`super::bases`] understands.
    Image(String),
    Directory(PathBuf),
    /// Fetched if the build needs it.
    Remote(Remote),
}

/// What stands behind the URL of a context.
#[derive(Debug)]
pub enum Came {
    Tree(Packed),
    /// A Dockerfile, with no context.
    File(Vec<u8>),
}

/// The largest Dockerfile that is read from a context.
pub const MAX_FILE: u64 = 64 << 20;

impl ContextSource {
    /// What tells this context from others.
    pub fn place(&self) -> String {
        match self {
            Self::Directory { path, .. } => {
                std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            Self::Packed(packed) => packed.shown.clone(),
        }
    }

    /// Its ignore rules.
    pub(super) fn rules(&self) -> &[u8] {
        match self {
            Self::Directory { ignore, .. } => &ignore.0,
            Self::Packed(_) => &[],
        }
    }

    /// Opens it for reading.
    pub(super) fn open(&self, store: &Store) -> Result<Files, BuildError> {
        match self {
            Self::Directory { path, ignore: (rules, name) } => directory(store, path, rules, name),
            Self::Packed(packed) => Ok(Files::Packed(packed.rootfs.clone())),
        }
    }
}

impl NamedContext {
    /// Opens it for reading; an image has no files to open.
    pub(super) fn open(&self, store: &Store, options: &Options, name: &str) -> Result<Files, BuildError> {
        match self {
            Self::Image(_) => Ok(Files::Packed(Arc::default())),
            Self::Directory(path) => {
                let name = format!("{name}:.dockerignore");
                let rules = ignore_file(&path.join(".dockerignore"))
                    .map_err(|source| BuildError::IgnoreFile { file: name.clone(), source })?
                    .unwrap_or_default();
                directory(store, path, &rules, &name)
            }
            Self::Remote(remote) if options.told.hermetic && !options.pins.knows(remote, None) => {
                Err(ExecError::from(FetchError::NotPinned { url: remote.shown() }).into())
            }
            Self::Remote(Remote::Git(repo)) => {
                let packed = commit(store, &options.fetch, options.git_access(), repo, &options.pins)?;
                Ok(Files::Packed(packed.rootfs))
            }
            Self::Remote(Remote::File(url)) => match behind(store, &options.fetch, url, &options.pins)? {
                Came::Tree(packed) => Ok(Files::Packed(packed.rootfs)),
                Came::File(_) => Err(BuildError::NotATree { shown: Remote::File(url.clone()).shown() }),
            },
        }
    }
}

fn directory(store: &Store, path: &Path, rules: &[u8], name: &str) -> Result<Files, BuildError> {
    let ignore =
        Ignore::parse(rules).map_err(|source| BuildError::Ignore { file: name.to_owned(), source })?;
    let context = Arc::new(Context::open(path, ignore, name)?);
    let index = StatIndex::load(&index_path(store, path));
    Ok(Files::Directory { context, index })
}

/// The stat index of a directory, by its real path.
pub(super) fn index_path(store: &Store, context: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let real = std::fs::canonicalize(context).unwrap_or_else(|_| context.to_owned());
    let name = blake3::hash(real.as_os_str().as_bytes()).to_hex();
    store.root().join("contexts").join(name.as_str())
}

/// The files of a commit.
pub fn commit(
    store: &Store,
    options: &FetchOptions,
    access: Access<'_>,
    repo: &GitRepo,
    pins: &Pins,
) -> Result<Packed, BuildError> {
    let commits = Commits::new(store, options, access);
    let commit = pins.commit(&commits, repo).map_err(ExecError::from)?;
    let tree = commits.tree(repo, &commit).map_err(ExecError::from)?;
    let dir = match repo.keep_git_dir {
        Some(true) => Some(commits.git_dir(repo, &commit).map_err(ExecError::from)?),
        Some(false) | None => None,
    };
    let source = Source::from_git(repo.shown(), tree, dir, &Filter::default(), Epoch::ZERO);
    let layer = files::pack_source(store, &source)?;
    Ok(Packed { rootfs: Arc::new(vec![layer]), shown: repo.shown(), time: Some(commit.time) })
}

/// What an http or https URL gives: the files of a tar, or one file.
pub fn behind(store: &Store, options: &FetchOptions, url: &str, pins: &Pins) -> Result<Came, BuildError> {
    let shown = Remote::File(url.to_owned()).shown();
    let fetched = pins.file(&Fetcher::new(store, options), url, None).map_err(ExecError::from)?;
    let (file, size) = store.open_blob(&fetched.blob)?;
    let time = store.download(url).and_then(|known| Epoch::from_http_date(&known.last_modified?));
    if let Some(packed) = archive(store, &shown, file.try_clone().map_err(ExecError::from)?)? {
        return Ok(Came::Tree(Packed { time, ..packed }));
    }
    if size > MAX_FILE {
        return Err(BuildError::NotATree { shown });
    }
    Ok(Came::File(whole(&file).map_err(ExecError::from)?))
}

/// The files of a tar, packed or not; `None` if the file is none. Its position does not matter.
pub fn archive(store: &Store, shown: &str, file: File) -> Result<Option<Packed>, BuildError> {
    let layer = files::pack_tar(store, shown, file)?;
    Ok(layer.map(|layer| Packed { rootfs: Arc::new(vec![layer]), shown: shown.to_owned(), time: None }))
}

/// Everything a file holds.
pub fn whole(file: &File) -> std::io::Result<Vec<u8>> {
    use std::io::Seek as _;
    let mut file = file.try_clone()?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file of a context that came as one; `None` if there is none.
pub fn read(store: &Store, packed: &Packed, path: &ImagePath) -> Result<Option<Vec<u8>>, BuildError> {
    Ok(files::read_packed(store, &packed.rootfs, path, MAX_FILE)?)
}
