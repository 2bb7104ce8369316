//! Images as a whole: put together, taken in, given out.
//!
//! Owns: what makes layers and a config into an image, and the forms in which images travel as files. Never runs a
//! process and never speaks to a network.

pub mod assemble;
pub mod choose;
pub mod output;
pub mod tarball;

pub use assemble::{Assembled, Assembly, Base, assemble};
pub use choose::{ChoiceError, choose};
pub use output::{OutputError, OutputSpec};
