//! What builds did, step by step: the last one of each place, which `lith why` compares with, and that of each image,
//! with which `lith diff` says why two of them differ.
//!
//! Only for explanation: no build looks here to decide anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::{Store, StoreError};
use crate::action::{LayerRef, Observation};
use crate::digest::{ActionKey, BlobDigest, ImageId};
use crate::platform::Platform;
use crate::recipe::Effect;
use crate::sys::file::{self, Durability};

/// The version of the format.
pub const BUILD_VERSION: u32 = 2;

/// One build, by the place it was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Context, file and target: what makes two builds "the same build, later".
    pub place: String,
    pub image: ImageId,
    /// What the build file is called.
    pub file: String,
    pub platform: Platform,
    /// Seconds since 1970.
    pub epoch: i64,
    /// What the steps were told that the machine is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Build arguments, as they were given.
    pub args: BTreeMap<String, String>,
    /// Images that the steps' stages stand on or take files from.
    pub bases: BTreeSet<BaseRecord>,
    pub steps: Vec<StepRecord>,
}

/// One image that a build stood on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BaseRecord {
    /// As the file has it.
    pub name: String,
    pub platform: Platform,
    pub manifest: BlobDigest,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `stage/number`, for example `build/3`.
    pub name: String,
    /// What progress put before the name, if the build was for several platforms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The instruction on one line.
    pub text: String,
    pub line: usize,
    pub key: ActionKey,
    /// The printed form of the action.
    pub fields: Vec<(String, String)>,
    pub observations: Vec<Observation>,
    pub layer: LayerRef,
    /// The image after this step.
    pub image: Option<ImageId>,
    /// Why it was not a hit when it last ran; empty for a hit.
    pub why: String,
    /// The same for programs, if an earlier record was found to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What makes its result depend on more than its key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// How long the work took when it was last done; nothing if it never was here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
    /// Known litter that is not in its layer, at most 1,000 paths of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// Builds that are remembered: the last one of each place, and those of images that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    builds: Vec<BuildRecord>,
    last: usize,
}

impl Recorded {
    pub fn all(&self) -> &[BuildRecord] {
        &self.builds
    }

    /// The last ones of all places, by place.
    pub fn last(&self) -> &[BuildRecord] {
        &self.builds[..self.last]
    }
}

/// The nearest earlier record of a step, and in what it differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The place of the build that had it.
    pub place: String,
    /// What it was called there.
    pub step: String,
    pub key: ActionKey,
    /// The first field of the key that differs; nothing if the keys are the same, and what was below the step differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the field had and has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is: Vec<String>,
}

/// How long the work on a step took, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    pub total: u64,
    /// What it was spent on, by the names of spec/store-layout.md, "Builds": `run`, `capture`.
    #[serde(default)]
    pub parts: BTreeMap<String, u64>,
}

impl StepRecord {
    /// The name as progress showed it: `build/3`, or `linux/arm64 build/3`.
    pub fn shown(&self) -> String {
        match &self.platform {
            Some(platform) => format!("{platform} {}", self.name),
            None => self.name.clone(),
        }
    }
}

impl Store {
    fn build_path(&self, place: &str) -> PathBuf {
        self.root.join("builds").join(blake3::hash(place.as_bytes()).to_hex().as_str())
    }

    fn image_build_path(&self, image: ImageId) -> PathBuf {
        self.root.join("image-builds").join(image.hex())
    }

    /// The last build of a place.
    pub fn last_build(&self, place: &str) -> Option<BuildRecord> {
        read(&self.build_path(place)).filter(|build| build.place == place)
    }

    /// The build that made an image; of several the last.
    pub fn build_of(&self, image: ImageId) -> Option<BuildRecord> {
        read(&self.image_build_path(image)).filter(|build| build.image == image)
    }

    /// Remembers a build, by its place and by its image; nothing is written if nothing changed.
    pub fn put_build(&self, build: &BuildRecord) -> Result<(), StoreError> {
        for path in [self.build_path(&build.place), self.image_build_path(build.image)] {
            if read(&path).as_ref() != Some(build) {
                file::replace(&path, &seal("build", BUILD_VERSION, build), Durability::Cached)?;
            }
        }
        Ok(())
    }

    /// All builds that are remembered.
    pub fn recorded_builds(&self) -> Result<Recorded, StoreError> {
        let mut builds = self.builds()?;
        let last = builds.len();
        let dir = self.root.join("image-builds");
        let names = crate::sys::dir::list_path(&dir)?;
        let of_images =
            names.iter().filter_map(|entry| read(&dir.join(&*String::from_utf8_lossy(&entry.name))));
        for build in of_images {
            if !builds[..last].contains(&build) {
                builds.push(build);
            }
        }
        Ok(Recorded { builds, last })
    }

    /// The last builds of all places, by place.
    pub fn builds(&self) -> Result<Vec<BuildRecord>, StoreError> {
        let dir = self.root.join("builds");
        let mut all: Vec<BuildRecord> = crate::sys::dir::list_path(&dir)?
            .iter()
            .filter_map(|entry| read(&dir.join(&*String::from_utf8_lossy(&entry.name))))
            .collect();
        all.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(all)
    }
}

fn read(path: &Path) -> Option<BuildRecord> {
    open_sealed("build", BUILD_VERSION, &fs::read(path).ok()?)
}
