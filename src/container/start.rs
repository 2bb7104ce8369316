//! Starting a container: its root file system described, its supervisor started.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::client::Client;
use super::config::{Config, MountSource};
use super::state::{State, Status};
use super::supervisor::{Job, NAME};
use super::wire::{Attach, Event};
use super::{ContainerError, volumes};
use crate::layer::Owners;
use crate::mount::Overlay;
use crate::sandbox::spec::{
    Access, File, First, Mount, Mounted, Process, Size, Spec, Stdio as Streams, Work,
};
use crate::sandbox::{Writes, open_sealed, send_descriptor, send_job};
use crate::store::{ContainerId, Containers, Store};
use crate::sys::file::Lock;

/// How a container is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// What the caller has of its streams.
    pub attach: Attach,
    /// The first size of its terminal, if it has one.
    pub size: Size,
    /// Its `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
}

/// A supervisor that was started and waits for its job: that takes about as long as making a container, and both can be
/// done at the same time. Dropped, it ends.
pub struct Standby {
    /// None once it has its job.
    waiting: Option<(UnixStream, Child)>,
}

impl Standby {
    /// Starts the supervisor of a container that need not be there yet.
    pub fn start(id: &ContainerId) -> Result<Self, ContainerError> {
        Self::spawn(id).map_err(ContainerError::io("start the supervisor"))
    }

    fn spawn(id: &ContainerId) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // A pipe of the caller's that stayed open in there would keep its reader waiting.
        crate::sys::exec::close_on_exec_from(3)?;
        // What it forks must not be a way to write to this program.
        let program = open_sealed(Path::new("/proc/self/exe"))?;
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0(NAME)
            // For whoever lists processes.
            .arg(id.as_str())
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { waiting: Some((ours, child)) })
    }

    /// Gives it its job, and the lock of its container.
    fn take(mut self, job: &Job, lock: Lock) -> io::Result<Client> {
        let (socket, _) = self.waiting.as_ref().expect("it has no job before this");
        send_descriptor(socket, Some(lock.as_fd())).and_then(|()| send_job(socket, job))?;
        let (socket, _) = self.waiting.take().expect("it was there");
        Ok(Client::over(socket))
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Some((socket, mut child)) = self.waiting.take() {
            // It has seen nothing of its job, and ends.
            drop(socket);
            let _ = child.wait();
        }
    }
}

/// Starts a container whose lock the caller holds. Gives the connection once the program runs.
pub fn start(
    store: &Store,
    supervisor: Standby,
    id: &ContainerId,
    config: &Config,
    lock: Lock,
    how: Start,
) -> Result<Client, ContainerError> {
    let (attach, spec) = (how.attach, spec(store, id, config, how)?);
    let job = Job {
        id: id.clone(),
        store: store.root().to_owned(),
        spec,
        limits: config.limits.clone(),
        writes: if config.auto_remove { Writes::Discarded } else { Writes::Durable },
        health: config.run.healthcheck.clone(),
        auto_remove: config.auto_remove,
        attach,
    };
    let mut client = supervisor.take(&job, lock).map_err(ContainerError::io("start the supervisor"))?;
    let lost = |source| ContainerError::Supervisor { name: id.short().to_owned(), source };
    match client.event(None).map_err(lost)? {
        Some(Event::Started { .. }) => Ok(client),
        Some(Event::Failed { code, reason }) => Err(ContainerError::Failed { code, reason }),
        // It was killed when the program ran already and before it could say so: lost, like one that is killed later.
        None if State::read(&Containers::of(store.root()), id).status == Status::Running => Ok(client),
        Some(_) | None => Err(lost(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// What a container's sandbox is.
pub(super) fn spec(
    store: &Store,
    id: &ContainerId,
    config: &Config,
    how: Start,
) -> Result<Spec, ContainerError> {
    let containers = Containers::of(store.root());
    let layers = containers.layers(id);
    let owners = store.unpacking().owners();
    Ok(Spec {
        root: Overlay {
            lowers: store.lowers(&config.layers)?,
            writable: Some(layers.writable()),
            marks: store.unpacking().marks(),
        },
        root_access: access(config.read_only),
        mount_points: Some(layers.mount_points()),
        process: process(config, stdio(config, how.size)),
        first: match (config.init, owners) {
            (false, Owners::AsOnDisk) => First::Process,
            (true, _) | (_, Owners::Recorded) => First::Init,
        },
        hostname: config.hostname.clone(),
        network: config.network,
        files: files(config, how.resolv_conf),
        mounts: config.mounts.iter().map(|point| mount(&containers, point)).collect(),
        shm_size: config.shm_size,
    })
}

/// The process of a container, or one more like it.
pub fn process(config: &Config, stdio: Streams) -> Process {
    Process {
        argv: config.program.argv.clone(),
        env: config.program.env.clone(),
        cwd: config.program.cwd.clone(),
        user: config.program.user.clone(),
        capabilities: config.capabilities,
        ulimits: config.ulimits.clone(),
        insecure: false,
        world: None,
        stdio,
        work: Work::Execute,
    }
}

fn stdio(config: &Config, size: Size) -> Streams {
    match (config.tty, config.open_stdin) {
        (true, _) => Streams::Terminal(size),
        (false, true) => Streams::Piped,
        (false, false) => Streams::Output,
    }
}

const fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

fn mount(containers: &Containers, point: &super::MountPoint) -> Mount {
    let access = access(point.read_only);
    let what = match &point.source {
        MountSource::Bind(path) => Mounted::Host { path: path.clone(), access },
        MountSource::Volume { name, .. } => {
            Mounted::Directory { path: volumes::data(containers, name), access }
        }
        MountSource::Tmpfs { size } => Mounted::Tmpfs { size: *size, access },
    };
    Mount { target: point.target.clone(), what }
}

/// What a container finds in `/etc` besides what its image has, unless something is mounted there.
fn files(config: &Config, resolv_conf: Vec<u8>) -> Vec<File> {
    let all = [
        ("/etc/hostname", format!("{}\n", config.hostname).into_bytes()),
        ("/etc/hosts", hosts(config).into_bytes()),
        ("/etc/resolv.conf", resolv_conf),
    ];
    let mounted = |path: &str| config.mounts.iter().any(|mount| mount.target == Path::new(path));
    let files = all.into_iter().filter(|(path, _)| !mounted(path));
    files.map(|(path, bytes)| File { path: path.into(), bytes, mode: 0o644 }).collect()
}

fn hosts(config: &Config) -> String {
    let given = config.hosts.iter().map(|host| format!("{}\t{}\n", host.address, host.name));
    let own = format!("127.0.1.1\t{}\n", config.hostname);
    let usual = ["127.0.0.1\tlocalhost\n", "::1\tlocalhost ip6-localhost ip6-loopback\n"];
    usual.into_iter().map(str::to_owned).chain([own]).chain(given).collect()
}
