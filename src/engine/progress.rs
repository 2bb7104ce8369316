//! The schedule run: what is known of every step while the build goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::meter::{Left, Meter};
use super::report::{End, Event, StepInfo, Ui};
use super::why::{Above, Case, Nearest};
use super::{BuildError, Prepared, StepPlaces};
use crate::action::BoundOp;
use crate::diag;
use crate::digest::ActionKey;
use crate::exec::observe::{Rootfs, chain};
use crate::exec::run::Part;
use crate::exec::{Executor, How, Job, Lookup, Outcome, run};
use crate::layer::capture::Dropped;
use crate::path::ImagePath;
use crate::plan::{Phase, StepId, explain};
use crate::recipe::{Base, Effect, Op};
use crate::sandbox::Stream;
use crate::sched;
use crate::shared::Offer;
use crate::size::human;
use crate::store::Record;
use crate::store::builds::{BuildRecord, Cause, Recorded, Spent, StepRecord};
use crate::store::logs::MAX_LOG;

/// One step after the build.
#[derive(Debug, Clone)]
pub struct Done {
    pub info: StepInfo,
    /// To do it once more.
    pub job: Arc<Job>,
    pub record: Record,
    pub fields: Vec<(String, String)>,
    pub hit: bool,
    /// Empty for a hit.
    pub why: String,
    /// The same for programs.
    pub cause: Option<Cause>,
    /// How long the work took when it was last done, as far as that is known.
    pub spent: Option<Spent>,
    /// Litter that is not in its layer, if that is known.
    pub dropped: Vec<String>,
}

/// All steps that made layers, and the root file system after each.
#[derive(Debug, Default)]
pub struct Steps {
    pub done: BTreeMap<StepId, Done>,
    rootfs: BTreeMap<StepId, Arc<Rootfs>>,
}

/// What a Prepare node leaves for its Settle node.
#[derive(Debug, Clone)]
struct Ready {
    job: Arc<Job>,
    /// The record made here in this build, on the guessed parent.
    made: Option<Record>,
    spent: Spent,
}

struct Running<'a> {
    prepared: &'a Prepared<'a>,
    executor: Executor<'a>,
    ui: &'a dyn Ui,
    steps: Mutex<Steps>,
    ready: Mutex<BTreeMap<StepId, Ready>>,
    /// The last builds of the same places.
    builds: Vec<BuildRecord>,
    /// Where the steps are in them, by number of the platform and name.
    last: StepPlaces,
    /// All builds that are remembered, once a step is compared with others than its own last.
    recorded: OnceLock<Option<Recorded>>,
    offer: &'a Offering<'a>,
}

/// Takes what came of a step of a stage.
type Offering<'a> = dyn Fn(usize, Offer) + Sync + 'a;

/// Runs the plan; `offer` takes what came of each step that is done.
pub fn run(
    prepared: &Prepared<'_>,
    ui: &dyn Ui,
    offer: &(dyn Fn(usize, Offer) + Sync),
) -> Result<Steps, BuildError> {
    let settles = prepared.plan.nodes.iter().filter(|node| node.phase == Phase::Settle).count();
    ui.event(Event::Planned { steps: settles });
    let (builds, last) = prepared.last_builds();
    let running = Running {
        prepared,
        executor: Executor::new(prepared.store, &prepared.rules),
        ui,
        steps: Mutex::default(),
        ready: Mutex::default(),
        builds,
        last,
        recorded: OnceLock::new(),
        offer,
    };
    let run = || sched::run(&prepared.plan, prepared.options.jobs, &|node| running.node(node));
    prepared.rules.shared.while_asking(|| running.early_keys(), run)?;
    Ok(running.steps.into_inner().expect("no panic while held"))
}

impl Steps {
    /// The root file system after a step (`step` counts from 0), or of the stage's base if no step up to it made a
    /// layer; `None` if that is not known yet.
    pub fn after(&self, prepared: &Prepared<'_>, stage: usize, step: Option<usize>) -> Option<Arc<Rootfs>> {
        let spec = &prepared.recipe.stages[stage];
        let upto = step.map_or(0, |step| step + 1);
        let layered = (0..upto).rev().find(|step| !matches!(spec.steps[*step].op, Op::Config));
        match layered {
            Some(step) => self.rootfs.get(&StepId { stage, step }).cloned(),
            None => match &spec.base {
                // Packages are steps by now.
                Base::Scratch | Base::Packages(_) => Some(Arc::default()),
                Base::Image(reference) => Some(prepared.image(reference, &spec.platform).rootfs.clone()),
                Base::Stage(earlier) => self.end(prepared, *earlier),
            },
        }
    }

    /// The root file system at the end of a stage.
    pub fn end(&self, prepared: &Prepared<'_>, stage: usize) -> Option<Arc<Rootfs>> {
        self.after(prepared, stage, prepared.recipe.stages[stage].steps.len().checked_sub(1))
    }

    /// What a step stands on.
    pub fn parent(&self, prepared: &Prepared<'_>, id: StepId) -> Option<Arc<Rootfs>> {
        self.after(prepared, id.stage, id.step.checked_sub(1))
    }

    /// The nearest root file system below a step that is known already.
    fn nearest(&self, prepared: &Prepared<'_>, id: StepId) -> Arc<Rootfs> {
        let known = (0..=id.step).rev().find_map(|step| self.after(prepared, id.stage, step.checked_sub(1)));
        known.unwrap_or_else(|| match prepared.recipe.stages[id.stage].base {
            Base::Stage(earlier) => {
                let steps = prepared.recipe.stages[earlier].steps.len();
                self.nearest(prepared, StepId { stage: earlier, step: steps })
            }
            Base::Scratch | Base::Image(_) | Base::Packages(_) => Arc::default(),
        })
    }
}

impl Running<'_> {
    /// The keys of actions that take in no files, so that they are known before anything is done, and of which the store
    /// knows nothing.
    fn early_keys(&self) -> Vec<ActionKey> {
        let settles = self.prepared.plan.nodes.iter().filter(|node| node.phase == Phase::Settle);
        let known_early = settles.map(|node| node.step).filter(|step| {
            !self.prepared.is_fresh(step.stage)
                && match self.op(*step) {
                    Op::Run(run) => run.mounts.iter().all(|mount| mount.files().is_none()),
                    Op::MakeDir { .. } | Op::Packages(_) => true,
                    Op::Copy(_) | Op::Config => false,
                }
        });
        // What is wrong with a step is said when it is its turn.
        let keys = known_early.filter_map(|step| Some(self.job(step).ok()?.job.key));
        keys.filter(|key| !self.prepared.store.knows_action(*key)).collect()
    }

    fn node(&self, node: usize) -> Result<(), BuildError> {
        let node = &self.prepared.plan.nodes[node];
        let info = self.prepared.info(node.step);
        let mut meter = Meter::start(self.ui, &info, node.phase);
        let result = match node.phase {
            Phase::Prepare => self.prepare(&mut meter),
            Phase::Settle => self.settle(&mut meter),
        };
        for text in self.prepared.rules.shared.warnings() {
            self.ui.event(Event::Warning { step: &info, text: &text });
        }
        if let Err(error) = &result {
            self.ui.event(Event::Ended { step: &info, end: End::Failed { error: reason(error) } });
        }
        meter.leave(result.as_ref().ok().copied());
        let result = result.map(drop);
        result.map_err(|error| match error {
            BuildError::Exec(source) => BuildError::Step { step: Box::new(info), source: Box::new(source) },
            other => other,
        })
    }

    /// Reads a copy's sources and, if the cache has nothing for them, makes the layer on the nearest known parent.
    fn prepare(&self, meter: &mut Meter<'_>) -> Result<Left, BuildError> {
        let info = meter.info;
        meter.part(Part::Hash);
        let Op::Copy(copy) = &self.op(info.id) else { unreachable!("only copies are prepared") };
        let stages = |stage: usize| self.whole_stage(stage);
        let platform = &self.prepared.recipe.stages[info.id.stage].platform;
        let mut job = self.prepared.inputs().copy(copy, &stages, platform)?;
        job.fresh = self.prepared.is_fresh(info.id.stage);
        let job = Arc::new(job);
        // What another machine did is looked at on the real parent.
        let known = || self.prepared.rules.shared.knows(job.key);
        let wanted = job.fresh || self.prepared.store.action_records(job.key).is_empty() && !known();
        let made = if wanted { self.guess(meter, &job)? } else { None };
        let left = Left { key: job.key, layer: made.as_ref().map(|record| record.layer) };
        let ready = Ready { job, made, spent: meter.spent() };
        self.ready.lock().expect("no panic while held").insert(info.id, ready);
        Ok(left)
    }

    fn whole_stage(&self, stage: usize) -> Arc<Rootfs> {
        self.steps().end(self.prepared, stage).expect("the plan puts a stage before what takes files from it")
    }

    /// Makes a copy's layer before its parent is known. What goes wrong because of the guessed parent is left to
    /// be seen on the real one.
    fn guess(&self, meter: &mut Meter<'_>, job: &Arc<Job>) -> Result<Option<Record>, BuildError> {
        use crate::exec::ExecError as E;
        let parent = self.steps().nearest(self.prepared, meter.info.id);
        match self.executor.perform(job, &parent, &mut Relay { meter, printed: Vec::new() }) {
            Ok(Outcome { how: How::Hit, .. }) => Ok(None),
            Ok(Outcome { record, how: How::Built | How::Rebuilt { .. } }) => Ok(Some(record)),
            Err(
                E::Links { .. }
                | E::NotADirectory { .. }
                | E::IsADirectory { .. }
                | E::UnknownName { .. }
                | E::NotAFile { .. },
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure of a step's layer on its real parent.
    fn settle(&self, meter: &mut Meter<'_>) -> Result<Left, BuildError> {
        let info = meter.info;
        let parent =
            self.steps().parent(self.prepared, info.id).expect("the plan puts a step after the one below it");
        meter.part(Part::Hash);
        let Ready { job, made, spent } = self.job(info.id)?;
        meter.add(&spent);
        let outcome = match made {
            Some(record) => self.confirm(meter, &job, record, &parent)?,
            None => self.perform(meter, &job, &parent)?,
        };
        let left = Left { key: job.key, layer: Some(outcome.record.layer) };
        self.finish(meter, &job, &parent, outcome);
        Ok(left)
    }

    /// A layer made on a guess serves if what it observed holds on the real parent.
    fn confirm(
        &self,
        meter: &mut Meter<'_>,
        job: &Job,
        record: Record,
        parent: &Arc<Rootfs>,
    ) -> Result<Outcome, BuildError> {
        meter.part(Part::Lookup);
        match self.executor.lookup(job.key, parent)? {
            Lookup::Hit(hit) if hit == record => Ok(Outcome { record, how: How::Built }),
            Lookup::Hit(_) | Lookup::Unknown | Lookup::Contradicted { .. } => {
                self.perform(meter, job, parent)
            }
        }
    }

    fn perform(&self, meter: &mut Meter<'_>, job: &Job, parent: &Arc<Rootfs>) -> Result<Outcome, BuildError> {
        let mut relay = Relay { meter, printed: Vec::new() };
        let outcome = self.executor.perform(job, parent, &mut relay);
        if !relay.printed.is_empty() {
            self.prepared.store.put_log(job.key, &relay.printed)?;
        }
        Ok(outcome?)
    }

    /// A step with what was seen of it when it was done, by whomever.
    fn with_effects(&self, info: &StepInfo, record: &Record) -> StepInfo {
        let mut info = info.clone();
        // All of it is said already of a step that is told nothing; others execute nothing.
        let told = self.prepared.told(self.op(info.id));
        let is_told = told.hermetic && matches!(self.op(info.id), Op::Run(_));
        for effect in &record.effects {
            let seen = is_told && !(told.seeded && *effect == Effect::Untold);
            if seen && !info.effects.contains(effect) {
                info.effects.push(*effect);
            }
        }
        info
    }

    fn finish(&self, meter: &Meter<'_>, job: &Arc<Job>, parent: &Arc<Rootfs>, outcome: Outcome) {
        let info = meter.info;
        let fields = job.action.fields();
        let hit = outcome.how == How::Hit;
        let (why, cause) = if hit { (String::new(), None) } else { self.why(info, &fields, &outcome) };
        let end = if hit { End::Hit } else { End::Built { why: why.clone() } };
        let info = self.with_effects(info, &outcome.record);
        let base = self.image_below(info.id.stage).filter(|base| base == parent).unwrap_or_default();
        let offer = Offer { record: outcome.record.clone(), parent: chain(parent), base };
        (self.offer)(info.id.stage, offer);
        let mut rootfs = Rootfs::clone(parent);
        rootfs.push(outcome.record.layer);
        let (spent, dropped) = match hit {
            false => (Some(meter.spent()), meter.dropped.clone()),
            true => {
                let old = self.last(info.id).map(|(_, step)| step).filter(|old| old.key == job.key);
                old.map(|old| (old.spent.clone(), old.dropped.clone())).unwrap_or_default()
            }
        };
        let (job, record) = (job.clone(), outcome.record);
        let done = Done { info: info.clone(), job, record, fields, hit, why, cause, spent, dropped };
        let mut steps = self.steps();
        steps.done.insert(info.id, done);
        steps.rootfs.insert(info.id, Arc::new(rootfs));
        drop(steps);
        self.ui.event(Event::Ended { step: &info, end });
    }

    /// The layers of the image that a stage stands on.
    fn image_below(&self, stage: usize) -> Option<Arc<Rootfs>> {
        let stage = &self.prepared.recipe.stages[stage];
        match &stage.base {
            Base::Image(reference) => Some(self.prepared.image(reference, &stage.platform).rootfs.clone()),
            Base::Scratch | Base::Stage(_) | Base::Packages(_) => None,
        }
    }

    /// Why a step was no hit, for people and for programs.
    fn why(
        &self,
        info: &StepInfo,
        fields: &[(String, String)],
        outcome: &Outcome,
    ) -> (String, Option<Cause>) {
        let nearest = self.nearest_record(info.id, fields);
        let steps = self.steps();
        let here = StepId { stage: info.id.stage, step: 0 }..info.id;
        let above = steps.done.range(here).map(|(id, done)| Above {
            name: self.prepared.plain_step(*id),
            shown: &done.info.name,
            text: &done.info.text,
            layer: done.record.layer,
        });
        let case = Case {
            store: self.prepared.store,
            nearest,
            place: self.prepared.place_of(info.id.stage),
            name: self.prepared.plain_step(info.id),
            fields,
            record: &outcome.record,
            how: &outcome.how,
            above: above.collect(),
        };
        (case.explain(), case.cause())
    }

    /// The earlier record that has most in common with a step: the one of its own place and name if it is still the same
    /// step, else one that is, of whatever build.
    fn nearest_record(&self, id: StepId, fields: &[(String, String)]) -> Option<Nearest<'_>> {
        let place = self.prepared.place_of(id.stage);
        let name = self.prepared.plain_step(id);
        let own = self.last(id).map(|(build, step)| Nearest { build, step });
        if own.as_ref().is_some_and(|own| explain::is_same_step(&own.step.fields, fields)) {
            return own;
        }
        // What cannot be read explains nothing.
        let recorded = self.recorded.get_or_init(|| self.prepared.store.recorded_builds().ok());
        let builds = recorded.iter().flat_map(|recorded| {
            let last = recorded.last().len();
            recorded.all().iter().enumerate().map(move |(at, build)| (build, at < last))
        });
        let all = builds.flat_map(|(build, is_last)| {
            build.steps.iter().map(move |step| (Nearest { build, step }, is_last))
        });
        let same = all.filter(|(one, _)| explain::is_same_step(&one.step.fields, fields));
        // Of equals that of the last build of the own place, then that of the own name.
        let rank = |(one, is_last): &(Nearest<'_>, bool)| {
            let common = explain::in_common(&one.step.fields, fields);
            let is_own = one.build.place == place;
            (common, is_own && *is_last, is_own, one.step.name == name)
        };
        same.max_by_key(rank).map(|(nearest, _)| nearest).or(own)
    }

    /// A step as the last build had it.
    fn last(&self, id: StepId) -> Option<(&BuildRecord, &StepRecord)> {
        let at = self.last.get(&(self.prepared.called[id.stage].first, self.prepared.plain_step(id)))?;
        let build = &self.builds[at.0];
        Some((build, &build.steps[at.1]))
    }

    fn job(&self, id: StepId) -> Result<Ready, BuildError> {
        let inputs = self.prepared.inputs();
        let stages = |stage: usize| self.whole_stage(stage);
        let platform = &self.prepared.recipe.stages[id.stage].platform;
        let mut job = match self.op(id) {
            Op::Run(run) => inputs.run(run, &stages, platform)?,
            Op::MakeDir { path, user } => {
                inputs.job(BoundOp::MakeDir { path: path.clone(), user: user.clone() }, platform)
            }
            Op::Packages(layer) => inputs.job(BoundOp::Packages(layer.clone()), platform),
            Op::Copy(_) => {
                let ready = self.ready.lock().expect("no panic while held").remove(&id);
                return Ok(ready.expect("the plan puts Prepare before Settle"));
            }
            Op::Config => unreachable!("config steps are not in the plan"),
        };
        job.fresh = self.prepared.is_fresh(id.stage);
        Ok(Ready { job: Arc::new(job), made: None, spent: Spent::default() })
    }

    fn op(&self, id: StepId) -> &Op {
        &self.prepared.recipe.stages[id.stage].steps[id.step].op
    }

    fn steps(&self) -> std::sync::MutexGuard<'_, Steps> {
        self.steps.lock().expect("no panic while held")
    }
}

/// The error without the step's name, which the event carries already.
fn reason(error: &BuildError) -> String {
    error.to_string()
}

/// How many paths of litter a step's record lists.
const MOST_DROPPED: usize = 1_000;

struct Relay<'a, 'b> {
    meter: &'a mut Meter<'b>,
    printed: Vec<u8>,
}

impl run::Sink for Relay<'_, '_> {
    fn started(&mut self) {
        self.meter.ui.event(Event::Started(self.meter.info));
    }

    fn chunk(&mut self, stream: Stream, bytes: &[u8]) {
        if self.printed.len() >= 2 * MAX_LOG {
            self.printed.drain(..MAX_LOG);
        }
        self.printed.extend_from_slice(bytes);
        self.meter.ui.event(Event::Output { step: self.meter.info, stream, bytes });
    }

    fn warning(&mut self, text: &str) {
        self.meter.ui.event(Event::Warning { step: self.meter.info, text });
    }

    fn shell(&mut self) {
        self.meter.ui.event(Event::Shell(self.meter.info));
    }

    fn dropped(&mut self, dropped: &Dropped) {
        let (count, size) = (dropped.paths.len(), human(dropped.bytes));
        let files = if count == 1 { "file" } else { "files" };
        let text = format!("dropped {count} {files}, {size}, of known litter");
        self.meter.ui.event(Event::Remark { step: self.meter.info, text: &text });
        let path = |path: &ImagePath| diag::escape(&path.absolute());
        self.meter.dropped = dropped.paths.iter().take(MOST_DROPPED).map(path).collect();
    }

    fn part(&mut self, part: Part) {
        self.meter.part(part);
    }
}
