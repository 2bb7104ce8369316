//! The logins of this machine's user: files that docker and podman share, and the helpers that those name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::document::{self, Document, Keeper};
use super::helper::{Helper, Helpers};
use super::scope::{key_of, registry_of, servers_of};
use super::{Login, LoginError, Logins, Places, write};
use crate::oci::json::MAX_DOCUMENT;
use crate::sys::file::read_regular;

/// What messages call what `DOCKER_AUTH_CONFIG` holds.
const GIVEN: &str = "DOCKER_AUTH_CONFIG";

/// All of them, in order: the first that has a login for a registry is it (spec/login.md).
pub struct AuthFiles {
    /// Goes before all files, as in docker.
    given: Option<Document>,
    files: Vec<PathBuf>,
    /// Must be there.
    named: Option<PathBuf>,
    /// Where a login goes that is in none yet.
    own: Option<PathBuf>,
    helpers: Helpers,
}

/// Where a login is kept, or was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// By a helper, named so.
    Helper(String),
    /// In a file, as it is.
    File(PathBuf),
}

impl AuthFiles {
    /// Those at the places that the environment names.
    pub fn new(places: &Places, helpers: Helpers) -> Self {
        let named = places.registry_auth_file.clone();
        Self { given: None, files: places.files(), named, own: places.own(), helpers }
    }

    /// With what `DOCKER_AUTH_CONFIG` holds: a file's text.
    pub fn with_given(self, text: &str) -> Result<Self, LoginError> {
        let given = Document::parse(GIVEN, text.as_bytes())?;
        Ok(Self { given: Some(given), ..self })
    }

    fn find(&self, registry: &str, repository: Option<&str>) -> Result<Option<Login>, LoginError> {
        if let Some(login) = self.given(registry, repository)? {
            return Ok(Some(login));
        }
        for path in &self.files {
            let Some(document) = self.read(path)? else { continue };
            let found = match self.helper(&document, registry)? {
                Some(helper) => first(&servers_of(registry), |server| helper.get(server))?,
                None => document.login(registry, repository)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn given(&self, registry: &str, repository: Option<&str>) -> Result<Option<Login>, LoginError> {
        self.given.as_ref().map_or(Ok(None), |given| given.login(registry, repository))
    }

    /// Keeps a login in the user's own file, or in one that is asked before it and speaks of this registry already: so
    /// what is kept is what is found. If the file names a helper, that keeps it.
    pub fn keep(&self, registry: &str, login: &Login) -> Result<Kept, LoginError> {
        if self.given(registry, None)?.is_some() {
            return Err(LoginError::Given { registry: registry.to_owned() });
        }
        let (path, document) = self.home_of(registry)?;
        let helper = document.as_ref().map_or(Ok(None), |document| self.helper(document, registry))?;
        match helper {
            Some(helper) => {
                helper.store(key_of(registry), login)?;
                // An empty entry tells docker that there is one.
                set_entry(&path, registry, Some("{}"))?;
                Ok(Kept::Helper(helper.name))
            }
            None => {
                set_entry(&path, registry, Some(&document::entry(login)))?;
                Ok(Kept::File(path))
            }
        }
    }

    fn home_of(&self, registry: &str) -> Result<(PathBuf, Option<Document>), LoginError> {
        let own = self.own.as_ref().ok_or(LoginError::NoFile)?;
        for path in self.files.iter().take_while(|path| *path != own) {
            if let Some(document) = read(path)?.filter(|document| document.mentions(registry)) {
                return Ok((path.clone(), Some(document)));
            }
        }
        Ok((own.clone(), read(own)?))
    }

    /// Forgets the logins of a registry, in all files and their helpers. Where they were, none if there were none.
    pub fn forget(&self, registry: &str) -> Result<Vec<Kept>, LoginError> {
        let mut forgotten = Vec::new();
        for path in &self.files {
            let Some(document) = read(path)? else { continue };
            if let Some(helper) = self.helper(&document, registry)?
                && erase(&helper, registry)?
            {
                forgotten.push(Kept::Helper(helper.name));
            }
            if document.has_entry(registry) {
                // A broken one goes as well.
                let held = !matches!(document.login(registry, None), Ok(None));
                set_entry(path, registry, None)?;
                forgotten.extend(held.then(|| Kept::File(path.clone())));
            }
        }
        Ok(forgotten)
    }

    /// The registries that there are logins for, as far as that can be told.
    pub fn registries(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for document in self.files.iter().filter_map(|path| read(path).ok().flatten()) {
            all.extend(document.registries().map(str::to_owned));
            let Ok(Some(helper)) = self.helper(&document, "") else { continue };
            let listed = helper.list().unwrap_or_default();
            all.extend(listed.keys().filter_map(|server| registry_of(server)).map(str::to_owned));
        }
        all
    }

    fn helper(&self, document: &Document, registry: &str) -> Result<Option<Helper<'_>>, LoginError> {
        match document.keeper(registry) {
            Keeper::File => Ok(None),
            Keeper::Helper(name) => self.helpers.named(name, document.file()).map(Some),
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Document>, LoginError> {
        match read(path)? {
            None if self.named.as_deref() == Some(path) => Err(LoginError::Named(path.to_owned())),
            document => Ok(document),
        }
    }
}

/// Lets a helper forget a registry, by all names that it has for it; false if it has none.
fn erase(helper: &Helper<'_>, registry: &str) -> Result<bool, LoginError> {
    let servers = match helper.list() {
        Ok(listed) => listed.into_keys().filter(|server| registry_of(server) == Some(registry)).collect(),
        // Not all can list.
        Err(_) => servers_of(registry).into_iter().map(str::to_owned).collect::<Vec<_>>(),
    };
    let mut had = false;
    for server in servers {
        had |= helper.erase(&server)?;
    }
    Ok(had)
}

/// The first that is found.
fn first<T>(
    servers: &[&str],
    mut get: impl FnMut(&str) -> Result<Option<T>, LoginError>,
) -> Result<Option<T>, LoginError> {
    for server in servers {
        if let Some(found) = get(server)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A file, if it is there.
fn read(path: &Path) -> Result<Option<Document>, LoginError> {
    match read_regular(path, MAX_DOCUMENT as u64) {
        Ok(bytes) => Document::parse(&path.display().to_string(), &bytes).map(Some),
        Err(error) if is_missing(&error) => Ok(None),
        Err(source) => Err(LoginError::Read { path: path.to_owned(), source }),
    }
}

/// Also where a part of its path is a file.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Replaces the entry of a registry in a file.
fn set_entry(path: &Path, registry: &str, entry: Option<&str>) -> Result<(), LoginError> {
    let name = path.display().to_string();
    let changed = write::change(path, MAX_DOCUMENT as u64, |before| {
        let after = document::with_entry(&name, before, registry, entry).map_err(Fault::Text)?;
        Ok::<_, Fault>((after != before).then_some(after))
    });
    changed.map_err(|fault| match fault {
        Fault::File(source) => LoginError::Write { path: path.to_owned(), source },
        Fault::Text(error) => error,
    })
}

/// What kept a file from being changed.
enum Fault {
    File(io::Error),
    Text(LoginError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl Logins for AuthFiles {
    fn login(&self, registry: &str) -> Result<Option<Login>, LoginError> {
        self.find(registry, None)
    }

    fn login_to(&self, registry: &str, repository: &str) -> Result<Option<Login>, LoginError> {
        self.find(registry, Some(repository))
    }
}
