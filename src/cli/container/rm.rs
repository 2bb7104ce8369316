//! `lith rm`.

use std::path::Path;

use clap::Args;

use super::{Done, containers, each};
use crate::cli::CliError;
use crate::cli::session::Need;
use crate::container::{ContainerError, Status, Volumes, find, life};

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
        each(&self.containers, |name| {
            let container = match find(&all, name) {
                Err(ContainerError::Unknown(_)) if self.force => return Ok(Done::Nothing),
                Err(ContainerError::Damaged { id, .. }) if self.force => {
                    return life::remove_damaged(&all, &id).map(|()| Done::Yes);
                }
                found => found?,
            };
            if self.force {
                life::remove_by_force(&all, &container, volumes)?;
            } else if container.state.status == Status::Running {
                return Err(ContainerError::Running { name: container.name });
            } else {
                life::remove(&all, &container, volumes)?;
            }
            Ok(Done::Yes)
        })
    }
}
