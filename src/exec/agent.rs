//! ssh agents that steps may ask: each step talks to a socket of its own, and what it says is passed on.
//!
//! So a step never sees where the agent's own socket is, and the socket has the owner and mode that its mount asks for.

use std::fs::{self, File};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::recipe::mount::NodeOwner;
use crate::store::Scratch;

/// A socket for one mount of one step. Dropping it ends what goes through it.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _scratch: Scratch,
}

impl Relay {
    /// Listens in a private directory and passes connections on to the agent at `agent`.
    pub fn start(agent: &Path, owner: &NodeOwner, change_owner: bool, scratch: Scratch) -> io::Result<Self> {
        let dir = scratch.writable().upper;
        let socket = dir.join("agent");
        // By a descriptor's path: a socket's own may be no longer than 107 bytes.
        let open = File::open(&dir)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/agent", open.as_raw_fd()))?;
        if change_owner {
            chown(&socket, Some(owner.uid), Some(owner.gid))?;
        }
        fs::set_permissions(&socket, fs::Permissions::from_mode(owner.mode.into()))?;
        let ended = Arc::new(AtomicBool::new(false));
        let (agent, stop) = (agent.to_owned(), ended.clone());
        let thread = std::thread::Builder::new()
            .name("ssh-agent".into())
            .spawn(move || accept(&listener, &agent, &stop))?;
        Ok(Self { socket, ended, thread: Some(thread), _scratch: scratch })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread, which then sees that it is over.
        let woken = self.socket.parent().and_then(|dir| File::open(dir).ok()).is_some_and(|dir| {
            UnixStream::connect(format!("/proc/self/fd/{}/agent", dir.as_raw_fd())).is_ok()
        });
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &UnixListener, agent: &Path, ended: &AtomicBool) {
    for connection in listener.incoming() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        // An agent that is gone is a connection that is closed; the client says so.
        let (Ok(client), Ok(agent)) = (connection, UnixStream::connect(agent)) else { continue };
        pass(client, agent);
    }
}

/// Both directions, until either side ends.
fn pass(client: UnixStream, agent: UnixStream) {
    let (Ok(from_client), Ok(from_agent)) = (client.try_clone(), agent.try_clone()) else { return };
    let spawn = |mut from: UnixStream, mut to: UnixStream| {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    drop((spawn(from_client, agent), spawn(from_agent, client)));
}
