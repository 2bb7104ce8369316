//! Starting processes: fork in a single-threaded process, exec, and what must be set in between.

#![allow(unsafe_code, reason = "fork, execve, personality and keyctl have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Lets a process die with the thread that starts it, however that dies.
pub fn die_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let ask = || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// Lets a process and its children write no file larger than so many bytes: beyond that, writing is an error to them.
pub fn limit_file_size(command: &mut std::process::Command, bytes: u64) {
    use std::os::unix::process::CommandExt as _;
    let own = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let bytes = [Some(bytes), own.current, own.maximum].into_iter().flatten().min();
    let limit = rustix::process::Rlimit { current: bytes, maximum: bytes };
    let set = move || {
        // SAFETY: ignoring a signal runs no code of ours; it stays ignored past exec.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        Ok(rustix::process::setrlimit(rustix::process::Resource::Fsize, limit)?)
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Which side of a fork the caller is on.
#[derive(Debug)]
pub enum Fork {
    Parent(Pid),
    Child,
}

/// Forks a process that has a single thread.
///
/// # Errors
/// `EDEADLK` if the process has more than one thread: the child could find any lock held for ever.
pub fn fork() -> Result<Fork> {
    if !single_threaded() {
        return Err(Errno::DEADLK);
    }
    // SAFETY: there is no other thread, so the child's copy of memory has no lock held by a thread it lacks.
    let pid = unsafe { libc::fork() };
    match Pid::from_raw(pid) {
        Some(child) if pid > 0 => Ok(Fork::Parent(child)),
        Some(_) => Err(last_error()),
        None => Ok(Fork::Child),
    }
}

/// That the process had a single thread when it was looked at. Whoever holds this starts none.
#[derive(Debug)]
pub struct Alone(());

impl Alone {
    /// Looks. Under a filter of system calls and another `/proc` it can no longer be told.
    ///
    /// # Errors
    /// `EDEADLK` as [`fork`].
    pub fn look() -> Result<Self> {
        if single_threaded() { Ok(Self(())) } else { Err(Errno::DEADLK) }
    }
}

/// Forks a sibling: a process whose parent is that of this one. In the pid namespace that this process' children go to.
///
/// # Errors
/// `EINVAL` if this process is the first of its pid namespace.
pub fn fork_sibling(_: &Alone) -> Result<Fork> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: as for fork: no other thread, memory is copied, the stack stays where it is. What the C library does at a
    // fork beside is for its threads and buffers, of which there are none and nothing.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0_usize, 0_usize, 0_usize, 0_usize)
    };
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(child) if pid > 0 => Ok(Fork::Parent(child)),
        Some(_) => Err(last_error()),
        None => Ok(Fork::Child),
    }
}

/// Whether the process has one thread. False where it cannot be told.
pub fn single_threaded() -> bool {
    // The kernel does nothing else when asked for this, and says EINVAL if there are more threads. It needs no /proc:
    // a process that entered another pid namespace's root has none to look itself up in.
    // SAFETY: shares and unshares nothing.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return true;
    }
    // Where a filter forbids to ask. A directory of /proc has two links and one for each directory in it.
    last_error() != Errno::INVAL && rustix::fs::stat("/proc/self/task").is_ok_and(|task| task.st_nlink == 3)
}

/// Replaces the process. Returns only with the error.
pub fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_error()
}

/// Where a process says how willingly it goes when memory is short (proc_pid_oom_score_adj(5)).
const SHORTAGE: &str = "/proc/self/oom_score_adj";

/// Lets the kernel rather end others, and those this process starts as well, when memory is short. A plain user may
/// not ask for that, and does not get it.
pub fn survive_shortage() {
    let _ = std::fs::write(SHORTAGE, "-900");
}

/// Takes [`survive_shortage`] back, where it was given. Where it was not, whoever may as well be ended `first` says so:
/// that is always allowed.
pub fn share_shortage(first: bool) {
    let given = std::fs::read_to_string(SHORTAGE).is_ok_and(|text| text.trim() == "-900");
    let score = match (given, first) {
        (true, _) => "0",
        (false, true) => "500",
        (false, false) => return,
    };
    let _ = std::fs::write(SHORTAGE, score);
}

/// Ends the process at once, without running destructors or flushing anything.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// The way of a forked process into a life of its own: its standard streams become those given, all other descriptors
/// are closed, `main` runs, and the process ends with its exit code.
pub fn keep_only(
    standard: &[(RawFd, Option<std::os::fd::BorrowedFd<'_>>)],
    main: impl FnOnce() -> std::process::ExitCode + std::panic::UnwindSafe,
) -> ! {
    let mut streams = standard.iter().filter_map(|(number, fd)| Some((*number, (*fd)?)));
    let set = streams.try_for_each(|(number, fd)| set_stdio(fd, number));
    // SAFETY: whatever owns these descriptors lies in the frames below, which this process never gets back to.
    let closed = set.is_ok() && unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } == 0;
    if !closed {
        exit(1);
    }
    // Nor by unwinding.
    let code = std::panic::catch_unwind(main).unwrap_or(std::process::ExitCode::FAILURE);
    exit(i32::from(code != std::process::ExitCode::SUCCESS))
}

/// Lets a process that was forked show by a name of its own: as its command and as its only argument (proc_pid_comm(5),
/// proc_pid_cmdline(5)). Where the kernel does not say where arguments are, they stay those of its parent.
pub fn show_as(name: &str) {
    let short = CString::new(&name[..name.len().min(15)]).unwrap_or_default();
    let _ = rustix::thread::set_name(&short);
    let Some((start, end)) = arguments() else { return };
    let mut shown = name.as_bytes().to_vec();
    shown.resize(end - start, 0);
    let memory = std::fs::OpenOptions::new().write(true).open("/proc/self/mem");
    let _ = memory.and_then(|memory| std::os::unix::fs::FileExt::write_all_at(&memory, &shown, start as u64));
}

/// Where the arguments of this process lie in its memory (fields 48 and 49 of proc_pid_stat(5)).
fn arguments() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second is in parentheses and may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split(' ').skip(1);
    let start = fields.nth(48 - 3)?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start < end).then_some((start, end))
}

/// Closes every descriptor from `first` on at the next exec.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    let first = u32::try_from(first).map_err(|_| Errno::BADF)?;
    // SAFETY: marks descriptors, closes none; nothing in the program relies on one to survive exec.
    let code = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// Gives the process the same address layout each time (personality(2), ADDR_NO_RANDOMIZE), from the next exec on.
pub fn fix_address_layout() -> Result<()> {
    // SAFETY: sets a flag of the execution domain.
    let code = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    if code < 0 { Err(last_error()) } else { Ok(()) }
}

/// Leaves the session keyring of the caller for a new, empty one. A kernel without keyrings is fine.
pub fn new_session_keyring() -> Result<()> {
    /// `KEYCTL_JOIN_SESSION_KEYRING` of keyctl(2).
    const JOIN: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let code = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, std::ptr::null::<libc::c_char>()) };
    if code >= 0 {
        return Ok(());
    }
    match last_error() {
        Errno::NOSYS => Ok(()),
        error => Err(error),
    }
}

/// Moves a descriptor onto one of 0, 1, 2, where it survives exec.
pub fn set_stdio(from: std::os::fd::BorrowedFd<'_>, to: RawFd) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the caller says which standard stream to replace; std treats those as never closed.
    let code = unsafe { libc::dup2(from.as_raw_fd(), to) };
    if code < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
