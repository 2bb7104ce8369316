//! Hermetic tests of contracts and of the command line.

mod architecture;
mod layer;
mod image;
mod frontend;
