//! The parent's side: starts the helper, feeds its output on, and waits until nothing of it is left.
//!
//! Never enters a namespace, and forks for callers with a single thread alone that ask for it.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

use crate::limits::GroupLimits;
use crate::sys;
use crate::sys::exec::{Fork, fork};

use super::cgroup::{Cgroup, CgroupError};
use super::channel::{self, Entry, Inbox, Job, Reply};
use super::failure::SetupError;
use super::spec::{Ended, Process, Spec, Stdio};
use super::{init, sealed};

/// `argv[0]` of the re-executed child.
pub(super) const CHILD: &str = "lith-sandbox-init";
/// `argv[0]` of one that enters a running sandbox.
pub(super) const ENTERER: &str = "lith-sandbox-enter";

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

    /// Everything is mounted and the program was executed. Told once.
    fn executed(&mut self) {}
}

/// What becomes of the process' own fsync and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// They do nothing: for a step, whose result its caller syncs as a whole.
    Volatile,
    /// They do nothing, and nobody will look at what was written: for a container that goes with its end.
    Discarded,
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
    forks: bool,
    writes: Writes,
    limits: GroupLimits,
}

impl Default for Launcher {
    fn default() -> Self {
        Self {
            helper: "/proc/self/exe".into(),
            forks: false,
            writes: Writes::Volatile,
            limits: GroupLimits::default(),
        }
    }
}

impl Launcher {
    /// Re-executes another program, whose `main` starts with [`super::child_entry`], instead of this one.
    pub fn helper(self, helper: impl Into<PathBuf>) -> Self {
        Self { helper: helper.into(), ..self }
    }

    /// The helper is forked: nothing has to be loaded once more. For a process with a single thread, executed from what
    /// [`super::open_sealed`] gives, whose memory holds nothing that the helper may not have.
    pub fn forked(self) -> Self {
        Self { forks: true, ..self }
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
        let mut running = self.spawn(spec)?;
        let heard = running.pump(output);
        let status = running.wait().map_err(SandboxError::Channel);
        if spec.process.stdio == Stdio::Caller {
            take_terminal_back();
        }
        heard.map_err(SandboxError::Channel)?;
        let status = status?;
        let mut end = None;
        // The last counts: an error that follows the end takes it back.
        while let Some(event) = running.next_event()? {
            if let Event::Ended(ended) = event {
                end = Some(ended);
            }
        }
        end.ok_or(SandboxError::Died(status))
    }

    /// Starts one process, to be watched by the caller.
    pub fn spawn(&self, spec: &Spec) -> Result<Running, SandboxError> {
        let (socket, theirs) = UnixStream::pair().map_err(SandboxError::Channel)?;
        let cgroup = Cgroup::make(&self.limits)?;
        let helper = match self.forks {
            true => self.fork(theirs, spec.process.stdio)?,
            false => self.start(CHILD, theirs.into(), spec.process.stdio)?,
        };
        // It waits for its job, so whatever it starts is in there.
        let taken = cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.take(helper.number()));
        let told = taken.map_err(SandboxError::from).and_then(|()| {
            let limited = self.limits.memory.is_some();
            let job = Job { spec: Cow::Borrowed(spec), writes: self.writes, limited, parent: our_pid() };
            tell(&socket, spec.process.stdio, &job).map_err(SandboxError::Channel)
        });
        Self::started(socket, helper, told, cgroup)
    }

    /// Starts one more process in the namespaces of a running sandbox, whose first process `init` is a descriptor of.
    pub fn enter(&self, init: BorrowedFd<'_>, process: &Process) -> Result<Running, SandboxError> {
        let number = number_of(init).map_err(SandboxError::Channel)?;
        let (socket, theirs) = UnixStream::pair().map_err(SandboxError::Channel)?;
        let helper = self.start(ENTERER, theirs.into(), process.stdio)?;
        // It waits for its job, as in `spawn`.
        let shared = Cgroup::share(number, helper.number());
        let told = shared.map_err(SandboxError::from).and_then(|()| {
            let job = Entry { process: Cow::Borrowed(process), parent: our_pid() };
            channel::send_descriptor(&socket, Some(init))
                .and_then(|()| tell(&socket, process.stdio, &job))
                .map_err(SandboxError::Channel)
        });
        Self::started(socket, helper, told, None)
    }

    /// The helper, if it was told what to do.
    fn started(
        socket: UnixStream,
        mut helper: Helper,
        told: Result<Option<OwnedFd>, SandboxError>,
        cgroup: Option<Cgroup>,
    ) -> Result<Running, SandboxError> {
        match told {
            Ok(stdin) => Ok(Running::new(socket, helper, stdin, cgroup)),
            Err(error) => {
                // One still waiting for its job must see the end.
                drop(socket);
                let status = helper.wait().map_err(SandboxError::Channel)?;
                match error {
                    SandboxError::Channel(_) => Err(SandboxError::Died(status)),
                    other => Err(other),
                }
            }
        }
    }

    fn start(&self, name: &str, socket: OwnedFd, stdio: Stdio) -> Result<Helper, SandboxError> {
        let error = |source| self.not_started(source);
        let sealed = sealed::open(&self.helper).map_err(|errno| error(errno.into()))?;
        let output = || match stdio {
            Stdio::Caller => process::Stdio::inherit(),
            Stdio::Captured | Stdio::Output | Stdio::Piped => process::Stdio::piped(),
            Stdio::Terminal(_) => process::Stdio::null(),
        };
        let mut child = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
            .arg0(name)
            .env_clear()
            .stdin(socket)
            .stdout(output())
            .stderr(output())
            .spawn()
            .map_err(error)?;
        let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Helper { pid: pid.expect("a child has a number"), status: None, outputs })
    }

    fn fork(&self, socket: UnixStream, stdio: Stdio) -> Result<Helper, SandboxError> {
        let error = |errno: Errno| self.not_started(errno.into());
        let (mut ours, mut theirs) = ([None, None], [None, None]);
        match stdio {
            // It keeps the caller's; and a supervisor's own lead nowhere.
            Stdio::Caller | Stdio::Terminal(_) => {}
            Stdio::Captured | Stdio::Output | Stdio::Piped => {
                for (ours, theirs) in ours.iter_mut().zip(&mut theirs) {
                    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(error)?;
                    (*ours, *theirs) = (Some(read), Some(write));
                }
            }
        }
        match fork().map_err(error)? {
            Fork::Parent(pid) => Ok(Helper { pid, status: None, outputs: ours }),
            Fork::Child => {
                let standard = [(0, Some(socket.as_fd())), (1, fd_of(&theirs[0])), (2, fd_of(&theirs[1]))];
                sys::exec::keep_only(&standard, || {
                    sys::exec::show_as(CHILD);
                    init::main()
                })
            }
        }
    }

    fn not_started(&self, source: io::Error) -> SandboxError {
        SandboxError::Start { helper: self.helper.clone(), source }
    }
}

fn fd_of(fd: &Option<OwnedFd>) -> Option<BorrowedFd<'_>> {
    fd.as_ref().map(OwnedFd::as_fd)
}

/// The helper's process.
#[derive(Debug)]
struct Helper {
    pid: Pid,
    /// Once it was waited for.
    status: Option<ExitStatus>,
    /// Our ends of its standard output and error, where those are pipes.
    outputs: [Option<OwnedFd>; 2],
}

impl Helper {
    fn number(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let (_, status) = retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()))?
            .ok_or_else(|| io::Error::other("a wait without an end"))?;
        let status = ExitStatus::from_raw(status.as_raw());
        self.status = Some(status);
        Ok(status)
    }
}

/// The number of the process that a descriptor is of.
pub(super) fn number_of(process: BorrowedFd<'_>) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
    number.filter(|number| *number > 0).ok_or_else(|| io::Error::other("the sandbox has ended"))
}

fn our_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Sends the process' standard input, and what is to be done. Gives the other end of the input, where it is a pipe.
fn tell(socket: &UnixStream, stdio: Stdio, job: &impl Serialize) -> io::Result<Option<OwnedFd>> {
    let mut ours = None;
    match stdio {
        Stdio::Caller => channel::send_descriptor(socket, Some(io::stdin().as_fd()))?,
        Stdio::Piped => {
            let (theirs, end) = pipe_with(PipeFlags::CLOEXEC)?;
            channel::send_descriptor(socket, Some(theirs.as_fd()))?;
            ours = Some(end);
        }
        Stdio::Captured | Stdio::Output | Stdio::Terminal(_) => channel::send_descriptor(socket, None)?,
    }
    channel::send(socket, job)?;
    Ok(ours)
}

/// What becomes known of a process that was started.
#[derive(Debug)]
pub enum Event {
    /// The first process of the sandbox: its number, and a descriptor of it.
    Init { pid: i32, descriptor: OwnedFd },
    /// Our end of the process' terminal.
    Terminal(OwnedFd),
    /// The program was executed.
    Started,
    /// Everything has ended.
    Ended(Ended),
}

/// A process that was started. Dropping this does not end it; the end of this program does.
#[derive(Debug)]
pub struct Running {
    socket: UnixStream,
    inbox: Inbox,
    helper: Helper,
    cgroup: Option<Cgroup>,
    /// The process' standard input, where that is a pipe.
    pub stdin: Option<OwnedFd>,
    /// Its outputs, where those are pipes; they do not block.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Running {
    fn new(socket: UnixStream, mut helper: Helper, stdin: Option<OwnedFd>, cgroup: Option<Cgroup>) -> Self {
        let [stdout, stderr] = std::mem::take(&mut helper.outputs);
        for fd in [&stdout, &stderr].into_iter().flatten() {
            // A pipe can always be told so.
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        Self { socket, inbox: Inbox::default(), helper, cgroup, stdin, stdout, stderr }
    }

    /// Readable when [`Running::hear`] has something to take.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what has become known. False when nothing more will: the helper has ended.
    pub fn hear(&mut self) -> bool {
        self.inbox.fill(&self.socket)
    }

    /// The next thing that has become known.
    pub fn next_event(&mut self) -> Result<Option<Event>, SandboxError> {
        let Some(reply) = self.inbox.next::<Reply>().map_err(SandboxError::Channel)? else { return Ok(None) };
        let descriptor = |inbox: &mut Inbox| inbox.descriptor().map_err(SandboxError::Channel);
        Ok(Some(match reply {
            Reply::Init { pid } => Event::Init { pid, descriptor: descriptor(&mut self.inbox)? },
            Reply::Terminal => Event::Terminal(descriptor(&mut self.inbox)?),
            Reply::Running => Event::Started,
            Reply::Ended(ended) => Event::Ended(self.with_limits(ended)),
            Reply::Failed(failure) => return Err(failure.into()),
        }))
    }

    fn with_limits(&self, ended: Ended) -> Ended {
        let reached = self.cgroup.as_ref().map(Cgroup::reached).unwrap_or_default();
        Ended { reached, ..ended }
    }

    /// The directories of its cgroup, one for each hierarchy that has a part of its limits.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        self.cgroup.as_ref().map(Cgroup::directories).unwrap_or_default()
    }

    /// Waits for the end of the helper, which comes after that of every process of the sandbox.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.helper.wait()
    }

    /// Ends the program at once, and with it, if it was the first, everything else. [`Event::Ended`] follows.
    pub fn kill(&mut self) {
        // Not the helper: a program may have seen to it that it does not die with that.
        let _ = rustix::net::send(&self.socket, &[0], rustix::net::SendFlags::NOSIGNAL);
    }

    /// Feeds the streams to `output` until nothing more will become known.
    fn pump(&mut self, output: &mut dyn Output) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let streams = [(Stream::Stdout, self.stdout.take()), (Stream::Stderr, self.stderr.take())];
        let mut open: Vec<(Stream, OwnedFd)> =
            streams.into_iter().filter_map(|(stream, fd)| Some((stream, fd?))).collect();
        let mut is_told = false;
        loop {
            let ready = wait_readable(&self.socket, &open)?;
            let goes_on = !ready[0] || self.hear();
            // Before the first of its output.
            if !is_told && self.inbox.holds(|reply: &Reply| matches!(reply, Reply::Running)) {
                is_told = true;
                output.executed();
            }
            let mut index = 0;
            open.retain(|(stream, fd)| {
                index += 1;
                !ready[index] || take_chunk(fd, &mut buffer, |bytes| output.chunk(*stream, bytes))
            });
            if !goes_on {
                break;
            }
        }
        // The helper ends after the last process of its namespace, so from here on nobody in there writes.
        // A descriptor passed out of it could stay open for ever: what is there is taken, the end is not waited for.
        self.wait()?;
        for (stream, fd) in &open {
            while let Ok(length @ 1..) = retry_on_intr(|| rustix::io::read(fd, &mut buffer)) {
                output.chunk(*stream, &buffer[..length]);
            }
        }
        Ok(())
    }
}

/// Waits until one can be read or is closed: the socket first, then the streams.
fn wait_readable(socket: &UnixStream, open: &[(Stream, OwnedFd)]) -> io::Result<Vec<bool>> {
    let mut list = vec![PollFd::new(socket, PollFlags::IN)];
    list.extend(open.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
    retry_on_intr(|| poll(&mut list, None))?;
    Ok(list.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Takes one chunk of what a process writes. False at the end of the stream, as of a terminal whose other end is closed.
pub fn take_chunk(fd: impl AsFd, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    match rustix::io::read(fd, &mut *buffer) {
        Ok(0) => false,
        Ok(length) => {
            take(&buffer[..length]);
            true
        }
        Err(Errno::INTR | Errno::AGAIN) => true,
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
