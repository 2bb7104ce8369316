//! Hermetic tests of contracts and of the command line.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod attest;
mod cli;
mod content;
mod context;
mod convert;
mod diff;
mod dockerignore;
mod fetch;
mod frontend;
mod fuzz;
mod git;
mod graph;
mod html;
mod image;
mod init;
mod kdl;
mod layer;
mod lint;
mod lock;
mod login;
mod packages;
mod pinned;
mod provenance;
mod registry;
mod reproducibility;
mod resume;
mod rules;
mod schema;
mod sign;
mod store;
mod validators;
mod verify;
