//! The client's end of a connection to a supervisor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use super::supervisor::control_path;
use super::wire::{self, Event, Frames, Kind, Request};
use crate::store::{ContainerId, Containers};
use crate::sys::socket;

/// How long a supervisor may take to answer: it never waits for anything itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    frames: Frames,
    /// Output that came while an event was waited for.
    kept: VecDeque<Heard>,
}

/// What came.
#[derive(Debug)]
pub enum Heard {
    /// Output of the program.
    Output(Kind, Vec<u8>),
    Event(Event),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program ended, with this code.
    Exited(u8),
    /// It was never started.
    Failed { code: u8, reason: String },
    /// The supervisor is gone and has said nothing.
    Lost,
}

impl Client {
    /// Connects to the supervisor of a container.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` where none listens.
    pub fn connect(containers: &Containers, id: &ContainerId) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(containers.dir(id), flags, Mode::empty())?;
        Ok(Self::over(UnixStream::connect(control_path(&dir))?))
    }

    /// The end of a connection that is there already.
    pub(super) fn over(socket: UnixStream) -> Self {
        Self { socket, frames: Frames::default(), kept: VecDeque::new() }
    }

    /// Asks for something, without waiting for the answer.
    pub fn send(&self, request: &Request) -> io::Result<()> {
        self.send_all(&wire::message(request))
    }

    /// Sends input to the program; nothing at all is the end of it.
    pub fn input(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_all(&wire::frame(Kind::Stdin, bytes))
    }

    fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = retry_on_intr(|| socket::send(&self.socket, bytes, None))?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Takes what has arrived. False at the end.
    pub fn fill(&mut self) -> bool {
        self.frames.fill(&self.socket)
    }

    /// The next thing that has arrived whole.
    pub fn next_heard(&mut self) -> io::Result<Option<Heard>> {
        match self.kept.pop_front() {
            Some(kept) => Ok(Some(kept)),
            None => self.arrived(),
        }
    }

    fn arrived(&mut self) -> io::Result<Option<Heard>> {
        Ok(match self.frames.next()? {
            None => None,
            Some((Kind::Message, body)) => Some(Heard::Event(wire::parse(&body)?)),
            Some((kind, bytes)) => Some(Heard::Output(kind, bytes)),
        })
    }

    /// Waits for the next event; output meanwhile is kept for [`Client::next_heard`]. `None` at the end of the connection.
    ///
    /// # Errors
    /// `TimedOut` if it takes longer than `limit`.
    pub fn event(&mut self, limit: Option<Duration>) -> io::Result<Option<Event>> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            match self.arrived()? {
                Some(Heard::Event(event)) => return Ok(Some(event)),
                Some(output) => {
                    self.kept.push_back(output);
                    continue;
                }
                None => {}
            }
            if !self.wait(deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !self.fill() {
                return Ok(None);
            }
        }
    }

    /// Waits until something arrives. False if the time is over.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut list = [PollFd::new(&self.socket, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut list, left.as_ref()))? > 0)
    }

    /// Asks for something and waits until it is done.
    pub fn ask(&mut self, request: &Request) -> io::Result<()> {
        self.send(request)?;
        loop {
            match self.event(Some(PATIENCE))? {
                Some(Event::Done) => return Ok(()),
                Some(Event::Refused { reason }) => return Err(io::Error::other(reason)),
                Some(Event::Started { .. }) => {}
                Some(Event::Failed { .. } | Event::Exited { .. }) | None => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// `TimedOut` if it takes longer than `limit`.
    pub fn end(&mut self, limit: Option<Duration>) -> io::Result<End> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.event(left) {
                Ok(Some(Event::Exited { code })) => return Ok(End::Exited(code)),
                Ok(Some(Event::Failed { code, reason })) => return Ok(End::Failed { code, reason }),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(End::Lost),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
