//! The lock of a build: what its names are taken for, what has no pin yet, and the lock that the next build goes by
//! (spec/lockfile.md).

use std::collections::BTreeSet;

use super::bases::{BaseError, Bases, Found, Moved, Resolved};
use super::check::has_errors;
use super::contexts::NamedContext;
use super::packages;
use super::{BuildError, Images, Lowered, Options, lower};
use crate::diag::{Diagnostic, Span};
use crate::digest::BlobDigest;
use crate::exec::ExecError;
use crate::fetch::{Commit, Commits, FetchError, Fetched, Fetcher, Vendored};
use crate::frontend::{BuildFile, ImageUse, NamedContexts};
use crate::image::{LoadError, LoadOptions, Platforms, load_path};
use crate::lock::{GitPin, Lock, PackageName, UrlPin, git_name, url_name};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::recipe::{Base, CopySource, FilesFrom, Op, Recipe, Stage};
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

    /// Fetches a file, for which its own checksum goes before the pin.
    pub(super) fn file(
        &self,
        fetcher: &Fetcher<'_>,
        url: &str,
        checksum: Option<BlobDigest>,
    ) -> Result<Fetched, FetchError> {
        let pin = self.lock.url(url).filter(|_| checksum.is_none());
        let fetched = fetcher.file(url, checksum.or(pin.map(|pin| pin.sha256)));
        let Some(pin) = pin else { return fetched };
        let fetched = fetched.map_err(|error| self.locked(url_name(url), error))?;
        if fetched.size != pin.size {
            let reason = format!("it has {} bytes, not {}", fetched.size, pin.size);
            return Err(self.locked(url_name(url), FetchError::Other { url: url_name(url), reason }));
        }
        Ok(fetched)
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
        Err(self.locked(git_name(repo), FetchError::Other { url: repo.shown(), reason }))
    }

    /// Whether it is known what a URL gives.
    pub(super) fn has_url(&self, url: &str, checksum: Option<BlobDigest>) -> bool {
        checksum.is_some() || self.lock.url(url).is_some()
    }

    /// Whether it is known which commit a repository gives.
    pub(super) fn has_commit(&self, repo: &GitRepo) -> bool {
        repo.commit().is_some() || self.lock.repository(repo).is_some()
    }

    /// Whether it is known beforehand what comes.
    pub(super) fn knows(&self, remote: &Remote, checksum: Option<BlobDigest>) -> bool {
        match remote {
            Remote::File(url) => self.has_url(url, checksum),
            Remote::Git(repo) => self.has_commit(repo),
        }
    }

    fn locked(&self, name: String, error: FetchError) -> FetchError {
        match error {
            FetchError::Checksum { .. } | FetchError::Commit { .. } | FetchError::Other { .. } => {
                FetchError::Locked {
                    lock: self.file.clone(),
                    name: name.replace('\'', "'\\''"),
                    source: Box::new(error),
                }
            }
            // What cannot be had says nothing of the pin.
            other => other,
        }
    }
}

/// Whether a reference may be another image tomorrow.
fn is_open(names: &NamedContexts, reference: &str, platform: &Platform) -> bool {
    names.find(reference, platform).is_none() && own_digest(reference).is_none()
}

/// Something that a step takes from another machine.
pub(super) struct Taken {
    pub remote: Remote,
    /// What the build file says of it.
    pub checksum: Option<BlobDigest>,
    pub span: Span,
}

impl Taken {
    /// How a lock calls it.
    fn name(&self) -> String {
        match &self.remote {
            Remote::File(url) => url_name(url),
            Remote::Git(repo) => git_name(repo),
        }
    }

    /// Whether the build file itself says what comes.
    fn is_fixed(&self) -> bool {
        match &self.remote {
            Remote::File(_) => self.checksum.is_some(),
            Remote::Git(repo) => repo.commit().is_some(),
        }
    }
}

/// Everything that the steps of stages take from other machines, named contexts too.
pub(super) fn taken<'a>(options: &Options, stages: impl IntoIterator<Item = &'a Stage>) -> Vec<Taken> {
    let mut all = Vec::new();
    for step in stages.into_iter().flat_map(|stage| &stage.steps) {
        let span = step.origin.span;
        let sources: &[CopySource] = match &step.op {
            Op::Copy(copy) => &copy.sources,
            Op::Config | Op::MakeDir { .. } | Op::Run(_) | Op::Packages(_) => &[],
        };
        all.extend(sources.iter().filter_map(|source| match source {
            CopySource::Url { url, checksum } => {
                Some(Taken { remote: Remote::File(url.clone()), checksum: *checksum, span })
            }
            CopySource::Git(repo) => Some(Taken { remote: Remote::Git(repo.clone()), checksum: None, span }),
            CopySource::Path(_) | CopySource::Below { .. } => None,
        }));
        let contexts = step.op.inputs().into_iter().filter_map(|from| match from {
            FilesFrom::NamedContext(name) => options.contexts.get(name),
            FilesFrom::Context | FilesFrom::Stage(_) | FilesFrom::Image(_) | FilesFrom::Scratch => None,
        });
        all.extend(contexts.filter_map(|context| match context {
            NamedContext::Remote(remote) => Some(Taken { remote: remote.clone(), checksum: None, span }),
            NamedContext::Image(_) | NamedContext::Directory(_) => None,
        }));
    }
    all
}

/// One error for every source that has no pin, where nothing may be taken without.
pub(super) fn unpinned(options: &Options, recipe: &Recipe, images: &[ImageUse]) -> Vec<Diagnostic> {
    if !options.pins.locked {
        return Vec::new();
    }
    let missing = |span: Span, what: &str| {
        let what = crate::diag::escape(what.as_bytes());
        Diagnostic::error(span, format!("{what} has no pin in {}", options.pins.file))
            .with_help("pin it with `lith lock`")
    };
    let lock = &options.pins.lock;
    let names = &options.frontend.named_contexts;
    let open = images.iter().filter(|image| {
        lock.image(&image.reference, &image.platform).is_none()
            && is_open(names, &image.reference, &image.platform)
    });
    let images =
        open.map(|image| missing(image.span, &format!("{} for {}", image.reference, image.platform)));
    let unknown = taken(options, &recipe.stages)
        .into_iter()
        .filter(|taken| !options.pins.knows(&taken.remote, taken.checksum));
    let mut all: Vec<Diagnostic> =
        images.chain(unknown.map(|taken| missing(taken.span, &taken.name()))).collect();
    for stage in &recipe.stages {
        let Base::Packages(set) = &stage.base else { continue };
        // If only some are, the choice among them says what is missing.
        if lock.packages(&set.place(), &stage.platform).next().is_none() {
            let what = format!("packages of {} for {}", set.place(), stage.platform);
            all.push(missing(stage.origin.span, &what));
        }
    }
    all
}

/// For each stage, whether it is known beforehand what it takes from elsewhere: files, repositories, images.
pub(super) fn pinned_stages(options: &Options, recipe: &Recipe) -> Vec<bool> {
    let pins = &options.pins;
    let names = &options.frontend.named_contexts;
    let is_pinned = |stage: &Stage| {
        let base = match &stage.base {
            Base::Image(reference) => Some(reference),
            Base::Scratch | Base::Stage(_) | Base::Packages(_) => None,
        };
        let inputs = stage.steps.iter().flat_map(|step| step.op.inputs());
        let mut images = base.into_iter().chain(inputs.filter_map(FilesFrom::image));
        images.all(|image| own_digest(image).is_some() || pins.image(names, image, &stage.platform).is_some())
            && taken(options, [stage]).iter().all(|taken| pins.knows(&taken.remote, taken.checksum))
    };
    recipe.stages.iter().map(is_pinned).collect()
}

/// The options of a build of all stages, unless they name targets.
pub(super) fn all_stages(options: &Options) -> Result<Options, BuildError> {
    let mut options = options.clone();
    if options.frontend.targets.is_empty() {
        let (file, found) = BuildFile::parse(&options.dockerfile, options.language, &options.imports);
        if has_errors(&found) {
            return Err(BuildError::File(found));
        }
        options.frontend.targets = file.all_targets();
    }
    Ok(options)
}

/// What becomes of pins whose names a build does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// Another platform, target or argument may use them.
    Keep,
    Drop,
}

/// The lock that a build of all stages, or of those that the options name, should go by: pins of the options' own lock
/// are kept, what has none is asked for.
pub fn lock(store: &Store, options: &Options, unused: Unused) -> Result<Lock, BuildError> {
    let is_whole = options.frontend.targets.is_empty();
    let options = all_stages(options)?;
    let Lowered { recipe, images, .. } = lower(store, &options)?;
    let wanted = wanted(store, &options, &recipe, &images)?;
    let mut lock = match unused {
        Unused::Keep => options.pins.lock.clone(),
        Unused::Drop => Lock::default(),
    };
    // A package that nothing needs any more would still be brought whenever a choice is made among those pinned.
    if is_whole {
        let places: BTreeSet<_> = wanted.packages.keys().map(PackageName::place).collect();
        lock.packages.retain(|name, _| !places.contains(&name.place()));
    }
    lock.extend(wanted);
    Ok(lock)
}

/// The lock with pins for all that a build takes and that has none; `None` if nothing is missing.
pub fn completed(
    store: &Store,
    options: &Options,
    Lowered { recipe, images, .. }: &Lowered,
) -> Result<Option<Lock>, BuildError> {
    let mut lock = options.pins.lock.clone();
    lock.extend(wanted(store, options, recipe, images)?);
    Ok((lock != options.pins.lock).then_some(lock))
}

/// The pins of everything that stages take: what the lock has, else what it is now.
fn wanted(store: &Store, options: &Options, recipe: &Recipe, images: &Images) -> Result<Lock, BuildError> {
    let names = &options.frontend.named_contexts;
    let mut lock = Lock::default();
    let open = images.iter().filter(|((reference, platform), _)| is_open(names, reference, platform));
    lock.images.extend(open.map(|(key, image)| (key.clone(), image.manifest)));
    for taken in taken(options, &recipe.stages).iter().filter(|taken| !taken.is_fixed()) {
        match &taken.remote {
            Remote::File(url) => {
                let pin = match options.pins.lock.url(url) {
                    Some(pin) => pin,
                    None => {
                        let fetched = Fetcher::new(store, &options.fetch).file(url, None);
                        let fetched = fetched.map_err(ExecError::from)?;
                        UrlPin { sha256: fetched.blob, size: fetched.size }
                    }
                };
                lock.urls.insert(taken.name(), pin);
            }
            Remote::Git(repo) => {
                let pin = match options.pins.lock.repository(repo) {
                    Some(pin) => pin.clone(),
                    None => {
                        let commits = Commits::new(store, &options.fetch, options.git_access());
                        let commit = commits.bring(repo).map_err(ExecError::from)?;
                        GitPin { commit: commit.id, tree: commit.tree }
                    }
                };
                lock.git.insert(taken.name(), pin);
            }
        }
    }
    lock.packages = packages::pins(store, options, &recipe.stages)?;
    Ok(lock)
}

/// Resolves one reference, as its pin says if it has one.
pub(super) fn resolve(
    finder: &Bases<'_>,
    options: &Options,
    reference: &str,
    platform: &Platform,
) -> Result<Resolved, BaseError> {
    let pins = &options.pins;
    let Some(pinned) = pins.image(finder.names, reference, platform) else {
        if let Some(digest) = own_digest(reference) {
            unpack_vendored(finder, options, digest, platform)?;
        }
        return finder.resolve(reference, platform);
    };
    if finder.is_file(reference) {
        let found = finder.resolve(reference, platform)?;
        return match found.manifest == pinned {
            true => Ok(found),
            false => Err(moved(options, reference, pinned, Some(Found::Other(found.manifest)))),
        };
    }
    if unpack_vendored(finder, options, pinned, platform)? {
        return finder.open(pinned);
    }
    match finder.pull_pinned(reference, pinned, platform) {
        Ok(true) => finder.open(pinned),
        Ok(false) => Err(moved(options, reference, pinned, None)),
        Err(why) => Err(moved(options, reference, pinned, Some(Found::Unpullable(why)))),
    }
}

/// The error of an image that is not what it must be.
fn moved(options: &Options, reference: &str, pinned: BlobDigest, found: Option<Found>) -> BaseError {
    let vendored = options.fetch.vendored.as_ref();
    BaseError::Pinned(Box::new(Moved {
        lock: options.pins.file.clone(),
        reference: reference.to_owned(),
        pinned,
        found,
        places: vendored
            .map_or("the store".into(), |dir| format!("the store, nor in {}", dir.images().display())),
    }))
}

/// Takes an image that is vendored into the store, unless it is there; whether it is there now.
fn unpack_vendored(
    finder: &Bases<'_>,
    options: &Options,
    manifest: BlobDigest,
    platform: &Platform,
) -> Result<bool, BaseError> {
    // With all its layers: a load that was killed leaves a manifest without them.
    if finder.is_known(manifest) {
        return Ok(true);
    }
    let Some(vendored) = &options.fetch.vendored else { return Ok(false) };
    let path = vendored.images();
    if !path.exists() {
        return Ok(false);
    }
    let platforms = Platforms::One(platform.clone());
    let wanted = LoadOptions { platforms, name: Some(Vendored::image_name(&manifest)) };
    match load_path(finder.store, &path, &wanted) {
        Err(LoadError::NoSuchName { .. }) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(loaded) if loaded.iter().any(|loaded| loaded.image.digest == manifest) => Ok(true),
        Ok(_) => Err(BaseError::Vendored { path, manifest }),
    }
}

/// The digest that a reference says itself.
fn own_digest(reference: &str) -> Option<BlobDigest> {
    reference.strip_prefix("docker-image://").unwrap_or(reference).parse::<Reference>().ok()?.digest()
}
