//! The last steps before the program: identity, limits, filter, exec.

use std::ffi::{CString, OsStr};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;

use rustix::fs::{CWD, Mode, OFlags, fchown, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, chdir, getcwd, setrlimit, setsid, umask};
use rustix::thread::{CapabilitySet, Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::limits::{self, Ulimit};
use crate::sys;
use crate::sys::seccomp::Instruction;

use super::failure::{Doing as _, SetupError};
use super::spec::{Ids, Net, Spec};
use super::{channel, filter, owners};

/// What a container may do: docker's default set.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Where a name is looked for if the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything the program needs, made ready while errors are still cheap.
pub(super) struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
    cwd: CString,
    user: Ids,
    ulimits: Vec<Ulimit>,
    hermetic: bool,
    insecure: bool,
    interactive: bool,
    network: Net,
    stdin: Option<OwnedFd>,
    filter: Vec<Instruction>,
    /// Hands changes of owner over to init.
    owners: Option<Vec<Instruction>>,
}

impl Program {
    pub(super) fn prepare(spec: &Spec, stdin: Option<OwnedFd>) -> Result<Self, SetupError> {
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
            hermetic: spec.hermetic,
            insecure: spec.insecure,
            interactive: spec.interactive,
            network: spec.network,
            stdin,
            filter: filter::program(),
            owners: owners::are_recorded().then(owners::filter),
        })
    }

    /// Turns this process into the program. Returns only if the way there failed; a program that cannot be
    /// executed is said on standard error and ends the process.
    pub(super) fn become_it(&self, init: &UnixStream) -> SetupError {
        match self.hand_owners_over(init).and_then(|()| self.get_ready()) {
            Ok(()) => self.exec(),
            Err(failure) => failure,
        }
    }

    /// Whether init will answer calls of the program; then it first takes a descriptor from the socket.
    pub(super) fn is_supervised(&self) -> bool {
        self.owners.is_some()
    }

    fn hand_owners_over(&self, init: &UnixStream) -> Result<(), SetupError> {
        let Some(filter) = &self.owners else { return Ok(()) };
        let listener = sys::seccomp::load_with_listener(filter);
        let fd = listener.as_ref().ok().map(|fd| fd.as_fd());
        channel::send_descriptor(init, fd)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .doing("hand over", "changes of owner")?;
        listener.map(drop).doing("load", "the filter for changes of owner")
    }

    fn get_ready(&self) -> Result<(), SetupError> {
        self.take_stdio()?;
        sys::exec::close_on_exec_from(3).doing("close", "descriptors")?;
        sys::exec::new_session_keyring().doing("leave", "the session keyring")?;
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
            .doing("forbid", "core dumps")?;
        for Ulimit { resource, soft, hard } in &self.ulimits {
            setrlimit(rlimit(*resource), Rlimit { current: *soft, maximum: *hard })
                .doing("set the limit", resource)?;
        }
        umask(Mode::from_raw_mode(0o022));
        self.enter_cwd()?;
        if self.hermetic {
            sys::exec::fix_address_layout().doing("fix", "the address layout")?;
        }
        // In a network of its own there are none but its own. Signals end at the pid namespace.
        if self.network == Net::Host && !self.insecure {
            sys::landlock::leave_abstract_sockets().doing("leave", "the host's abstract sockets")?;
        }
        // Before the capabilities go, since loading it without no_new_privs takes one. What follows it allows.
        if !self.insecure {
            sys::seccomp::load(&self.filter).doing("load", "the system call filter")?;
        }
        self.take_identity()?;
        sys::signal::reset().doing("reset", "signals")
    }

    fn take_stdio(&self) -> Result<(), SetupError> {
        if self.interactive {
            if let Some(stdin) = &self.stdin {
                sys::exec::set_stdio(stdin.as_fd(), 0).doing("take over", "standard input")?;
            }
            return self.take_terminal();
        }
        setsid().doing("start", "a session")?;
        let null = openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .doing("open", "/dev/null")?;
        sys::exec::set_stdio(null.as_fd(), 0).doing("take over", "standard input")?;
        // So that /dev/stdout can be opened by whom the program runs as.
        let owner = Some(Uid::from_raw(self.user.uid));
        for result in [fchown(std::io::stdout(), owner, None), fchown(std::io::stderr(), owner, None)] {
            result.map_err(|errno| self.identity(errno))?;
        }
        Ok(())
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
            sys::caps::bound(CAPABILITIES).doing("drop", "capabilities")?;
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
        if self.insecure { Ok(()) } else { sys::caps::limit(CAPABILITIES).doing("drop", "capabilities") }
    }

    fn identity(&self, errno: Errno) -> SetupError {
        SetupError::Identity { uid: self.user.uid, gid: self.user.gid, errno: errno.into() }
    }

    /// As execvp(3) does: the first that can be run; else the most telling error, said on standard error.
    fn exec(&self) -> ! {
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
        let line = format!("lith: {}: {reason}\n", crate::diag::escape(name));
        // Nowhere is left to tell that standard error is closed.
        let _ = std::io::stderr().write_all(line.as_bytes());
        sys::exec::exit(if worst == Errno::NOENT { 127 } else { 126 })
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

    #[test]
    fn fourteen_capabilities() {
        assert_eq!(CAPABILITIES.bits().count_ones(), 14);
    }
}
