//! Registries that others wrote, on loopback, ended with whoever started them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{has, skip};

/// Who made a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// docker's, the one that most others are made of (Debian's package `docker-registry`).
    Distribution,
    /// The crate `container-registry`, which shares no code with it: no lists, no deletes, no ranges, no upload in one
    /// request, names of exactly two parts, and a password, for which it asks at the foot of its API alone.
    Container,
}

/// Who may come in, where anybody is asked.
pub const USER: &str = "me";
pub const PASSWORD: &str = "hunter2";

/// A registry of somebody else.
pub struct Peer {
    process: Child,
    pub host: String,
    pub storage: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// Starts one that keeps its files below a directory.
    pub fn start(make: Make, dir: &Path) -> Option<Self> {
        let host = free_host();
        let storage = dir.join("storage");
        fs::create_dir_all(&storage).unwrap();
        let mut command = match make {
            Make::Distribution => distribution(dir, &storage, &host)?,
            Make::Container => container(&storage, &host)?,
        };
        command.stdout(Stdio::null());
        Some(Self::run(command, host, storage))
    }

    /// Runs one until it listens at `host`.
    pub fn run(mut command: Command, host: String, storage: PathBuf) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut peer = Self { process: command.spawn().unwrap(), host, storage };
        let began = Instant::now();
        while TcpStream::connect(&peer.host).is_err() {
            assert!(peer.process.try_wait().unwrap().is_none(), "{command:?} does not start");
            assert!(began.elapsed() < Duration::from_secs(30), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        peer
    }

    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host)
    }
}

/// Free a moment ago; nobody else on the machine asks for it by number.
pub fn free_host() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn distribution(dir: &Path, storage: &Path, host: &str) -> Option<Command> {
    if !has("docker-registry") {
        return skip("needs docker-registry");
    }
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {host}}}\n",
        storage.display()
    );
    let path = dir.join("config.yml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(path);
    Some(command)
}

fn container(storage: &Path, host: &str) -> Option<Command> {
    let program = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/registries/bin/container-registry"));
    if !program.exists() {
        return skip("needs container-registry: . scripts/packages.sh && install_registries");
    }
    let mut command = Command::new(program);
    command.arg("--bind").arg(host).arg("--storage").arg(storage).args(["--password", PASSWORD]);
    Some(command)
}
