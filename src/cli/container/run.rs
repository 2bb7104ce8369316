//! `lith run` and `lith create`.

use std::path::Path;

use clap::Args;

use super::new::NewFlags;
use super::streams::{self, DETACH_KEYS};
use crate::cli::session::{self, Need, Session};
use crate::cli::{CliError, out};
use crate::container::attach::{Attached, Terminal, heed_signals, size};
use crate::container::{Attach, Container, Standby, Start, State, create, life, start};
use crate::store::Containers;

/// Arguments of `lith run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith run --rm -it debian:12 bash\n  lith run -d --name web -v site:/srv nginx\n\n\
    The exit code is the program's; 125 if lith could not start it, 126 if it cannot be executed, 127 if there is none."
)]
pub struct Run {
    /// Leave it running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it running when typed in a row
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    detach_keys: String,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    new: NewFlags,
}

impl Run {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        self.start(root).map_err(CliError::of_run)
    }

    fn start(self, root: Option<&Path>) -> Result<(), CliError> {
        let detach_keys = streams::keys(&self.detach_keys)?;
        if !self.detach {
            streams::check_terminal(self.new.tty, self.new.interactive)?;
        }
        let session = session::open(root, Need::FileSystems)?;
        let wanted = self.new.wanted(&session, true)?;
        let supervisor = Standby::start(&wanted.id)?;
        let made = create(&session.store, wanted)?;
        let attach = Attach { stdin: self.new.interactive && !self.detach, output: !self.detach };
        let how = Start { attach, size: size(), resolv_conf: resolv_conf() };
        if attach.output {
            heed_signals().map_err(CliError::io("take signals"))?;
        }
        let mut client = start(&session.store, supervisor, &made.id, &made.config, made.lock, how)?;
        if self.detach {
            out::print(&format!("{}\n", made.id));
            return Ok(());
        }
        let terminal = Terminal {
            stdin: attach.stdin,
            tty: self.new.tty,
            detach_keys,
            pass_signals: self.sig_proxy && !self.new.tty,
        };
        let containers = leave(session);
        let container =
            Container { id: made.id, name: made.name, config: made.config, state: State::created() };
        let end = streams::serve(&containers, &container.id, &mut client, None, &terminal)?;
        if end == Attached::Unread {
            // It would go on for nobody.
            life::kill(&containers, &container)?;
        }
        streams::finish(&containers, &container, end)
    }
}

/// Gives the store's lease back: a container runs for as long as it likes.
pub fn leave(session: Session) -> Containers {
    Containers::of(session.store.root())
}

/// The host's, which has the network.
#[must_use]
pub fn resolv_conf() -> Vec<u8> {
    std::fs::read("/etc/resolv.conf").unwrap_or_default()
}

/// Arguments of `lith create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    new: NewFlags,
}

impl Create {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let session = session::open(root, Need::FileSystems)?;
        let made = create(&session.store, self.new.wanted(&session, false)?)?;
        out::print(&format!("{}\n", made.id));
        Ok(())
    }
}
