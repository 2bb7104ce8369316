//! Bytes and descriptors on a stream socket.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// How many bytes are taken at once.
const CHUNK: usize = 64 << 10;

/// Sends bytes, and a descriptor with the first of them. How many went.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let list = fd.as_slice();
    if !list.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(list));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Sends as much as goes at once.
///
/// # Errors
/// `EAGAIN` if nothing does.
pub fn send_now(socket: impl AsFd, bytes: &[u8]) -> Result<usize> {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// Takes what is there, with the descriptors that came along. False at the end, or where the other side was killed.
pub fn receive(socket: impl AsFd, bytes: &mut Vec<u8>, descriptors: &mut VecDeque<OwnedFd>) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; CHUNK];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC);
    match got {
        Ok(got) if got.bytes > 0 => {
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(list) = message {
                    descriptors.extend(list);
                }
            }
            bytes.extend_from_slice(&buffer[..got.bytes]);
            true
        }
        Err(Errno::INTR | Errno::AGAIN) => true,
        // A socket reports a peer that was killed with unread input as a reset: the end all the same.
        Ok(_) | Err(_) => false,
    }
}
