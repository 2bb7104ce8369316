//! `lith attach`.

use std::path::Path;

use clap::Args;

use super::containers;
use super::streams::{self, DETACH_KEYS};
use crate::cli::CliError;
use crate::cli::session::Need;
use crate::container::attach::Terminal;
use crate::container::{Attach as Streams, ContainerError, Request, find, life};

/// Arguments of `lith attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// Only look: no input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave it running when typed in a row
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    detach_keys: String,
    /// A name or an id
    container: String,
}

impl Attach {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        drop(session);
        let container = find(&all, &self.container)?;
        let tty = container.config.tty;
        let stdin = container.config.open_stdin && !self.no_stdin;
        let detach_keys = streams::keys(&self.detach_keys)?;
        streams::check_terminal(tty, stdin)?;
        let not_running = || ContainerError::NotRunning { name: container.name.clone() };
        let mut client = life::connect(&all, &container)?.ok_or_else(not_running)?;
        let lost = |source| ContainerError::Supervisor { name: container.name.clone(), source };
        client.ask(&Request::Attach(Streams { stdin, output: true })).map_err(lost)?;
        let terminal = Terminal { stdin, tty, detach_keys, pass_signals: self.sig_proxy && !tty };
        let end = streams::serve(&all, &container.id, &mut client, None, &terminal)?;
        streams::finish(&all, &container, end)
    }
}
