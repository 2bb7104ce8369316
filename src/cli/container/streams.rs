//! The caller's streams during `run`, `start -a` and `exec`, and the exit code that comes of them.

use std::io::{self, IsTerminal as _};

use crate::cli::CliError;
use crate::container::attach::{Attached, Notice, Terminal, attach, parse_keys};
use crate::container::{Client, Container, End, Request, life};
use crate::store::{ContainerId, Containers};

/// The number of the signal that a program gets whose output nobody reads.
const PIPE: u8 = 13;

/// docker's keys.
pub const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Keys as they were given.
pub fn keys(text: &str) -> Result<Vec<u8>, CliError> {
    let wrong = || CliError::Usage(format!("--detach-keys {text}: expected keys as ctrl-p,ctrl-q or a"));
    parse_keys(text).ok_or_else(wrong)
}

/// A terminal for the program needs one to type at.
pub fn check_terminal(tty: bool, stdin: bool) -> Result<(), CliError> {
    if tty && stdin && !io::stdin().is_terminal() {
        return Err(CliError::Usage("the input is no terminal; leave -t out".into()));
    }
    Ok(())
}

/// Passes streams on until the program ends. `of` is the process of an `exec`.
pub fn serve(
    containers: &Containers,
    id: &ContainerId,
    client: &mut Client,
    of: Option<i32>,
    how: &Terminal,
) -> Result<Attached, CliError> {
    let notice = |notice: Notice| {
        let request = match notice {
            Notice::Signal(number) => Request::Signal { of, number },
            Notice::Resized(size) => Request::Resize { of, size },
        };
        // The program may end just now.
        if let Ok(other) = Client::connect(containers, id) {
            let _ = other.send(&request);
        }
    };
    attach(client, how, notice).map_err(CliError::io("pass the container's streams on"))
}

/// The exit code of what was attached to.
pub fn finish(containers: &Containers, container: &Container, end: Attached) -> Result<(), CliError> {
    match end {
        Attached::Detached | Attached::Ended(End::Exited(0)) => Ok(()),
        Attached::Ended(End::Exited(code)) => Err(CliError::Exit(code)),
        // As a program ends whose output nobody reads.
        Attached::Told(signal) => Err(CliError::Exit(u8::try_from(128 + signal).unwrap_or(255))),
        Attached::Unread => Err(CliError::Exit(128 + PIPE)),
        Attached::Ended(End::Failed { code, reason }) => {
            Err(crate::container::ContainerError::Failed { code, reason }.into())
        }
        Attached::Ended(End::Lost) => {
            let code = life::wait(containers, container).unwrap_or(137);
            super::super::out::err(&format!(
                "lith: the supervisor of container {} was killed, and the container with it\n",
                container.name
            ));
            Err(CliError::Exit(code))
        }
    }
}
