//! `lith wait`.

use std::path::Path;

use clap::Args;

use super::containers;
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::{find, life};

/// Arguments of `lith wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        drop(session);
        for name in &self.containers {
            let code = life::wait(&all, &find(&all, name)?)?;
            out::print(&format!("{code}\n"));
        }
        Ok(())
    }
}
