//! Tests on the real kernel.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

#[path = "../support/mod.rs"]
mod support;

mod add;
mod bases;
mod bind;
mod build;
mod bundle;
mod caches;
mod check;
mod checkouts;
mod containers;
mod contexts;
mod copies;
mod copy;
mod corpus;
mod diff;
mod differential;
mod dockerignore;
mod durations;
mod faults;
mod graph;
mod indexes;
mod init;
mod kdl;
mod layer;
mod layers;
mod life;
mod limits;
mod litter;
mod lock;
mod mount;
mod mounts;
mod packages;
mod peers;
mod platforms;
mod registries;
mod registry_peers;
mod rootless;
mod sandbox;
mod secrets;
mod shared;
mod signatures;
mod targets;
mod threats;
mod tour;
mod trust;
mod vectors;
mod verify;
mod why;
mod world;
