//! Hermetic tests of contracts and of the command line.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

mod architecture;
mod frontend;
mod image;
mod layer;
