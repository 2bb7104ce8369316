//! `lith stop` and `lith kill`.

use std::path::Path;

use clap::Args;

use super::start::patience;
use super::{Done, containers, each};
use crate::cli::CliError;
use crate::cli::session::Need;
use crate::container::{ContainerError, find, life, signals};

/// Arguments of `lith stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Seconds to wait before it is killed; -1 for ever
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, allow_hyphen_values = true)]
    time: i64,
    /// The signal that asks it to end [default: the image's STOPSIGNAL, else TERM]
    #[arg(short, long)]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let given = self.signal.as_deref().map(signals::number).transpose().map_err(ContainerError::from)?;
        let (_session, all) = containers(root, Need::FileSystems)?;
        each(&self.containers, |name| {
            let container = find(&all, name)?;
            let signal = given.map_or_else(|| container.config.stop_signal(), Ok)?;
            life::stop(&all, &container, signal, patience(self.time)).map(|()| Done::Yes)
        })
    }
}

/// Arguments of `lith kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Which signal
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let number = signals::number(&self.signal).map_err(ContainerError::from)?;
        let (_session, all) = containers(root, Need::FileSystems)?;
        each(&self.containers, |name| {
            let container = find(&all, name)?;
            life::signal(&all, &container, number)?;
            if number == signals::KILL {
                // Whoever looks next is to find it ended.
                life::kill(&all, &container)?;
            }
            Ok(Done::Yes)
        })
    }
}
