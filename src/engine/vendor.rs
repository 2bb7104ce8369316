//! Everything that a build takes from elsewhere, put into a directory (spec/lockfile.md, "Vendoring").

use std::collections::BTreeSet;
use std::path::Path;

use super::{BuildError, Lowered, Options, lower, packages, pins};
use crate::debian::{DebianError, bring};
use crate::digest::BlobDigest;
use crate::fetch::{Commits, FetchError, Fetcher, Vendored};
use crate::image::{ExportError, StoredError, StoredImage, add_to_layout};
use crate::recipe::{Base, Pin};
use crate::remote::{GitRepo, Remote};
use crate::store::{Store, StoreError};

/// Why a directory was not filled.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Packages(#[from] DebianError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{name}: {source}")]
    Image { name: String, source: StoredError },
    #[error("{name}: {source}")]
    Export { name: String, source: ExportError },
}

/// What was put there, those that were there already counted too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub images: usize,
    pub files: usize,
    pub commits: usize,
}

/// Fills a directory with the images, files and commits of a build of all stages, or of those that the options name.
/// All of them must be pinned.
pub fn vendor(store: &Store, options: &Options, dir: &Path) -> Result<Counts, VendorError> {
    let options = pins::all_stages(options)?;
    let Lowered { recipe, images, .. } = lower(store, &options)?;
    let dir = Vendored::create(dir).map_err(StoreError::from)?;
    let mut counts = Counts::default();
    for ((name, _), image) in &images {
        put_image(store, &dir, name, image.manifest)?;
        counts.images += 1;
    }
    for taken in pins::taken(&options, &recipe.stages) {
        match &taken.remote {
            Remote::File(url) => {
                let fetcher = Fetcher::new(store, &options.fetch);
                let fetched = options.pins.file(&fetcher, url, taken.checksum)?;
                let (bytes, _) = store.open_blob(&fetched.blob)?;
                dir.put_file(&fetched.blob, bytes)?;
                counts.files += 1;
            }
            Remote::Git(repo) => counts.commits += put_commits(store, &options, &dir, repo)?,
        }
    }
    // Of packages all that a choice is made among.
    let mut all: Vec<Pin> = Vec::new();
    for stage in &recipe.stages {
        let Base::Packages(set) = &stage.base else { continue };
        all.extend(packages::pinned(&options, stage, set).into_iter().map(|pinned| pinned.pin));
    }
    counts.files += put_packages(store, &options, &dir, &all)?;
    Ok(counts)
}

/// Puts packages there; how many they are.
fn put_packages(
    store: &Store,
    options: &Options,
    dir: &Vendored,
    pins: &[Pin],
) -> Result<usize, VendorError> {
    bring(store, &options.fetch, pins)?;
    let files: BTreeSet<BlobDigest> = pins.iter().map(|pin| pin.sha256).collect();
    for file in &files {
        dir.put_file(file, store.open_blob(file)?.0)?;
    }
    Ok(files.len())
}

/// Puts a commit and those of its submodules there; how many they are.
fn put_commits(
    store: &Store,
    options: &Options,
    dir: &Vendored,
    repo: &GitRepo,
) -> Result<usize, VendorError> {
    let commits = Commits::new(store, &options.fetch, options.git_access());
    let commit = options.pins.commit(&commits, repo)?;
    let all = commits.with_submodules(repo, &commit)?;
    for (repo, commit) in &all {
        dir.put_pack(&commit.id, |file| {
            commits.pack(repo, commit, file.try_clone().map_err(StoreError::from)?)
        })?;
    }
    Ok(all.len())
}

fn put_image(store: &Store, dir: &Vendored, name: &str, manifest: BlobDigest) -> Result<(), VendorError> {
    let image = StoredImage::open(store, manifest)
        .map_err(|source| VendorError::Image { name: name.to_owned(), source })?;
    let called = Vendored::image_name(&manifest).parse().expect("a name of our own");
    add_to_layout(store, &image, called, &dir.images())
        .map_err(|source| VendorError::Export { name: name.to_owned(), source })
}
