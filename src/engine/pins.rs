//! The lock of a build: what its names are taken for, what has no pin yet, and the lock that the next build goes by
//! (spec/lockfile.md).

use std::collections::BTreeSet;

use super::bases::{BaseError, Bases};
use super::check::has_errors;
use super::contexts::NamedContext;
use super::{BuildError, Images, Options, prepare_recipe};
use crate::diag::Diagnostic;
use crate::digest::BlobDigest;
use crate::exec::ExecError;
use crate::fetch::{Commit, Commits, FetchError, Fetched, Fetcher};
use crate::frontend::dockerfile::{self, NamedContexts};
use crate::lock::{GitPin, Lock, UrlPin, git_name, url_name};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::recipe::{CopySource, FilesFrom, Op, Recipe, Step};
use crate::remote::{GitRepo, Remote};
use crate::store::Store;

/// The pins of a build.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    pub lock: Lock,
    /// The name of the file they are from, for messages.
    pub file: String,
    /// Whether a source without a pin is an error.
    pub locked: bool,
}

impl Pins {
    /// What an image must be; `None` for what the command line names, and for what has no pin.
    pub(super) fn image(
        &self,
        names: &NamedContexts,
        reference: &str,
        platform: &Platform,
    ) -> Option<BlobDigest> {
        self.lock.image(reference, platform).filter(|_| is_open(names, reference, platform))
    }

    /// The error of an image that is not what it must be.
    pub(super) fn moved(&self, reference: &str, pinned: BlobDigest, found: Option<BlobDigest>) -> BaseError {
        BaseError::Pinned { lock: self.file.clone(), reference: reference.to_owned(), pinned, found }
    }

    /// Fetches a file, for which its own checksum goes before the pin.
    pub(super) fn file(
        &self,
        fetcher: &Fetcher<'_>,
        url: &str,
        checksum: Option<BlobDigest>,
    ) -> Result<Fetched, FetchError> {
        let pin = self.lock.url(url).filter(|_| checksum.is_none());
        let fetched = fetcher.file(url, checksum.or(pin.map(|pin| pin.sha256)));
        fetched.map_err(|error| if pin.is_some() { self.locked(url_name(url), error) } else { error })
    }

    /// Brings a commit, for which the repository's own goes before the pin.
    pub(super) fn commit(&self, commits: &Commits<'_>, repo: &GitRepo) -> Result<Commit, FetchError> {
        let Some(pin) = self.lock.repository(repo).filter(|_| repo.commit().is_none()) else {
            return commits.bring(repo);
        };
        let pinned = GitRepo { checksum: Some(pin.commit.clone()), ..repo.clone() };
        let agrees = repo.checksum.as_ref().is_none_or(|digits| pin.commit.starts_with(digits.as_str()));
        let commit = match agrees {
            true => commits.bring(&pinned),
            false => Err(FetchError::Commit {
                url: repo.shown(),
                expected: repo.checksum.clone().unwrap_or_default(),
                actual: pin.commit.clone(),
            }),
        };
        let commit = commit.map_err(|error| self.locked(git_name(repo), error))?;
        if commit.tree == pin.tree {
            return Ok(commit);
        }
        let reason = format!("commit {} has the tree {}, not {}", commit.id, commit.tree, pin.tree);
        Err(self.locked(git_name(repo), FetchError::Git { url: repo.shown(), reason }))
    }

    /// Whether it is known what a URL gives.
    pub(super) fn has_url(&self, url: &str, checksum: Option<BlobDigest>) -> bool {
        checksum.is_some() || self.lock.url(url).is_some()
    }

    /// Whether it is known which commit a repository gives.
    pub(super) fn has_commit(&self, repo: &GitRepo) -> bool {
        repo.commit().is_some() || self.lock.repository(repo).is_some()
    }

    fn locked(&self, name: String, error: FetchError) -> FetchError {
        match error {
            // What is not in the store is not there, whatever a lock says of it.
            FetchError::NotHere { .. } => error,
            error => FetchError::Locked { lock: self.file.clone(), name, source: Box::new(error) },
        }
    }
}

/// Whether a reference may be another image tomorrow.
fn is_open(names: &NamedContexts, reference: &str, platform: &Platform) -> bool {
    let bare = reference.strip_prefix("docker-image://").unwrap_or(reference);
    names.find(reference, platform).is_none()
        && bare.parse::<Reference>().map_or(true, |reference| reference.digest().is_none())
}

/// One error for every source that has no pin, where nothing may be taken without.
pub(super) fn unpinned(
    options: &Options,
    recipe: &Recipe,
    images: &[dockerfile::ImageUse],
) -> Vec<Diagnostic> {
    if !options.pins.locked {
        return Vec::new();
    }
    let names = &options.frontend.named_contexts;
    let mut missing = Vec::new();
    for image in images {
        let pinned = options.pins.lock.image(&image.reference, &image.platform).is_some();
        if !pinned && is_open(names, &image.reference, &image.platform) {
            let what = format!("{} for {}", image.reference, image.platform);
            missing.push(Diagnostic::error(image.span, what));
        }
    }
    for step in steps(recipe) {
        for source in fetched(&step.op) {
            let unpinned = match source {
                CopySource::Url { url, checksum } if !options.pins.has_url(url, *checksum) => url_name(url),
                CopySource::Git(repo) if !options.pins.has_commit(repo) => git_name(repo),
                _ => continue,
            };
            missing.push(Diagnostic::error(step.origin.span, unpinned));
        }
        for (name, remote) in contexts(options, &step.op) {
            let known = match remote {
                Remote::File(url) => options.pins.has_url(url, None),
                Remote::Git(repo) => options.pins.has_commit(repo),
            };
            if !known {
                missing.push(Diagnostic::error(step.origin.span, format!("build context {name}")));
            }
        }
    }
    for diagnostic in &mut missing {
        let what = crate::diag::escape(diagnostic.message.as_bytes());
        diagnostic.message = format!("{what} has no pin in {}", options.pins.file);
        diagnostic.help = Some("pin it with `lith lock`".into());
    }
    missing
}

/// The lock that a build of all stages, or of those that the options name, should go by: pins of the options' own lock
/// are kept, what has none is asked for, names that are no longer used are dropped.
pub fn lock(store: &Store, options: &Options) -> Result<Lock, BuildError> {
    let mut options = options.clone();
    if options.frontend.targets.is_empty() {
        let (file, found) = dockerfile::parse(&options.dockerfile);
        if has_errors(&found) {
            return Err(BuildError::File(found));
        }
        options.frontend.targets = (0..file.targets().len()).map(|number| number.to_string()).collect();
    }
    let (recipe, images) = prepare_recipe(store, &options)?;
    let mut lock = Lock::default();
    lock_images(&options, &images, &mut lock);
    for step in steps(&recipe) {
        for source in fetched(&step.op) {
            match source {
                CopySource::Url { url, checksum: None } => lock_url(store, &options, url, &mut lock)?,
                CopySource::Git(repo) if repo.commit().is_none() => {
                    lock_commit(store, &options, repo, &mut lock)?;
                }
                _ => {}
            }
        }
        for (_, remote) in contexts(&options, &step.op) {
            match remote {
                Remote::File(url) => lock_url(store, &options, url, &mut lock)?,
                Remote::Git(repo) if repo.commit().is_none() => {
                    lock_commit(store, &options, repo, &mut lock)?;
                }
                Remote::Git(_) => {}
            }
        }
    }
    Ok(lock)
}

/// Pins for this platform, and those for others of names that are still used.
fn lock_images(options: &Options, images: &Images, lock: &mut Lock) {
    let names = &options.frontend.named_contexts;
    let used: BTreeSet<&str> = images.keys().map(|(reference, _)| reference.as_str()).collect();
    let kept =
        options.pins.lock.images.iter().filter(|((reference, _), _)| used.contains(reference.as_str()));
    lock.images.extend(kept.map(|(key, manifest)| (key.clone(), *manifest)));
    let taken = images.iter().filter(|((reference, platform), _)| is_open(names, reference, platform));
    lock.images.extend(taken.map(|(key, image)| (key.clone(), image.manifest)));
}

fn lock_url(store: &Store, options: &Options, url: &str, lock: &mut Lock) -> Result<(), BuildError> {
    let fetched =
        options.pins.file(&Fetcher::new(store, &options.fetch), url, None).map_err(ExecError::from)?;
    lock.urls.insert(url_name(url), UrlPin { sha256: fetched.blob, size: fetched.size });
    Ok(())
}

fn lock_commit(store: &Store, options: &Options, repo: &GitRepo, lock: &mut Lock) -> Result<(), BuildError> {
    let commits = Commits::new(store, &options.fetch, options.git_access());
    let Commit { id: commit, tree, .. } = options.pins.commit(&commits, repo).map_err(ExecError::from)?;
    lock.git.insert(git_name(repo), GitPin { commit, tree });
    Ok(())
}

fn steps(recipe: &Recipe) -> impl Iterator<Item = &Step> {
    recipe.stages.iter().flat_map(|stage| &stage.steps)
}

/// What a step takes from other machines.
fn fetched(op: &Op) -> &[CopySource] {
    match op {
        Op::Copy(copy) => &copy.sources,
        Op::Config | Op::MakeDir { .. } | Op::Run(_) => &[],
    }
}

/// The named contexts on other machines that a step takes files from.
fn contexts<'a>(options: &'a Options, op: &'a Op) -> impl Iterator<Item = (&'a str, &'a Remote)> {
    op.inputs().into_iter().filter_map(|from| match from {
        FilesFrom::NamedContext(name) => match options.contexts.get(name)? {
            NamedContext::Remote(remote) => Some((name.as_str(), remote)),
            NamedContext::Image(_) | NamedContext::Directory(_) => None,
        },
        _ => None,
    })
}

/// Resolves one reference, as its pin says if it has one.
pub(super) fn resolve(
    finder: &Bases<'_>,
    pins: &Pins,
    reference: &str,
    platform: &Platform,
) -> Result<super::bases::Resolved, BaseError> {
    let Some(pinned) = pins.image(finder.names, reference, platform) else {
        return finder.resolve(reference, platform);
    };
    if finder.is_file(reference) {
        let found = finder.resolve(reference, platform)?;
        return match found.manifest == pinned {
            true => Ok(found),
            false => Err(pins.moved(reference, pinned, Some(found.manifest))),
        };
    }
    if !finder.store.has_blob(&pinned) {
        return Err(pins.moved(reference, pinned, None));
    }
    finder.open(pinned)
}
