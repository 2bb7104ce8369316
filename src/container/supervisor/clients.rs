//! Those who are connected to a supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::program::Watched;
use super::{Interest, Ready, control_path};
use crate::container::wire::{self, Attach, Event, Frames, Kind, Request};
use crate::sandbox::Stream;
use crate::sandbox::spec::Process;
use crate::sys::socket;

/// How much waits for a client that does not read before the program is held back.
const BACKLOG: usize = 1 << 20;
/// How long a client that does not read is waited for at the end, in seconds.
const PATIENCE: i64 = 10;

/// All of them.
pub(super) struct Clients {
    dir: OwnedFd,
    listener: Option<UnixListener>,
    list: Vec<Client>,
    /// No more descriptors are to be had until one of them leaves.
    crowded: bool,
}

/// The programs that a connection may speak of.
pub(super) struct Programs<'a> {
    /// The one that it is about.
    pub own: &'a mut Watched,
    /// The container's own, where that is another one, and those that were started later.
    pub others: Vec<&'a Watched>,
    /// Whether `own` is the container's own.
    pub is_main: bool,
}

impl Programs<'_> {
    fn find(&self, pid: Option<i32>) -> Option<&Watched> {
        match pid {
            None if self.is_main => Some(self.own),
            None => self.others.first().copied(),
            Some(pid) => {
                let mut all = std::iter::once(&*self.own).chain(self.others.iter().copied());
                all.find(|program| program.init_pid() == Some(pid))
            }
        }
    }
}

/// One connection.
pub(super) struct Client {
    socket: UnixStream,
    frames: Frames,
    /// What waits to be sent.
    out: Vec<u8>,
    attach: Attach,
    gone: bool,
    /// It wants one more process.
    exec: Option<(Process, Attach)>,
}

impl Clients {
    /// Listens in a container's directory; the first is connected already.
    pub(super) fn new(dir: &Path, first: UnixStream, attach: Attach) -> io::Result<Self> {
        let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // What a killed supervisor left. The lock is held, so nobody listens there.
        let _ = rustix::fs::unlinkat(&dir, "control", rustix::fs::AtFlags::empty());
        let listener = UnixListener::bind(control_path(&dir))?;
        listener.set_nonblocking(true)?;
        let mut all = Self { dir, listener: Some(listener), list: vec![], crowded: false };
        all.add(first, attach)?;
        Ok(all)
    }

    fn add(&mut self, socket: UnixStream, attach: Attach) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (frames, out) = (Frames::default(), vec![]);
        self.list.push(Client { socket, frames, out, attach, gone: false, exec: None });
        Ok(())
    }

    /// Whether the program must wait until somebody reads.
    pub(super) fn are_full(&self) -> bool {
        self.list.iter().any(Client::is_full)
    }

    pub(super) fn register<'a>(&'a self, wanted: &mut Interest<'a>, input: bool) {
        if let Some(listener) = self.listener.as_ref().filter(|_| !self.crowded) {
            wanted.add(listener, PollFlags::IN);
        }
        self.list.iter().for_each(|client| client.register(wanted, input));
    }

    /// Deals with what came. Gives the connections that want one more process.
    pub(super) fn handle(&mut self, ready: &Ready, programs: &mut Programs<'_>) -> Vec<Client> {
        for client in &mut self.list {
            client.handle(ready, programs);
        }
        let before = self.list.len();
        self.list.retain(|client| !client.gone);
        self.crowded &= self.list.len() == before;
        if self.listener.as_ref().is_some_and(|listener| ready.readable(listener)) {
            self.accept();
        }
        self.list.extract_if(.., |client| client.exec.is_some()).collect()
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        // One that has gone again is no loss.
        match listener.accept() {
            Ok((socket, _)) => drop(self.add(socket, Attach { stdin: false, output: false })),
            Err(error) => self.crowded = error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Gives output of the program to those who have it.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.list.iter_mut().for_each(|client| client.output(stream, bytes));
    }

    /// Tells everybody.
    pub(super) fn event(&mut self, event: &Event) {
        self.list.iter_mut().for_each(|client| client.event(event));
    }

    /// Nobody comes in any more. Those who are connecting still hear the end.
    pub(super) fn stop_listening(&mut self) {
        let _ = rustix::fs::unlinkat(&self.dir, "control", rustix::fs::AtFlags::empty());
        while let Some(Ok((socket, _))) = self.listener.as_ref().map(UnixListener::accept) {
            let _ = self.add(socket, Attach { stdin: false, output: false });
        }
        self.listener = None;
    }

    /// Sends what waits to those who read, and ends.
    pub(super) fn flush_and_close(mut self, others: Vec<Client>) {
        self.list.extend(others);
        let limit = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        loop {
            self.list.retain(|client| !client.gone && !client.out.is_empty());
            if self.list.is_empty() {
                return;
            }
            let mut wanted: Vec<PollFd<'_>> =
                self.list.iter().map(|client| PollFd::new(&client.socket, PollFlags::OUT)).collect();
            match poll(&mut wanted, Some(&limit)) {
                Ok(1..) | Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
            self.list.iter_mut().for_each(Client::send);
        }
    }
}

impl Client {
    pub(super) fn register<'a>(&'a self, wanted: &mut Interest<'a>, input: bool) {
        // One that feeds a program which does not read has to wait, too.
        let reading = if input || !self.attach.stdin { PollFlags::IN } else { PollFlags::empty() };
        let writing = if self.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        wanted.add(&self.socket, reading | writing);
    }

    pub(super) fn handle(&mut self, ready: &Ready, programs: &mut Programs<'_>) {
        let flags = ready.of(&self.socket);
        if flags.contains(PollFlags::OUT) {
            self.send();
        }
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.receive(programs);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.gone && self.attach.output && self.out.len() >= BACKLOG
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// What it asked to be run, and what it has of that.
    pub(super) fn take_exec(&mut self) -> Option<Process> {
        let (process, attach) = self.exec.take()?;
        self.attach = attach;
        Some(process)
    }

    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        if self.attach.output {
            self.queue(&wire::frame(kind, bytes));
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.queue(&wire::message(event));
    }

    /// Nothing more will be sent: the other side sees the end once it has read all.
    pub(super) fn finish(&mut self) {
        self.attach = Attach { stdin: false, output: false };
    }

    fn queue(&mut self, bytes: &[u8]) {
        if self.gone {
            return;
        }
        self.out.extend_from_slice(bytes);
        self.send();
    }

    /// Sends as much as goes.
    fn send(&mut self) {
        while !self.out.is_empty() && !self.gone {
            match socket::send(&self.socket, &self.out, None) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.gone = true,
            }
        }
    }

    fn receive(&mut self, programs: &mut Programs<'_>) {
        if !self.frames.fill(&self.socket) {
            self.leave(programs);
        }
        loop {
            match self.frames.next() {
                Ok(Some((Kind::Stdin, bytes))) if self.attach.stdin => match bytes.as_slice() {
                    [] => programs.own.end_input(),
                    bytes => programs.own.feed(bytes),
                },
                Ok(Some((Kind::Message, body))) => match wire::parse(&body) {
                    Ok(request) => self.answer(request, programs),
                    Err(error) => self.refuse(&error),
                },
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    self.refuse(&error);
                    self.leave(programs);
                    break;
                }
            }
        }
    }

    /// Its input ends with it.
    fn leave(&mut self, programs: &mut Programs<'_>) {
        self.gone = true;
        if self.attach.stdin {
            programs.own.end_input();
        }
    }

    fn answer(&mut self, request: Request, programs: &Programs<'_>) {
        let of = |of: Option<i32>| programs.find(of).ok_or(Errno::SRCH);
        let done = match request {
            Request::Attach(attach) => {
                self.attach = attach;
                Ok(())
            }
            Request::Resize { of: whose, size } => of(whose).and_then(|program| program.resize(size)),
            Request::Signal { of: whose, number } => of(whose).and_then(|program| program.signal(number)),
            Request::Exec { process, attach } => {
                self.exec = Some((*process, attach));
                return;
            }
        };
        match done {
            Ok(()) => self.queue(&wire::message(&Event::Done)),
            Err(errno) => self.refuse(&errno.into()),
        }
    }

    fn refuse(&mut self, error: &io::Error) {
        self.queue(&wire::message(&Event::Refused { reason: error.to_string() }));
    }
}
