//! Layers: bytes, tables of contents, and what a hostile tar meets.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod compression;
mod hostile;
mod legal;
mod raw;
mod round_trip;
mod vectors;
