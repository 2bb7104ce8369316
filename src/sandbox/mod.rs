//! Runs one process in a root file system of its own.
//!
//! Never knows images: it takes a [`crate::mount::Overlay`] and gives back how the process ended.

pub mod spec;
