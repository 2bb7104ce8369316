//! Containers: an image, a layer of their own, a program and a process that watches it (spec/container-state.md).
//!
//! Owns: what a container is, its life, its log, the talk with its supervisor. Never parses a command line, never prints.

pub mod attach;
mod changes;
mod client;
mod commit;
mod config;
mod copy;
mod create;
pub mod life;
pub mod log;
mod names;
pub mod processes;
mod seed;
pub mod signals;
mod start;
mod state;
mod supervisor;
pub mod usage;
pub mod volumes;
mod wire;

pub use changes::{changes, snapshot};
pub use client::{Client, End};
pub use commit::{Commit, Committed, commit, image_config};
pub use config::{Config, MountPoint, MountSource, STATE_VERSION};
pub use copy::{copy_in, copy_out};
pub use create::{Made, Wanted, create};
pub use life::{Container, Volumes, find, list};
pub use start::{Standby, Start, process, start};
pub use state::{Health, HealthStatus, Probe, ProcessId, State, Status, clock, now, rfc3339};
pub use supervisor::child_entry;
pub use wire::{Attach, Event, Request};

use std::io;

use crate::store::{ContainerId, StoreError};

/// What went wrong with a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("no such container: {0}")]
    Unknown(String),
    #[error("{text:?} matches several containers: {ids}")]
    Ambiguous { text: String, ids: String },
    /// It was removed meanwhile.
    #[error("container {} is gone", .0.short())]
    Gone(ContainerId),
    #[error("container {} is damaged: {reason}", .id.short())]
    Damaged { id: ContainerId, reason: String },
    #[error("the name {name} is taken{}", .by.as_ref().map(|id| format!(" by container {}", id.short())).unwrap_or_default())]
    NameTaken { name: String, by: Option<ContainerId> },
    #[error(
        "{name:?} is no name for a container; expected letters, digits, _, . and -, two at least, the first a letter or digit"
    )]
    BadName { name: String },
    #[error("container {name} is running")]
    Running { name: String },
    #[error("container {name} is not running")]
    NotRunning { name: String },
    #[error("container {name} is being changed by another process, which does not come to an end")]
    Busy { name: String },
    /// The program was not started: `code` is what a shell would say.
    #[error("{reason}")]
    Failed { code: u8, reason: String },
    #[error("the supervisor of container {name} does not answer: {source}")]
    Supervisor { name: String, source: io::Error },
    #[error("container {name}: {reason}")]
    Refused { name: String, reason: String },
    /// Its layer cannot be made, or not as long as its programs write.
    #[error("what container {name} changed cannot be read as a layer")]
    Unreadable { name: String, source: crate::layer::CaptureError },
    #[error("image {id}: {reason}")]
    Image { id: crate::digest::ImageId, reason: String },
    #[error(transparent)]
    Stored(#[from] crate::image::StoredError),
    #[error(transparent)]
    Assemble(#[from] crate::image::AssembleError),
    #[error("no such volume: {0}")]
    UnknownVolume(String),
    #[error(
        "{name:?} is no name for a volume; expected letters, digits, _, . and -, the first a letter or digit"
    )]
    BadVolumeName { name: String },
    #[error("volume {name} is in use by container {}", .by.short())]
    VolumeInUse { name: String, by: ContainerId },
    #[error("volume {name} cannot be filled with what the image has at {}: {reason}", .target.display())]
    Populate { name: String, target: std::path::PathBuf, reason: String },
    /// On this side; what the container's says is [`ContainerError::Refused`].
    #[error(transparent)]
    Transfer(#[from] crate::transfer::TransferError),
    #[error(transparent)]
    Signal(#[from] signals::UnknownSignal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Exec(#[from] crate::exec::ExecError),
    #[error("{act}: {source}")]
    Io { act: String, source: io::Error },
}

impl ContainerError {
    /// An input or output error with what was being done.
    pub fn io(act: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }
}
