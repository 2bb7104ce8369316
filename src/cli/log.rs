//! `lith log`: what the process of a step printed when it last ran.

use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find, out};

/// Arguments of `lith log`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lith log stage0/3\n  lith log app")]
pub struct Log {
    /// A step as progress and plan name it, or an image: then all of its steps
    what: String,
}

impl Log {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let builds = store.recorded_builds()?;
        for (_, step) in find::steps(&store, &builds, &self.what)? {
            if let Some(output) = store.log(step.key) {
                out::err(&format!("== {} `{}`\n", step.name, step.text));
                out::bytes(&output);
            }
        }
        Ok(())
    }
}
