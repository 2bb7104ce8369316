//! Two images, trees or layers compared, from the index down to the bytes of files, and why they differ
//! (spec/diff.md).
//!
//! Owns: what counts as a difference, and the report. Equal digests are never read; of what differs, tables of contents
//! are compared first, and only files whose digests differ are read.

pub mod content;
mod kind;
pub mod report;

pub use kind::{KINDS, Kind, KindError};
pub use report::{REPORT_VERSION, Report};
