//! What is known of base images while a file is worked out.

use std::collections::BTreeMap;

use crate::diag::Span;
use crate::oci::ImageConfig;
use crate::platform::Platform;

/// Configs of base images, by reference as written and platform.
pub type Configs = BTreeMap<(String, Platform), ImageConfig>;

/// An image that a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// As written, after expansion.
    pub reference: String,
    /// Of what names it first.
    pub span: Span,
    /// Whether a stage stands on it, so that its config is needed.
    pub as_base: bool,
    /// What it is wanted for.
    pub platform: Platform,
}

/// As many configs as are known.
#[derive(Clone, Copy)]
pub struct Bases<'a> {
    configs: &'a Configs,
    complete: bool,
}

/// One base image's config.
pub enum Known<'a> {
    /// Nobody has looked for it yet.
    NotYet,
    /// It should be there and is not.
    Missing,
    Config(&'a ImageConfig),
}

impl<'a> Bases<'a> {
    /// Some of the images may not have been looked for yet.
    pub fn so_far(configs: &'a Configs) -> Self {
        Self { configs, complete: false }
    }

    /// All images are there.
    pub fn complete(configs: &'a Configs) -> Self {
        Self { configs, complete: true }
    }

    /// What is known of one image.
    pub fn get(self, reference: &str, platform: &Platform) -> Known<'a> {
        match (self.configs.get(&(reference.to_owned(), platform.clone())), self.complete) {
            (Some(config), _) => Known::Config(config),
            (None, true) => Known::Missing,
            (None, false) => Known::NotYet,
        }
    }
}
