//! Waiting for a process of ours: for its program to run and for its end, passing signals on and answering the program's
//! calls meanwhile, and ending it when the caller is gone.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, wait,
};

use crate::sys;
use crate::sys::exec::exit;
use crate::sys::signal::Set;

use super::channel::{self, Reply};
use super::failure::{Doing as _, SetupError};
use super::init::report;
use super::owners::Supervisor;
use super::spec::{Status, Stdio};

/// The process that started this one, to notice its end.
///
/// The kernel's own signal for that (PR_SET_PDEATHSIG) comes when the *thread* ends that started this process, and a
/// program can switch it off for itself: by becoming a set-user-ID program, for one. So the outer process, which
/// nothing in the sandbox can reach, watches the caller and ends the program.
pub(super) struct Caller(OwnedFd);

impl Caller {
    /// Ends this process if the caller is gone already.
    pub(super) fn of(parent: i32) -> Result<Self, SetupError> {
        let parent = Pid::from_raw(parent);
        let descriptor = match parent.map(|parent| pidfd_open(parent, PidfdFlags::empty())) {
            Some(Ok(descriptor)) => descriptor,
            Some(Err(Errno::SRCH)) | None => exit(1),
            Some(Err(errno)) => return Err(errno).doing("watch", "the caller"),
        };
        // Still the parent, so the number was its own until now.
        if getppid() == parent { Ok(Self(descriptor)) } else { exit(1) }
    }
}

/// What is heard while a process is waited for.
pub(super) struct Watch<'a> {
    pub signals: &'a Set,
    pub caller: Option<Caller>,
    pub supervisor: Option<Supervisor>,
}

/// Why the waiting is over.
#[derive(PartialEq, Eq)]
enum Woken {
    Ready,
    Abandoned,
}

impl Watch<'_> {
    /// Waits until the program runs, tells the caller, and waits for its end. What comes on `failed` is why it never
    /// came to run; exec closes it.
    pub(super) fn program(
        mut self,
        socket: &UnixStream,
        failed: UnixStream,
        main: Pid,
    ) -> Result<WaitStatus, SetupError> {
        // On the way to the program its owners change, too.
        while self.until(failed.as_fd()).doing("wait for", "the program")? == Woken::Abandoned {
            end(main);
        }
        match channel::receive::<Reply>(&failed) {
            Ok(Reply::Failed(failure)) => {
                let _ = rustix::process::waitpid(Some(main), WaitOptions::empty());
                return Err(failure);
            }
            Ok(_) | Err(_) => report(socket, Reply::Running),
        }
        drop(failed);
        self.end_of(main).doing("wait for", "the program")
    }

    /// Reaps whatever ends until `main` does; passes signals on to it.
    pub(super) fn end_of(mut self, main: Pid) -> rustix::io::Result<WaitStatus> {
        let pending = self.signals.descriptor()?;
        loop {
            while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
                if pid == main {
                    return Ok(status);
                }
            }
            if self.until(pending.as_fd())? == Woken::Abandoned {
                end(main);
                continue;
            }
            match self.signals.wait() {
                Ok(signal) if !sys::signal::is_child(signal) => {
                    // It may just have ended; then there is nobody to tell.
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = kill_process(main, signal);
                    }
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers calls until a descriptor can be read, or the caller is gone, which is said once.
    fn until(&mut self, ready: BorrowedFd<'_>) -> rustix::io::Result<Woken> {
        loop {
            let listener = self.supervisor.as_ref().map(Supervisor::listener);
            let more = [listener, self.caller.as_ref().map(|caller| &caller.0)];
            let mut list = vec![PollFd::from_borrowed_fd(ready, PollFlags::IN)];
            list.extend(more.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::IN)));
            retry_on_intr(|| poll(&mut list, None))?;
            let mut heard = list.iter().map(PollFd::revents);
            let ready = heard.next().is_some_and(|events| !events.is_empty());
            let call = self.supervisor.as_ref().and_then(|_| heard.next()).unwrap_or(PollFlags::empty());
            let gone = heard.next().is_some_and(|events| !events.is_empty());
            if call.contains(PollFlags::IN) {
                self.supervisor.iter().for_each(Supervisor::serve);
            } else if !call.is_empty() {
                // Nobody is left who could call.
                self.supervisor = None;
            }
            if gone {
                self.caller = None;
                return Ok(Woken::Abandoned);
            }
            if ready {
                return Ok(Woken::Ready);
            }
        }
    }
}

fn end(main: Pid) {
    // It may have ended already.
    let _ = kill_process(main, Signal::KILL);
}

/// How a process ended.
pub(super) fn ended(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, Some(signal)) => Status::Signaled(signal),
        (None, None) => Status::Exited(255),
    }
}

/// Whether somebody holds the other end of a pipe.
pub(super) fn is_open(alive: &OwnedFd) -> bool {
    let mut list = [PollFd::new(alive, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut list, Some(&now)), Ok(0))
}

/// Asks for SIGKILL when the parent dies, and ends if it did so already.
pub(super) fn die_with_parent(parent_lives: impl Fn() -> bool) -> Result<(), SetupError> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("follow", "the parent's death")?;
    if !parent_lives() {
        exit(1);
    }
    Ok(())
}

/// Lets go of the program's streams, so that whoever reads them sees the end when the program closes them, and not when
/// this process does.
pub(super) fn leave_streams(stdio: Stdio) -> Result<(), SetupError> {
    if stdio == Stdio::Caller {
        return Ok(());
    }
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (_, nowhere) = rustix::pipe::pipe_with(flags).doing("make", "a pipe")?;
    [1, 2].into_iter().try_for_each(|number| {
        sys::exec::set_stdio(nowhere.as_fd(), number).doing("leave", "the program's streams")
    })
}
