//! Tests on the real kernel.

#[path = "../support/mod.rs"]
mod support;

mod build;
mod faults;
mod rootless;
mod sandbox;
mod vectors;
