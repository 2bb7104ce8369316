//! Hermetic tests of contracts and of the command line.

mod layer;
mod image;
