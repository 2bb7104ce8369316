//! What the sandbox is told: plain data, sent to the re-executed child on a descriptor.

use std::path::PathBuf;

use rustix::fs::{Timespec, Timestamps};
use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::limits::{Reached, Ulimit};
use crate::mount::Overlay;
use crate::transfer::{Incoming, Outgoing};

/// One process to run in a root file system of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub root: Overlay,
    /// Whether the process may write to the root, where that has a writable part.
    pub root_access: Access,
    /// A layer between those of the root and its writable part: mount points that are missing are made there, so that
    /// they do not show as something that the process wrote.
    pub mount_points: Option<PathBuf>,
    pub process: Process,
    pub first: First,
    pub hostname: String,
    pub network: Net,
    /// Files put into the root for the time of the run, by absolute path.
    pub files: Vec<File>,
    /// Mounted in this order, after the files.
    pub mounts: Vec<Mount>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
}

/// The process itself, wherever it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub argv: Vec<String>,
    /// `NAME=value`; nothing else reaches the process.
    pub env: Vec<String>,
    /// Absolute path in the root; created beforehand by the caller's layers or else an error.
    pub cwd: String,
    pub user: Ids,
    /// The most it can ever have; user 0 begins with all of them.
    pub capabilities: Capabilities,
    /// Besides these the limits of a process are the caller's, and core files are off.
    pub ulimits: Vec<Ulimit>,
    /// All capabilities and system calls, kernel file systems unmasked.
    pub insecure: bool,
    /// What it is told of the world, if not what is so. Calls are answered only where an init of ours is there
    /// ([`First::Init`]); who enters a sandbox, and process 1 itself, see what is so.
    pub world: Option<World>,
    pub stdio: Stdio,
    pub work: Work,
}

/// A world that is the same wherever a program runs (spec/world.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// Seconds since 1970: the clock stands at the end of this second.
    pub clock: i64,
    /// Seconds since the machine started, when the program begins: what clocks of durations show, where the kernel has
    /// namespaces for them, and what is said of it elsewhere.
    pub uptime: i64,
    /// Each reading of it by a program moves it by a nanosecond: a C library takes names from it (spec/world.md, "Clock").
    pub ticks: bool,
    /// What all randomness follows from; none leaves it to the kernel.
    pub seed: Option<[u8; 32]>,
    /// So many processors.
    pub processors: u32,
    pub listing: Listing,
    pub layout: Layout,
    pub umask: u32,
    /// Processes of the program have numbers from behind this one on.
    pub last_process: u32,
}

impl World {
    /// The time of what is there when the program begins and was made for it: its root, its `/dev`.
    pub(super) fn time_of_what_is_there(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.clock, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// The order in which directories are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// By the bytes of the names.
    Sorted,
    /// Some order that follows from this number and the names.
    Shuffled(u64),
}

/// Where memory of a program lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Fixed,
    Random,
}

/// What was seen of a program that runs in a world of its own. Each is the command of the first process that did it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Drew randomness, otherwise than the C library for itself and for names of temporary files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entropy: Vec<String>,
    /// Could not be given the clock of its world, and so saw the real one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

/// What a process does once it is what it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// It executes its program.
    Execute,
    /// It executes nothing, but writes a tar of files to its standard output.
    Send(Outgoing),
    /// It executes nothing, but puts the files of a tar from its standard input into their place.
    Receive(Incoming),
}

/// What the process' standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// No input; output in two pipes. A program that cannot be executed says so there and ends with 126 or 127.
    Captured,
    /// The caller's own (`--debug` shell).
    Caller,
    /// Three pipes, the first from the caller.
    Piped,
    /// No input; output in two pipes.
    Output,
    /// A terminal of its own.
    Terminal(Size),
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Who is process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// An init of ours, which passes signals on and reaps; the process is number 2.
    Init,
    /// The process itself.
    Process,
}

/// The usual size of `/dev/shm`: docker's.
pub const SHM_SIZE: u64 = 64 << 20;

/// Numeric identity of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, exactly.
    pub groups: Vec<u32>,
}

/// The network of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// A namespace of its own with loopback up.
    None,
    /// The host's.
    Host,
}

/// A file that exists only during the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path in the root.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// Something mounted for the time of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the root; made if it is missing.
    pub target: PathBuf,
    pub what: Mounted,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// A path of another root file system, relative and free of symbolic links. Without a writable part the access
    /// is read-only.
    Overlay { overlay: Overlay, source: PathBuf, access: Access },
    /// A directory of the host.
    Directory { path: PathBuf, access: Access },
    /// A socket of the host.
    Socket { path: PathBuf },
    /// A directory or a file of the host, whichever it is, with what is mounted below it.
    Host { path: PathBuf, access: Access },
    /// A read-only file from memory.
    File { bytes: Vec<u8>, mode: u32, uid: u32, gid: u32 },
    /// Memory, at most so many bytes.
    Tmpfs { size: Option<u64>, access: Access },
}

/// Whether the process may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// A mount point the sandbox had to create in the upper directory; the layer must not show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stub {
    /// Relative to the root, no leading slash.
    pub path: PathBuf,
    /// Inode in the upper directory, to tell it from something the process put there.
    pub inode: u64,
    pub directory: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub status: Status,
    pub stubs: Vec<Stub>,
    /// Limits of the whole sandbox that it ran into.
    #[serde(default)]
    pub reached: Vec<Reached>,
    #[serde(default)]
    pub seen: Seen,
}

/// The process' end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Exited(i32),
    Signaled(i32),
}
