//! Making a container: its id, its name, its volumes, its layers.

use super::config::{Config, MountPoint, MountSource};
use super::state::{State, Status};
use super::{ContainerError, names, volumes};
use crate::store::{ContainerId, Containers, Created, NewContainer, Store};
use crate::sys::file::{Durability, Lock};

/// What is wanted of a new container.
#[derive(Debug)]
pub struct Wanted {
    pub id: ContainerId,
    /// None for one that is picked.
    pub name: Option<String>,
    pub config: Config,
    /// It is started at once: should that be cut off, nothing is to stay that nobody wanted.
    pub start_now: bool,
}

/// A container that was made, and its lock.
pub struct Made {
    pub id: ContainerId,
    pub name: String,
    pub config: Config,
    pub lock: Lock,
}

/// Makes a container.
pub fn create(store: &Store, wanted: Wanted) -> Result<Made, ContainerError> {
    let Wanted { id, name, mut config, start_now } = wanted;
    if let Some(name) = &name {
        names::check(name)?;
    }
    let containers = Containers::of(store.root());
    add_image_volumes(&mut config);
    // Held until the container can be found, so that nobody thinks they are not in use.
    let volumes = volumes::prepare(store, &mut config)?;
    let stack: Vec<_> = config.layers.iter().map(|layer| layer.diff_id).collect();
    let status = if start_now { Status::Starting } else { Status::Created };
    let state = State { status, ..State::created() };
    let mut given = name.clone().into_iter();
    let mut picked = names::random(&id);
    let below = store.links(&config.layers)?;
    let (config_bytes, state_bytes) = (config.to_bytes(), state.to_bytes());
    let new = NewContainer {
        id: &id,
        stack: &stack,
        below: &below,
        names: if name.is_some() { &mut given } else { &mut picked },
        files: &[("config.json", &config_bytes), ("state.json", &state_bytes)],
        durability: if config.auto_remove { Durability::Cached } else { Durability::Synced },
    };
    match containers.create(new) {
        Ok(Created::New { name, lock }) => Ok(Made { id, name, config, lock }),
        Ok(Created::Taken { by }) => {
            volumes.undo();
            Err(ContainerError::NameTaken { name: name.unwrap_or_default(), by })
        }
        Err(error) => {
            volumes.undo();
            Err(error.into())
        }
    }
}

/// Each VOLUME of the image that nothing was mounted at becomes one of the container's own.
fn add_image_volumes(config: &mut Config) {
    for target in config.run.volumes.keys() {
        if !config.mounts.iter().any(|mount| mount.target.as_os_str() == target.as_str()) {
            config.mounts.push(MountPoint {
                target: target.into(),
                read_only: false,
                source: MountSource::Volume { name: String::new(), anonymous: true },
            });
        }
    }
}
