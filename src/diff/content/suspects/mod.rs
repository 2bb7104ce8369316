//! Why two files may differ: classes of causes, told from the bytes of both sides where they differ.
//!
//! A class has to be earned: both sides must be of it, and stand where it can be. What is not of any class has none.

pub(super) mod binary;
mod class;
mod dates;
mod findings;
mod known;
mod order;
mod random;
mod words;

pub use class::Class;
pub use findings::{Findings, ORDER_OF_MEMBERS};
pub use order::{Order, reordered};
pub use words::{Place, look as look_at_lines};
