//! Packages of Debian and its derivatives, without apt, dpkg or a shell (spec/packages.md): what an archive offers, which
//! packages fit together, and what is in one.
//!
//! Nothing that was fetched is looked at before it is known to be what the archive's keys vouch for. Makes no layers.

pub mod archive;
pub mod control;
pub mod deb;
pub mod group;
mod lists;
pub mod pinned;
pub mod relation;
pub mod release;
pub mod solve;
pub mod sources;
pub mod status;
pub mod universe;
pub mod validity;
pub mod version;

use std::io;
use std::path::PathBuf;

use crate::digest::BlobDigest;
use crate::fetch::FetchError;
use crate::store::StoreError;

pub use archive::{Archive, Asking, bring};
pub use pinned::Pinned;
pub use sources::Machine;

/// Why a set of packages could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}")]
    SourceFile { path: PathBuf, reason: String },
    #[error(
        "{place} has no source for suite {suite} with components {}; name a mirror", .components.join(", ")
    )]
    NoSource { suite: String, components: Vec<String>, place: PathBuf },
    #[error("{text:?} is not a moment of a snapshot archive; expected one such as 20261101T000000Z")]
    Moment { text: String },
    #[error("packages for {platform} are not known; expected an architecture that Debian has")]
    Platform { platform: String },
    #[error("signatures are checked with gpgv, which is not installed; install the package gpgv")]
    NoGpgv,
    #[error(
        "{url} has to be signed, and there is no keyring to check that; install debian-archive-keyring or name one with Signed-By"
    )]
    NoKeyring { url: String },
    #[error("{url}: the signature is not good: {reason}")]
    Signature { url: String, reason: String },
    #[error(
        "{url} was valid until {until}; the mirror is out of date, or somebody keeps you from newer packages"
    )]
    Expired { url: String, until: String },
    #[error("{url} is of suite {found}, not {wanted}")]
    Suite { url: String, wanted: String, found: String },
    #[error("{url}: {reason}")]
    Release { url: String, reason: String },
    #[error("{url} lists no packages of component {component} for {architecture}")]
    NoIndex { url: String, component: String, architecture: String },
    #[error("{url} does not decompress to what its release says: sha256 {actual}, expected {expected}")]
    Index { url: String, expected: BlobDigest, actual: BlobDigest },
    #[error("{url}: {reason}")]
    BadIndex { url: String, reason: String },
    #[error("a pinned package cannot be used: {reason}")]
    BadPin { reason: String },
    #[error("package {package}: {source}")]
    File { package: String, source: FetchError },
    #[error("package {package}: {source}")]
    Deb { package: String, source: deb::DebError },
    #[error(
        "{source}; {lock} pins it: renew the pin with `lith lock --update`, or take the package from a vendored directory or a snapshot"
    )]
    Pinned { lock: String, source: Box<DebianError> },
    #[error("{lock} does not pin all of it: {source}; pin what is missing with `lith lock`")]
    NotPinned { lock: String, source: solve::SolveError },
    #[error(transparent)]
    Solve(#[from] solve::SolveError),
}
