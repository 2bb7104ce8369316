//! The caller's terminal or pipes and a container's, put together.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::client::{Client, End, Heard};
use super::wire::{Event, Kind, frame};
use crate::sandbox::spec::Size;
use crate::sys::{signal, socket};

const CHUNK: usize = 64 << 10;

/// How the caller's streams are put together with the container's.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// The caller's standard input goes to the program.
    pub stdin: bool,
    /// The program has a terminal.
    pub tty: bool,
    /// Typed in a row, these leave the program alone; none for never.
    pub detach_keys: Vec<u8>,
    /// Signals that the caller gets go to the program.
    pub pass_signals: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    Ended(End),
    /// The caller typed the keys that leave.
    Detached,
    /// Nobody reads the caller's standard output any more.
    Unread,
    /// The caller was told to end by a signal that is not passed on.
    Told(i32),
}

/// What the caller gets while it is attached and that is not input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    Signal(i32),
    Resized(Size),
}

/// The number of the signal that tells of a new window size.
const WINCH: i32 = 28;

/// The size of the caller's terminal; 24 by 80 where it has none.
pub fn size() -> Size {
    let of = |fd: BorrowedFd<'_>| tcgetwinsize(fd).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let found = of(io::stdout().as_fd()).or_else(|| of(io::stdin().as_fd()));
    found.map_or(Size { rows: 24, columns: 80 }, |size| Size { rows: size.ws_row, columns: size.ws_col })
}

/// A terminal that passes every key on; as it was again when dropped.
struct Raw(Termios);

impl Raw {
    fn of_stdin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// From now on signals are for the program that this command stands for, and wait until [`attach`] passes them on: to be
/// called before there is a program that can be seen to run.
pub fn heed_signals() -> io::Result<()> {
    Ok(signal::to_pipe().map(drop)?)
}

/// Passes streams on until the program ends or the caller leaves. `notice` hears of signals and new sizes; it is not to
/// use this connection, on which they would wait behind input that nobody reads.
pub fn attach(client: &mut Client, how: &Terminal, mut notice: impl FnMut(Notice)) -> io::Result<Attached> {
    let signals = signal::to_pipe()?;
    let raw = match how.tty && how.stdin && io::stdin().is_terminal() {
        true => Some(Raw::of_stdin()?),
        false => None,
    };
    if how.tty {
        // It may have changed since the program was started.
        notice(Notice::Resized(size()));
    }
    let mut pump = Pump { how, keys: Keys::new(&how.detach_keys), pending: vec![], reading: how.stdin };
    let end = pump.run(client, signals, &mut notice);
    drop(raw);
    end
}

struct Pump<'a> {
    how: &'a Terminal,
    keys: Keys,
    /// Input on its way.
    pending: Vec<u8>,
    /// More input may come.
    reading: bool,
}

impl Pump<'_> {
    fn run(
        &mut self,
        client: &mut Client,
        signals: BorrowedFd<'_>,
        notice: &mut impl FnMut(Notice),
    ) -> io::Result<Attached> {
        let stdin = io::stdin();
        loop {
            while let Some(heard) = client.next_heard()? {
                match heard {
                    Heard::Output(kind, bytes) => {
                        if !put(kind, &bytes) {
                            return Ok(Attached::Unread);
                        }
                    }
                    Heard::Event(Event::Exited { code }) => return Ok(Attached::Ended(End::Exited(code))),
                    Heard::Event(Event::Failed { code, reason }) => {
                        return Ok(Attached::Ended(End::Failed { code, reason }));
                    }
                    Heard::Event(_) => {}
                }
            }
            // Input waits while what was read before is on its way.
            let wants_input = self.reading && self.pending.is_empty();
            let writing = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut list =
                vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&*client, PollFlags::IN | writing)];
            if wants_input {
                list.push(PollFd::new(&stdin, PollFlags::IN));
            }
            retry_on_intr(|| poll(&mut list, None))?;
            let ready: Vec<PollFlags> = list.iter().map(PollFd::revents).collect();
            if !ready[0].is_empty()
                && let Some(signal) = self.take_signals(signals, notice)
            {
                return Ok(Attached::Told(signal));
            }
            if ready[1].contains(PollFlags::OUT) {
                self.push(client);
            }
            if ready[1].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && !client.fill() {
                return self.rest(client);
            }
            if ready.get(2).is_some_and(|flags| !flags.is_empty()) && self.take_input()? {
                self.push_all(client)?;
                return Ok(Attached::Detached);
            }
            self.push(client);
        }
    }

    /// What had arrived before the connection ended.
    fn rest(&self, client: &mut Client) -> io::Result<Attached> {
        while let Some(heard) = client.next_heard()? {
            match heard {
                Heard::Output(kind, bytes) => drop(put(kind, &bytes)),
                Heard::Event(Event::Exited { code }) => return Ok(Attached::Ended(End::Exited(code))),
                Heard::Event(_) => {}
            }
        }
        Ok(Attached::Ended(End::Lost))
    }

    /// Passes on what is to be. A signal that means the caller itself.
    fn take_signals(&self, signals: BorrowedFd<'_>, notice: &mut impl FnMut(Notice)) -> Option<i32> {
        let mut number = [0; 4];
        while read(signals, &mut number) == Ok(4) {
            match i32::from_ne_bytes(number) {
                WINCH if self.how.tty => notice(Notice::Resized(size())),
                WINCH => {}
                signal if self.how.pass_signals => notice(Notice::Signal(signal)),
                signal => return Some(signal),
            }
        }
        None
    }

    /// Reads what the caller types. Whether it leaves.
    fn take_input(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; CHUNK];
        let length = match read(io::stdin(), &mut buffer[..]) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A terminal that is gone has no more input.
            Err(Errno::IO) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if length == 0 {
            self.reading = false;
            self.pending = frame(Kind::Stdin, b"");
            return Ok(false);
        }
        let (typed, leaves) = match self.how.tty {
            true => self.keys.pass(&buffer[..length]),
            false => (buffer[..length].to_vec(), false),
        };
        if !typed.is_empty() {
            self.pending = frame(Kind::Stdin, &typed);
        }
        Ok(leaves)
    }

    /// Sends what was typed before the caller left.
    fn push_all(&mut self, client: &Client) -> io::Result<()> {
        loop {
            self.push(client);
            if self.pending.is_empty() {
                return Ok(());
            }
            retry_on_intr(|| poll(&mut [PollFd::new(client, PollFlags::OUT)], None))?;
        }
    }

    /// Sends as much of the input as goes.
    fn push(&mut self, client: &Client) {
        while !self.pending.is_empty() {
            match socket::send_now(client, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The end of the connection shows when it is read.
                Err(_) => {
                    self.pending.clear();
                    self.reading = false;
                }
            }
        }
    }
}

/// Writes to the caller's own streams. False if nobody reads standard output any more.
fn put(kind: Kind, mut bytes: &[u8]) -> bool {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let to = match kind {
        Kind::Stderr => stderr.as_fd(),
        Kind::Stdin | Kind::Stdout | Kind::Message => stdout.as_fd(),
    };
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut list = [PollFd::new(&to, PollFlags::OUT)];
                let _ = poll(&mut list, None);
            }
            Err(_) => return kind == Kind::Stderr,
        }
    }
    true
}

/// Looks out for a row of keys in what is typed.
struct Keys {
    wanted: Vec<u8>,
    matched: usize,
}

impl Keys {
    fn new(wanted: &[u8]) -> Self {
        Self { wanted: wanted.to_vec(), matched: 0 }
    }

    /// What is to be passed on: the row itself only once it has gone wrong. Whether it was typed whole.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.wanted.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.wanted.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.wanted[..self.matched]);
            self.matched = usize::from(self.wanted.first() == Some(byte));
            if self.matched == 0 {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

/// Keys as people write them: `ctrl-p,ctrl-q`, `a`, none at all.
pub fn parse_keys(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(vec![]);
    }
    let key = |text: &str| match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
            Some(letter.to_ascii_uppercase() & 0x1f)
        }
        Some(_) => None,
        None => match text.as_bytes() {
            [one] if one.is_ascii_graphic() => Some(*one),
            _ => None,
        },
    };
    text.split(',').map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_others_passed_on() {
        let keys = parse_keys("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys, [16, 17]);
        let mut found = Keys::new(&keys);
        assert_eq!(found.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(found.pass(b"c\x10\x10"), (b"\x10c\x10".to_vec(), false));
        assert_eq!(found.pass(b"\x11rest"), (b"".to_vec(), true));
        let mut never = Keys::new(&[]);
        assert_eq!(never.pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
        assert_eq!(parse_keys("a,ctrl-["), Some(vec![b'a', 27]));
        for bad in ["ctrl-", "ctrl-1", "ab", ",", "ctrl-pq"] {
            assert_eq!(parse_keys(bad), None, "{bad}");
        }
    }
}
