//! One run of git, in an environment that nobody else had a say in.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::diag::escape;
use crate::fetch::{FetchError, FetchOptions};
use crate::remote::redact;
use crate::sys::exec::die_with_us;

/// The longest text that is read from git.
const LONGEST: usize = 64 << 20;
/// How much of what git says on standard error is kept: its end.
const COMPLAINT: usize = 64 << 10;

/// Where programs are looked for.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings that no repository and no user can change: nothing is run, nothing is asked, nothing is collected.
const SETTINGS: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.pager", "cat"),
    ("core.alternateRefsCommand", "true"),
    ("core.askPass", "true"),
    ("credential.helper", ""),
    ("credential.interactive", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("protocol.ext.allow", "never"),
    ("protocol.file.allow", "never"),
    ("transfer.bundleURI", "false"),
    ("submodule.recurse", "false"),
    ("tar.umask", "0022"),
    ("safe.directory", "*"),
];

/// A command line being put together.
pub(super) struct Git {
    command: Command,
    settings: Vec<(String, String)>,
    /// The repository, for messages.
    shown: String,
    /// How long a server may be silent.
    patience: Option<Duration>,
}

impl Git {
    /// git on a bare repository, or on none, without any network.
    pub(super) fn new(shown: String, repository: Option<&Path>) -> Self {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", SEARCH)
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_CEILING_DIRECTORIES", "/")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        die_with_us(&mut command);
        if let Some(repository) = repository {
            command.env("GIT_DIR", repository);
        }
        command.arg("--literal-pathspecs");
        let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { command, settings: settings.collect(), shown, patience: None }
    }

    /// Allows the one protocol of a URL, with what its server wants to see. Nothing of it shows in arguments.
    pub(super) fn network(
        &mut self,
        url: &str,
        options: &FetchOptions,
        authorization: Option<String>,
        agent: Option<&Path>,
    ) {
        let scheme = url.split_once("://").map_or("ssh", |(scheme, _)| scheme);
        self.command.env("GIT_ALLOW_PROTOCOL", scheme);
        let seconds = options.patience.as_secs().max(1);
        self.set("http.lowSpeedLimit", "100");
        self.set("http.lowSpeedTime", &seconds.to_string());
        if let Some(value) = authorization {
            self.set("http.extraHeader", &format!("Authorization: {value}"));
            self.set("http.followRedirects", "false");
        }
        if let Some(path) = &options.roots_file {
            self.command.env("GIT_SSL_CAINFO", path);
        }
        for (name, value) in &options.proxies {
            self.command.env(name, value);
        }
        if let Some(agent) = agent {
            self.command.env("SSH_AUTH_SOCK", agent);
        }
        let ssh = format!(
            "ssh -F /dev/null -o IdentityFile=none -o BatchMode=yes -o ConnectTimeout={seconds} -o ServerAliveInterval={seconds}"
        );
        self.command.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
        self.patience = Some(options.patience);
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn env(&mut self, name: &str, value: &Path) -> &mut Self {
        self.command.env(name, value);
        self
    }

    pub(super) fn args(&mut self, args: &[&str]) -> &mut Self {
        self.command.args(args);
        self
    }

    /// Runs it; gives what it printed as text.
    pub(super) fn text(&mut self) -> Result<String, FetchError> {
        String::from_utf8(self.bytes()?).map_err(|_| self.failed("git printed what is no text".into()))
    }

    /// Runs it; gives what it printed.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, FetchError> {
        self.run(Stdio::piped(), Stdio::null())
    }

    /// Runs it with what it prints going to a file.
    pub(super) fn write_to(&mut self, file: File) -> Result<(), FetchError> {
        self.run(file.into(), Stdio::null()).map(drop)
    }

    /// Runs it with a file as its input; gives what it printed.
    pub(super) fn fed(&mut self, input: File) -> Result<Vec<u8>, FetchError> {
        self.run(Stdio::piped(), input.into())
    }

    /// Runs it from a file into a file.
    pub(super) fn pass(&mut self, input: File, output: File) -> Result<(), FetchError> {
        self.run(output.into(), input.into()).map(drop)
    }

    fn run(&mut self, stdout: Stdio, stdin: Stdio) -> Result<Vec<u8>, FetchError> {
        self.command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (at, (name, value)) in self.settings.iter().enumerate() {
            self.command.env(format!("GIT_CONFIG_KEY_{at}"), name);
            self.command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        let spawned = self.command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FetchError::NoGit { url: self.shown.clone() },
            _ => self.failed(format!("git cannot be run: {error}")),
        })?;
        let heard = listen(&mut child, self.patience);
        if heard.is_err() {
            stop(&child);
        }
        let status = child.wait().map_err(|error| self.failed(error.to_string()))?;
        let heard = heard.map_err(|error| self.failed(error.to_string()))?;
        if !status.success() {
            return Err(self.failed(complaint(&heard.err)));
        }
        Ok(heard.out)
    }

    fn failed(&self, reason: String) -> FetchError {
        FetchError::Git { url: self.shown.clone(), reason }
    }
}

/// What a process said.
#[derive(Default)]
struct Heard {
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Reads both streams to their ends; an error if neither says anything for too long.
fn listen(child: &mut Child, patience: Option<Duration>) -> io::Result<Heard> {
    let mut heard = Heard::default();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let limit = patience.and_then(|time| Timespec::try_from(time).ok());
    let mut buffer = vec![0; 1 << 16];
    while out.is_some() || err.is_some() {
        let (out_ready, err_ready) = {
            let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = Vec::new();
            fds.extend(out.as_ref().map(|pipe| watch(pipe.as_fd())));
            fds.extend(err.as_ref().map(|pipe| watch(pipe.as_fd())));
            match poll(&mut fds, limit.as_ref()) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the server says nothing")),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            (out.is_some() && ready[0], err.is_some() && *ready.last().expect("one is open"))
        };
        if out_ready && let Some(pipe) = &mut out {
            match pipe.read(&mut buffer)? {
                0 => out = None,
                got => heard.out.extend_from_slice(&buffer[..got]),
            }
            if heard.out.len() > LONGEST {
                return Err(io::Error::other("git prints more than is read of it"));
            }
        }
        if err_ready && let Some(pipe) = &mut err {
            match pipe.read(&mut buffer)? {
                0 => err = None,
                got => heard.err.extend_from_slice(&buffer[..got]),
            }
            let surplus = heard.err.len().saturating_sub(COMPLAINT);
            heard.err.drain(..surplus);
        }
    }
    Ok(heard)
}

/// Ends git and whatever it started.
fn stop(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// The lines of an error that say something, on one line.
fn complaint(err: &[u8]) -> String {
    const SHOWN: usize = 6;
    let text = String::from_utf8_lossy(err);
    let says = |line: &&str| {
        let line = line.trim_start_matches("remote: ");
        ["fatal:", "error:", "ERR", "ssh:", "Permission", "Host key"].iter().any(|word| line.contains(word))
    };
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut told: Vec<&str> = lines.iter().copied().filter(says).collect();
    if told.is_empty() {
        told = lines.iter().rev().take(1).copied().collect();
    }
    told.truncate(SHOWN);
    if told.is_empty() {
        "git failed and says nothing".to_owned()
    } else {
        escape(redact(&told.join("; ")).as_bytes())
    }
}
