//! The last steps before the program: identity, limits, filter, exec.

use std::ffi::{CString, OsStr};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fchown, fstat, makedev, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, chdir, getcwd, setrlimit, setsid, umask};
use rustix::thread::{CapabilitySet, Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::limits::{self, Ulimit};
use crate::sys;
use crate::sys::seccomp::Instruction;

use super::channel::Reply;
use super::failure::{Doing as _, SetupError};
use super::spec::{Ids, Layout, Net, Process, Size, Stdio, Work};
use super::wait::{die_with_parent, is_open};
use super::{channel, filter, supervisor, terminal, work, world};

/// Of programs whose world says no other.
const UMASK: u32 = 0o022;

/// What it takes to answer calls: to look into a process, and to set times of files of anybody.
const SUPERVISION: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

/// Where a name is looked for if the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything the program needs, made ready while errors are still cheap.
#[expect(clippy::struct_excessive_bools, reason = "powers and places, each given or not by itself")]
pub(super) struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
    cwd: CString,
    user: Ids,
    ulimits: Vec<Ulimit>,
    layout: Layout,
    umask: u32,
    insecure: bool,
    capabilities: CapabilitySet,
    stdio: Stdio,
    work: Work,
    /// Whose abstract sockets the program is to be kept from.
    network: Net,
    /// Whether its memory is limited, so that the kernel may have to end one of us.
    limited: bool,
    stdin: Option<OwnedFd>,
    /// The caller's end of the terminal goes there.
    terminal: Option<UnixStream>,
    /// Whether no program runs in there yet, so that the terminal can be its console.
    console: bool,
    /// Closed at its other end when the parent is gone, for whom this process is to die.
    alive: Option<OwnedFd>,
    filter: Vec<Instruction>,
    /// Calls that init answers.
    handed: Vec<filter::Handed>,
    /// Whether changes of owner are among them.
    owners: bool,
}

impl Program {
    /// `owners`: whether changes of owner are handed over; `answered`: whether somebody answers for its world.
    pub(super) fn prepare(
        spec: &Process,
        stdin: Option<OwnedFd>,
        owners: bool,
        answered: bool,
    ) -> Result<Self, SetupError> {
        let strings = |field: &str, list: &[String]| -> Result<Vec<CString>, SetupError> {
            list.iter().map(|text| c_string(field, text)).collect()
        };
        let name = spec.argv.first().map_or("", String::as_str);
        Ok(Self {
            argv: strings("an argument", &spec.argv)?,
            env: strings("a variable", &spec.env)?,
            candidates: strings("the program's path", &candidates(name, &spec.env))?,
            cwd: c_string("the working directory", &spec.cwd)?,
            user: spec.user.clone(),
            ulimits: spec.ulimits.clone(),
            layout: spec.world.as_ref().map_or(Layout::Random, |world| world.layout),
            umask: spec.world.as_ref().map_or(UMASK, |world| world.umask),
            insecure: spec.insecure,
            capabilities: CapabilitySet::from_bits_retain(spec.capabilities.bits()),
            stdio: spec.stdio,
            work: spec.work.clone(),
            network: Net::None,
            limited: false,
            stdin,
            terminal: None,
            console: false,
            alive: None,
            filter: filter::program(),
            handed: supervisor::handed(owners, spec.world.as_ref().filter(|_| answered)),
            owners,
        })
    }

    /// Where the caller's end of the terminal goes, for a process that is to have one.
    pub(super) fn terminal_to(self, socket: &UnixStream) -> Result<Self, SetupError> {
        let Stdio::Terminal(_) = self.stdio else { return Ok(self) };
        let socket = socket.try_clone().map_err(|_| Errno::MFILE).doing("open", "a socket once more")?;
        Ok(Self { terminal: Some(socket), ..self })
    }

    /// The program is kept from others' abstract sockets where the network is shared.
    pub(super) fn in_network(self, network: Net) -> Self {
        Self { network, ..self }
    }

    /// The program is the first of its sandbox, whose console its terminal is.
    pub(super) fn on_console(self) -> Self {
        Self { console: true, ..self }
    }

    /// It shares a limit of memory with the processes that hold the sandbox together.
    pub(super) fn limited(self, limited: bool) -> Self {
        Self { limited, ..self }
    }

    /// The process is to die with its parent, which holds the other end of a pipe.
    pub(super) fn follow(self, alive: OwnedFd) -> Self {
        Self { alive: Some(alive), ..self }
    }

    /// Turns this process into the program. Returns only if the way there failed; a program that cannot be
    /// executed, and whose output is captured, says so on standard error and ends the process.
    pub(super) fn become_it(&self, init: &UnixStream) -> SetupError {
        self.get_ready(init).map_or_else(|failure| failure, |()| self.begin())
    }

    /// The last steps, for which no powers are needed.
    pub(super) fn begin(&self) -> SetupError {
        let failure = match self.start_session().and_then(|()| self.follow_parent()) {
            Ok(()) => match sys::signal::reset().doing("reset", "signals") {
                Ok(()) => match work::perform(&self.work) {
                    Some(code) => sys::exec::exit(code),
                    None => self.exec(),
                },
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        match (&failure, self.stdio) {
            (SetupError::Program { name, reason, found }, Stdio::Captured | Stdio::Caller) => {
                // Nowhere is left to tell that standard error is closed.
                let _ = std::io::stderr().write_all(format!("lith: {name}: {reason}\n").as_bytes());
                sys::exec::exit(if *found { 126 } else { 127 })
            }
            _ => failure,
        }
    }

    /// Whether init will answer calls of the program; then it first takes a descriptor from the socket.
    pub(super) fn is_supervised(&self) -> bool {
        !self.handed.is_empty()
    }

    fn hand_calls_over(&self, init: &UnixStream) -> Result<(), SetupError> {
        if !self.is_supervised() {
            return Ok(());
        }
        let unheard = if self.layout == Layout::Fixed { world::unheard_places() } else { vec![] };
        let listener = sys::seccomp::load_with_listener(&filter::hand_over(&self.handed, &unheard));
        let fd = listener.as_ref().ok().map(|fd| fd.as_fd());
        channel::send_descriptor(init, fd)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing("hand over", "system calls")?;
        listener.map(drop).doing("load", "the filter that hands calls over")
    }

    /// Gives this process what the program is to have, and takes from it all else.
    pub(super) fn get_ready(&self, init: &UnixStream) -> Result<(), SetupError> {
        self.hand_calls_over(init)?;
        self.take_stdio()?;
        sys::exec::close_on_exec_from(3).doing("close", "descriptors")?;
        sys::exec::new_session_keyring().doing("leave", "the session keyring")?;
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
            .doing("forbid", "core dumps")?;
        for Ulimit { resource, soft, hard } in &self.ulimits {
            setrlimit(rlimit(*resource), Rlimit { current: *soft, maximum: *hard })
                .doing("set the limit", resource)?;
        }
        umask(Mode::from_raw_mode(self.umask));
        self.enter_cwd()?;
        if self.layout == Layout::Fixed {
            sys::exec::fix_address_layout().doing("fix", "the address layout")?;
        }
        // In a network of its own there are none but its own. Signals end at the pid namespace.
        if self.network == Net::Host && !self.insecure {
            sys::landlock::leave_abstract_sockets().doing("leave", "the host's abstract sockets")?;
        }
        // While this process may still write to its files in /proc.
        sys::exec::share_shortage(self.limited);
        // Before the capabilities go, since loading it without no_new_privs takes one. What follows it allows.
        if !self.insecure {
            sys::seccomp::load(&self.filter).doing("load", "the system call filter")?;
        }
        self.take_identity()
    }

    /// Leaves this process, which can be seen from inside, the powers that the program has, and that of sending it
    /// signals. Where changes of owner are answered all are needed, and are none outside of the user namespace; where other
    /// calls are answered, those to reach the caller's memory and files.
    pub(super) fn have_no_more(&self) -> Result<(), SetupError> {
        if self.insecure {
            return Ok(());
        }
        sys::seccomp::load(&self.filter).doing("load", "the system call filter")?;
        if self.owners {
            return Ok(());
        }
        let own = if self.is_supervised() { CapabilitySet::KILL | SUPERVISION } else { CapabilitySet::KILL };
        sys::caps::limit(self.capabilities | own).doing("drop", "capabilities")
    }

    fn take_stdio(&self) -> Result<(), SetupError> {
        match (self.stdio, &self.stdin) {
            (Stdio::Caller, stdin) => {
                if let Some(stdin) = stdin {
                    sys::exec::set_stdio(stdin.as_fd(), 0).doing("take over", "standard input")?;
                }
                Ok(())
            }
            (Stdio::Terminal(size), _) => self.make_terminal(size),
            (Stdio::Piped, Some(stdin)) => {
                sys::exec::set_stdio(stdin.as_fd(), 0).doing("take over", "standard input")?;
                self.own(std::io::stdin())?;
                self.own_output()
            }
            (Stdio::Captured | Stdio::Output | Stdio::Piped, _) => {
                sys::exec::set_stdio(no_input()?.as_fd(), 0).doing("take over", "standard input")?;
                self.own_output()
            }
        }
    }

    /// A session of the program's own, with its terminal if it has one.
    fn start_session(&self) -> Result<(), SetupError> {
        match self.stdio {
            Stdio::Caller => self.take_terminal(),
            Stdio::Terminal(_) => {
                setsid().doing("start", "a session")?;
                rustix::process::ioctl_tiocsctty(std::io::stdin()).doing("take over", "the terminal")
            }
            Stdio::Captured | Stdio::Output | Stdio::Piped => setsid().map(drop).doing("start", "a session"),
        }
    }

    /// So that /dev/stdout can be opened by whom the program runs as.
    fn own_output(&self) -> Result<(), SetupError> {
        self.own(std::io::stdout())?;
        self.own(std::io::stderr())
    }

    fn own(&self, stream: impl AsFd) -> Result<(), SetupError> {
        let owner = Some(Uid::from_raw(self.user.uid));
        fchown(stream, owner, None).map_err(|errno| self.identity(errno))
    }

    /// Makes a terminal and sends its other end to the caller.
    fn make_terminal(&self, size: Size) -> Result<(), SetupError> {
        let terminal = terminal::open(size)?;
        let Some(socket) = &self.terminal else {
            return Err(Errno::NOTCONN).doing("send", "the terminal");
        };
        channel::send_with(socket, &Reply::Terminal, terminal.ours.as_fd())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing("send", "the terminal")?;
        if self.console {
            terminal::show_as_console(&terminal)?;
        }
        for number in 0..3 {
            sys::exec::set_stdio(terminal.theirs.as_fd(), number).doing("take over", "the terminal")?;
        }
        self.own(std::io::stdin())
    }

    /// A change of identity made the kernel forget that this process dies with its parent.
    fn follow_parent(&self) -> Result<(), SetupError> {
        let Some(alive) = &self.alive else { return Ok(()) };
        die_with_parent(|| is_open(alive))
    }

    /// A process group of its own in the foreground of the terminal, so that job control works: the caller's
    /// group has no number in this pid namespace.
    fn take_terminal(&self) -> Result<(), SetupError> {
        rustix::process::setpgid(None, None).doing("make", "a process group")?;
        let stdin = std::io::stdin();
        if rustix::termios::isatty(&stdin) {
            let set = sys::signal::Set::background_write();
            set.block().doing("block", "signals")?;
            rustix::termios::tcsetpgrp(&stdin, rustix::process::getpgrp())
                .doing("take over", "the terminal")?;
        }
        Ok(())
    }

    fn enter_cwd(&self) -> Result<(), SetupError> {
        let path = || self.cwd.to_string_lossy().into_owned();
        chdir(&*self.cwd).map_err(|errno| SetupError::Cwd { path: path(), errno: errno.into() })?;
        // The kernel writes "(unreachable)" before a directory that is not below the root.
        let here = getcwd(Vec::new()).doing("find out", "the working directory")?;
        if here.as_bytes().starts_with(b"/") { Ok(()) } else { Err(SetupError::CwdOutside { path: path() }) }
    }

    fn take_identity(&self) -> Result<(), SetupError> {
        if !self.insecure {
            sys::caps::bound(self.capabilities).doing("drop", "capabilities")?;
        }
        let (uid, gid) = (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid));
        let groups: Vec<Gid> = self.user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        match set_thread_groups(&groups) {
            // A user namespace with a single id may not set groups at all; it has none but its own.
            Err(Errno::PERM) if groups.iter().all(|g| *g == gid) => {}
            other => other.map_err(|errno| self.identity(errno))?,
        }
        set_thread_res_gid(gid, gid, gid).map_err(|errno| self.identity(errno))?;
        set_thread_res_uid(uid, uid, uid).map_err(|errno| self.identity(errno))?;
        if self.insecure { Ok(()) } else { sys::caps::limit(self.capabilities).doing("drop", "capabilities") }
    }

    fn identity(&self, errno: Errno) -> SetupError {
        SetupError::Identity { uid: self.user.uid, gid: self.user.gid, errno: errno.into() }
    }

    /// As execvp(3) does: the first that can be run; else the most telling error.
    fn exec(&self) -> SetupError {
        let mut worst = Errno::NOENT;
        for candidate in &self.candidates {
            match sys::exec::execve(candidate, &self.argv, &self.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                errno => {
                    worst = errno;
                    if errno != Errno::ACCESS {
                        break;
                    }
                }
            }
        }
        let name = self.argv.first().map_or(&b""[..], |name| name.to_bytes());
        let exists = self.candidates.iter().any(|path| rustix::fs::stat(&**path).is_ok());
        let reason = match worst {
            // It is there, but the interpreter it names is not.
            Errno::NOENT if exists => "its interpreter or loader was not found".to_owned(),
            Errno::NOENT => "not found".to_owned(),
            errno => std::io::Error::from(errno).to_string(),
        };
        SetupError::Program { name: crate::diag::escape(name), reason, found: worst != Errno::NOENT }
    }
}

const fn rlimit(resource: limits::Resource) -> Resource {
    match resource {
        limits::Resource::Cpu => Resource::Cpu,
        limits::Resource::Data => Resource::Data,
        limits::Resource::Fsize => Resource::Fsize,
        limits::Resource::Locks => Resource::Locks,
        limits::Resource::Memlock => Resource::Memlock,
        limits::Resource::Msgqueue => Resource::Msgqueue,
        limits::Resource::Nice => Resource::Nice,
        limits::Resource::Nofile => Resource::Nofile,
        limits::Resource::Nproc => Resource::Nproc,
        limits::Resource::Rss => Resource::Rss,
        limits::Resource::Rtprio => Resource::Rtprio,
        limits::Resource::Rttime => Resource::Rttime,
        limits::Resource::Sigpending => Resource::Sigpending,
        limits::Resource::Stack => Resource::Stack,
    }
}

/// The null device. In a sandbox that runs something else may be in its place, if a mount covers `/dev`: that is neither
/// waited for nor followed, and what has an end at once serves as well.
fn no_input() -> Result<OwnedFd, SetupError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let is_null = |found: &OwnedFd| {
        fstat(found).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == makedev(1, 3)
        })
    };
    match openat2(CWD, c"/dev/null", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(found) if is_null(&found) => {
            rustix::io::ioctl_fionbio(&found, false).doing("take over", "/dev/null")?;
            Ok(found)
        }
        Ok(_) | Err(_) => {
            let (end, _) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make", "a pipe")?;
            Ok(end)
        }
    }
}

/// The paths to try for a program's name.
fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let in_dir = |dir: &str| if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") };
    path.split(':').map(in_dir).collect()
}

fn c_string(field: &str, text: &str) -> Result<CString, SetupError> {
    CString::new(OsStr::new(text).as_bytes()).map_err(|_| SetupError::Nul { field: field.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_the_path() {
        let env = ["PATH=/a::/b".to_owned()];
        assert_eq!(candidates("x", &env), ["/a/x", "./x", "/b/x"]);
        assert_eq!(candidates("./x", &env), ["./x"]);
        assert_eq!(candidates("x", &[]).len(), 6);
        assert!(candidates("", &env).is_empty());
    }
}
