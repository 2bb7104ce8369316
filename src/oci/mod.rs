//! Wire types of the OCI image-spec and of docker's image format: no files, no network.
//!
//! Unknown fields survive a round trip, maps are sorted, and the bytes written for a value are always the same
//! (spec/image-config.md).

pub mod attest;
pub mod config;
pub mod descriptor;
pub mod document;
pub mod index;
pub mod json;
pub mod manifest;
pub mod media;
pub mod reference;

pub use config::{ConfigError, Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use descriptor::{Descriptor, DescriptorPlatform};
pub use document::{Document, DocumentError};
pub use index::Index;
pub use json::JsonError;
pub use manifest::Manifest;
pub use media::{Flavor, MediaType};
pub use reference::{Reference, ReferenceError};
