//! What the last build of a Dockerfile did, step by step: what `lith why` compares with.
//!
//! Only for explanation: no build looks here to decide anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::actions::{open_sealed, seal};
use super::{Store, StoreError};
use crate::action::{LayerRef, Observation};
use crate::digest::{ActionKey, ImageId};
use crate::recipe::Effect;
use crate::sys::file::{self, Durability};

/// The version of the format.
pub const BUILD_VERSION: u32 = 1;

/// One build, by the place it was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Context, file and target: what makes two builds "the same build, later".
    pub place: String,
    pub image: ImageId,
    pub steps: Vec<StepRecord>,
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

    /// The last build of a place.
    pub fn last_build(&self, place: &str) -> Option<BuildRecord> {
        let bytes = fs::read(self.build_path(place)).ok()?;
        open_sealed("build", BUILD_VERSION, &bytes).filter(|build: &BuildRecord| build.place == place)
    }

    /// Remembers a build; nothing is written if nothing changed.
    pub fn put_build(&self, build: &BuildRecord) -> Result<(), StoreError> {
        if self.last_build(&build.place).as_ref() == Some(build) {
            return Ok(());
        }
        let bytes = seal("build", BUILD_VERSION, build);
        Ok(file::replace(&self.build_path(&build.place), &bytes, Durability::Cached)?)
    }

    /// All builds that are remembered, however.
    pub fn recorded_builds(&self) -> Result<Vec<BuildRecord>, StoreError> {
        self.builds()
    }

    /// All remembered builds, by place.
    pub fn builds(&self) -> Result<Vec<BuildRecord>, StoreError> {
        let dir = self.root.join("builds");
        let mut all: Vec<BuildRecord> = crate::sys::dir::list_path(&dir)?
            .iter()
            .filter_map(|entry| fs::read(dir.join(&*String::from_utf8_lossy(&entry.name))).ok())
            .filter_map(|bytes| open_sealed("build", BUILD_VERSION, &bytes))
            .collect();
        all.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(all)
    }
}
