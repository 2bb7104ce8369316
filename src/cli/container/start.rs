//! `lith start` and `lith restart`.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::run::{leave, resolv_conf};
use super::streams::{self, DETACH_KEYS};
use super::{Done, containers, each};
use crate::cli::CliError;
use crate::cli::session::{Need, Session};
use crate::container::attach::{Terminal, heed_signals, size};
use crate::container::{Attach, Client, Container, ContainerError, Standby, Start as How, find, life, start};
use crate::store::Containers;

/// Arguments of `lith start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Show what the program writes, and exit as it does
    #[arg(short, long)]
    attach: bool,
    /// Give it this standard input, too
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave it running when typed in a row
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    detach_keys: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        if !self.attach && !self.interactive {
            let attach = Attach { stdin: false, output: false };
            return each(&self.containers, |name| {
                begin(&session, &all, &find(&all, name)?, attach).map(|_| Done::Yes)
            });
        }
        let [name] = self.containers.as_slice() else {
            return Err(CliError::Usage("only one container can be attached to at a time".into()));
        };
        let container = find(&all, name)?;
        self.attached(session, &all, &container).map_err(CliError::of_run)
    }

    fn attached(&self, session: Session, all: &Containers, container: &Container) -> Result<(), CliError> {
        let detach_keys = streams::keys(&self.detach_keys)?;
        let attach = Attach { stdin: self.interactive && container.config.open_stdin, output: true };
        let tty = container.config.tty;
        streams::check_terminal(tty, attach.stdin)?;
        let mut client = begin(&session, all, container, attach)?;
        let all = leave(session);
        let terminal = Terminal { stdin: attach.stdin, tty, detach_keys, pass_signals: !tty };
        let end = streams::serve(&all, &container.id, &mut client, None, &terminal)?;
        streams::finish(&all, container, end)
    }
}

/// Starts a container that does not run.
fn begin(
    session: &Session,
    containers: &Containers,
    container: &Container,
    attach: Attach,
) -> Result<Client, ContainerError> {
    let lock = life::lock(containers, container)?;
    let how = How { attach, size: size(), resolv_conf: resolv_conf() };
    let supervisor = Standby::start(&container.id)?;
    if attach.output {
        let lost = |source| ContainerError::Supervisor { name: container.name.clone(), source };
        heed_signals().map_err(lost)?;
    }
    start(&session.store, supervisor, &container.id, &container.config, lock, how)
}

/// Arguments of `lith restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// Seconds to wait before it is killed; -1 for ever
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, allow_hyphen_values = true)]
    time: i64,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Restart {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        let patience = patience(self.time);
        each(&self.containers, |name| {
            let container = find(&all, name)?;
            life::stop(&all, &container, container.config.stop_signal()?, patience)?;
            begin(&session, &all, &container, Attach { stdin: false, output: false }).map(|_| Done::Yes)
        })
    }
}

/// How long is waited; `None` for ever.
pub fn patience(seconds: i64) -> Option<Duration> {
    u64::try_from(seconds).ok().map(Duration::from_secs)
}
