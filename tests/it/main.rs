//! Hermetic tests of contracts and of the command line.

mod architecture;
mod frontend;
mod image;
mod layer;
