//! `lith convert`: a Dockerfile as KDL.

use std::path::Path;

use clap::Args;

use super::build::What;
use super::session::{self, Need};
use super::{CliError, out};
use crate::engine;
use crate::fetch::Watcher;
use crate::frontend::Language;

const EXAMPLES: &str = "Examples:
  lith convert . > image.kdl
  lith convert -f docker/Dockerfile --target build,app --build-arg VERSION=1.2 . > image.kdl";

/// Arguments of `lith convert`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Convert {
    #[command(flatten)]
    what: What,
}

impl Convert {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let options = self.what.options(&store, Watcher::default())?;
        if options.language == Language::Kdl {
            return Err(CliError::Usage(format!("{} is KDL already", options.dockerfile.name)));
        }
        if options.is_for_several() {
            return Err(CliError::Usage(
                "--platform: a file is converted for one platform; it can be built for several afterwards"
                    .into(),
            ));
        }
        let text = engine::convert(&store, &options)
            .map_err(|error| CliError::of_build(error, &options.dockerfile))?;
        out::print(&text);
        Ok(())
    }
}
