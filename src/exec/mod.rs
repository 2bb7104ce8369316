//! One action run for real: looked up, else done, captured and recorded.
//!
//! Owns: binding a step to its inputs, the cache protocol of `spec/action-record.md`, packing copies, running
//! processes. Knows no order of steps: that is the engine's.

pub mod agent;
pub mod archive;
pub mod copy;
pub mod files;
pub mod mask;
mod merge;
pub mod mounts;
pub mod observe;
pub mod pack;
pub mod packages;
pub mod process;
pub mod run;
mod secrecy;
pub mod secrets;
pub mod select;
pub mod source;
pub mod trees;
pub mod users;
pub mod variation;
mod world;

use std::cell::OnceCell;
use std::io;
use std::sync::Arc;

use crate::action::{Action, BoundOp, Observation};
use crate::context::ContextError;
use crate::digest::ActionKey;
use crate::epoch::Epoch;
use crate::fetch::FetchOptions;
use crate::limits::{ProcessLimits, Reached};
use crate::path::ImagePath;
use crate::platform::Platform;
use crate::recipe::{Effect, Link, Unpack};
use crate::shared::Sources;
use crate::store::{LayerRef, Record, Store, StoreError};

use mounts::Material;
use observe::{Observer, Rootfs};
use run::Part;
use secrets::Secrets;
use source::Source;
use variation::Variation;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Write(#[from] crate::layer::write::WriteError),
    #[error(transparent)]
    Capture(#[from] crate::layer::capture::CaptureError),
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    #[error(transparent)]
    Tree(#[from] crate::layer::tree::TreeError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{path} is not a regular file in the image")]
    NotAFile { path: ImagePath },
    #[error("{path} has {size} bytes, more than the {limit} that are read from such a file")]
    TooLarge { path: ImagePath, size: u64, limit: u64 },
    #[error("read {path} from its layer: {source}")]
    ReadLayer { path: ImagePath, source: io::Error },
    #[error("{path} in the store does not hash to what its layer says; run `lith store verify`")]
    Damaged { path: ImagePath },
    #[error("{path} leads through more than 40 symlinks, or to a name that cannot be")]
    Links { path: ImagePath },
    #[error("{path} is not in the image or stage that is copied from")]
    NotFound { path: ImagePath },
    #[error("cannot copy to non-directory: {path}")]
    NotADirectory { path: ImagePath },
    #[error("cannot replace directory {path} with a file")]
    IsADirectory { path: ImagePath },
    #[error("{path} stands before `/./`, so it must be a directory")]
    PivotIsNoDirectory { path: ImagePath },
    #[error(
        "{path} is behind a symlink, which --parents does not follow; name the directory that it leads to"
    )]
    BehindLink { path: ImagePath },
    #[error("pattern {pattern}: {source}")]
    Pattern { pattern: ImagePath, source: crate::context::pattern::PatternError },
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    #[error("pattern of --exclude or --parents: {0}")]
    Filter(#[from] crate::context::ignore::IgnoreError),
    #[error("{name:?} is not in the image's {file}; use a number, or create the name first")]
    UnknownName { name: String, file: &'static str },
    #[error("{text:?} is not a user or group id between 0 and 2147483647")]
    BadId { text: String },
    #[error("{text:?} is not a user; expected `user` or `user:group`, by name or number")]
    BadUser { text: String },
    #[error("archive {name}: {source}")]
    Archive { name: String, source: crate::layer::read::ReadError },
    #[error("archive {name} is cut: it ends without the two zero blocks that end a tar")]
    ArchiveCut { name: String },
    #[error(transparent)]
    Packages(#[from] crate::debian::DebianError),
    #[error(
        "{path} is in two packages, {first} and {second}, and neither replaces the other's files; leave one of them out"
    )]
    FileConflict { path: ImagePath, first: String, second: String },
    #[error("secret {id} was not given to the build, and the step requires it")]
    NoSecret { id: String },
    #[error("secret {id} is not text without zero bytes, so it cannot be the variable {variable}")]
    SecretNotText { id: String, variable: String },
    #[error("ssh agent {id} was not given to the build, and the step requires it")]
    NoAgent { id: String },
    #[error("cache {id:?} cannot begin with what is no directory")]
    CacheSeed { id: String },
    #[error("{reason}")]
    NoSandbox { reason: String },
    #[error("{platform} programs cannot run on this {host} machine: {reason}")]
    Foreign { platform: Box<Platform>, host: Box<Platform>, reason: String },
    #[error(
        "{path} is {what}, written by {makers}: randomness follows from a seed here, so everybody can make the same. \
         Make it when a container starts, bring it as a secret, or build without --deterministic"
    )]
    SeededKey { path: ImagePath, what: &'static str, makers: String },
    #[error("{command} did not complete successfully: {status}{}", run::because(.reached))]
    Failed { command: String, status: run::Failure, reached: Vec<Reached> },
}

/// What stays the same for all steps of a build.
#[derive(Debug, Clone)]
pub struct Rules {
    pub epoch: Epoch,
    /// What a process finds in `/etc/resolv.conf` with the host's network.
    pub resolv_conf: Vec<u8>,
    /// Why no process can be run here, if so.
    pub no_sandbox: Option<String>,
    /// Open a shell where a process fails.
    pub debug: bool,
    pub secrets: Arc<Secrets>,
    pub limits: ProcessLimits,
    /// For packages that are not in the store.
    pub fetch: FetchOptions,
    /// Goes before the names of cache mounts; empty if there is none.
    pub cache_namespace: String,
    /// Where records of other machines are looked up.
    pub shared: Arc<Sources>,
}

/// Runs and looks up actions.
pub struct Executor<'a> {
    pub store: &'a Store,
    pub rules: &'a Rules,
    /// In which world steps are done once more.
    variation: Option<Variation>,
    trees: trees::Trees,
}

/// An action with what is needed to do it.
#[derive(Debug, Clone)]
pub struct Job {
    pub action: Action,
    pub key: ActionKey,
    /// The sources of a copy; empty for others.
    pub sources: Vec<Source>,
    /// Environment that a process gets but no key or history shows (proxies).
    pub hidden_env: Vec<(String, String)>,
    /// Script bodies of a RUN, by path.
    pub scripts: Vec<(String, Vec<u8>)>,
    /// What each mount of a RUN brings, in order.
    pub materials: Vec<Material>,
    /// Look nothing up, only record.
    pub fresh: bool,
}

impl Job {
    /// An action that takes in nothing but its fields.
    pub fn new(action: Action) -> Self {
        let key = action.key();
        Self {
            action,
            key,
            sources: vec![],
            hidden_env: vec![],
            scripts: vec![],
            materials: vec![],
            fresh: false,
        }
    }
}

/// What came of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub record: Record,
    pub how: How,
}

/// What work on an action gave.
struct Worked {
    observations: Vec<Observation>,
    layer: LayerRef,
    effects: Vec<Effect>,
}

/// Of what executes nothing.
impl From<(Vec<Observation>, LayerRef)> for Worked {
    fn from((observations, layer): (Vec<Observation>, LayerRef)) -> Self {
        Self { observations, layer, effects: Vec::new() }
    }
}

/// Whether work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    Hit,
    Built,
    /// Not a hit although there were records: the first observation of the newest that did not hold, and what
    /// holds instead.
    Rebuilt {
        expected: Observation,
        found: String,
    },
}

/// The answer of the cache.
#[derive(Debug, Clone)]
pub enum Lookup {
    Hit(Record),
    /// No record of the static key.
    Unknown,
    /// Records, but none whose observations hold.
    Contradicted {
        expected: Observation,
        found: String,
    },
}

impl<'a> Executor<'a> {
    pub fn new(store: &'a Store, rules: &'a Rules) -> Self {
        Self { store, rules, variation: None, trees: trees::Trees::default() }
    }

    /// The same for another world, where nothing is looked up or remembered.
    pub fn varied(&self, variation: Variation) -> Self {
        Self { variation: Some(variation), ..Self::new(self.store, self.rules) }
    }

    /// Does a job once more. Its layer stays until the next gc.
    pub fn again(
        &self,
        job: &Job,
        parent: &Rootfs,
        output: &mut dyn run::Sink,
    ) -> Result<LayerRef, ExecError> {
        Ok(self.work(job, parent, output)?.layer)
    }

    fn observer<'b>(&'b self, parent: &'b Rootfs) -> Result<Observer<'b>, ExecError> {
        Ok(Observer::new(self.store, parent, self.trees.of(self.store, parent)?))
    }

    /// Asks the cache about an action on a parent.
    pub fn lookup(&self, key: ActionKey, parent: &Rootfs) -> Result<Lookup, ExecError> {
        let counts = |record: &Record| self.rules.shared.counts(record);
        if let Some(record) = self.store.exact_record(key, observe::chain(parent)).filter(counts) {
            return Ok(Lookup::Hit(record));
        }
        let mut records = self.store.action_records(key);
        records.retain(counts);
        if records.is_empty() {
            return Ok(Lookup::Unknown);
        }
        let observer = self.observer(parent)?;
        let mut first = None;
        for record in records {
            match observer.contradiction(&record.observations) {
                None => return Ok(Lookup::Hit(record)),
                Some(it) => first = first.or(Some(it)),
            }
        }
        Ok(match first {
            None => Lookup::Unknown,
            Some((expected, found)) => Lookup::Contradicted { expected, found },
        })
    }

    /// Looks a job up and does it if need be; work on one key is done once among all processes.
    pub fn perform(
        &self,
        job: &Job,
        parent: &Rootfs,
        output: &mut dyn run::Sink,
    ) -> Result<Outcome, ExecError> {
        output.part(Part::Lookup);
        if !job.fresh
            && let Lookup::Hit(record) = self.lookup(job.key, parent)?
        {
            return Ok(Outcome { record, how: How::Hit });
        }
        output.part(Part::Wait);
        let _once = self.store.work_lock(&format!("action-{}", job.key.hex()))?;
        output.part(Part::Lookup);
        let how = match self.lookup(job.key, parent)? {
            Lookup::Hit(record) if !job.fresh => return Ok(Outcome { record, how: How::Hit }),
            Lookup::Hit(_) | Lookup::Unknown => How::Built,
            Lookup::Contradicted { expected, found } => How::Rebuilt { expected, found },
        };
        if !job.fresh
            && let Some(record) = self.bring(job.key, parent)?
        {
            return Ok(Outcome { record, how: How::Hit });
        }
        output.started();
        if !matches!(job.action.op, BoundOp::Run(_)) {
            output.part(Part::Pack);
        }
        let Worked { observations, layer, effects } = self.work(job, parent, output)?;
        output.part(Part::Record);
        let record = Record { key: job.key, observations, layer, effects, brought: None };
        self.store.add_action_record(record.clone())?;
        Ok(Outcome { record, how })
    }

    /// A record of another machine that holds on a parent, written beside our own.
    fn bring(&self, key: ActionKey, parent: &Rootfs) -> Result<Option<Record>, ExecError> {
        if !self.rules.shared.knows(key) {
            return Ok(None);
        }
        // Only what was done on another parent is held against this one, whose tables that takes.
        let observer = OnceCell::new();
        let holds = |observations: &[Observation]| {
            let observer = observer.get_or_init(|| self.observer(parent).ok());
            observer.as_ref().is_some_and(|observer| observer.contradiction(observations).is_none())
        };
        let Some(record) = self.rules.shared.bring(self.store, key, observe::chain(parent), holds) else {
            return Ok(None);
        };
        self.store.add_action_record(record.clone())?;
        Ok(Some(record))
    }

    fn work(&self, job: &Job, parent: &Rootfs, output: &mut dyn run::Sink) -> Result<Worked, ExecError> {
        let epoch = job.action.epoch;
        match &job.action.op {
            BoundOp::Run(run) => {
                let (layer, effects) = self.run(job, run, parent, output)?;
                Ok(Worked { observations: vec![observe::whole(parent)], layer, effects })
            }
            BoundOp::Packages(layer) => Ok(self.packages(layer, parent, epoch)?.into()),
            BoundOp::Merge(layers) => Ok((vec![observe::whole(parent)], self.merge(layers, parent)?).into()),
            BoundOp::MakeDir { path, user } => {
                let observer = self.observer(parent)?;
                let planned = copy::make_dir(&observer, path, user, epoch)?;
                Ok((observer.observations(), self.store_layer(&planned)?).into())
            }
            BoundOp::Copy(bound) => {
                let parent = match bound.link {
                    Link::No => parent,
                    // Nothing is asked of what it stands on, so the record holds on anything.
                    Link::Yes => &Rootfs::new(),
                };
                let observer = self.observer(parent)?;
                let placement = copy::Placement {
                    dest: &bound.dest,
                    dest_is_dir: bound.dest_is_dir,
                    chown: bound.chown.as_deref(),
                    chmod: bound.chmod.as_ref(),
                    epoch,
                };
                let planned = match bound.unpack {
                    Unpack::Never => copy::land(&observer, &placement, &job.sources)?,
                    Unpack::Archives | Unpack::All => {
                        copy::land(&observer, &placement, &self.unpacked(&job.sources, bound.unpack)?)?
                    }
                };
                let seen = match bound.link {
                    Link::No => observer.observations(),
                    Link::Yes => Vec::new(),
                };
                Ok((seen, self.store_layer(&planned)?).into())
            }
        }
    }

    fn unpacked(&self, sources: &[Source], unpack: Unpack) -> Result<Vec<Source>, ExecError> {
        let open = |source: &Source| match source.is_fetched() && unpack == Unpack::Archives {
            true => Ok(None),
            false => archive::open(self.store, source),
        };
        sources.iter().map(|source| Ok(open(source)?.unwrap_or_else(|| source.clone()))).collect()
    }

    fn store_layer(&self, planned: &copy::Planned) -> Result<LayerRef, ExecError> {
        let (sink, written) = pack::pack(self.store, planned)?;
        self.store.commit_layer(sink, &written)?;
        Ok(LayerRef { diff_id: written.diff_id, size: written.size })
    }
}
