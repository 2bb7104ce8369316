//! Root file systems that are made of a distribution's packages.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::BlobDigest;
use crate::remote::without_credentials;

/// Packages of Debian or of a derivative, by name; which versions they are is settled when the recipe is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSet {
    /// `bookworm`, `noble`.
    pub suite: String,
    /// `main` alone if there is none.
    pub components: Vec<String>,
    /// Where the archive is; the machine's own apt sources say if this does not.
    pub mirror: Option<String>,
    /// A moment of a snapshot archive: `20261101T000000Z`.
    pub snapshot: Option<String>,
    /// `name`, `name=version`, `name:architecture`, in the order written, none twice.
    pub names: Vec<String>,
    /// Ranges of `names` that share a layer, in order and apart; of all others each has its own.
    pub layers: Vec<Range<usize>>,
    /// Whether everything that no system is without comes along: `Essential: yes` and `Priority: required`.
    pub essential: bool,
    /// Whether maintainer scripts run, in the sandbox and without a network. They may use what is essential without saying
    /// so, so frontends set both.
    pub configure: bool,
}

impl PackageSet {
    /// Where its packages are from, as the build file has it: mirror, suite, moment. Packages of the same place are pinned
    /// together.
    pub fn place(&self) -> String {
        let mirror = self.mirror.as_deref().map(without_credentials);
        let parts = [mirror.as_deref(), Some(&self.suite), self.snapshot.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// One package, exactly: its sha256 says which file it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub sha256: BlobDigest,
    /// Bytes of the file.
    pub size: u64,
    /// Where it can be had; decides nothing.
    pub url: String,
}

/// Name and version.
impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// One layer of a root file system that is made of packages (spec/packages.md, "Layers").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackageLayer {
    /// The files of packages, in the order they are unpacked.
    Files {
        pins: Vec<Pin>,
        /// Who replaces files of whom: pairs of names, at least one of them of this layer, the other of this or one below.
        replaces: Vec<(String, String)>,
    },
    /// What dpkg knows of all of them.
    Database { pins: Vec<Pin> },
}

impl PackageLayer {
    /// The packages whose files it needs.
    pub fn pins(&self) -> &[Pin] {
        match self {
            Self::Files { pins, .. } | Self::Database { pins } => pins,
        }
    }
}
