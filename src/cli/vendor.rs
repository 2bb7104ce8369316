//! `lith vendor`: everything that a build takes from elsewhere, in one directory.

use std::path::{Path, PathBuf};

use clap::Args;

use super::build::What;
use super::session::{self, Need};
use super::{CliError, out, progress};
use crate::engine::vendor::{Counts, VendorError, vendor};
use crate::fetch::Watcher;

/// Arguments of `lith vendor`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lith lock . && lith vendor ../vendored .
  lith build --locked --offline --vendored ../vendored .")]
pub struct Vendor {
    /// Where to write; what is there already stays
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    what: What,
}

impl Vendor {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let mut options = self.what.options(&store, Watcher::new(progress::of_fetching()))?;
        // A directory with something that moves is no use to the build that comes after.
        options.pins.locked = true;
        let counts = vendor(&store, &options, &self.dir).map_err(|error| match error {
            VendorError::Build(error) => CliError::of_build(error, &options.dockerfile),
            error => CliError::Failed(error.to_string()),
        })?;
        let Counts { images, files, commits } = counts;
        out::print(&format!("{}: {images} images, {files} files, {commits} commits\n", self.dir.display()));
        Ok(())
    }
}
