//! Wire types of the OCI image-spec and of docker's image format: no files, no network.
//!
//! Unknown fields survive a round trip, maps are sorted, and the bytes written for a value are always the same
//! (spec/image-config.md).

pub mod config;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig};
