//! `lith exec`.

use std::path::Path;

use clap::Args;

use super::containers;
use super::streams::{self, DETACH_KEYS};
use crate::cli::CliError;
use crate::cli::process_flags;
use crate::cli::session::{Need, Session};
use crate::container::attach::{Terminal, heed_signals, size};
use crate::container::{Attach, Container, ContainerError, Event, Request, find, life, process};
use crate::sandbox::spec::{Process, Stdio};

/// Arguments of `lith exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Leave it running in the container
    #[arg(short, long)]
    detach: bool,
    /// Give it this standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,
    /// The working directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Who runs it, by name or number [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Keys that leave it running when typed in a row
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    detach_keys: String,
    /// A name or an id
    container: String,
    /// What to run
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        // docker says 1 where there is no such container, and 125 and on where the program does not come to run.
        let container = find(&all, &self.container)?;
        let not_running = || ContainerError::NotRunning { name: container.name.clone() };
        let detach_keys = streams::keys(&self.detach_keys)?;
        if !self.detach {
            streams::check_terminal(self.tty, self.interactive)?;
        }
        let process = self.process(&session, &container)?;
        drop(session);
        let mut client = life::connect(&all, &container)?.ok_or_else(not_running)?;
        let attach = Attach { stdin: self.interactive && !self.detach, output: !self.detach };
        let lost = |source| ContainerError::Supervisor { name: container.name.clone(), source };
        if attach.output {
            heed_signals().map_err(CliError::io("take signals"))?;
        }
        client.send(&Request::Exec { process: Box::new(process), attach }).map_err(lost)?;
        let started = client.event(None).map_err(lost)?;
        let pid = match started {
            Some(Event::Started { pid }) => pid,
            Some(Event::Failed { code, reason }) => {
                return Err(ContainerError::Failed { code, reason }.into());
            }
            Some(Event::Refused { reason }) => {
                return Err(ContainerError::Refused { name: container.name, reason }.into());
            }
            Some(_) | None => return Err(not_running().into()),
        };
        if self.detach {
            return Ok(());
        }
        let terminal = Terminal { stdin: attach.stdin, tty: self.tty, detach_keys, pass_signals: !self.tty };
        let end = streams::serve(&all, &container.id, &mut client, Some(pid), &terminal)?;
        streams::finish(&all, &container, end)
    }

    fn process(&self, session: &Session, container: &Container) -> Result<Process, CliError> {
        let config = &container.config;
        let stdio = match (self.tty, self.interactive) {
            (true, _) => Stdio::Terminal(size()),
            (false, true) => Stdio::Piped,
            (false, false) => Stdio::Output,
        };
        let mut process = Process { argv: self.command.clone(), ..process(config, stdio) };
        let changes = process_flags::environment(&self.env_file, &self.env)?;
        process.env = crate::exec::process::changed(&process.env, &changes);
        if self.tty && !process.env.iter().any(|variable| variable.starts_with("TERM=")) {
            process.env.push("TERM=xterm".into());
        }
        if let Some(cwd) = &self.workdir {
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            let ids = crate::exec::process::user_of(&session.store, &config.layers, user);
            process.user = ids.map_err(ContainerError::from)?;
        }
        Ok(process)
    }
}
