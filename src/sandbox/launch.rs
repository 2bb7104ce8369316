//! The parent's side: starts the re-executed child, feeds its output on, and waits until nothing of it is left.
//!
//! Never enters a namespace and never forks: the caller may have any number of threads.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use crate::limits::GroupLimits;
use crate::sys;

use super::cgroup::{Cgroup, CgroupError};
use super::channel::{self, Job, Reply};
use super::failure::SetupError;
use super::sealed;
use super::spec::{Ended, Spec};

/// `argv[0]` of the re-executed child.
pub(super) const CHILD: &str = "lith-sandbox-init";

/// Which of the process' two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Takes what the process writes, in the order it arrives.
pub trait Output: Send {
    /// The next bytes of a stream: at most 64 KiB, not cut at lines.
    fn chunk(&mut self, stream: Stream, bytes: &[u8]);
}

/// What becomes of the process' own fsync and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// They do nothing: for a step, whose result its caller syncs as a whole.
    Volatile,
    /// They hold: for a container with data of its own.
    Durable,
}

/// Why a run gave no result. Whatever was started is gone when this is returned.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot start the sandbox helper {}", .helper.display())]
    Start { helper: PathBuf, source: io::Error },
    /// Killed from outside, or by the kernel for lack of memory.
    #[error("the sandbox helper ended without a result ({0})")]
    Died(ExitStatus),
    #[error("lost touch with the sandbox helper")]
    Channel(#[source] io::Error),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Runs processes in sandboxes.
#[derive(Debug, Clone)]
pub struct Launcher {
    helper: PathBuf,
    writes: Writes,
    limits: GroupLimits,
}

impl Default for Launcher {
    fn default() -> Self {
        Self { helper: "/proc/self/exe".into(), writes: Writes::Volatile, limits: GroupLimits::default() }
    }
}

impl Launcher {
    /// Re-executes another program, whose `main` starts with [`super::child_entry`], instead of this one.
    pub fn helper(self, helper: impl Into<PathBuf>) -> Self {
        Self { helper: helper.into(), ..self }
    }

    /// What the process' own syncs do; [`Writes::Volatile`] unless told.
    pub fn writes(self, writes: Writes) -> Self {
        Self { writes, ..self }
    }

    /// What all processes of a run may use together.
    pub fn limits(self, limits: GroupLimits) -> Self {
        Self { limits, ..self }
    }

    /// Runs one process to its end. When this returns, whatever the outcome, no process of the sandbox is left
    /// and nothing is mounted. A program that cannot be executed ends with status 126 or 127 and a line on its
    /// standard error, as in a shell.
    pub fn run(&self, spec: &Spec, output: &mut dyn Output) -> Result<Ended, SandboxError> {
        let (socket, theirs) = UnixStream::pair().map_err(SandboxError::Channel)?;
        let cgroup = Cgroup::make(&self.limits)?;
        let mut child = self.start(theirs.into(), spec.interactive)?;
        let reply = self.converse(&socket, &mut child, cgroup.as_ref(), spec, output);
        // Dropped first: a child still waiting for its job must see the end.
        drop(socket);
        let status = child.wait().map_err(SandboxError::Channel)?;
        if spec.interactive {
            take_terminal_back();
        }
        match reply {
            Ok(Reply::Ended(ended)) => {
                Ok(Ended { reached: cgroup.map(|cgroup| cgroup.reached()).unwrap_or_default(), ..ended })
            }
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Err(SandboxError::Channel(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SandboxError::Died(status))
            }
            Err(error) => Err(error),
        }
    }

    fn start(&self, socket: OwnedFd, interactive: bool) -> Result<Child, SandboxError> {
        let error = |source| SandboxError::Start { helper: self.helper.clone(), source };
        let sealed = sealed::open(&self.helper).map_err(|errno| error(errno.into()))?;
        let stdio = || if interactive { Stdio::inherit() } else { Stdio::piped() };
        Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
            .arg0(CHILD)
            .env_clear()
            .stdin(socket)
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .map_err(error)
    }

    fn converse(
        &self,
        socket: &UnixStream,
        child: &mut Child,
        cgroup: Option<&Cgroup>,
        spec: &Spec,
        output: &mut dyn Output,
    ) -> Result<Reply, SandboxError> {
        // It waits for its job, so whatever it starts is in there.
        if let Some(cgroup) = cgroup {
            cgroup.take(child.id())?;
        }
        self.tell(socket, child, spec, output).map_err(SandboxError::Channel)
    }

    fn tell(
        &self,
        socket: &UnixStream,
        child: &mut Child,
        spec: &Spec,
        output: &mut dyn Output,
    ) -> io::Result<Reply> {
        let parent = rustix::process::getpid().as_raw_pid();
        let stdin = std::io::stdin();
        channel::send_descriptor(socket, spec.interactive.then(|| stdin.as_fd()))?;
        channel::send(socket, &Job { spec: Cow::Borrowed(spec), writes: self.writes, parent })?;
        let streams = [
            (Stream::Stdout, child.stdout.take().map(OwnedFd::from)),
            (Stream::Stderr, child.stderr.take().map(OwnedFd::from)),
        ];
        let reply = pump(socket, streams, child, output)?;
        let mut rest = &reply[..];
        let mut last = channel::receive(&mut rest)?;
        while !rest.is_empty() {
            last = channel::receive(&mut rest)?;
        }
        Ok(last)
    }
}

/// Feeds the streams to `output` until the child's side of the socket is closed, and gives back what came there.
fn pump(
    socket: &UnixStream,
    streams: [(Stream, Option<OwnedFd>); 2],
    child: &mut Child,
    output: &mut dyn Output,
) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    let mut reply = Vec::new();
    let mut open: Vec<(Stream, OwnedFd)> =
        streams.into_iter().filter_map(|(stream, fd)| Some((stream, fd?))).collect();
    for (_, fd) in &open {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    loop {
        let ready = wait_readable(socket, &open)?;
        let mut index = 0;
        open.retain(|(stream, fd)| {
            index += 1;
            !ready[index] || step(fd, &mut buffer, |bytes| output.chunk(*stream, bytes))
        });
        if ready[0] && !step(socket, &mut buffer, |bytes| reply.extend_from_slice(bytes)) {
            break;
        }
    }
    // The helper ends after the last process of its namespace, so from here on nobody in there writes.
    // A descriptor passed out of it could stay open for ever: what is there is taken, the end is not waited for.
    child.wait()?;
    for (stream, fd) in &open {
        while let Ok(length @ 1..) = retry_on_intr(|| rustix::io::read(fd, &mut buffer)) {
            output.chunk(*stream, &buffer[..length]);
        }
    }
    Ok(reply)
}

/// Waits until one can be read or is closed: the socket first, then the streams.
fn wait_readable(socket: &UnixStream, open: &[(Stream, OwnedFd)]) -> io::Result<Vec<bool>> {
    let mut list = vec![PollFd::new(socket, PollFlags::IN)];
    list.extend(open.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
    retry_on_intr(|| poll(&mut list, None))?;
    Ok(list.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Takes one chunk. False at the end of the stream.
fn step(fd: impl AsFd, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    match rustix::io::read(fd, &mut *buffer) {
        Ok(0) => false,
        Ok(length) => {
            take(&buffer[..length]);
            true
        }
        Err(Errno::INTR | Errno::AGAIN) => true,
        // A socket reports a peer that was killed with unread input as a reset: the end all the same.
        Err(_) => false,
    }
}

/// Makes the caller the terminal's foreground process group again, as it was before its child took that place.
fn take_terminal_back() {
    let ours = rustix::process::getpgrp();
    let set = sys::signal::Set::background_write();
    // Without the block, setting the group from the background would stop the caller. Failures leave things as
    // they are, which is right where standard input is no terminal.
    if set.block().is_ok() {
        let _ = rustix::termios::tcsetpgrp(std::io::stdin(), ours);
        let _ = set.unblock();
    }
}
