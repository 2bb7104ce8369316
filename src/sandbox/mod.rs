//! Runs one process in a root file system of its own.
//!
//! Never knows images: it takes a [`crate::mount::Overlay`] and gives back how the process ended. What a process
//! finds in there, and what it cannot do, is written down in `spec/sandbox.md`.

mod calls;
mod cgroup;
mod channel;
mod devices;
mod durations;
pub mod emulation;
mod enter;
mod failure;
mod files;
mod filter;
mod hierarchy;
mod init;
pub mod kernel;
mod launch;
mod mounts;
mod owners;
mod points;
pub mod policy;
mod program;
mod root;
mod seal;
mod sealed;
pub mod spec;
mod supervisor;
mod target;
mod terminal;
pub mod userns;
mod wait;
mod work;
mod world;

use std::process::ExitCode;

pub use crate::mount::OWNER_XATTR;
pub use cgroup::{CgroupError, remove as remove_cgroup};
pub use channel::{receive as receive_job, receive_descriptor, send as send_job, send_descriptor};
pub use failure::{Errno, SetupError};
pub use launch::{Event, Launcher, Output, Running, SandboxError, Stream, Writes, take_chunk};
pub use sealed::open as open_sealed;

/// First thing in `main`, before any thread: if this process is this program re-executed for a sandbox or to map
/// ids, does that work and gives its exit code.
pub fn child_entry() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    if name == launch::CHILD {
        return Some(init::main());
    }
    if name == launch::ENTERER {
        return Some(enter::main());
    }
    (name == userns::MAPPER).then(userns::mapper_main)
}
