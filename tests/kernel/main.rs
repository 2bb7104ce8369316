//! Tests on the real kernel.

#[path = "../support/mod.rs"]
mod support;

mod build;
mod peers;
mod sandbox;
mod vectors;
