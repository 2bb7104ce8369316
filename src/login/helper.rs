//! Credential helpers: programs `docker-credential-NAME` that keep logins elsewhere (docker-credential-helpers).
//!
//! A helper is trusted with what it keeps and with nothing else: it is found on absolute directories only, never in the
//! current one; what it prints has a bound, and how long it takes. Secrets go through its standard streams.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::{Deserialize, Serialize};

use super::document::TOKEN_USER;
use super::scope::registry_of;
use super::{Login, LoginError, Secret};
use crate::diag::escape;
use crate::oci::json;

/// The most that is read of what a helper prints.
const LONGEST: usize = 1 << 20;
/// Somebody may have to type a passphrase.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a helper has printed is there when it has ended; only what it left running could hold its output open.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// What helpers print, all of them, for what they do not have.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The most of a helper's complaint that is shown.
const SHOWN: usize = 300;

/// Where helpers are found, and how long each may take.
#[derive(Debug, Clone)]
pub struct Helpers {
    path: Vec<PathBuf>,
    patience: Duration,
}

impl Helpers {
    /// Those in the absolute directories of a PATH.
    pub fn on(path: &OsStr) -> Self {
        let path = std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect();
        Self { path, patience: PATIENCE }
    }

    /// With another time that each may take.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The helper that a file names.
    pub(super) fn named(&self, name: &str, file: &str) -> Result<Helper<'_>, LoginError> {
        let is_of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_of_name) {
            let name = name.chars().take(100).collect();
            return Err(LoginError::HelperName { file: file.to_owned(), name });
        }
        let program = format!("docker-credential-{name}");
        let is_program =
            |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        match self.path.iter().map(|dir| dir.join(&program)).find(is_program) {
            Some(program) => Ok(Helper { helpers: self, name: name.to_owned(), program }),
            None => Err(LoginError::NoHelper { file: file.to_owned(), name: name.to_owned() }),
        }
    }

    fn joined(&self) -> OsString {
        std::env::join_paths(&self.path).expect("it was split from one")
    }
}

/// One helper.
#[derive(Debug)]
pub struct Helper<'a> {
    helpers: &'a Helpers,
    pub name: String,
    program: PathBuf,
}

/// What a helper prints of a login, and reads.
#[derive(Serialize, Deserialize)]
struct Credentials {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy)]
enum Act {
    Get,
    Store,
    Erase,
    List,
}

impl Act {
    fn verb(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Store => "store",
            Self::Erase => "erase",
            Self::List => "list",
        }
    }
}

impl Helper<'_> {
    /// The login for a server, if it has one.
    pub fn get(&self, server: &str) -> Result<Option<Login>, LoginError> {
        let Some(printed) = self.run(Act::Get, server.as_bytes().to_vec())? else { return Ok(None) };
        let found: Credentials = self.parsed(Act::Get, &printed)?;
        // Key chains that look for what is like the name must not give one registry's login to another.
        if !found.server.is_empty() && registry_of(&found.server) != registry_of(server) {
            let other = escape(found.server.chars().take(100).collect::<String>().as_bytes());
            return Err(self.failed(Act::Get, format!("it was asked for {server} and answers for {other}")));
        }
        let secret = Secret::new(found.secret);
        Ok(match found.user.as_str() {
            _ if secret.reveal().is_empty() => None,
            TOKEN_USER => Some(Login::IdentityToken(secret)),
            _ => Some(Login::Password { user: found.user, password: secret }),
        })
    }

    /// Keeps a login for a server.
    pub fn store(&self, server: &str, login: &Login) -> Result<(), LoginError> {
        let (user, secret) = match login {
            Login::Password { user, password } => (user.as_str(), password),
            Login::IdentityToken(token) => (TOKEN_USER, token),
        };
        let (server, user) = (server.to_owned(), user.to_owned());
        let credentials = Credentials { server, user, secret: secret.reveal().to_owned() };
        let input = serde_json::to_vec(&credentials).expect("texts only");
        match self.run(Act::Store, input) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.failed(Act::Store, NOT_FOUND.into())),
            // Some say what they were given.
            Err(LoginError::Helper { name, act, reason }) if reason.contains(secret.reveal()) => {
                let reason = reason.replace(secret.reveal(), "…");
                Err(LoginError::Helper { name, act, reason })
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets the login for a server; false if it had none.
    pub fn erase(&self, server: &str) -> Result<bool, LoginError> {
        Ok(self.run(Act::Erase, server.as_bytes().to_vec())?.is_some())
    }

    /// The servers that it has logins for, with the users.
    pub fn list(&self) -> Result<BTreeMap<String, String>, LoginError> {
        let printed = self.run(Act::List, b"unused".to_vec())?;
        printed.map_or(Ok(BTreeMap::new()), |printed| self.parsed(Act::List, &printed))
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, act: Act, printed: &[u8]) -> Result<T, LoginError> {
        // What is wrong with it is not shown: it may be the secret.
        json::parse(printed, LONGEST)
            .map_err(|_| self.failed(act, "what it prints is not the JSON expected".into()))
    }

    /// Runs it; `None` if it says that it has no such credentials.
    fn run(&self, act: Act, input: Vec<u8>) -> Result<Option<Vec<u8>>, LoginError> {
        let mut command = Command::new(&self.program);
        command.arg(act.verb()).current_dir("/").env("PATH", self.helpers.joined()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::sys::exec::die_with_us(&mut command);
        let mut child =
            command.spawn().map_err(|error| self.failed(act, format!("it cannot be run: {error}")))?;
        let answer = self.listen(act, &mut child, input);
        if answer.is_err() {
            end(&child);
        }
        let status = child.wait().map_err(|error| self.failed(act, error.to_string()))?;
        let Answer { printed, complaint } = answer?;
        if status.success() {
            return Ok(Some(printed));
        }
        match String::from_utf8_lossy(&printed).trim() {
            NOT_FOUND => Ok(None),
            // Credentials, for all that it failed, are shown to nobody.
            said if said.is_empty() || said.starts_with('{') => {
                Err(self.failed(act, told(&complaint, status)))
            }
            said => Err(self.failed(act, told(said.as_bytes(), status))),
        }
    }

    /// Feeds it and hears it out.
    fn listen(&self, act: Act, child: &mut Child, input: Vec<u8>) -> Result<Answer, LoginError> {
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that ends without reading says why by other means.
        thread::spawn(move || stdin.write_all(&input));
        let printed = heard(child.stdout.take().expect("it is piped"));
        let complaint = heard(child.stderr.take().expect("it is piped"));
        let has_ended = ends_within(child, self.helpers.patience);
        if !has_ended.map_err(|error| self.failed(act, error.to_string()))? {
            let seconds = self.helpers.patience.as_secs_f32();
            return Err(self.failed(act, format!("it has not ended after {seconds} seconds")));
        }
        let taken = |from: Receiver<io::Result<Vec<u8>>>| match from.recv_timeout(AFTERWARDS) {
            Ok(Ok(bytes)) if bytes.len() > LONGEST => {
                Err(self.failed(act, format!("it prints more than the {LONGEST} bytes that are read of it")))
            }
            Ok(bytes) => bytes.map_err(|error| self.failed(act, error.to_string())),
            Err(_) => Err(self.failed(act, "it left something running that keeps its output open".into())),
        };
        Ok(Answer { printed: taken(printed)?, complaint: taken(complaint)? })
    }

    fn failed(&self, act: Act, reason: String) -> LoginError {
        LoginError::Helper { name: self.name.clone(), act: act.verb(), reason }
    }
}

/// What a helper printed on its two streams.
struct Answer {
    printed: Vec<u8>,
    complaint: Vec<u8>,
}

/// Reads a stream up to one byte more than may be; then it is closed.
fn heard(stream: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stream.take(LONGEST as u64 + 1).read_to_end(&mut bytes);
        // Nobody listens any more if it took too long.
        let _ = sender.send(read.map(|_| bytes));
    });
    receiver
}

fn ends_within(child: &Child, patience: Duration) -> io::Result<bool> {
    let pid = Pid::from_child(child);
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut list = [PollFd::new(&process, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut list, Some(&limit)))? > 0)
}

/// Ends it and what it started.
fn end(child: &Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// A complaint on one line.
fn told(said: &[u8], status: std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(said);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
    if line.is_empty() { format!("it ended with {status}") } else { escape(line.as_bytes()) }
}
