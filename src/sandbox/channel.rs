//! What parent and child say to each other, on a socket that is the child's standard input when it starts.
//!
//! Owns: the messages and their framing (length in four little-endian bytes, then JSON).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys::socket;

use super::failure::SetupError;
use super::launch::Writes;
use super::spec::{Ended, Process, Spec};

/// The longest message, in bytes.
const LIMIT: u32 = 64 << 20;

/// Parent to child, once. A single byte after it asks for the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job<'a> {
    pub spec: Cow<'a, Spec>,
    pub writes: Writes,
    /// Whether its memory is limited.
    pub limited: bool,
    /// Process id of the parent, to notice that it was gone before its death could be announced.
    pub parent: i32,
}

/// Parent to a child that is to enter a running sandbox, once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    pub process: Cow<'a, Process>,
    /// As in [`Job`].
    pub parent: i32,
}

/// Child to parent. `Ended` and `Failed` end it, and the last of them counts: what init says the outer process may have
/// to take back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// The first process of the new namespaces is there. A descriptor of it (pidfd_open(2)) comes along.
    Init {
        pid: i32,
    },
    /// The caller's end of the process' terminal comes along.
    Terminal,
    /// The program was executed.
    Running,
    Ended(Ended),
    Failed(SetupError),
}

/// Writes one message.
pub fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

/// Writes one message, and a descriptor with its first byte.
pub(super) fn send_with(socket: &UnixStream, message: &impl Serialize, fd: BorrowedFd<'_>) -> io::Result<()> {
    let bytes = frame(message)?;
    let sent = socket::send(socket, &bytes, Some(fd))?;
    let mut rest = socket;
    rest.write_all(&bytes[sent..])
}

fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|n| *n <= LIMIT);
    let length = length.ok_or_else(|| io::Error::other("the spec is longer than 64 MiB"))?;
    Ok([&length.to_le_bytes()[..], &body].concat())
}

/// Messages of a socket as they arrive, and the descriptors that come with them.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Takes what is there. False at the end, or where the other side was killed.
    pub(super) fn fill(&mut self, socket: &UnixStream) -> bool {
        socket::receive(socket, &mut self.bytes, &mut self.descriptors)
    }

    /// The next whole message.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        if length > LIMIT {
            return Err(io::Error::other("a message longer than 64 MiB"));
        }
        let end = 4 + usize::try_from(length).expect("at most 64 MiB");
        if self.bytes.len() < end {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.bytes[4..end])?;
        self.bytes.drain(..end);
        Ok(Some(message))
    }

    /// Whether one of the whole messages, of which none is taken, is such a one.
    pub(super) fn holds<T: DeserializeOwned>(&self, is_such: impl Fn(&T) -> bool) -> bool {
        let mut rest = self.bytes.as_slice();
        while let Some(message) = receive::<T>(&mut rest).ok().filter(|_| rest.len() < self.bytes.len()) {
            if is_such(&message) {
                return true;
            }
        }
        false
    }

    /// The descriptor that came with the message just taken.
    pub(super) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.pop_front().ok_or_else(|| io::Error::other("a message without its descriptor"))
    }
}

/// Reads one message.
///
/// # Errors
/// `UnexpectedEof` if the other side ended first.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LIMIT {
        return Err(io::Error::other("a message longer than 64 MiB"));
    }
    let mut body = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Sends one byte, and a descriptor with it if there is one: the program's standard input to the child, the
/// supervisor's end of a filter to init.
pub fn send_descriptor(socket: &UnixStream, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    Ok(socket::send(socket, &[0], fd).map(drop)?)
}

/// The other end of [`send_descriptor`].
pub fn receive_descriptor(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut list) => list.next(),
        _ => None,
    });
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_can_be_looked_at_and_stays() {
        let mut inbox = Inbox::default();
        send(&mut inbox.bytes, &"a").unwrap();
        send(&mut inbox.bytes, &"b").unwrap();
        inbox.bytes.extend([9, 0]);
        assert!(inbox.holds(|text: &String| text == "b"));
        assert!(!inbox.holds(|text: &String| text == "c"));
        assert_eq!(inbox.next::<String>().unwrap().unwrap(), "a");
    }

    #[test]
    fn a_message_comes_back() {
        let mut wire = Vec::new();
        send(&mut wire, &["a", "b"]).unwrap();
        assert_eq!(receive::<Vec<String>>(&wire[..]).unwrap(), ["a", "b"]);
        let cut = receive::<Vec<String>>(&wire[..3]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert!(receive::<Vec<String>>(&[255; 8][..]).is_err());
    }
}
