//! `lith store verify`.

use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, out};

/// Arguments of `lith store verify`.
#[derive(Debug, Args)]
pub struct Verify {}

impl Verify {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::FileSystems)?.store;
        let report = store.verify()?;
        for problem in &report.problems {
            out::print(&format!("{problem}\n"));
        }
        out::print(&format!("{} blobs, {} problems\n", report.blobs, report.problems.len()));
        if report.problems.is_empty() {
            Ok(())
        } else {
            Err(CliError::Failed(format!("store {} is damaged", store.root().display())))
        }
    }
}
