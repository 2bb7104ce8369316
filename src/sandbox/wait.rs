//! Waiting for a process of ours: for its program to run and for its end, passing signals on and answering the program's
//! calls meanwhile, and ending it when the caller is gone or asks for that.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getppid, kill_process, kill_process_group, pidfd_open,
    set_parent_process_death_signal, wait,
};

use crate::sys;
use crate::sys::exec::exit;
use crate::sys::signal::Set;

use super::channel::{self, Reply};
use super::failure::{Doing as _, SetupError};
use super::init::report;
use super::spec::{Seen, Status, Stdio};
use super::supervisor::Supervisor;

/// The process that started this one, to notice its end.
///
/// The kernel's own signal for that (PR_SET_PDEATHSIG) comes when the *thread* ends that started this process, and a
/// program can switch it off for itself: by becoming a set-user-ID program, for one. So the outer process, which
/// nothing in the sandbox can reach, watches the caller and ends the program.
pub(super) struct Caller {
    process: Option<OwnedFd>,
    /// A byte on it asks for the end; that it is closed does not.
    orders: Option<UnixStream>,
}

impl Caller {
    /// Ends this process if the caller is gone already.
    pub(super) fn of(parent: i32, socket: &UnixStream) -> Result<Self, SetupError> {
        let parent = Pid::from_raw(parent);
        let descriptor = match parent.map(|parent| pidfd_open(parent, PidfdFlags::empty())) {
            Some(Ok(descriptor)) => descriptor,
            Some(Err(Errno::SRCH)) | None => exit(1),
            Some(Err(errno)) => return Err(errno).doing("watch", "the caller"),
        };
        // Still the parent, so the number was its own until now.
        if getppid() != parent {
            exit(1);
        }
        let orders = socket.try_clone().map_err(|_| Errno::MFILE).doing("open", "a socket once more")?;
        Ok(Self { process: Some(descriptor), orders: Some(orders) })
    }

    /// Whether the program is to end, for one of these reasons.
    fn wants_the_end(&mut self, gone: bool, ordered: bool) -> bool {
        if gone {
            self.process = None;
        }
        let order = ordered.then(|| self.orders.take()).flatten();
        let ordered = order.is_some_and(|mut socket| matches!(socket.read(&mut [0]), Ok(1)));
        gone || ordered
    }
}

/// What is heard while a process is waited for.
pub(super) struct Watch<'a> {
    pub signals: &'a Set,
    pub caller: Option<Caller>,
    pub supervisor: Option<Supervisor>,
    /// Whether the process was ended for the caller.
    pub abandoned: bool,
}

/// Why the waiting is over.
#[derive(PartialEq, Eq)]
enum Woken {
    Ready,
    /// The caller is gone, or wants no more of it.
    Abandoned,
}

impl Watch<'_> {
    /// Waits until a process of ours says something, or ends.
    pub(super) fn word_of(&mut self, process: Pid, from: &UnixStream) -> Result<(), SetupError> {
        while self.until(from.as_fd()).doing("wait for", "the program's process")? == Woken::Abandoned {
            end(process);
        }
        Ok(())
    }

    /// Waits until the program runs, tells the caller, and waits for its end. What comes on `failed` is why it never
    /// came to run; exec closes it.
    pub(super) fn program(
        &mut self,
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
    pub(super) fn end_of(&mut self, main: Pid) -> rustix::io::Result<WaitStatus> {
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

    /// What was seen of the program.
    pub(super) fn seen(&self) -> Seen {
        self.supervisor.as_ref().map(Supervisor::seen).unwrap_or_default()
    }

    /// Answers calls until a descriptor can be read, or the program is to end.
    fn until(&mut self, ready: BorrowedFd<'_>) -> rustix::io::Result<Woken> {
        loop {
            let supervisor = self.supervisor.as_ref();
            let listener = supervisor.and_then(Supervisor::listener);
            let pool = supervisor.and_then(Supervisor::pool);
            let pause = supervisor.and_then(Supervisor::pause);
            let (process, orders) = match &self.caller {
                Some(Caller { process, orders }) => (process.as_ref(), orders.as_ref()),
                None => (None, None),
            };
            let sources = [
                (Some(ready), PollFlags::IN),
                (listener, PollFlags::IN),
                (process.map(OwnedFd::as_fd), PollFlags::IN),
                (orders.map(UnixStream::as_fd), PollFlags::IN),
                (pool, PollFlags::OUT),
            ];
            let [ready, call, gone, order, pool] = heard(sources, pause)?;
            if let Some(supervisor) = &mut self.supervisor {
                if !pool.is_empty() {
                    supervisor.fill_pool();
                }
                supervisor.answer_held();
            }
            if call.contains(PollFlags::IN) {
                self.supervisor.iter_mut().for_each(Supervisor::serve);
            } else if !call.is_empty() {
                // Nobody is left who could call.
                self.supervisor.iter_mut().for_each(Supervisor::rest);
            }
            if let Some(caller) = &mut self.caller
                && caller.wants_the_end(!gone.is_empty(), !order.is_empty())
            {
                self.abandoned = true;
                return Ok(Woken::Abandoned);
            }
            if !ready.is_empty() {
                return Ok(Woken::Ready);
            }
        }
    }
}

/// Waits until something can be heard of one of these, or for so long.
fn heard<const N: usize>(
    sources: [(Option<BorrowedFd<'_>>, PollFlags); N],
    pause: Option<Timespec>,
) -> rustix::io::Result<[PollFlags; N]> {
    let known = sources.iter().filter_map(|(fd, wanted)| Some((fd.as_ref()?, *wanted)));
    let mut list: Vec<_> = known.map(|(fd, wanted)| PollFd::from_borrowed_fd(*fd, wanted)).collect();
    retry_on_intr(|| poll(&mut list, pause.as_ref()))?;
    let mut events = list.iter().map(PollFd::revents);
    let of = |(source, _): (Option<BorrowedFd<'_>>, PollFlags)| source.and_then(|_| events.next());
    Ok(sources.map(of).map(|events| events.unwrap_or(PollFlags::empty())))
}

/// Ends a child, and what it started and has not given a session of its own.
fn end(main: Pid) {
    // It may have ended already, or not have a group yet. No child is process 1, whose group would be everybody.
    let _ = kill_process_group(main, Signal::KILL);
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
