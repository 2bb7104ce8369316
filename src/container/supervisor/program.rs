//! The program being watched: its streams and what becomes known of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::PollFlags;
use rustix::io::{Errno, write};
use rustix::process::pidfd_send_signal;
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Interest, Ready, unblock};
use crate::sandbox::spec::{Ended, Size};
use crate::sandbox::{Event, Running, SandboxError, Stream, take_chunk};

/// How much input waits for a program that does not read.
const INPUT: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
/// The most that a pipe holds unless somebody privileged wants more (pipe(7)).
const REST: usize = 1 << 20;

/// A program that was started.
pub(super) struct Watched {
    running: Running,
    init: Option<(i32, OwnedFd)>,
    /// Our end of its terminal, if it has one.
    terminal: Option<OwnedFd>,
    /// Whether the terminal still gives anything.
    terminal_open: bool,
    input: Vec<u8>,
    /// No more input will come.
    input_ends: bool,
    ended: bool,
    end: Option<Result<Ended, SandboxError>>,
}

impl Watched {
    pub(super) fn new(running: Running) -> Self {
        if let Some(stdin) = &running.stdin {
            unblock(stdin);
        }
        Self {
            running,
            init: None,
            terminal: None,
            terminal_open: true,
            input: vec![],
            input_ends: false,
            ended: false,
            end: None,
        }
    }

    /// Whether all its processes have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn init(&self) -> Option<&OwnedFd> {
        self.init.as_ref().map(|(_, descriptor)| descriptor)
    }

    pub(super) fn init_pid(&self) -> Option<i32> {
        self.init.as_ref().map(|(pid, _)| *pid)
    }

    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        self.running.cgroups()
    }

    pub(super) fn kill(&mut self) {
        self.running.kill();
    }

    pub(super) fn input_is_full(&self) -> bool {
        self.input.len() >= INPUT
    }

    /// Takes input for it. Where it has none, nobody reads it.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.terminal.is_some() || self.running.stdin.is_some() && !self.input_ends {
            self.input.extend_from_slice(bytes);
            self.push();
        }
    }

    /// No more input comes. A terminal stays open: the next client goes on with it.
    pub(super) fn end_input(&mut self) {
        self.input_ends = true;
        self.push();
    }

    pub(super) fn resize(&self, size: Size) -> rustix::io::Result<()> {
        let Some(terminal) = &self.terminal else { return Err(Errno::NOTTY) };
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size)
    }

    pub(super) fn signal(&self, number: i32) -> rustix::io::Result<()> {
        let Some((_, init)) = &self.init else { return Err(Errno::SRCH) };
        let signal = crate::sys::signal::from_number(number).ok_or(Errno::INVAL)?;
        pidfd_send_signal(init, signal)
    }

    pub(super) fn register<'a>(&'a self, wanted: &mut Interest<'a>, output: bool) {
        wanted.add_fd(self.running.socket(), PollFlags::IN);
        let reading = if output { PollFlags::IN } else { PollFlags::empty() };
        let writing = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        if output {
            for stream in [&self.running.stdout, &self.running.stderr].into_iter().flatten() {
                wanted.add(stream, reading);
            }
        }
        if let Some(stdin) = &self.running.stdin
            && !self.input.is_empty()
        {
            wanted.add(stdin, writing);
        }
        if let Some(terminal) = &self.terminal
            && self.terminal_open
            && !(reading | writing).is_empty()
        {
            wanted.add(terminal, reading | writing);
        }
    }

    pub(super) fn handle(&mut self, ready: &Ready, mut take: impl FnMut(Stream, &[u8])) -> io::Result<()> {
        for (stream, pipe) in
            [(Stream::Stdout, &mut self.running.stdout), (Stream::Stderr, &mut self.running.stderr)]
        {
            if pipe.as_ref().is_some_and(|fd| ready.readable(fd) && !chunk(fd, |b| take(stream, b))) {
                *pipe = None;
            }
        }
        if let Some(terminal) = &self.terminal
            && self.terminal_open
            && ready.readable(terminal)
        {
            self.terminal_open = chunk(terminal, |bytes| take(Stream::Stdout, bytes));
        }
        self.push();
        if ready.readable(&self.running.socket()) && !self.running.hear() {
            self.ended = true;
        }
        Ok(())
    }

    /// Writes as much of the input as goes.
    fn push(&mut self) {
        let Some(to) = self.terminal.as_ref().or(self.running.stdin.as_ref()) else { return };
        while !self.input.is_empty() {
            match write(to, &self.input) {
                Ok(count) => drop(self.input.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It closed its standard input: what comes for it goes nowhere.
                Err(_) => self.input.clear(),
            }
        }
        if self.input_ends {
            self.running.stdin = None;
        }
    }

    /// Takes what became known. Whether the program runs since now.
    pub(super) fn news(&mut self) -> io::Result<bool> {
        let mut started = false;
        loop {
            match self.running.next_event() {
                Ok(None) => return Ok(started),
                Ok(Some(Event::Init { pid, descriptor })) => self.init = Some((pid, descriptor)),
                Ok(Some(Event::Terminal(terminal))) => {
                    unblock(&terminal);
                    self.terminal = Some(terminal);
                }
                Ok(Some(Event::Started)) => started = true,
                // The last counts: an error that follows the end takes it back.
                Ok(Some(Event::Ended(ended))) => self.end = Some(Ok(ended)),
                // What cannot be understood would come again and again.
                Err(SandboxError::Channel(error)) => return Err(error),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Takes what is left in the streams. Descriptors of them may be open for ever in others' hands, so their end is not
    /// waited for, nor is more taken than a pipe holds.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Stream, &[u8])) -> io::Result<()> {
        self.running.wait()?;
        let streams = [
            (Stream::Stdout, &self.running.stdout),
            (Stream::Stderr, &self.running.stderr),
            (Stream::Stdout, &self.terminal),
        ];
        for (stream, fd) in streams {
            let Some(fd) = fd else { continue };
            for _ in 0..REST / CHUNK {
                let mut more = false;
                chunk(fd, |bytes| {
                    more = true;
                    take(stream, bytes);
                });
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// How it ended. Its cgroup goes.
    pub(super) fn into_end(mut self) -> Result<Ended, SandboxError> {
        let status = self.running.wait().map_err(SandboxError::Channel)?;
        self.end.unwrap_or(Err(SandboxError::Died(status)))
    }
}

/// Takes one chunk. False at the end.
pub(super) fn chunk(fd: impl AsFd, take: impl FnMut(&[u8])) -> bool {
    take_chunk(fd, &mut vec![0; CHUNK], take)
}
