//! Tests on the real kernel.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

#[path = "../support/mod.rs"]
mod support;

mod build;
mod differential;
mod faults;
mod layer;
mod peers;
mod platforms;
mod rootless;
mod sandbox;
mod targets;
mod vectors;
