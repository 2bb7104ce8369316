//! Commits of git repositories: names resolved, objects brought into a bare mirror in the store (spec/fetch.md, "Git").
//!
//! Nothing is ever checked out: files are read out of the object store as an archive. So no hook, filter or symlink of a
//! repository has anything to act on.

mod command;
mod listen;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::watch::Act;
use super::{FetchError, FetchOptions, Fetching};
use crate::epoch::Epoch;
use crate::remote::GitRepo;
use crate::remote::git::is_commit;
use crate::store::{Store, StoreError};
use crate::sys::file;

use command::Git;
pub use tree::{GitDir, GitEntry, GitTree};

/// Where a mirror notes which of its commits are whole.
const WHOLE: &str = "lith-whole";

/// Values by name that nobody else may see.
pub trait SecretSource: Sync {
    /// The value of a secret.
    fn secret(&self, id: &str) -> Option<&[u8]>;
}

/// No secrets.
impl SecretSource for () {
    fn secret(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// What opens private repositories.
pub struct Access<'a> {
    pub secrets: &'a dyn SecretSource,
    /// The socket of an ssh agent.
    pub agent: Option<&'a Path>,
}

impl Access<'_> {
    /// Nothing but what is public, or in the URL.
    pub const NONE: Access<'static> = Access { secrets: &(), agent: None };

    /// `Authorization` for a host, from `GIT_AUTH_HEADER` or `GIT_AUTH_TOKEN`, each also with `.HOST`, or from the URL.
    fn authorization(&self, repo: &GitRepo) -> Option<String> {
        if !repo.url.starts_with("http") {
            return None;
        }
        if let Some(given) = &repo.credentials {
            return Some(basic(&given.user, &given.password));
        }
        let url = url::Url::parse(&repo.url).ok()?;
        let host = url.host_str()?;
        let find = |name: &str| {
            let secrets = self.secrets;
            let own = secrets.secret(&format!("{name}.{host}"));
            // Without a host it is for the server that the user names, not for those that a repository names.
            let value = own.or_else(|| secrets.secret(name).filter(|_| repo.named))?;
            Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())
        };
        find("GIT_AUTH_HEADER").or_else(|| Some(basic("x-access-token", &find("GIT_AUTH_TOKEN")?)))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A commit that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its whole name in hex.
    pub id: String,
    /// The name of its tree.
    pub tree: String,
    /// When it was made.
    pub time: Epoch,
    mirror: PathBuf,
}

/// Brings commits into one store.
pub struct Commits<'a> {
    store: &'a Store,
    options: &'a FetchOptions,
    access: Access<'a>,
}

impl<'a> Commits<'a> {
    pub fn new(store: &'a Store, options: &'a FetchOptions, access: Access<'a>) -> Self {
        Self { store, options, access }
    }

    /// The commit that a repository's name stands for, brought into the store. A commit that is said whole and is there
    /// already is had without any network.
    pub fn bring(&self, repo: &GitRepo) -> Result<Commit, FetchError> {
        let id = match repo.commit() {
            Some(whole) => whole.to_owned(),
            None => match self.options.fetching {
                Fetching::Allowed => self.resolve(repo)?,
                Fetching::Offline => {
                    self.last(repo).ok_or_else(|| FetchError::NotHere { url: repo.shown() })?
                }
                Fetching::Never => return Err(FetchError::NotHere { url: repo.shown() }),
            },
        };
        if let Some(checksum) = repo.checksum.as_ref().filter(|checksum| !id.starts_with(checksum.as_str())) {
            return Err(FetchError::Commit { url: repo.shown(), expected: checksum.clone(), actual: id });
        }
        if let Some(commit) = self.known(repo, &self.place_of(repo, &id), &id) {
            return Ok(commit);
        }
        let _once = self.store.work_lock(&format!("git-{}", place(repo)))?;
        let mirror = self.mirror(repo, &id)?;
        if let Some(commit) = self.known(repo, &mirror, &id) {
            return Ok(commit);
        }
        if !self.unpack_vendored(repo, &mirror, &id)? {
            if self.options.fetching != Fetching::Allowed {
                return Err(FetchError::NotHere { url: repo.shown() });
            }
            let fetched = self.fetch(repo, &mirror, &id);
            if fetched.is_err() {
                remove_leftovers(&mirror);
            }
            fetched?;
            let complete = self.complete(repo, &mirror, &id);
            complete.map_err(|_| not_a_commit(repo, &id))?;
        }
        self.known(repo, &mirror, &id).ok_or_else(|| not_a_commit(repo, &id))
    }

    /// Takes the objects of a commit that is vendored into the mirror; false if it is not.
    fn unpack_vendored(&self, repo: &GitRepo, mirror: &Path, id: &str) -> Result<bool, FetchError> {
        let Some(dir) = &self.options.vendored else { return Ok(false) };
        let path = dir.pack(id);
        let Some(pack) = dir.read(&path)? else { return Ok(false) };
        let damaged = |reason: String| FetchError::Vendored { path: path.clone(), reason };
        let mut git = self.local(repo, Some(mirror));
        git.args(&["index-pack", "--stdin"]).fed(pack).map_err(|error| damaged(error.to_string()))?;
        // Its parents are not there, and nobody is to look for them.
        let shallow = mirror.join("shallow");
        let mut list = fs::read_to_string(&shallow).unwrap_or_default();
        list.push_str(&format!("{id}\n"));
        file::replace(&shallow, list.as_bytes(), file::Durability::Cached).map_err(StoreError::from)?;
        self.complete(repo, mirror, id)
            .map_err(|_| damaged(format!("it does not hold all of the commit {id}")))?;
        Ok(true)
    }

    /// The commit of a branch, a tag or another name, as the server has it now; branches come first, as in a checkout.
    fn resolve(&self, repo: &GitRepo) -> Result<String, FetchError> {
        let name = repo.reference.as_deref().unwrap_or("HEAD");
        let short = |prefix: &str| format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name));
        let wanted = [
            short("refs/heads/"),
            format!("{}^{{}}", short("refs/tags/")),
            short("refs/tags/"),
            format!("{}^{{}}", short("refs/")),
            short("refs/"),
            name.to_owned(),
        ];
        let listed = self
            .remote(repo, None)
            .watched(self.options.watch.task(Act::Fetch, &repo.shown()))
            .args(&["ls-remote", "--quiet", "--", &repo.url])
            .args(&wanted.iter().map(String::as_str).collect::<Vec<_>>())
            .text()?;
        let listed: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let find = |wanted: &String| listed.iter().find(|(_, name)| name == wanted).map(|(id, _)| *id);
        match wanted.iter().find_map(find).filter(|id| is_commit(id)) {
            Some(id) => {
                let path = self.last_path(repo);
                fs::create_dir_all(path.parent().expect("a file of the store"))
                    .and_then(|()| file::replace(&path, id.as_bytes(), file::Durability::Cached))
                    .map_err(StoreError::from)?;
                Ok(id.to_owned())
            }
            None => Err(FetchError::Git {
                url: repo.shown(),
                reason: format!("it has no branch or tag {name}; a commit is written whole, with 40 digits"),
            }),
        }
    }

    /// What a name was when the server was last asked.
    fn last(&self, repo: &GitRepo) -> Option<String> {
        fs::read_to_string(self.last_path(repo)).ok().filter(|id| is_commit(id))
    }

    fn last_path(&self, repo: &GitRepo) -> PathBuf {
        let name = repo.reference.as_deref().unwrap_or("HEAD");
        let names = self.store.root().join("git").join(format!("{}.names", place(repo)));
        names.join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }

    /// The bare repository that keeps what was fetched, made if it is missing.
    fn mirror(&self, repo: &GitRepo, id: &str) -> Result<PathBuf, FetchError> {
        let mirror = self.place_of(repo, id);
        if !mirror.join(WHOLE).exists() {
            self.init(repo, &mirror, object_format(id))?;
        }
        // Who left these is dead: the work lock is ours.
        remove_leftovers(&mirror);
        // Whatever the repository's attributes say about archives, all files come.
        let info = mirror.join("info");
        fs::create_dir_all(&info).map_err(|e| StoreError::from(file::context(e, "create", &info)))?;
        let attributes = info.join("attributes");
        if !attributes.exists() {
            let text = b"* -export-ignore -export-subst -filter\n";
            file::replace(&attributes, text, file::Durability::Cached).map_err(StoreError::from)?;
        }
        Ok(mirror)
    }

    /// Makes an empty mirror, whole or not at all.
    fn init(&self, repo: &GitRepo, mirror: &Path, format: &str) -> Result<(), FetchError> {
        let io = |error, path: &Path| StoreError::from(file::context(error, "create", path));
        let made = self.store.root().join("tmp").join(file::unique_name());
        let format = format!("--object-format={format}");
        let result = self
            .local(repo, None)
            .args(&["init", "--quiet", "--bare", "--template=", &format, &made.to_string_lossy()])
            .text();
        let result = result.and_then(|_| {
            fs::create_dir(made.join(WHOLE)).map_err(|error| io(error, &made))?;
            fs::create_dir_all(self.store.root().join("git")).map_err(|error| io(error, mirror))?;
            let _ = fs::remove_dir_all(mirror);
            fs::rename(&made, mirror).map_err(|error| io(error, mirror))?;
            Ok(())
        });
        let _ = fs::remove_dir_all(&made);
        result
    }

    fn place_of(&self, repo: &GitRepo, id: &str) -> PathBuf {
        self.store.root().join("git").join(format!("{}.{}", place(repo), object_format(id)))
    }

    /// Notes that everything of a commit is there, if it is.
    fn complete(&self, repo: &GitRepo, mirror: &Path, id: &str) -> Result<(), FetchError> {
        let walk = ["rev-list", "--objects", "--quiet", "--no-walk", "--end-of-options", id];
        self.local(repo, Some(mirror)).args(&walk).text()?;
        let mark = mirror.join(WHOLE).join(id);
        Ok(file::replace(&mark, b"", file::Durability::Synced).map_err(StoreError::from)?)
    }

    /// The commit, if the mirror has it with all its files. Half of one may be there while it is fetched, or since a
    /// fetch was killed.
    fn known(&self, repo: &GitRepo, mirror: &Path, id: &str) -> Option<Commit> {
        if !mirror.join(WHOLE).join(id).exists() {
            return None;
        }
        let mut git = self.local(repo, Some(mirror));
        let format = ["log", "-1", "--no-show-signature", "--format=%H %T %ct", "--end-of-options"];
        let text = git.args(&format).args(&[id]).text().ok()?;
        let mut parts = text.trim().split(' ');
        let (id, tree, time) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Commit {
            id: id.to_owned(),
            tree: tree.to_owned(),
            time: time.parse().ok().and_then(Epoch::from_seconds).unwrap_or(Epoch::ZERO),
            mirror: mirror.to_owned(),
        })
    }

    /// Asks for the commit alone; where the server gives only what has a name, for the name, and then for all names.
    fn fetch(&self, repo: &GitRepo, mirror: &Path, id: &str) -> Result<(), FetchError> {
        let shallow = |what: &str| self.fetch_refs(repo, mirror, &["--depth=1"], &[what]);
        match shallow(id) {
            Ok(()) => return Ok(()),
            Err(FetchError::Git { reason, .. }) if refuses_commits(&reason) => {}
            Err(error) => return Err(error),
        }
        if let Some(name) = repo.reference.as_deref().filter(|name| !is_commit(name))
            && shallow(name).is_ok()
            && self.complete(repo, mirror, id).is_ok()
        {
            return Ok(());
        }
        self.fetch_refs(repo, mirror, &[], &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
    }

    fn fetch_refs(
        &self,
        repo: &GitRepo,
        mirror: &Path,
        more: &[&str],
        refs: &[&str],
    ) -> Result<(), FetchError> {
        let fixed = [
            "fetch",
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--force",
        ];
        let mut git = self.remote(repo, Some(mirror));
        git.watched(self.options.watch.task(Act::Fetch, &repo.shown()));
        git.args(&fixed).args(more).args(&["--", &repo.url]).args(refs).text().map(drop)
    }

    /// git on what is here.
    fn local(&self, repo: &GitRepo, mirror: Option<&Path>) -> Git {
        Git::new(repo.shown(), mirror, self.options.largest)
    }

    /// git that may talk to the repository's server, and to nobody else.
    fn remote(&self, repo: &GitRepo, mirror: Option<&Path>) -> Git {
        let mut git = Git::new(repo.shown(), mirror, self.options.largest);
        git.network(&repo.url, self.options, self.access.authorization(repo), self.access.agent);
        git
    }
}

fn not_a_commit(repo: &GitRepo, id: &str) -> FetchError {
    let reason = format!("{id} is not a commit of it, or not all of that came");
    FetchError::Git { url: repo.shown(), reason }
}

/// Removes what a git that is gone left in a mirror: lock files, since git itself waits for their owners for ever, and
/// halves of packs.
fn remove_leftovers(mirror: &Path) {
    let is_lock = |name: &str| name.ends_with(".lock");
    let is_half = |name: &str| name.starts_with("tmp_");
    remove_named(mirror, Depth::One, is_lock);
    remove_named(&mirror.join("refs"), Depth::All, is_lock);
    remove_named(&mirror.join("objects"), Depth::One, is_half);
    remove_named(&mirror.join("objects/pack"), Depth::One, is_half);
}

fn remove_named(dir: &Path, depth: Depth, is_wanted: fn(&str) -> bool) {
    let Ok(entries) = crate::sys::dir::list_path(dir) else { return };
    for entry in entries {
        let name = String::from_utf8_lossy(&entry.name);
        let path = dir.join(&*name);
        if is_wanted(&name) {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        } else if depth == Depth::All {
            remove_named(&path, depth, is_wanted);
        }
    }
}

/// How far down something is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

/// How a repository names its objects.
fn object_format(id: &str) -> &'static str {
    if id.len() == 64 { "sha256" } else { "sha1" }
}

/// The name of a mirror.
fn place(repo: &GitRepo) -> String {
    let user = repo.credentials.as_ref().map_or("", |given| given.user.as_str());
    let mut hasher = blake3::Hasher::new();
    hasher.update(repo.url.as_bytes()).update(&[0]).update(user.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Whether a server refused a commit because no name points to it, or because it never gives commits by their own.
fn refuses_commits(reason: &str) -> bool {
    ["not our ref", "unadvertised object", "does not allow request", "couldn't find remote ref"]
        .iter()
        .any(|known| reason.contains(known))
}
