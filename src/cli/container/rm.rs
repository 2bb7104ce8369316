//! `lith rm`.

use std::path::Path;

use clap::Args;

use super::{containers, each};
use crate::cli::CliError;
use crate::cli::session::Need;
use crate::container::{ContainerError, Status, Volumes, life};

/// Arguments of `lith rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Kill it first if it runs; fine if it is not there
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes that were made for it alone, too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (_session, all) = containers(root, Need::FileSystems)?;
        let volumes = if self.volumes { Volumes::Anonymous } else { Volumes::Keep };
        let mut names = self.containers.clone();
        if self.force {
            names.retain(|name| {
                !matches!(crate::container::find(&all, name), Err(ContainerError::Unknown(_)))
            });
        }
        each(&all, &names, |container| {
            if self.force {
                return life::remove_by_force(&all, container, volumes);
            }
            if container.state.status == Status::Running {
                return Err(ContainerError::Running { name: container.name.clone() });
            }
            life::remove(&all, container, volumes)
        })
    }
}
