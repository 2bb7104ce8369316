//! Files into and out of a container, running or not, as tars.
//!
//! Every path of the container is looked for by a process that has the container's root, its mounts and no others: one that
//! entered it, or the first of a sandbox that is made for it while its program does not run. It executes nothing and cannot
//! be seen from inside (spec/container-state.md, "Copies").

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use super::client::{Client, Heard};
use super::life::{self, Container, exit_code};
use super::start::{self, Start};
use super::wire::{Attach, Event, Kind, Request};
use super::{ContainerError, signals};
use crate::capabilities::Capabilities;
use crate::diag::chain;
use crate::sandbox::spec::{First, Ids, Net, Process, Size, Spec, Stdio, Work};
use crate::sandbox::{Event as Told, Launcher, Running, Writes};
use crate::store::{Containers, Store};
use crate::sys::file::Lock;
use crate::transfer::{Incoming, Outgoing, TransferError};

/// What it takes to read and to make any file, and to give it to anybody.
const POWERS: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"];

/// Has a tar of files of a container read. Gives what was left out, one line each.
pub fn copy_out(
    store: &Store,
    container: &Container,
    what: Outgoing,
    resolv_conf: Vec<u8>,
    take: impl FnOnce(&mut dyn Read) -> Result<(), TransferError>,
) -> Result<Vec<String>, ContainerError> {
    let mut copier = Copier::start(store, container, Work::Send(what), resolv_conf)?;
    let done = take(&mut copier);
    copier.finish(done, |error| matches!(error, TransferError::Archive(_) | TransferError::Cut))
}

/// Has a tar of files written, for a container. Gives what was left out, one line each.
pub fn copy_in(
    store: &Store,
    container: &Container,
    what: Incoming,
    resolv_conf: Vec<u8>,
    give: impl FnOnce(&mut dyn Write) -> Result<(), TransferError>,
) -> Result<Vec<String>, ContainerError> {
    let mut copier = Copier::start(store, container, Work::Receive(what), resolv_conf)?;
    let done = give(&mut copier);
    copier.finish(done, |error| matches!(error, TransferError::Stream(_)))
}

/// The process that copies, from outside.
struct Copier {
    name: String,
    by: By,
}

enum By {
    Supervisor(Remote),
    Sandbox(Box<Own>),
}

/// How it ended: the exit code, and what it said.
type End = Result<(u8, String), String>;

impl Copier {
    fn start(
        store: &Store,
        container: &Container,
        work: Work,
        resolv_conf: Vec<u8>,
    ) -> Result<Self, ContainerError> {
        let containers = Containers::of(store.root());
        let process = process(work);
        loop {
            match life::lock(&containers, container) {
                Ok(lock) => {
                    let by = By::Sandbox(Box::new(Own::start(store, container, process, resolv_conf, lock)?));
                    return Ok(Self { name: container.name.clone(), by });
                }
                Err(ContainerError::Running { .. }) => {}
                Err(error) => return Err(error),
            }
            // Else it has just come to its end.
            if let Some(client) = life::connect(&containers, container)? {
                let remote = Remote::start(client, process)
                    .map_err(|source| ContainerError::Supervisor { name: container.name.clone(), source })?;
                return Ok(Self { name: container.name.clone(), by: By::Supervisor(remote) });
            }
        }
    }

    /// Waits for its end. `done` is what came of this side; `fault` says what of that may come of the other one.
    fn finish(
        self,
        done: Result<(), TransferError>,
        fault: impl Fn(&TransferError) -> bool,
    ) -> Result<Vec<String>, ContainerError> {
        let Self { name, by } = self;
        let goes_on = done.as_ref().map_or_else(fault, |()| true);
        let end = match by {
            By::Supervisor(remote) => remote.end(goes_on),
            By::Sandbox(own) => own.end(goes_on),
        };
        let reason = match (done, end) {
            (Err(error), _) if !goes_on => return Err(error.into()),
            (Ok(()), Ok((0, said))) => return Ok(said.lines().map(str::to_owned).collect()),
            // What it says itself tells more than that its stream ended.
            (_, Ok((1.., said))) if !said.is_empty() => said.lines().last().unwrap_or_default().to_owned(),
            (Err(error), Ok(_)) => return Err(error.into()),
            (_, Err(reason)) => reason,
            (Ok(()), Ok((code, _))) => format!("what copies its files ended with code {code}"),
        };
        Err(ContainerError::Refused { name, reason })
    }
}

impl Read for Copier {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.by {
            By::Supervisor(remote) => remote.read(buffer),
            By::Sandbox(own) => own.output.as_mut().map_or(Ok(0), |output| output.read(buffer)),
        }
    }
}

impl Write for Copier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.by {
            By::Supervisor(remote) => remote.write(bytes),
            By::Sandbox(own) => {
                own.input.as_mut().map_or(Err(io::ErrorKind::BrokenPipe.into()), |input| input.write(bytes))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Root of the container with what copying takes, whatever its programs have.
fn process(work: Work) -> Process {
    let capabilities = POWERS
        .iter()
        .fold(Capabilities::NONE, |set, name| set.with(name.parse().expect("a name of the table")));
    let stdio = match work {
        Work::Send(_) => Stdio::Output,
        Work::Receive(_) | Work::Execute => Stdio::Piped,
    };
    Process {
        argv: vec![],
        env: vec![],
        cwd: "/".to_owned(),
        user: Ids::default(),
        capabilities,
        ulimits: vec![],
        insecure: false,
        world: None,
        stdio,
        work,
    }
}

/// One that the supervisor of a running container started.
struct Remote {
    client: Client,
    pid: Option<i32>,
    output: Vec<u8>,
    /// How much of the output was taken.
    taken: usize,
    said: Vec<u8>,
    end: Option<Result<u8, String>>,
}

impl Remote {
    fn start(client: Client, process: Process) -> io::Result<Self> {
        let attach = Attach { stdin: process.stdio == Stdio::Piped, output: true };
        client.send(&Request::Exec { process: Box::new(process), attach })?;
        let mut remote = Self { client, pid: None, output: vec![], taken: 0, said: vec![], end: None };
        // The supervisor takes input for one that is there.
        while remote.pid.is_none() && remote.end.is_none() {
            remote.hear()?;
        }
        Ok(remote)
    }

    /// Waits for what comes next.
    fn hear(&mut self) -> io::Result<()> {
        loop {
            match self.client.next_heard()? {
                Some(Heard::Output(Kind::Stdout, bytes)) => {
                    self.output.drain(..self.taken);
                    self.taken = 0;
                    self.output.extend_from_slice(&bytes);
                }
                Some(Heard::Output(_, bytes)) => self.said.extend_from_slice(&bytes),
                Some(Heard::Event(Event::Started { pid })) => self.pid = Some(pid),
                Some(Heard::Event(Event::Exited { code })) => self.end = Some(Ok(code)),
                Some(Heard::Event(Event::Failed { reason, .. } | Event::Refused { reason })) => {
                    self.end = Some(Err(reason));
                }
                Some(Heard::Event(Event::Done)) => {}
                None if self.client.fill() => continue,
                None => self.end = Some(Err("it ended meanwhile".to_owned())),
            }
            return Ok(());
        }
    }

    fn end(mut self, goes_on: bool) -> End {
        // The end of its input, if it has one.
        let _ = self.client.input(&[]);
        while self.end.is_none() {
            self.output.clear();
            self.taken = 0;
            if !goes_on && let Some(pid) = self.pid.take() {
                let kill = Request::Signal { of: Some(pid), number: signals::KILL };
                let _ = self.client.send(&kill);
            }
            self.hear().map_err(|error| chain(&error))?;
        }
        let said = String::from_utf8_lossy(&self.said).into_owned();
        self.end.unwrap_or(Ok(0)).map(|code| (code, said))
    }
}

impl Read for Remote {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.output.len() {
            if self.end.is_some() {
                return Ok(0);
            }
            self.hear()?;
        }
        let mut left = &self.output[self.taken..];
        let count = left.read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

impl Write for Remote {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // One that has ended says why when it is asked.
        self.client.input(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One in a sandbox of its own, for a container that is locked until it has ended.
struct Own {
    running: Running,
    input: Option<File>,
    output: Option<File>,
    said: Option<JoinHandle<Vec<u8>>>,
    _lock: Lock,
}

impl Own {
    fn start(
        store: &Store,
        container: &Container,
        process: Process,
        resolv_conf: Vec<u8>,
        lock: Lock,
    ) -> Result<Self, ContainerError> {
        let attach = Attach { stdin: false, output: false };
        let how = Start { attach, size: Size { rows: 0, columns: 0 }, resolv_conf };
        let spec = start::spec(store, &container.id, &container.config, how)?;
        let spec = Spec { process, first: First::Init, network: Net::None, ..spec };
        let mut running = Launcher::default().writes(Writes::Durable).spawn(&spec).map_err(|error| {
            ContainerError::Refused { name: container.name.clone(), reason: chain(&error) }
        })?;
        let blocking = |fd: OwnedFd| {
            // A pipe can always be told so.
            let _ = rustix::io::ioctl_fionbio(&fd, false);
            File::from(fd)
        };
        let said = running.stderr.take().map(blocking).map(|mut from| {
            thread::spawn(move || {
                let mut said = Vec::new();
                // What cannot be read is lost.
                let _ = from.read_to_end(&mut said);
                said
            })
        });
        let (input, output) = (running.stdin.take().map(File::from), running.stdout.take().map(blocking));
        Ok(Self { running, input, output, said, _lock: lock })
    }

    fn end(mut self, goes_on: bool) -> End {
        if !goes_on {
            self.running.kill();
        }
        (self.input, self.output) = (None, None);
        let said = self.said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        self.running.wait().map_err(|error| chain(&error))?;
        while self.running.hear() {}
        let mut end = None;
        while let Some(event) = self.running.next_event().map_err(|error| chain(&error))? {
            if let Told::Ended(ended) = event {
                end = Some(exit_code(ended.status));
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        end.map(|code| (code, said)).ok_or_else(|| "what copies its files was killed".to_owned())
    }
}
