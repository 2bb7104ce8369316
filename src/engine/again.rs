//! Steps done once more, in other worlds (spec/check.md).
//!
//! A step is held against itself on the same parent, so what an earlier step varies in is not laid to a later one. If it
//! comes out differently in a world in which everything is different, it is done in worlds that differ in one thing each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::progress::{Done, Steps};
use super::report::{Event, StepInfo, Ui};
use super::{BuildError, Prepared, sharing};
use crate::action::{BoundOp, BoundRun};
use crate::exec::observe::Rootfs;
use crate::exec::run::{Part, Sink};
use crate::exec::variation::{Axis, Variation};
use crate::exec::{ExecError, Executor};
use crate::layer::capture::Dropped;
use crate::sandbox::Stream;
use crate::store::LayerRef;

/// A file system in memory that is there on every Linux.
const MEMORY: &str = "/dev/shm";

/// What is to be checked.
#[derive(Debug)]
pub struct Wanted {
    /// Seconds since 1970, for the clocks of steps whose own goes on.
    pub now: i64,
    /// Names of steps; none means all.
    pub steps: Vec<String>,
    /// What is made different, also what hermetic steps are told; else what suits each step.
    pub different: Option<BTreeSet<Axis>>,
}

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    pub steps: Vec<CheckedStep>,
}

#[derive(Debug)]
pub struct CheckedStep {
    pub info: StepInfo,
    /// What was made different.
    pub different: BTreeSet<Axis>,
    pub result: Again,
}

/// How a step came out once more.
#[derive(Debug)]
pub enum Again {
    Same,
    Varies {
        /// As it was built, and as it came out.
        layers: [LayerRef; 2],
        /// Each of these makes it vary by itself; empty if none does.
        because: BTreeSet<Axis>,
        /// It varies where nothing is different.
        by_itself: bool,
    },
    /// It does not work in another world.
    Fails {
        because: BTreeSet<Axis>,
        error: Box<ExecError>,
    },
}

impl Checked {
    /// Whether every step came out the same.
    pub fn is_reproducible(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.result, Again::Same))
    }
}

/// Builds, and does each step once more, or those of these names alone.
///
/// # Errors
/// [`BuildError`] if it cannot be built at all, or a name is that of no step.
pub fn check(prepared: &mut Prepared<'_>, wanted: &Wanted, ui: &dyn Ui) -> Result<Checked, BuildError> {
    super::foreign::check(prepared)?;
    let (done, written) = sharing::run(prepared, ui);
    prepared.save_indexes()?;
    let done = done?;
    written?;
    find_all(prepared, &done, &wanted.steps)?;
    let checker = Checker {
        executor: Executor::new(prepared.store, &prepared.rules),
        wanted,
        storage: elsewhere(prepared),
        ui,
    };
    let steps = done.done.iter().filter(|(id, _)| is_wanted(&wanted.steps, &prepared.plain_step(**id)));
    let steps = steps.map(|(id, step)| {
        let parent = done.parent(prepared, *id).expect("it was built");
        checker.step(step, &parent)
    });
    Ok(Checked { steps: steps.collect::<Result<_, _>>()? })
}

fn is_wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|wanted| wanted == name)
}

fn find_all(prepared: &Prepared<'_>, done: &Steps, only: &[String]) -> Result<(), BuildError> {
    let names: Vec<String> = done.done.keys().map(|id| prepared.plain_step(*id)).collect();
    match only.iter().find(|wanted| !names.contains(wanted)) {
        None => Ok(()),
        Some(missing) => Err(BuildError::NoStep {
            file: prepared.options.dockerfile.name.clone(),
            name: missing.clone(),
            similar: crate::diag::suggest(missing, names.iter().map(String::as_str)).map(str::to_owned),
        }),
    }
}

/// Another file system for what steps write, where there is one that takes an overlay's marks.
fn elsewhere(prepared: &Prepared<'_>) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
    let memory = Path::new(MEMORY);
    let is_other = device(memory).is_some_and(|dev| Some(dev) != device(prepared.store.root()));
    (is_other && rustix::process::geteuid().is_root()).then(|| memory.to_owned())
}

struct Checker<'a> {
    executor: Executor<'a>,
    wanted: &'a Wanted,
    storage: Option<PathBuf>,
    ui: &'a dyn Ui,
}

impl Checker<'_> {
    fn step(&self, done: &Done, parent: &Rootfs) -> Result<CheckedStep, BuildError> {
        let different = self.axes(done);
        let result = match self.once(done, parent, &different) {
            Ok(layer) if layer == done.record.layer => Again::Same,
            Ok(layer) => self.varies(done, parent, &different, layer)?,
            Err(error) if is_the_steps(&error) => self.fails(done, parent, &different, error),
            Err(error) => return Err(error.into()),
        };
        Ok(CheckedStep { info: done.info.clone(), different, result })
    }

    fn axes(&self, done: &Done) -> BTreeSet<Axis> {
        let BoundOp::Run(BoundRun { hermetic, seeded, .. }) = done.job.action.op else {
            // Nothing is executed, and lith itself asks none of these.
            return BTreeSet::new();
        };
        let mut axes = match &self.wanted.different {
            Some(different) => different.clone(),
            None => Axis::of_step(hermetic, seeded),
        };
        if self.storage.is_none() {
            axes.remove(&Axis::Storage);
        }
        axes
    }

    /// Does a step in a world that differs in these.
    fn once(&self, done: &Done, parent: &Rootfs, different: &BTreeSet<Axis>) -> Result<LayerRef, ExecError> {
        let names: Vec<&str> = different.iter().map(|axis| axis.name()).collect();
        let what = match &names[..] {
            [] => "all else equal".to_owned(),
            [name] => format!("other {name}"),
            names => format!("{} things different", names.len()),
        };
        self.ui.event(Event::Note(&format!("[{}] once more, {what}", done.info.name)));
        let variation =
            Variation { different: different.clone(), now: self.wanted.now, storage: self.storage.clone() };
        self.executor.varied(variation).again(&done.job, parent, &mut Quiet)
    }

    /// Which differences make a step vary.
    fn varies(
        &self,
        done: &Done,
        parent: &Rootfs,
        different: &BTreeSet<Axis>,
        layer: LayerRef,
    ) -> Result<Again, BuildError> {
        let layers = [done.record.layer, layer];
        let still = BTreeSet::new();
        let base = match self.once(done, parent, &still) {
            Ok(base) => base,
            Err(error) if is_the_steps(&error) => return Ok(self.fails(done, parent, different, error)),
            Err(error) => return Err(error.into()),
        };
        let by_itself = self.once(done, parent, &still).is_ok_and(|again| again != base);
        let mut because = BTreeSet::new();
        // Where nothing has to be different no single thing can be told to be the reason.
        if !by_itself {
            for axis in different {
                if self.once(done, parent, &BTreeSet::from([*axis])).is_ok_and(|layer| layer != base) {
                    because.insert(*axis);
                }
            }
        }
        Ok(Again::Varies { layers, because, by_itself })
    }

    fn fails(&self, done: &Done, parent: &Rootfs, different: &BTreeSet<Axis>, error: ExecError) -> Again {
        let fails = |axis: &&Axis| self.once(done, parent, &BTreeSet::from([**axis])).is_err();
        let because = different.iter().filter(fails).copied().collect();
        Again::Fails { because, error: Box::new(error) }
    }
}

/// Whether the step itself went wrong, and not what surrounds it.
fn is_the_steps(error: &ExecError) -> bool {
    matches!(error, ExecError::Failed { .. } | ExecError::SeededKey { .. })
}

/// What a step says once more is what it said before.
struct Quiet;

impl Sink for Quiet {
    fn started(&mut self) {}

    fn chunk(&mut self, _: Stream, _: &[u8]) {}

    fn warning(&mut self, _: &str) {}

    fn dropped(&mut self, _: &Dropped) {}

    fn shell(&mut self) {}

    fn part(&mut self, _: Part) {}
}
