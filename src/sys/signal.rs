//! Signals taken synchronously, and the clean slate a new program expects.

#![allow(unsafe_code, reason = "signal sets and dispositions have no safe wrapper")]

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::{Errno, Result};

/// What an init passes on to its main process.
const FORWARDED: [i32; 7] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// A set of signals.
pub struct Set(libc::sigset_t);

impl Set {
    /// The signals an init waits for: those it forwards, and the end of a child.
    pub fn of_init() -> Self {
        Self::of(&[&FORWARDED[..], &[libc::SIGCHLD]].concat())
    }

    /// Only the stop for background writes to a terminal.
    pub fn background_write() -> Self {
        Self::of(&[libc::SIGTTOU])
    }

    fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set it is given, sigaddset changes an initialised one.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }

    /// Blocks these signals in the calling thread.
    pub fn block(&self) -> Result<()> {
        self.change(libc::SIG_BLOCK)
    }

    /// Lets these signals through in the calling thread.
    pub fn unblock(&self) -> Result<()> {
        self.change(libc::SIG_UNBLOCK)
    }

    fn change(&self, how: i32) -> Result<()> {
        // SAFETY: the set is initialised; no old set is asked for.
        let code = unsafe { libc::pthread_sigmask(how, &raw const self.0, std::ptr::null_mut()) };
        if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code)) }
    }

    /// A descriptor that is readable while one of these signals, which must be blocked, is pending.
    pub fn descriptor(&self) -> Result<OwnedFd> {
        // SAFETY: the set is initialised; -1 asks for a new descriptor, which is then ours.
        unsafe {
            let fd = libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC);
            if fd < 0 { Err(last_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
        }
    }

    /// Waits for one of these signals, which must be blocked, and takes it.
    pub fn wait(&self) -> Result<i32> {
        // SAFETY: the set is initialised; no information is asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) };
        if signal > 0 { Ok(signal) } else { Err(last_error()) }
    }
}

/// Where [`relay`] writes the numbers of signals that came.
static RELAY: AtomicI32 = AtomicI32::new(-1);

extern "C" fn relay(signal: libc::c_int) {
    let number = signal.to_ne_bytes();
    // SAFETY: write(2) is allowed in a handler; the bytes are on its own stack. A full pipe loses the signal.
    unsafe { libc::write(RELAY.load(Ordering::Relaxed), number.as_ptr().cast(), number.len()) };
}

/// Signals that people and programs send to a command that stands for another process: they are to reach that one.
/// Gives a pipe on which each comes as four bytes, whichever thread the kernel picked. For the rest of the process: who
/// asks again gets the same, with what came meanwhile.
pub fn to_pipe() -> Result<BorrowedFd<'static>> {
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::os::fd::{AsFd as _, IntoRawFd as _};
    static PIPE: Mutex<Option<&'static OwnedFd>> = Mutex::new(None);
    let mut pipe = PIPE.lock().expect("no panic while held");
    if let Some(pipe) = *pipe {
        return Ok(pipe.as_fd());
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    RELAY.store(write.into_raw_fd(), Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int) = relay;
    for signal in FORWARDED {
        // SAFETY: the handler makes one system call and touches nothing but a number that is set already.
        let before = unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        if before == libc::SIG_ERR {
            return Err(last_error());
        }
    }
    let read: &'static OwnedFd = Box::leak(Box::new(read));
    *pipe = Some(read);
    Ok(read.as_fd())
}

/// A signal by its number: 1 to 64.
pub fn from_number(number: i32) -> Option<rustix::process::Signal> {
    if let Some(named) = rustix::process::Signal::from_named_raw(number) {
        return Some(named);
    }
    // SAFETY: it is sent only; the numbers that the C library keeps for itself are as good as any other then.
    (1..=64).contains(&number).then(|| unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}

/// Kills all processes of the pid namespace whose first process this is; does nothing in any other process.
pub fn kill_namespace() {
    if rustix::process::getpid() == rustix::process::Pid::INIT {
        // SAFETY: sends a signal, and touches no memory.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

/// Whether a signal says that a child ended.
pub fn is_child(signal: i32) -> bool {
    signal == libc::SIGCHLD
}

/// Default dispositions for all signals, none blocked: what a program finds when nobody meddled. Rust's runtime
/// ignores SIGPIPE, and an ignored signal stays ignored over exec.
pub fn reset() -> Result<()> {
    for signal in 1..=64 {
        // SAFETY: installs the default disposition; no handler runs. Numbers that cannot be set (SIGKILL,
        // SIGSTOP, those of the C library) fail without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let none = Set::of(&[]);
    none.change(libc::SIG_SETMASK)
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
