//! Whether programs opened the devices that give randomness (inotify(7)).

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

const DEVICES: [&str; 2] = ["/dev/random", "/dev/urandom"];

/// Notes that they are opened, by whomever.
pub(super) struct Draws(Option<OwnedFd>);

impl Draws {
    /// From now on. Where the devices are also others' nothing can be told.
    pub(super) fn watch(own_devices: bool) -> Self {
        let watch = || -> rustix::io::Result<OwnedFd> {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            for device in DEVICES {
                inotify::add_watch(&fd, device, WatchFlags::OPEN)?;
            }
            Ok(fd)
        };
        Self(if own_devices { watch().ok() } else { None })
    }

    /// Whether somebody did.
    pub(super) fn happened(&self) -> bool {
        let Some(fd) = &self.0 else { return false };
        let mut buffer = [MaybeUninit::uninit(); 256];
        Reader::new(fd, &mut buffer).next().is_ok()
    }
}
