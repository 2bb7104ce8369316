//! `lith plan`: every step with its key and whether it would be a hit, without doing anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::bind::Inputs;
use super::pins::Pins;
use super::report::StepInfo;
use super::{BuildError, Prepared, packages};
use crate::action::BoundOp;
use crate::digest::ActionKey;
use crate::exec::observe::Rootfs;
use crate::exec::{ExecError, Executor, Job, Lookup};
use crate::fetch::{FetchError, FetchOptions, Fetching};
use crate::plan::StepId;
use crate::platform::Platform;
use crate::recipe::{Base, CopySource, Effect, Label, Op};

/// What the cache says of a step before the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Hit,
    Miss,
    /// It depends on the result of a step that is not a hit.
    Unknown,
    /// It makes no layer.
    Config,
}

/// One step of the shown plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub name: String,
    pub text: String,
    pub line: usize,
    /// `None` if the key depends on a result that is not known.
    pub key: Option<ActionKey>,
    pub status: Status,
    /// Whether all that it takes from other machines is said by its digest; `None` if it takes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Bytes of its layer, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Names of the steps and stages it needs.
    pub needs: Vec<String>,
    /// What makes its result depend on more than its key.
    pub effects: Vec<Effect>,
}

/// One wanted stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageLines {
    pub name: String,
    /// What its programs are for.
    pub platform: Platform,
    /// What it stands on, as written.
    pub base: String,
    pub target: bool,
    /// Of a target: whether its image comes out the same each time, as far as it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reproducibility: Option<Label>,
    pub steps: Vec<Line>,
}

/// Asks the cache about every step in order.
pub fn preview(prepared: &Prepared<'_>) -> Result<Vec<StageLines>, BuildError> {
    let mut asker = Asker {
        prepared,
        executor: Executor::new(prepared.store, &prepared.rules),
        fetch: FetchOptions { fetching: Fetching::Never, ..prepared.options.fetch.clone() },
        ends: BTreeMap::new(),
    };
    let wanted = prepared.plan.wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
    wanted.map(|(stage, _)| asker.stage(stage)).collect()
}

/// What there is to say of one step.
struct Found {
    key: Option<ActionKey>,
    status: Status,
    size: Option<u64>,
}

impl Found {
    fn new(key: Option<ActionKey>, status: Status) -> Self {
        Self { key, status, size: None }
    }
}

struct Asker<'a> {
    prepared: &'a Prepared<'a>,
    executor: Executor<'a>,
    fetch: FetchOptions,
    /// The root file system at the end of each stage, as far as it is known.
    ends: BTreeMap<usize, Option<Arc<Rootfs>>>,
}

impl Asker<'_> {
    fn stage(&mut self, at: usize) -> Result<StageLines, BuildError> {
        let stage = &self.prepared.recipe.stages[at];
        let (base, mut rootfs) = match &stage.base {
            Base::Scratch => ("scratch".to_owned(), Some(Arc::default())),
            // Which ones is not known without asking a server.
            Base::Packages(set) => (packages::shown(set), None),
            Base::Image(name) => {
                (name.clone(), Some(self.prepared.image(name, &stage.platform).rootfs.clone()))
            }
            Base::Stage(earlier) => (self.prepared.stage_name(*earlier), self.ends[earlier].clone()),
        };
        let mut below = match &stage.base {
            Base::Stage(earlier) => vec![self.prepared.stage_name(*earlier)],
            Base::Scratch | Base::Image(_) | Base::Packages(_) => vec![],
        };
        let mut steps = Vec::new();
        for (number, step) in stage.steps.iter().enumerate() {
            let info = self.prepared.info(StepId { stage: at, step: number });
            let mut needs = below.clone();
            needs.extend(step.op.stages().map(|from| self.prepared.stage_name(from)));
            let Found { key, status, size } = self.step(&step.op, at, &mut rootfs)?;
            if status != Status::Config {
                below = vec![info.name.clone()];
            }
            let StepInfo { name, text, line, effects, .. } = info;
            let pinned = pinned(&step.op, &self.prepared.options.pins);
            steps.push(Line { name, text, line, key, status, pinned, size, needs, effects });
        }
        self.ends.insert(at, rootfs);
        let number = self.prepared.recipe.targets.iter().position(|target| *target == at);
        let (target, reproducibility) =
            (number.is_some(), number.map(|number| self.prepared.label_beforehand(number)));
        let platform = stage.platform.clone();
        Ok(StageLines { name: self.prepared.stage_name(at), platform, base, target, reproducibility, steps })
    }

    /// Key and status; `rootfs` moves on if the result is known and is forgotten if not. What takes a layer that is elsewhere
    /// is not known.
    fn step(&self, op: &Op, stage: usize, rootfs: &mut Option<Arc<Rootfs>>) -> Result<Found, BuildError> {
        match self.step_of(op, stage, rootfs) {
            Err(error) if error.is_unkept() => {
                *rootfs = None;
                Ok(Found::new(None, Status::Unknown))
            }
            found => found,
        }
    }

    fn step_of(&self, op: &Op, stage: usize, rootfs: &mut Option<Arc<Rootfs>>) -> Result<Found, BuildError> {
        if matches!(op, Op::Config) {
            return Ok(Found::new(None, Status::Config));
        }
        let Some(job) = self.job(op, stage)? else {
            *rootfs = None;
            return Ok(Found::new(None, Status::Unknown));
        };
        let status = match rootfs {
            None if !matches!(op, Op::Run(_)) && self.prepared.store.action_records(job.key).is_empty() => {
                Status::Miss
            }
            None => Status::Unknown,
            Some(parent) => match self.executor.lookup(job.key, parent)? {
                Lookup::Hit(record) => {
                    let mut next = Rootfs::clone(parent);
                    next.push(record.layer);
                    *rootfs = Some(Arc::new(next));
                    return Ok(Found {
                        key: Some(job.key),
                        status: Status::Hit,
                        size: Some(record.layer.size),
                    });
                }
                Lookup::Unknown | Lookup::Contradicted { .. } => Status::Miss,
            },
        };
        *rootfs = None;
        Ok(Found::new(Some(job.key), status))
    }

    /// The bound step; `None` if it takes files from a stage whose result is not known, or from another machine that
    /// would have to be asked.
    fn job(&self, op: &Op, stage: usize) -> Result<Option<Job>, BuildError> {
        let inputs = Inputs { fetch: &self.fetch, ..self.prepared.inputs() };
        let platform = &self.prepared.recipe.stages[stage].platform;
        if op.stages().any(|from| self.ends[&from].is_none()) {
            return Ok(None);
        }
        let known = |stage: usize| self.ends[&stage].clone().expect("checked above");
        Ok(match op {
            Op::Run(run) => Some(inputs.run(run, &known, platform)?),
            Op::MakeDir { path, user } => {
                Some(inputs.job(BoundOp::MakeDir { path: path.clone(), user: user.clone() }, platform))
            }
            Op::Packages(layer) => Some(inputs.job(BoundOp::Packages(layer.clone()), platform)),
            Op::Copy(copy) => match inputs.copy(copy, &known, platform) {
                Err(BuildError::Exec(ExecError::Fetch(FetchError::NotHere { .. }))) => None,
                result => Some(result?),
            },
            Op::Config => None,
        })
    }
}

/// Whether everything a step fetches is pinned; `None` if it fetches nothing.
fn pinned(op: &Op, pins: &Pins) -> Option<bool> {
    if matches!(op, Op::Packages(_)) {
        return Some(true);
    }
    let Op::Copy(copy) = op else { return None };
    let pinned: Vec<bool> = copy
        .sources
        .iter()
        .filter_map(|source| match source {
            CopySource::Url { url, checksum } => Some(pins.has_url(url, *checksum)),
            CopySource::Git(repo) => Some(pins.has_commit(repo)),
            CopySource::Path(_) | CopySource::Below { .. } => None,
        })
        .collect();
    (!pinned.is_empty()).then(|| pinned.iter().all(|pinned| *pinned))
}
