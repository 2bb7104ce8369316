//! Hermetic tests of contracts and of the command line.

mod frontend;
