//! What is asked of a comparison, and what falls through the sieve.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::content::Limits;
use super::kind::Kind;
use super::report::{Field, Level};
use crate::context::ignore::{Ignore, IgnoreError};
use crate::path::ImagePath;
use crate::platform::Platform;

/// The most files of one pair of images whose contents are looked into.
pub const MAX_CONTENTS: usize = 1000;
/// The most bytes that are laid down to be looked into, of each side.
pub const MAX_SPOOL: u64 = 8 << 30;

/// How two things are compared.
#[derive(Debug, Clone)]
pub struct Options {
    pub ignore: BTreeSet<Kind>,
    /// Only entries of these paths and below, and nothing that is not an entry.
    pub only: Option<Only>,
    /// One image of an index.
    pub platform: Option<Platform>,
    pub limits: Limits,
    pub contents: usize,
    /// Where bytes lie meanwhile, in files without a name.
    pub scratch: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ignore: BTreeSet::new(),
            only: None,
            platform: None,
            limits: Limits::default(),
            contents: MAX_CONTENTS,
            scratch: PathBuf::from("/var/tmp"),
        }
    }
}

/// Patterns of paths, as `.dockerignore` has them.
#[derive(Debug, Clone)]
pub struct Only(Ignore);

impl Only {
    /// # Errors
    /// Names the pattern that is none.
    pub fn parse(patterns: &[String]) -> Result<Self, IgnoreError> {
        let bare: Vec<String> = patterns.iter().map(|text| text.trim_start_matches('/').to_owned()).collect();
        Ignore::patterns(&bare).map(Self)
    }

    pub(super) fn takes(&self, path: &ImagePath) -> bool {
        self.0.is_ignored(path)
    }
}

/// Lets through what is not to be ignored, and counts what is.
pub(super) struct Sieve<'a> {
    options: &'a Options,
    pub ignored: BTreeMap<Kind, u64>,
}

impl<'a> Sieve<'a> {
    pub fn new(options: &'a Options) -> Self {
        Self { options, ignored: BTreeMap::new() }
    }

    pub fn options(&self) -> &'a Options {
        self.options
    }

    /// Whether a difference of this kind counts.
    pub fn keeps(&mut self, kind: Kind) -> bool {
        let ignored = self.options.ignore.contains(&kind);
        if ignored {
            *self.ignored.entry(kind).or_default() += 1;
        }
        !ignored
    }

    /// Whether a field counts: all of history is also of the kind `history`, whatever else it is.
    pub fn keeps_field(&mut self, field: &Field) -> bool {
        if field.level == Level::History && field.kind != Kind::History && !self.keeps(Kind::History) {
            return false;
        }
        self.keeps(field.kind)
    }

    /// Whether a path is one of those asked for.
    pub fn takes(&self, path: &ImagePath) -> bool {
        self.options.only.as_ref().is_none_or(|only| only.takes(path))
    }
}
