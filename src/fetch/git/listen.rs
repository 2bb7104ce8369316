//! What git says while it runs: its output is read, its complaints are kept, and a server that gives too little is left.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStderr, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fetch::pace::Pace;
use crate::fetch::watch::{Amount, Pieces, Task};

/// How much of what git says on standard error is kept: its end.
const COMPLAINT: usize = 64 << 10;
/// The longest line that is looked at.
const LINE: usize = 400;

/// What a server may try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long it may be silent, and how long it may take until enough has come.
    pub window: Duration,
    /// Whether it is held to that here.
    pub pace: bool,
}

/// Both streams of a running git. Reading gives what it prints.
pub(super) struct Ears<'a> {
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    complaint: Vec<u8>,
    line: Vec<u8>,
    patience: Option<Patience>,
    pace: Option<Pace>,
    process: u32,
    task: Option<&'a Task>,
}

impl<'a> Ears<'a> {
    pub fn new(child: &mut Child, patience: Option<Patience>, task: Option<&'a Task>) -> Self {
        Self {
            out: child.stdout.take(),
            err: child.stderr.take(),
            complaint: Vec::new(),
            line: Vec::new(),
            patience,
            pace: patience.filter(|patience| patience.pace).map(|patience| Pace::new(patience.window)),
            process: child.id(),
            task,
        }
    }

    /// Whether git has closed both streams, as it does at its end.
    pub fn is_over(&self) -> bool {
        self.out.is_none() && self.err.is_none()
    }

    /// Listens to the end.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }

    /// The end of what came on standard error.
    pub fn complaint(&self) -> &[u8] {
        &self.complaint
    }

    /// Waits until a stream has something; whether that is the output, and whether it is the complaints.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let limit = self.patience.and_then(|patience| Timespec::try_from(patience.window).ok());
        loop {
            let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = Vec::new();
            fds.extend(self.out.as_ref().map(|pipe| watch(pipe.as_fd())));
            fds.extend(self.err.as_ref().map(|pipe| watch(pipe.as_fd())));
            match poll(&mut fds, limit.as_ref()) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the server says nothing")),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let out = self.out.is_some() && ready[0];
            return Ok((out, self.err.is_some() && *ready.last().expect("one is open")));
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.err else { return Ok(()) };
        let mut buffer = [0; 4096];
        let got = pipe.read(&mut buffer)?;
        if got == 0 {
            self.err = None;
        }
        self.complaint.extend_from_slice(&buffer[..got]);
        let surplus = self.complaint.len().saturating_sub(COMPLAINT);
        self.complaint.drain(..surplus);
        for byte in &buffer[..got] {
            match byte {
                b'\r' | b'\n' => self.told(),
                _ if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in a line of progress.
    fn told(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let Some((unit, amount)) = progress(&line) else { return };
        if let Some(task) = self.task {
            task.moved(&amount);
        }
        // From here on the work is git's own.
        if unit == DELTAS {
            self.pace = None;
        }
    }
}

impl Read for Ears<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_over() {
            let (out, err) = self.wait()?;
            if err {
                self.hear()?;
            }
            if let Some(pace) = &mut self.pace {
                pace.check(|| bytes_read(self.process)).map_err(io::Error::other)?;
            }
            if out && let Some(pipe) = &mut self.out {
                match pipe.read(buffer)? {
                    0 => self.out = None,
                    got => return Ok(got),
                }
            }
        }
        Ok(0)
    }
}

/// Bytes that a process has read so far, from files and servers alike.
fn bytes_read(process: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

const OBJECTS: &str = "objects";
const DELTAS: &str = "deltas";

/// What a line of git's own progress says: `Receiving objects:  45% (9/20), 1.50 MiB | 1.00 MiB/s`. Lines of the server
/// begin with `remote: `, so it cannot say any of this.
fn progress(line: &str) -> Option<(&'static str, Amount)> {
    let (unit, rest) = match line.strip_prefix("Receiving objects:") {
        Some(rest) => (OBJECTS, rest),
        None => (DELTAS, line.strip_prefix("Resolving deltas:")?),
    };
    let (counts, rest) = rest.split_once('(')?.1.split_once(')')?;
    let (done, total) = counts.split_once('/')?;
    let pieces = Pieces { done: done.parse().ok()?, total: total.parse().ok()?, unit: Some(unit) };
    let bytes = rest.strip_prefix(", ").and_then(|rest| size(rest.split(" | ").next()?)).unwrap_or(0);
    Some((unit, Amount { bytes, total: None, pieces: Some(pieces) }))
}

/// A size as git writes it: `1.50 MiB`.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.trim_end_matches(", done.").split_once(' ')?;
    let shift = match unit {
        "bytes" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let hundredths: u64 = format!("{part:0<2}").get(..2)?.parse().ok()?;
    let whole: u64 = whole.parse().ok().filter(|whole| *whole < 1 << 30)?;
    Some((whole << shift) + ((hundredths << shift) / 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read() {
        let amount = |bytes, done, total, unit| {
            Some((
                unit,
                Amount { bytes, total: None, pieces: Some(Pieces { done, total, unit: Some(unit) }) },
            ))
        };
        assert_eq!(progress("Receiving objects:  45% (9/20)"), amount(0, 9, 20, OBJECTS));
        assert_eq!(
            progress("Receiving objects:  45% (9/20), 1.50 MiB | 1.00 MiB/s"),
            amount(3 << 19, 9, 20, OBJECTS)
        );
        assert_eq!(
            progress("Receiving objects: 100% (20/20), 12 bytes | 12 bytes/s, done."),
            amount(12, 20, 20, OBJECTS)
        );
        assert_eq!(progress("Resolving deltas:   0% (0/7)"), amount(0, 0, 7, DELTAS));
        for other in ["remote: Receiving objects:  45% (9/20)", "Receiving objects: x", "", "From http://x"] {
            assert_eq!(progress(other), None, "{other}");
        }
        assert_eq!(size("99999999999 GiB"), None);
    }
}
