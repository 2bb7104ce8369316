//! Finding containers, and making true what a killed supervisor left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::client::{Client, End};
use super::config::{Config, MountSource};
use super::state::{State, Status, now};
use super::wire::Request;
use super::{ContainerError, signals, volumes};
use crate::sandbox::spec;
use crate::store::{ContainerId, Containers, Going};
use crate::sys::file::Lock;

/// How long another process may hold a container that it changes.
const PATIENCE: Duration = Duration::from_secs(20);
/// The exit code of a program that was killed.
const KILLED: u8 = 137;
/// How often is looked again.
const PAUSE: Duration = Duration::from_millis(5);

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub config: Config,
    pub state: State,
}

/// What of a container's volumes goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    Keep,
    /// Those that were made for it alone.
    Anonymous,
}

/// The boot of the machine.
pub(super) fn this_boot() -> io::Result<String> {
    crate::sys::file::boot_id()
}

/// What a shell would call the end of a program.
pub fn exit_code(status: spec::Status) -> u8 {
    match status {
        spec::Status::Exited(code) => u8::try_from(code & 0xff).unwrap_or(255),
        spec::Status::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(255),
    }
}

/// Removes a name that may or may not be there.
pub(super) fn remove_link(path: &Path) {
    // Whatever stands in its way is found when the name is made again.
    let _ = fs::remove_file(path);
}

/// All containers, oldest first. What was left by killed supervisors is made true on the way. `damaged` hears of those
/// that cannot be read.
pub fn list(
    containers: &Containers,
    mut damaged: impl FnMut(ContainerError),
) -> Result<Vec<Container>, ContainerError> {
    let mut all = Vec::new();
    for id in containers.ids()? {
        match load(containers, id) {
            Ok(container) => all.push(container),
            Err(ContainerError::Gone(_)) => {}
            Err(error @ ContainerError::Damaged { .. }) => damaged(error),
            Err(error) => return Err(error),
        }
    }
    all.sort_by(|a, b| (&a.config.created, &a.id).cmp(&(&b.config.created, &b.id)));
    Ok(all)
}

/// The container that a text means: an id, a name, or the beginning of an id.
pub fn find(containers: &Containers, text: &str) -> Result<Container, ContainerError> {
    load(containers, find_id(containers, text)?).map_err(|error| match error {
        ContainerError::Gone(_) => ContainerError::Unknown(text.to_owned()),
        other => other,
    })
}

fn find_id(containers: &Containers, text: &str) -> Result<ContainerId, ContainerError> {
    // docker shows names with a slash before them.
    let name = text.strip_prefix('/').unwrap_or(text);
    if let Some(id) = containers.by_name(name) {
        return Ok(id);
    }
    let ids = containers.ids()?;
    let matching: Vec<&ContainerId> = match text {
        "" => vec![],
        text => ids.iter().filter(|id| id.as_str().starts_with(text)).collect(),
    };
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        // A name whose record was lost with a kill.
        [] => ids
            .into_iter()
            .find(|id| containers.name(id) == name)
            .ok_or_else(|| ContainerError::Unknown(text.chars().take(200).collect())),
        several => {
            let ids: Vec<&str> = several.iter().map(|id| id.short()).collect();
            Err(ContainerError::Ambiguous { text: text.to_owned(), ids: ids.join(", ") })
        }
    }
}

fn load(containers: &Containers, id: ContainerId) -> Result<Container, ContainerError> {
    let config = Config::read(containers, &id)?;
    let state = settle(containers, &id, &config)?;
    // A state that was read of one that was just removed would be that of a lost one.
    if !containers.dir(&id).exists() {
        return Err(ContainerError::Gone(id));
    }
    Ok(Container { name: containers.name(&id), id, config, state })
}

/// The state of a container, made true if nobody watches it any more.
fn settle(containers: &Containers, id: &ContainerId, config: &Config) -> Result<State, ContainerError> {
    let settled = |state: &State| match state.status {
        Status::Running | Status::Starting => false,
        // Whoever was to remove it may have been killed.
        Status::Dead => !config.auto_remove,
        Status::Created | Status::Exited => true,
    };
    let state = State::read(containers, id);
    if settled(&state) {
        return Ok(state);
    }
    let lock = match containers.attempt_lock(id) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(state),
        Err(_) if !containers.dir(id).exists() => return Err(ContainerError::Gone(id.clone())),
        Err(error) => return Err(error.into()),
    };
    // Its supervisor may have come to its end in between.
    let state = State::read(containers, id);
    if settled(&state) {
        return Ok(state);
    }
    let state = match state.status {
        Status::Dead => state,
        _ => clear_up(containers, id, state, &lock)?,
    };
    if config.auto_remove
        && let Ok(going) = remove_locked(containers, id, Volumes::Anonymous)
    {
        // What stays of it is garbage.
        let _ = going.delete();
        return Err(ContainerError::Gone(id.clone()));
    }
    Ok(state)
}

/// Ends what a killed supervisor left, and writes down that it did.
fn clear_up(
    containers: &Containers,
    id: &ContainerId,
    state: State,
    _lock: &Lock,
) -> Result<State, ContainerError> {
    let boot = this_boot().map_err(ContainerError::io("find out which boot this is"))?;
    if state.boot == boot {
        if let Some(process) = state.process
            && !process.end()
        {
            let name = containers.name(id);
            return Err(ContainerError::Refused {
                name,
                reason: format!("process {} does not end", process.pid),
            });
        }
        state.cgroups.iter().for_each(|dir| crate::sandbox::remove_cgroup(dir));
    }
    remove_link(&containers.layers(id).merged());
    remove_link(&containers.dir(id).join("control"));
    let state = match state.status {
        Status::Starting => {
            State { error: "whoever was to start it was killed".to_owned(), ..State::created() }
        }
        _ => state.orphaned(&boot, now()),
    };
    // On a full disk it is found out again by the next, who may be about to make room.
    let _ = state.write(containers, id);
    Ok(state)
}

/// The lock of a container that does not run. Others may hold it for a moment.
pub fn lock(containers: &Containers, container: &Container) -> Result<Lock, ContainerError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match containers.attempt_lock(&container.id) {
            Ok(Some(lock)) if containers.dir(&container.id).exists() => return Ok(lock),
            Ok(Some(_)) | Err(_) if !containers.dir(&container.id).exists() => {
                return Err(ContainerError::Gone(container.id.clone()));
            }
            Ok(Some(_) | None) => {}
            Err(error) => return Err(error.into()),
        }
        let name = || container.name.clone();
        if State::read(containers, &container.id).status == Status::Running {
            return Err(ContainerError::Running { name: name() });
        }
        if Instant::now() >= deadline {
            return Err(ContainerError::Busy { name: name() });
        }
        sleep(PAUSE);
    }
}

/// Connects to the supervisor of a running container; `None` if it does not run.
pub fn connect(containers: &Containers, container: &Container) -> Result<Option<Client>, ContainerError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match Client::connect(containers, &container.id) {
            Ok(client) => return Ok(Some(client)),
            Err(error) => error,
        };
        let state = match settle(containers, &container.id, &container.config) {
            Ok(state) => state,
            Err(ContainerError::Gone(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if state.status != Status::Running {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(ContainerError::Supervisor { name: container.name.clone(), source: error });
        }
        sleep(PAUSE);
    }
}

/// Sends a signal to the program of a running container.
pub fn signal(containers: &Containers, container: &Container, number: i32) -> Result<(), ContainerError> {
    let not_running = || ContainerError::NotRunning { name: container.name.clone() };
    let mut client = connect(containers, container)?.ok_or_else(not_running)?;
    client.ask(&Request::Signal { of: None, number }).map_err(|source| match source.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => not_running(),
        _ => ContainerError::Supervisor { name: container.name.clone(), source },
    })
}

/// Asks the program to end, waits for so long, and ends it. Fine if it does not run.
pub fn stop(
    containers: &Containers,
    container: &Container,
    signal: i32,
    patience: Option<Duration>,
) -> Result<(), ContainerError> {
    let Some(mut client) = connect(containers, container)? else { return Ok(()) };
    let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    while let Err(error) = client.ask(&Request::Signal { of: None, number: signal }) {
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || error.kind() != io::ErrorKind::Other {
            // An end that comes first, or a supervisor that says nothing, shows below.
            break;
        }
        // There is no program yet to be asked.
        sleep(PAUSE);
    }
    if client.end(patience).is_ok_and(|end| end != End::Lost) {
        return Ok(());
    }
    end(containers, container, client)
}

/// Ends a container, whatever its supervisor does.
pub fn kill(containers: &Containers, container: &Container) -> Result<(), ContainerError> {
    match connect(containers, container) {
        Ok(None) => Ok(()),
        Ok(Some(client)) => end(containers, container, client),
        Err(ContainerError::Supervisor { .. }) => end_supervisor(containers, container),
        Err(error) => Err(error),
    }
}

fn end(containers: &Containers, container: &Container, mut client: Client) -> Result<(), ContainerError> {
    let _ = client.send(&Request::Signal { of: None, number: signals::KILL });
    match client.end(Some(Duration::from_secs(10))) {
        Ok(End::Exited(_) | End::Failed { .. }) => Ok(()),
        Ok(End::Lost) => settled(containers, container),
        // Stopped, or stuck: what it watches ends with it.
        Err(_) => end_supervisor(containers, container),
    }
}

fn end_supervisor(containers: &Containers, container: &Container) -> Result<(), ContainerError> {
    if let Some(supervisor) = State::read(containers, &container.id).supervisor {
        supervisor.end();
    }
    settled(containers, container)
}

/// Waits until a container whose supervisor is gone has no lock any more, and makes its state true.
fn settled(containers: &Containers, container: &Container) -> Result<(), ContainerError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match settle(containers, &container.id, &container.config) {
            Ok(state) if state.status == Status::Running && Instant::now() < deadline => sleep(PAUSE),
            Ok(state) if state.status == Status::Running => {
                return Err(ContainerError::Busy { name: container.name.clone() });
            }
            Ok(_) | Err(ContainerError::Gone(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the end of a container's program; gives its exit code.
pub fn wait(containers: &Containers, container: &Container) -> Result<u8, ContainerError> {
    if let Some(mut client) = connect(containers, container)? {
        let end = client
            .end(None)
            .map_err(|source| ContainerError::Supervisor { name: container.name.clone(), source })?;
        match end {
            End::Exited(code) | End::Failed { code, .. } => return Ok(code),
            End::Lost => {
                settled(containers, container)?;
                if !containers.dir(&container.id).exists() {
                    return Ok(KILLED);
                }
            }
        }
    }
    if !containers.dir(&container.id).exists() {
        return Err(ContainerError::Gone(container.id.clone()));
    }
    Ok(State::read(containers, &container.id).exit_code)
}

/// Removes a container that does not run.
pub fn remove(
    containers: &Containers,
    container: &Container,
    volumes: Volumes,
) -> Result<(), ContainerError> {
    let _lock = match lock(containers, container) {
        Err(ContainerError::Gone(_)) => return Ok(()),
        lock => lock?,
    };
    Ok(remove_locked(containers, &container.id, volumes)?.delete()?)
}

/// Removes a container, running or not.
pub fn remove_by_force(
    containers: &Containers,
    container: &Container,
    volumes: Volumes,
) -> Result<(), ContainerError> {
    loop {
        kill(containers, container)?;
        match remove(containers, container, volumes) {
            // It was about to be started when it was looked at.
            Err(ContainerError::Running { .. }) => {}
            removed => return removed,
        }
    }
}

/// Removes a container of which nothing can be known any more, and ends what may still be running of it.
pub fn remove_damaged(containers: &Containers, id: &ContainerId) -> Result<(), ContainerError> {
    let state = State::read(containers, id);
    for process in [state.supervisor, state.process].into_iter().flatten() {
        process.end();
    }
    match containers.attempt_lock(id)? {
        Some(_lock) => Ok(remove_locked(containers, id, Volumes::Keep)?.delete()?),
        None => Err(ContainerError::Busy { name: containers.name(id) }),
    }
}

/// Removes a container whose lock the caller holds; its bytes go with what is given.
pub(super) fn remove_locked(
    containers: &Containers,
    id: &ContainerId,
    volumes: Volumes,
) -> Result<Going, ContainerError> {
    let anonymous = match volumes {
        Volumes::Keep => vec![],
        Volumes::Anonymous => {
            Config::read(containers, id).map(|config| anonymous(&config)).unwrap_or_default()
        }
    };
    let state = State::read(containers, id);
    if state.status != Status::Dead {
        // On a full disk it goes all the same.
        let _ = State { status: Status::Dead, ..state }.write(containers, id);
    }
    let going = containers.remove(id)?;
    for name in anonymous {
        match volumes::remove(containers, &name) {
            Ok(()) | Err(ContainerError::UnknownVolume(_) | ContainerError::VolumeInUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(going)
}

fn anonymous(config: &Config) -> Vec<String> {
    let names = config.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, anonymous: true } => Some(name.clone()),
        MountSource::Volume { .. } | MountSource::Bind(_) | MountSource::Tmpfs { .. } => None,
    });
    names.collect()
}

/// Where the layers of a container are: its own, then what is below, topmost first.
pub fn lower_dirs(containers: &Containers, id: &ContainerId) -> Vec<PathBuf> {
    let layers = containers.layers(id);
    let lower = fs::read_to_string(layers.own.join("lower")).unwrap_or_default();
    let links = lower.split(':').filter(|link| !link.is_empty());
    links
        .map(|link| {
            let path = containers.root().join(link);
            fs::canonicalize(&path).unwrap_or(path)
        })
        .collect()
}
