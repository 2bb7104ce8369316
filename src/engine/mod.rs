//! The only wiring: text to recipe to plan to layers to image.

pub mod again;
pub mod bases;
pub mod bind;
pub mod check;
mod configure;
pub mod contexts;
pub mod finish;
mod foreign;
pub mod graph;
pub mod label;
mod meter;
mod naming;
pub mod packages;
pub mod pins;
pub mod platforms;
pub mod preview;
pub mod progress;
pub mod provenance;
pub mod report;
mod sbom;
mod sharing;
pub mod vendor;
pub mod why;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::action::BoundNetwork;
use crate::context::ContextError;
use crate::debian::{Asking, DebianError, Machine};
use crate::diag::{Diagnostic, Source};
use crate::epoch::Epoch;
use crate::exec::files::Files;
use crate::exec::secrets::Secrets;
use crate::exec::source::Modes;
use crate::exec::{ExecError, Rules};
use crate::fetch::{Access, FetchOptions};
use crate::frontend::kdl::{self, Imports};
use crate::frontend::{self, BuildFile, Language};
use crate::limits::ProcessLimits;
use crate::oci::Reference;
use crate::plan::{Plan, StepId};
use crate::platform::Platform;
use crate::recipe::mount::Mount;
use crate::recipe::{Base, Effect, FilesFrom, Label, Litter, Network, Op, Recipe, Told};
use crate::remote::redact;
use crate::sbom::Form;
use crate::shared::{Sink, Sources};
use crate::store::builds::BuildRecord;
use crate::store::{Store, StoreError};

use bases::{BaseError, Pulls, Resolved};
use bind::Inputs;
use contexts::{ContextSource, NamedContext};
pub use foreign::ForeignStep;
use pins::Pins;
pub use platforms::{Called, Lowered};
use report::{Event, StepInfo, Ui};

/// What a build is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// What COPY takes files from.
    pub context: ContextSource,
    pub dockerfile: Source,
    /// What it is written in.
    pub language: Language,
    /// What it imports, if its language can.
    pub imports: Imports,
    pub frontend: frontend::Options,
    /// By the names that [`frontend::NamedContexts`] keeps.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What is built for: at least one, none twice. An image for several is an index.
    pub platforms: Vec<Platform>,
    pub names: Vec<Name>,
    /// Put into the manifest of every image.
    pub annotations: BTreeMap<String, String>,
    /// Put into the index of an image for several platforms.
    pub index_annotations: BTreeMap<String, String>,
    pub epoch: Epoch,
    /// What all steps are told of the world.
    pub told: Told,
    /// An image that may come out differently is an error.
    pub reproducible: bool,
    /// How modes of contexts are taken.
    pub context_modes: Modes,
    /// What becomes of known litter in the layers of RUN.
    pub litter: Litter,
    /// What `RUN` without `--network` gets.
    pub network: Network,
    pub jobs: NonZeroUsize,
    pub fresh: Fresh,
    /// Open a shell where a RUN fails.
    pub debug: bool,
    pub resolv_conf: Vec<u8>,
    pub secrets: Arc<Secrets>,
    pub limits: ProcessLimits,
    pub fetch: FetchOptions,
    pub pins: Pins,
    /// Whether the images' provenance is wanted, and how much of it.
    pub provenance: Option<provenance::Detail>,
    /// Whether the images' packages are to be listed, and how.
    pub sbom: Option<Form>,
    /// Where packages come from, if a file does not say.
    pub machine: Machine,
    pub no_sandbox: Option<String>,
    /// Which images come from registries.
    pub pulls: Pulls,
    /// Something reads the images' layers after the build.
    pub reads_layers: bool,
    /// Where records of other machines are looked up.
    pub cache_from: Arc<Sources>,
    /// Where records are written for other machines.
    pub cache_to: Vec<Sink>,
}

impl Options {
    /// What opens private repositories: secrets of the names that BuildKit knows, and the default ssh agent.
    pub fn git_access(&self) -> Access<'_> {
        Access { secrets: self.secrets.as_ref(), agent: self.secrets.agent("default") }
    }

    /// Whether images are for several platforms.
    pub fn is_for_several(&self) -> bool {
        self.platforms.len() > 1
    }
}

/// A name for the image of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Which of the targets that were asked for.
    pub target: usize,
    pub name: Reference,
}

/// Which steps are done again whatever the cache has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    None,
    All,
    /// Those of stages with these names, in any case.
    Stages(Vec<String>),
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Problems of the file; at least one is an error.
    #[error("the build file has errors")]
    File(Vec<Diagnostic>),
    /// The file asks to fail if it breaks a rule of the linter.
    #[error("check=error=true, and these rules are broken: {}", .rules.join(", "))]
    Checks { found: Vec<Diagnostic>, rules: Vec<&'static str> },
    #[error("step {} (line {}) `{}`: {source}", .step.name, .step.line, .step.text)]
    Step { step: Box<StepInfo>, source: Box<ExecError> },
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("{file}:{line}: base image {reference}: {source}")]
    Base { file: String, line: usize, reference: String, source: Box<BaseError> },
    /// Several platforms, and steps whose programs cannot run here: found before anything is done.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Foreign(Vec<ForeignStep>),
    #[error("{file}:{line}: packages of {suite}: {source}")]
    Packages { file: String, line: usize, suite: String, source: Box<DebianError> },
    #[error("{file}: the image is {label}; it was to be reproducible")]
    NotReproducible { file: String, label: Box<Label> },
    #[error("{option}: {file} has no stage {name}{}", .similar.as_ref().map_or_else(String::new, |similar| format!("; did you mean {similar}?")))]
    NoStage { option: &'static str, file: String, name: String, similar: Option<String> },
    #[error("--step: {file} has no step {name} that makes a layer{}", .similar.as_ref().map_or_else(String::new, |similar| format!("; did you mean {similar}?")))]
    NoStep { file: String, name: String, similar: Option<String> },
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("{shown} is no tar, so it cannot be a build context")]
    NotATree { shown: String },
    #[error("{file}: {source}")]
    Ignore { file: String, source: crate::context::ignore::IgnoreError },
    #[error("read {file}: {source}")]
    IgnoreFile { file: String, source: std::io::Error },
    #[error("/{file} of the image: {source}")]
    Sbom { file: String, source: crate::sbom::SbomError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Assemble(#[from] crate::image::AssembleError),
    /// The image is made, and in the store.
    #[error("--cache-to: {0}")]
    CacheTo(String),
}

impl BuildError {
    /// Whether a layer that was promised was not to be had.
    pub fn is_unkept(&self) -> bool {
        let of_store =
            |error: &StoreError| matches!(error, StoreError::Promise { .. } | StoreError::Broken { .. });
        match self {
            Self::Store(error) | Self::Exec(ExecError::Store(error)) => of_store(error),
            Self::Step { source, .. } => matches!(&**source, ExecError::Store(error) if of_store(error)),
            _ => false,
        }
    }
}

/// A recipe with everything it needs from outside, ready to be scheduled or shown.
pub struct Prepared<'a> {
    pub store: &'a Store,
    pub options: &'a Options,
    pub recipe: Recipe,
    pub plan: Plan,
    pub images: Images,
    pub rules: Rules,
    pub warnings: Vec<Diagnostic>,
    /// For each stage, whether it is known beforehand what it takes from elsewhere.
    pub pinned: Vec<bool>,
    /// For each stage, how it is called.
    called: Vec<Called>,
    context: Files,
    named: BTreeMap<String, Files>,
}

/// Where steps are in a list of builds, by number of the platform and name of the step: which build, which of its steps.
type StepPlaces = BTreeMap<(usize, String), (usize, usize)>;

/// Images of a build, by reference as written and platform.
pub type Images = BTreeMap<(String, Platform), Resolved>;

/// Reads the file, resolves its images and packages, opens its contexts.
pub fn prepare<'a>(
    store: &'a Store,
    options: &'a Options,
    asking: Asking,
) -> Result<Prepared<'a>, BuildError> {
    prepare_recipe(store, options, lower(store, options)?, asking)
}

/// The same of a recipe that is there, with its images and what is odd about it.
pub fn prepare_recipe<'a>(
    store: &'a Store,
    options: &'a Options,
    lowered: Lowered,
    asking: Asking,
) -> Result<Prepared<'a>, BuildError> {
    let Lowered { mut recipe, called, images, warnings } = lowered;
    let missing = missing_secrets(&recipe, &options.secrets);
    if !missing.is_empty() {
        return Err(BuildError::File(missing));
    }
    let sources = pins::pinned_stages(options, &recipe);
    let packages = packages::settle(store, options, &mut recipe, asking)?;
    let pinned = sources.into_iter().zip(packages).map(|(sources, packages)| sources && packages).collect();
    let plan = Plan::new(&recipe);
    let context = options.context.open(store)?;
    let rules = Rules {
        epoch: options.epoch,
        resolv_conf: options.resolv_conf.clone(),
        no_sandbox: options.no_sandbox.clone(),
        debug: options.debug,
        secrets: options.secrets.clone(),
        limits: options.limits.clone(),
        fetch: options.fetch.clone(),
        cache_namespace: options.frontend.cache_namespace().to_owned(),
        shared: options.cache_from.clone(),
    };
    let named = named_contexts(store, options, &recipe)?;
    Ok(Prepared { store, options, recipe, plan, images, rules, warnings, pinned, called, context, named })
}

/// Builds the target.
pub fn build(store: &Store, options: &Options, ui: &dyn Ui) -> Result<finish::Built, BuildError> {
    build_prepared(prepare(store, options, Asking::Allowed)?, ui)
}

/// Builds the targets of what was prepared.
pub fn build_prepared(mut prepared: Prepared<'_>, ui: &dyn Ui) -> Result<finish::Built, BuildError> {
    prepared.insist(|_| None)?;
    if !prepared.warnings.is_empty() {
        ui.event(Event::Odd(&prepared.warnings));
    }
    foreign::check(&prepared)?;
    let (done, written) = sharing::run(&prepared, ui);
    // What was hashed stays known even if a step failed.
    prepared.save_indexes()?;
    let done = done?;
    prepared.insist(|id| done.done.get(&id).map(|done| done.info.effects.clone()))?;
    let built = finish::finish(&prepared, &done)?;
    written.map(|()| built)
}

/// When the image that the first target stands on was made, the latest of several platforms; `None` for scratch, or if no
/// image says.
pub fn base_epoch(store: &Store, options: &Options) -> Result<Option<Epoch>, BuildError> {
    let Lowered { recipe, images, .. } = lower(store, options)?;
    let each = recipe.targets.len() / options.platforms.len();
    let made = |target: &usize| {
        let mut stage = &recipe.stages[*target];
        let image = loop {
            match &stage.base {
                Base::Scratch | Base::Packages(_) => return None,
                Base::Stage(earlier) => stage = &recipe.stages[*earlier],
                Base::Image(reference) => break &images[&(reference.clone(), stage.platform.clone())],
            }
        };
        image.base.config.created.as_deref().and_then(Epoch::from_rfc3339)
    };
    Ok(recipe.targets.iter().step_by(each).filter_map(made).max())
}

/// What a Dockerfile comes to, as KDL that comes to the same.
pub fn convert(store: &Store, options: &Options) -> Result<String, BuildError> {
    let Lowered { recipe, images, .. } = lower(store, options)?;
    let bases = images.into_iter().map(|(key, image)| (key, image.base.config)).collect();
    Ok(kdl::write(&recipe, &options.frontend, &bases))
}

/// Reads the file and finds its images.
pub fn lower(store: &Store, options: &Options) -> Result<Lowered, BuildError> {
    let (file, found) = BuildFile::parse(&options.dockerfile, options.language, &options.imports);
    if check::has_errors(&found) {
        return Err(BuildError::File(check::with_warnings(&file, options, found)));
    }
    check_fresh(&file, options)?;
    platforms::lower(store, options, &file)
}

/// A filter that names no stage of the file would quietly rebuild nothing.
fn check_fresh(file: &BuildFile, options: &Options) -> Result<(), BuildError> {
    let Fresh::Stages(names) = &options.fresh else { return Ok(()) };
    let stages = file.stage_names();
    for name in names {
        if !stages.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(BuildError::NoStage {
                option: "--no-cache-filter",
                file: options.dockerfile.name.clone(),
                name: name.clone(),
                similar: crate::diag::suggest(name, stages.iter().map(String::as_str)).map(str::to_owned),
            });
        }
    }
    Ok(())
}

/// Secrets and agents that steps cannot do without: better said before the first of them runs.
fn missing_secrets(recipe: &Recipe, secrets: &Secrets) -> Vec<Diagnostic> {
    let mut missing = Vec::new();
    for step in recipe.stages.iter().flat_map(|stage| &stage.steps) {
        let Op::Run(run) = &step.op else { continue };
        for mount in &run.mounts {
            let (message, help) = match mount {
                Mount::Secret(secret) if secret.required && secrets.value(&secret.id).is_none() => (
                    format!("secret {} was not given to the build, and the step requires it", secret.id),
                    format!("pass --secret id={},src=FILE or --secret id={},env=NAME", secret.id, secret.id),
                ),
                Mount::Ssh(ssh) if ssh.required && secrets.agent(&ssh.id).is_none() => (
                    format!("ssh agent {} was not given to the build, and the step requires it", ssh.id),
                    format!("pass --ssh {}, with an agent running", ssh.id),
                ),
                _ => continue,
            };
            missing.push(Diagnostic::error(step.origin.span, message).with_help(help));
        }
    }
    missing
}

/// Opens the named contexts whose files some step takes.
fn named_contexts(
    store: &Store,
    options: &Options,
    recipe: &Recipe,
) -> Result<BTreeMap<String, Files>, BuildError> {
    let mut opened = BTreeMap::new();
    let steps = recipe.stages.iter().flat_map(|stage| &stage.steps);
    for from in steps.flat_map(|step| step.op.inputs()) {
        let FilesFrom::NamedContext(name) = from else { continue };
        if !opened.contains_key(name) {
            let context = options.contexts.get(name).expect("the frontend knows the names it was given");
            opened.insert(name.clone(), context.open(store, options, name)?);
        }
    }
    Ok(opened)
}

impl Prepared<'_> {
    /// What steps may take in.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            store: self.store,
            options: self.options,
            context: &self.context,
            named: &self.named,
            images: &self.images,
            fetch: &self.options.fetch,
        }
    }

    /// An image that a stage stands on or takes files from.
    fn image(&self, reference: &str, platform: &Platform) -> &Resolved {
        &self.images[&(reference.to_owned(), platform.clone())]
    }

    /// How a stage is called: its name, or its number among the needed ones; where there are several platforms, with its
    /// own before it.
    pub fn stage_name(&self, stage: usize) -> String {
        self.called[stage].shown()
    }

    /// How a stage is called, as if its platform was the only one.
    pub fn plain_name(&self, stage: usize) -> &str {
        &self.called[stage].name
    }

    /// How a step is called: the stage's name or number, and the step's number from 1.
    pub fn info(&self, id: StepId) -> StepInfo {
        let step = &self.recipe.stages[id.stage].steps[id.step];
        let name = self.stage_name(id.stage);
        StepInfo {
            id,
            name: format!("{name}/{}", id.step + 1),
            text: redact(&step.origin.text),
            line: step.origin.line,
            span: step.origin.span,
            effects: self.effects(&step.op),
        }
    }

    /// What is known beforehand to have a part in a step besides its key.
    fn effects(&self, op: &Op) -> Vec<Effect> {
        let reaches = match op {
            Op::Run(run) => bind::network(run.network, self.options, self.told(op)) == BoundNetwork::Host,
            Op::Copy(_) | Op::MakeDir { .. } | Op::Packages(_) | Op::Config => false,
        };
        op.effects(self.options.told, reaches)
    }

    /// What a step is told of the world.
    fn told(&self, op: &Op) -> Told {
        op.told(self.options.told)
    }

    /// How a step is called, as if its platform was the only one.
    pub fn plain_step(&self, id: StepId) -> String {
        format!("{}/{}", self.plain_name(id.stage), id.step + 1)
    }

    /// How many targets were asked for. The recipe has all of them for the first platform, then for the next.
    pub fn targets(&self) -> usize {
        self.recipe.targets.len() / self.options.platforms.len()
    }

    /// What a target of the recipe is built for.
    pub fn platform(&self, target: usize) -> &Platform {
        &self.options.platforms[target / self.targets()]
    }

    /// Where a target of the recipe is built from: the key of its last build record.
    pub fn place(&self, target: usize) -> String {
        let stage = self.options.frontend.targets.get(target % self.targets()).map_or("", String::as_str);
        let platform = self.platform(target);
        format!("{}\n{}\n{stage}\n{platform}", self.options.context.place(), self.options.dockerfile.name)
    }

    /// The last builds of the same places, and where each step is in them, by number of the platform and name.
    fn last_builds(&self) -> (Vec<BuildRecord>, StepPlaces) {
        let (mut builds, mut steps) = (Vec::new(), BTreeMap::new());
        for target in 0..self.recipe.targets.len() {
            let Some(build) = self.store.last_build(&self.place(target)) else { continue };
            for (at, step) in build.steps.iter().enumerate() {
                steps.insert((target / self.targets(), step.name.clone()), (builds.len(), at));
            }
            builds.push(build);
        }
        (builds, steps)
    }

    /// The place of a target that needs a stage.
    fn place_of(&self, stage: usize) -> String {
        let needs =
            |target: &usize| crate::plan::needed(&self.recipe, &[self.recipe.targets[*target]])[stage];
        let target = match self.recipe.targets.len() {
            1 => 0,
            several => (0..several).find(needs).expect("a stage is built for a target"),
        };
        self.place(target)
    }

    /// Whether the steps of a stage are done again whatever the cache has.
    pub fn is_fresh(&self, stage: usize) -> bool {
        match &self.options.fresh {
            Fresh::None => false,
            Fresh::All => true,
            Fresh::Stages(names) => {
                names.iter().any(|name| name.eq_ignore_ascii_case(self.plain_name(stage)))
            }
        }
    }

    fn save_indexes(&mut self) -> Result<(), BuildError> {
        let context = std::mem::replace(&mut self.context, Files::Packed(Arc::default()));
        for files in std::mem::take(&mut self.named).into_values().chain([context]) {
            if let Files::Directory { context, index } = files {
                index.save(&contexts::index_path(self.store, context.root())).map_err(ExecError::Io)?;
            }
        }
        Ok(())
    }
}
