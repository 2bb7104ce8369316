//! Frames between a supervisor and its clients (spec/container-state.md, "Supervisor").

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sandbox::spec::{Process, Size};
use crate::sys::socket;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stdin,
    Stdout,
    Stderr,
    Message,
}

/// Bytes before the body: the kind and the length.
const HEAD: usize = 5;
/// The longest body.
const LIMIT: usize = 64 << 20;

/// One frame as bytes.
pub fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("what is sent is far below 4 GiB");
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A message as a frame.
pub fn message(message: &impl Serialize) -> Vec<u8> {
    frame(Kind::Message, &serde_json::to_vec(message).expect("messages are plain data"))
}

/// Frames as they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes what is there. False at the end.
    pub fn fill(&mut self, socket: impl AsFd) -> bool {
        // No message brings one.
        socket::receive(socket, &mut self.bytes, &mut VecDeque::new())
    }

    /// The next whole frame.
    pub fn next(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let Some([kind, length @ ..]) = self.bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let kind = match kind {
            0 => Kind::Stdin,
            1 => Kind::Stdout,
            2 => Kind::Stderr,
            3 => Kind::Message,
            other => return Err(io::Error::other(format!("a frame of kind {other}"))),
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(io::Error::other)?;
        if length > LIMIT {
            return Err(io::Error::other("a frame longer than 64 MiB"));
        }
        if self.bytes.len() < HEAD + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(HEAD + length);
        let mut whole = std::mem::replace(&mut self.bytes, rest);
        whole.drain(..HEAD);
        Ok(Some((kind, whole)))
    }
}

/// Reads a message's body.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(body)?)
}

/// Which streams a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    pub stdin: bool,
    pub output: bool,
}

/// Client to supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    Attach(Attach),
    /// `of`: a process that was started with `exec`; else the program.
    Resize {
        of: Option<i32>,
        size: Size,
    },
    Signal {
        of: Option<i32>,
        number: i32,
    },
    /// Runs one more process; from now on the connection is about that one.
    Exec {
        process: Box<Process>,
        attach: Attach,
    },
}

/// Supervisor to client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The program runs, under this number outside the container.
    Started {
        pid: i32,
    },
    /// What was asked for is done.
    Done,
    /// It is not.
    Refused {
        reason: String,
    },
    /// The container could not be started. `code` as in "Exit codes".
    Failed {
        code: u8,
        reason: String,
    },
    Exited {
        code: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_however_they_are_cut() {
        let wire = [
            frame(Kind::Stdout, b"abc"),
            frame(Kind::Stdin, b""),
            message(&Request::Signal { of: None, number: 15 }),
        ]
        .concat();
        for cut in 0..wire.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                frames.bytes.extend_from_slice(part);
                while let Some(frame) = frames.next().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got[..2], [(Kind::Stdout, b"abc".to_vec()), (Kind::Stdin, vec![])]);
            assert_eq!(parse::<Request>(&got[2].1).unwrap(), Request::Signal { of: None, number: 15 });
        }
        let mut wrong = Frames { bytes: vec![9, 0, 0, 0, 0] };
        assert!(wrong.next().is_err());
    }
}
