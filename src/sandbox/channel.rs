//! What parent and child say to each other, on a socket that is the child's standard input when it starts.
//!
//! Owns: the messages and their framing (length in four little-endian bytes, then JSON).

use std::borrow::Cow;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::SetupError;
use super::launch::Writes;
use super::spec::{Ended, Spec};

/// The longest message, in bytes.
const LIMIT: u32 = 64 << 20;

/// Parent to child, once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job<'a> {
    pub spec: Cow<'a, Spec>,
    pub writes: Writes,
    /// Process id of the parent, to notice that it was gone before its death could be announced.
    pub parent: i32,
}

/// Child to parent; the last counts, since what init says the outer process may have to take back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    Ended(Ended),
    Failed(SetupError),
}

/// Writes one message.
pub(super) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|n| *n <= LIMIT);
    let length = length.ok_or_else(|| io::Error::other("the spec is longer than 64 MiB"))?;
    to.write_all(&[&length.to_le_bytes()[..], &body].concat())
}

/// Reads one message.
///
/// # Errors
/// `UnexpectedEof` if the other side ended first.
pub(super) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
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
pub(super) fn send_descriptor(socket: &UnixStream, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let list = fd.as_slice();
    if !list.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(list));
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The other end of [`send_descriptor`].
pub(super) fn receive_descriptor(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
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
    fn a_message_comes_back() {
        let mut wire = Vec::new();
        send(&mut wire, &["a", "b"]).unwrap();
        assert_eq!(receive::<Vec<String>>(&wire[..]).unwrap(), ["a", "b"]);
        let cut = receive::<Vec<String>>(&wire[..3]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert!(receive::<Vec<String>>(&[255; 8][..]).is_err());
    }
}
