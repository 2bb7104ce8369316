//! Processes that were started in a running container, each with the connection that asked for it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::clients::{Client, Programs};
use super::program::Watched;
use super::{Interest, Outcome, Ready};
use crate::container::wire::Event;
use crate::sandbox::Launcher;
use crate::sandbox::spec::Process;

/// All of them.
#[derive(Default)]
pub(super) struct Execs {
    list: Vec<Exec>,
    /// Connections of those that ended which have not read everything yet.
    leaving: Vec<Client>,
}

struct Exec {
    program: Watched,
    client: Client,
    started: bool,
}

impl Execs {
    /// Starts what a connection asked for.
    pub(super) fn start(&mut self, mut client: Client, init: Option<&OwnedFd>) {
        let Some(process) = client.take_exec() else { return };
        match enter(&process, init) {
            Ok(program) => self.list.push(Exec { program, client, started: false }),
            Err((code, reason)) => {
                client.event(&Event::Failed { code, reason });
                // Its input was not for the container's own program.
                client.finish();
                self.leaving.push(client);
            }
        }
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &Watched> {
        self.list.iter().map(|exec| &exec.program)
    }

    pub(super) fn register<'a>(&'a self, wanted: &mut Interest<'a>) {
        for Exec { program, client, .. } in &self.list {
            program.register(wanted, !client.is_full());
            // One that is gone would be ready for ever.
            if !client.is_gone() {
                client.register(wanted, !program.input_is_full());
            }
        }
        self.leaving.iter().for_each(|client| client.register(wanted, true));
    }

    pub(super) fn handle(&mut self, ready: &Ready, main: &mut Watched) -> io::Result<()> {
        for exec in &mut self.list {
            let Exec { program, client, started } = exec;
            program.handle(ready, |stream, bytes| client.output(stream, bytes))?;
            if program.news()? && !*started {
                *started = true;
                client.event(&Event::Started { pid: program.init_pid().unwrap_or_default() });
            }
            if !client.is_gone() {
                client.handle(ready, &mut Programs { own: program, others: vec![&*main], is_main: false });
            }
        }
        for exec in self.list.extract_if(.., |exec| exec.program.has_ended()) {
            self.leaving.push(exec.conclude());
        }
        for client in &mut self.leaving {
            client.handle(ready, &mut Programs { own: main, others: vec![], is_main: true });
        }
        self.leaving.retain(|client| !client.is_gone());
        Ok(())
    }

    /// The container has ended, and they with it.
    pub(super) fn end(self) -> Vec<Client> {
        let ended = self.list.into_iter().map(Exec::conclude);
        self.leaving.into_iter().chain(ended).collect()
    }
}

impl Exec {
    /// Passes on what is left, and how it ended.
    fn conclude(self) -> Client {
        let Self { mut program, mut client, started } = self;
        // What cannot be read is lost.
        let _ = program.drain(|stream, bytes| client.output(stream, bytes));
        client.event(&match super::outcome(program.into_end(), started) {
            Outcome::Ended(ended) => Event::Exited { code: crate::container::life::exit_code(ended.status) },
            Outcome::Failed { code, .. } if started => Event::Exited { code },
            Outcome::Failed { code, reason } => Event::Failed { code, reason },
        });
        client.finish();
        client
    }
}

fn enter(process: &Process, init: Option<&OwnedFd>) -> Result<Watched, (u8, String)> {
    let Some(init) = init else { return Err((125, "the container does not run yet".to_owned())) };
    Launcher::default()
        .enter(init.as_fd(), process)
        .map(Watched::new)
        .map_err(|error| (125, crate::diag::chain(&error)))
}
