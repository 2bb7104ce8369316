//! What became of a container, and whether that is still true.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::store::{ContainerId, Containers};
use crate::sys::file::{self, Durability};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    /// Made to be started at once: whoever made it holds its lock until a supervisor has it.
    Starting,
    Running,
    Exited,
    /// Being removed.
    Dead,
}

impl Status {
    /// As docker has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub status: Status,
    /// The first process, while it runs.
    #[serde(default)]
    pub process: Option<ProcessId>,
    #[serde(default)]
    pub supervisor: Option<ProcessId>,
    /// The boot it was last started in.
    #[serde(default)]
    pub boot: String,
    /// RFC 3339.
    #[serde(default)]
    pub started: Option<String>,
    #[serde(default)]
    pub finished: Option<String>,
    #[serde(default)]
    pub exit_code: u8,
    /// Why it could not be started, or what ended it from outside.
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub out_of_memory: bool,
    /// Its cgroups, while it runs.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    #[serde(default)]
    pub health: Option<Health>,
}

/// What the health checks of a run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub status: HealthStatus,
    pub failing_streak: u32,
    /// The last five, oldest first.
    pub log: Vec<Probe>,
}

/// docker's three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// RFC 3339.
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    /// At most 4 KiB.
    pub output: String,
}

impl State {
    /// Of a container that was just made.
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            process: None,
            supervisor: None,
            boot: String::new(),
            started: None,
            finished: None,
            exit_code: 0,
            error: String::new(),
            out_of_memory: false,
            cgroups: vec![],
            health: None,
        }
    }

    /// What is written; a state that cannot be read says so, and counts as that of a program that has ended.
    pub fn read(containers: &Containers, id: &ContainerId) -> Self {
        let read = std::fs::read(containers.dir(id).join("state.json"));
        let parsed = read
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).map_err(|error| error.to_string()));
        parsed.unwrap_or_else(|error| Self {
            status: Status::Exited,
            exit_code: 255,
            error: format!("its state was lost: {error}"),
            ..Self::created()
        })
    }

    /// Writes it. The caller holds the container's lock.
    pub fn write(&self, containers: &Containers, id: &ContainerId) -> io::Result<()> {
        let path = containers.dir(id).join("state.json");
        match file::replace(&path, &self.to_bytes(), Durability::Cached) {
            // The end of a program is worth more than that nobody can see it half written: its place is there already.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
                let bytes = self.to_bytes();
                io::Write::write_all(&mut file, &bytes)?;
                file.set_len(bytes.len() as u64)
            }
            written => written,
        }
    }

    /// The bytes of `state.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state is plain data")
    }

    /// What it will be once the remains of its supervisor are cleared away.
    #[must_use]
    pub fn orphaned(self, this_boot: &str, now: String) -> Self {
        let (exit_code, error) = match self.boot == this_boot {
            true => (137, "its supervisor was killed, and the container with it"),
            false => (255, "the machine was restarted while it ran"),
        };
        Self {
            status: Status::Exited,
            process: None,
            supervisor: None,
            cgroups: vec![],
            finished: Some(now),
            exit_code,
            error: error.to_owned(),
            ..self
        }
    }
}

/// A process as it can be told from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// When it began, in ticks since the machine did (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl ProcessId {
    /// Of a process that is there.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses, which may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let start = fields.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start })
    }

    /// A descriptor of it, if it is still the same process. One that has ended and waits to be reaped is there, too.
    pub fn open(self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        (Self::of(self.pid) == Some(self)).then_some(descriptor)
    }

    /// Kills it if it is still there, and waits until it is not, at most for some seconds. Whether it is gone.
    pub fn end(self) -> bool {
        let Some(descriptor) = self.open() else { return true };
        // It may end just now; then there is nothing to do.
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut list = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut list, Some(&limit)))
            .is_ok_and(|ready| ready > 0)
    }
}

/// The time of day.
pub fn clock() -> jiff::Timestamp {
    jiff::Timestamp::try_from(crate::sys::clock::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// The time of day as RFC 3339.
pub fn now() -> String {
    rfc3339(clock())
}

/// A time as RFC 3339, in UTC with nanoseconds: so written, times are ordered as texts.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.9}")
}
