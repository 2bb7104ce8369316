//! One run of git, in an environment that nobody else had a say in.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::listen::{Ears, Patience};
use crate::diag::escape;
use crate::fetch::watch::Task;
use crate::fetch::{FetchError, FetchOptions};
use crate::remote::redact;
use crate::sys::exec::{die_with_us, limit_file_size};

/// The longest text that is read from git.
const LONGEST: u64 = 64 << 20;

/// Where programs are looked for.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings that no repository and no user can change: nothing is run, nothing is asked, nothing is collected.
const SETTINGS: [(&str, &str); 19] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.pager", "cat"),
    ("core.alternateRefsCommand", "true"),
    ("core.askPass", "true"),
    ("credential.helper", ""),
    ("credential.interactive", "false"),
    // One pack for what comes, however little: so its size has a bound, that of a file.
    ("fetch.unpackLimit", "1"),
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
    /// The largest file it may write.
    largest: u64,
    /// What a server may try, if one is asked.
    patience: Option<Patience>,
    /// Who is told how it goes.
    task: Option<Task>,
}

impl Git {
    /// git on a bare repository, or on none, without any network. It writes no file larger than `largest` bytes.
    pub(super) fn new(shown: String, repository: Option<&Path>, largest: u64) -> Self {
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
        limit_file_size(&mut command, largest);
        if let Some(repository) = repository {
            command.env("GIT_DIR", repository);
        }
        command.arg("--literal-pathspecs");
        let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { command, settings: settings.collect(), shown, largest, patience: None, task: None }
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
        // Over http git itself sees to it that enough comes.
        let pace = !scheme.starts_with("http");
        self.patience = Some(Patience { window: options.patience, pace });
    }

    /// Tells how much came.
    pub(super) fn watched(&mut self, task: Task) -> &mut Self {
        self.task = Some(task);
        self
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
        self.run(Stdio::null(), Stdio::piped(), all)
    }

    /// Runs it with a file as its input; gives what it printed.
    pub(super) fn fed(&mut self, input: File) -> Result<Vec<u8>, FetchError> {
        self.run(input.into(), Stdio::piped(), all)
    }

    /// Runs it from a file into a file.
    pub(super) fn pass(&mut self, input: File, output: File) -> Result<(), FetchError> {
        self.run(input.into(), output.into(), all).map(drop)
    }

    /// Runs it and reads what it prints meanwhile; `Err` says what is wrong with that, and git is stopped.
    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Ears<'_>) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        self.run(Stdio::null(), Stdio::piped(), read)
    }

    fn run<T>(
        &mut self,
        stdin: Stdio,
        stdout: Stdio,
        read: impl FnOnce(&mut Ears<'_>) -> Result<T, String>,
    ) -> Result<T, FetchError> {
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
        let mut ears = Ears::new(&mut child, self.patience, self.task.as_ref());
        let mut result = read(&mut ears);
        // A git that ended by itself says best what is wrong; any other is in the middle of something.
        if (result.is_ok() || ears.is_over())
            && let Err(error) = ears.drain()
        {
            result = Err(error.to_string());
        }
        if !ears.is_over() {
            stop(&child);
        }
        let status = child.wait().map_err(|error| self.failed(error.to_string()))?;
        if ears.is_over() && !status.success() {
            return Err(self.complained(ears.complaint()));
        }
        if result.is_ok() {
            self.task.iter().for_each(Task::done);
        }
        result.map_err(|reason| self.failed(reason))
    }

    /// The error of a git that failed.
    fn complained(&self, said: &[u8]) -> FetchError {
        if said.windows(TOO_LARGE.len()).any(|text| text == TOO_LARGE) {
            return FetchError::TooLarge { url: self.shown.clone(), limit: self.largest };
        }
        self.failed(complaint(said))
    }

    fn failed(&self, reason: String) -> FetchError {
        FetchError::Git { url: self.shown.clone(), reason }
    }
}

/// What the system says of a file beyond the limit.
const TOO_LARGE: &[u8] = b"File too large";

/// Everything that git prints.
fn all(ears: &mut Ears<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    ears.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("git prints more than the {LONGEST} bytes that are read of it"));
    }
    Ok(bytes)
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
