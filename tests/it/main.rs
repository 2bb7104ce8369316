//! Hermetic tests of contracts and of the command line.

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod cli;
mod context;
mod frontend;
mod image;
mod layer;
mod store;
