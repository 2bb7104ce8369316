//! Text to recipe: what a build file may say, whatever its language, and the languages.

mod bases;
mod contexts;
mod created_by;
pub mod dockerfile;
mod duration;
mod env;
mod files;
pub mod kdl;
mod language;
mod options;
mod ports;
mod problems;
mod scope;
mod shown;
mod signal;
mod source;

pub use bases::{Configs, ImageUse};
pub use contexts::{ContextKind, NamedContexts};
pub use env::{MAX_ENV, MAX_VALUE};
pub use language::{BuildFile, Language};
pub use options::Options;
pub use source::{MAX_FILE, MAX_LINE, SourceError, source_from_bytes};
