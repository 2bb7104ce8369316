//! The world that a hermetic step is told of (spec/world.md).
//!
//! Owns: which one that is. It follows from the step and from the files that it stands on, so equal keys and parents have
//! equal worlds.

use super::observe::Rootfs;
use super::{ExecError, Executor, Job};
use crate::action::BoundRun;
use crate::layer::Toc;
use crate::sandbox::spec::{Layout, Listing, World};

/// So many processors has every machine: few enough not to swamp one, enough to use what most have.
const PROCESSORS: u32 = 4;
/// Where the clock stands if nothing is later: 1980-01-02T00:00:00Z. Programs take earlier times for a clock that nobody set:
/// zip(1) and python's zipfile have no way to write them, and gzip(1) fails with a warning for 1970. A day later, so that it
/// is 1980 in every time zone.
const EARLIEST: i64 = 315_619_200;

impl Executor<'_> {
    pub(super) fn world(&self, job: &Job, run: &BoundRun, parent: &Rootfs) -> Result<World, ExecError> {
        let epoch = job.action.epoch.seconds();
        let tree = self.trees.of(self.store, parent)?;
        // A file that a program finds must not be from its future: make(1), tar(1) and gpg(1) mind.
        let newest = tree.layers().iter().filter_map(|layer| newest(layer)).max();
        Ok(World {
            clock: newest.map_or(epoch, |newest| newest.max(epoch)).max(EARLIEST),
            seed: run.seeded.then(|| *job.key.as_bytes()),
            processors: PROCESSORS,
            listing: Listing::Sorted,
            layout: Layout::Fixed,
            umask: 0o022,
            last_process: 0,
        })
    }
}

/// The newest time that an entry of a layer has, in seconds since 1970.
fn newest(layer: &Toc) -> Option<i64> {
    layer.entries().iter().map(|entry| entry.meta.mtime.secs).max()
}
