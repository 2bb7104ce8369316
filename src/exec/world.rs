//! The world that a step is told of (spec/world.md).
//!
//! Owns: which one that is. A hermetic step's follows from the step and from the files that it stands on, so equal keys and
//! parents have equal worlds.

use super::observe::Rootfs;
use super::variation::{Axis, Variation};
use super::{ExecError, Executor, Job};
use crate::action::BoundRun;
use crate::layer::Toc;
use crate::path::ImagePath;
use crate::sandbox::spec::{Layout, Listing, World};

/// So many processors has every machine: few enough not to swamp one, enough to use what most have.
const PROCESSORS: u32 = 4;
/// What randomness follows from where it is to be held still and the step has no seed.
const SEED: [u8; 32] = *b"held still to look at the others";
/// So long ago has every machine started, in seconds.
const UPTIME: i64 = 100;
const UMASK: u32 = 0o022;
/// Where the clock stands if nothing is later: 1980-01-02T00:00:00Z. Programs take earlier times for a clock that nobody set:
/// zip(1) and python's zipfile have no way to write them, and gzip(1) fails with a warning for 1970. A day later, so that it
/// is 1980 in every time zone.
const EARLIEST: i64 = 315_619_200;

impl Executor<'_> {
    /// `None` for a step that sees what is so.
    pub(super) fn world(
        &self,
        job: &Job,
        run: &BoundRun,
        parent: &Rootfs,
    ) -> Result<Option<World>, ExecError> {
        let own = if run.hermetic { Some(self.told(job, run, parent)?) } else { None };
        Ok(match &self.variation {
            None => own,
            Some(variation) => Some(varied(own, variation)),
        })
    }

    fn told(&self, job: &Job, run: &BoundRun, parent: &Rootfs) -> Result<World, ExecError> {
        let epoch = job.action.epoch.seconds();
        let tree = self.trees.of(self.store, parent)?;
        // A file that a program finds must not be from its future: make(1), tar(1) and gpg(1) mind.
        let newest = tree.layers().iter().filter_map(|layer| newest(layer)).max();
        let clock = newest.map_or(epoch, |newest| newest.max(epoch)).max(EARLIEST);
        let listed = LIBRARIES.map(|dir| tree.list(&ImagePath::parse(dir).expect("a literal path")));
        let ticks = listed.iter().flatten().any(|found| is_musl(found.entry.path.name()));
        Ok(World { ticks, ..still(clock, run.seeded.then(|| *job.key.as_bytes())) })
    }
}

fn still(clock: i64, seed: Option<[u8; 32]>) -> World {
    World {
        clock,
        uptime: UPTIME,
        ticks: false,
        seed,
        processors: PROCESSORS,
        listing: Listing::Sorted,
        layout: Layout::Fixed,
        umask: UMASK,
        last_process: 0,
    }
}

/// A world that differs as it is to. What the step's own world holds differs in none.
fn varied(own: Option<World>, variation: &Variation) -> World {
    let mut world = own.unwrap_or_else(|| still(variation.now, None));
    if !variation.is(Axis::Randomness) {
        world.seed = world.seed.or(Some(SEED));
    }
    world.clock = variation.clock(world.clock);
    world.uptime = variation.clock(world.uptime);
    if variation.is(Axis::Processors) {
        world.processors = 1;
    }
    if variation.is(Axis::Listing) {
        world.listing = Listing::Shuffled(1);
    }
    if variation.is(Axis::Layout) {
        world.layout = Layout::Random;
    }
    if variation.is(Axis::Umask) {
        world.umask = 0o027;
    }
    if variation.is(Axis::Processes) {
        world.last_process = 20_000;
    }
    world
}

/// Where it is, on images with `/lib` merged into `/usr` and on others.
const LIBRARIES: [&[u8]; 2] = [b"lib", b"usr/lib"];

/// Whether a file of these is the C library that makes names of temporary files from the clock alone.
fn is_musl(name: &[u8]) -> bool {
    name.starts_with(b"ld-musl-")
}

/// The newest time that an entry of a layer has, in seconds since 1970.
fn newest(layer: &Toc) -> Option<i64> {
    layer.entries().iter().map(|entry| entry.meta.mtime.secs).max()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn variation(different: &[Axis]) -> Variation {
        Variation { different: different.iter().copied().collect(), now: 1_800_000_000, storage: None }
    }

    #[test]
    fn a_world_differs_in_what_it_is_to_and_in_nothing_else() {
        let plain = varied(None, &variation(&[]));
        assert_eq!((plain.clock, plain.seed), (1_800_000_000, Some(SEED)));
        let worlds: BTreeSet<String> =
            Axis::ALL.iter().map(|axis| format!("{:?}", varied(None, &variation(&[*axis])))).collect();
        // Host name, time zone, locale, parallelism and storage are none of the world's: those five are equal.
        assert_eq!(worlds.len(), Axis::ALL.len() - 4);
        let own = still(7, Some([1; 32]));
        assert_eq!(varied(Some(own.clone()), &variation(&[])), own);
    }
}
