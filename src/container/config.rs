//! What a container is: written when it is made, never changed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ContainerError;
use crate::capabilities::Capabilities;
use crate::digest::ImageId;
use crate::exec::process::ImageProcess;
use crate::limits::{GroupLimits, Host, Ulimit};
use crate::oci::RunConfig;
use crate::sandbox::spec::Net;
use crate::store::{ContainerId, Containers, LayerRef};

/// The version of what `spec/container-state.md` describes.
pub const STATE_VERSION: u32 = 1;

/// A container as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "choices of the command line, none of which excludes another"
)]
pub struct Config {
    pub version: u32,
    /// RFC 3339.
    pub created: String,
    pub image: ImageId,
    /// As it was asked for.
    pub image_name: String,
    /// Bottom first.
    pub layers: Vec<LayerRef>,
    /// The image's config with what was given instead of it: what people see.
    pub run: RunConfig,
    pub program: ImageProcess,
    pub hostname: String,
    pub network: Net,
    pub hosts: Vec<Host>,
    pub capabilities: Capabilities,
    pub limits: GroupLimits,
    pub ulimits: Vec<Ulimit>,
    pub shm_size: u64,
    pub mounts: Vec<MountPoint>,
    /// Standard input stays open for clients.
    pub open_stdin: bool,
    pub tty: bool,
    pub read_only: bool,
    /// Process 1 is lith's own.
    pub init: bool,
    /// It goes when its program ends.
    pub auto_remove: bool,
}

/// Something mounted while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// Absolute path in the container.
    pub target: PathBuf,
    pub read_only: bool,
    pub source: MountSource,
}

/// Where its files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A path of the host.
    Bind(PathBuf),
    /// A volume of the store; one made for this container alone goes with it where it goes by itself.
    Volume { name: String, anonymous: bool },
    /// Memory, at most so many bytes.
    Tmpfs { size: Option<u64> },
}

impl Config {
    /// The config of a container.
    pub fn read(containers: &Containers, id: &ContainerId) -> Result<Self, ContainerError> {
        let path = containers.dir(id).join("config.json");
        let damaged = |reason: String| ContainerError::Damaged { id: id.clone(), reason };
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ContainerError::Gone(id.clone()),
            _ => damaged(error.to_string()),
        })?;
        let config: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if config.version != STATE_VERSION {
            return Err(damaged(format!(
                "it is of version {}; this lith knows {STATE_VERSION}",
                config.version
            )));
        }
        Ok(config)
    }

    /// The bytes of `config.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a config is plain data")
    }

    /// The signal that asks the program to end; 15 if the image names none.
    pub fn stop_signal(&self) -> Result<i32, super::signals::UnknownSignal> {
        match self.run.stop_signal.as_str() {
            "" => Ok(super::signals::TERM),
            name => super::signals::number(name),
        }
    }
}
