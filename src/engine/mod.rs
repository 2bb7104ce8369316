//! The only wiring: text to recipe to plan to layers to image.

pub mod bases;
pub mod bind;
pub mod check;
mod configure;
pub mod contexts;
pub mod finish;
pub mod packages;
pub mod pins;
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

use crate::context::ContextError;
use crate::debian::{Asking, DebianError, Machine};
use crate::diag::{Diagnostic, Source};
use crate::epoch::Epoch;
use crate::exec::files::Files;
use crate::exec::secrets::Secrets;
use crate::exec::{ExecError, Rules};
use crate::fetch::{Access, FetchOptions};
use crate::frontend::kdl::{self, Imports};
use crate::frontend::{self, BuildFile, Configs, Language};
use crate::limits::ProcessLimits;
use crate::oci::Reference;
use crate::plan::Plan;
use crate::platform::Platform;
use crate::recipe::mount::Mount;
use crate::recipe::{Base, FilesFrom, Network, Op, Recipe};
use crate::remote::redact;
use crate::sbom::Form;
use crate::shared::{Sources, To};
use crate::store::{Store, StoreError};

use bases::{BaseError, Bases, Resolved};
use bind::Inputs;
use contexts::{ContextSource, NamedContext};
use pins::Pins;
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
    pub names: Vec<Name>,
    /// Put into the manifest of every target.
    pub annotations: BTreeMap<String, String>,
    pub epoch: Epoch,
    pub hermetic: bool,
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
    /// Where records of other machines are looked up.
    pub cache_from: Arc<Sources>,
    /// Where records are written for other machines.
    pub cache_to: Vec<To>,
}

impl Options {
    /// What opens private repositories: secrets of the names that BuildKit knows, and the default ssh agent.
    pub fn git_access(&self) -> Access<'_> {
        Access { secrets: self.secrets.as_ref(), agent: self.secrets.agent("default") }
    }
}

/// A name for the image of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Index into the recipe's targets.
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
    #[error("{file}:{line}: packages of {suite}: {source}")]
    Packages { file: String, line: usize, suite: String, source: Box<DebianError> },
    #[error("{option}: {file} has no stage {name}{}", .similar.as_ref().map_or_else(String::new, |similar| format!("; did you mean {similar}?")))]
    NoStage { option: &'static str, file: String, name: String, similar: Option<String> },
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
    context: Files,
    named: BTreeMap<String, Files>,
}

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
    (mut recipe, images, warnings): Lowered,
    asking: Asking,
) -> Result<Prepared<'a>, BuildError> {
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
        hermetic: options.hermetic,
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
    Ok(Prepared { store, options, recipe, plan, images, rules, warnings, pinned, context, named })
}

/// Builds the target.
pub fn build(store: &Store, options: &Options, ui: &dyn Ui) -> Result<finish::Built, BuildError> {
    build_prepared(prepare(store, options, Asking::Allowed)?, ui)
}

/// Builds the targets of what was prepared.
pub fn build_prepared(mut prepared: Prepared<'_>, ui: &dyn Ui) -> Result<finish::Built, BuildError> {
    if !prepared.warnings.is_empty() {
        ui.event(Event::Odd(&prepared.warnings));
    }
    let (done, written) = sharing::run(&prepared, ui);
    // What was hashed stays known even if a step failed.
    prepared.save_indexes()?;
    let built = finish::finish(&prepared, &done?)?;
    written.map(|()| built)
}

/// When the image that the first target stands on was made; `None` for scratch, or if the image does not say.
pub fn base_epoch(store: &Store, options: &Options) -> Result<Option<Epoch>, BuildError> {
    let (recipe, images, _) = lower(store, options)?;
    let mut stage = &recipe.stages[recipe.targets[0]];
    let image = loop {
        match &stage.base {
            Base::Scratch | Base::Packages(_) => return Ok(None),
            Base::Stage(earlier) => stage = &recipe.stages[*earlier],
            Base::Image(reference) => break &images[&(reference.clone(), stage.platform.clone())],
        }
    };
    Ok(image.base.config.created.as_deref().and_then(Epoch::from_rfc3339))
}

/// The recipe and its images.
fn recipe_and_images(store: &Store, options: &Options) -> Result<(Recipe, Images), BuildError> {
    lower(store, options).map(|(recipe, images, _)| (recipe, images))
}

/// What a Dockerfile comes to, as KDL that comes to the same.
pub fn convert(store: &Store, options: &Options) -> Result<String, BuildError> {
    let (recipe, images, _) = lower(store, options)?;
    let bases = images.into_iter().map(|(key, image)| (key, image.base.config)).collect();
    Ok(kdl::write(&recipe, &options.frontend, &bases))
}

/// A recipe, its images, and what is odd about its file.
pub type Lowered = (Recipe, Images, Vec<Diagnostic>);

/// Reads the file and finds its images.
pub fn lower(store: &Store, options: &Options) -> Result<Lowered, BuildError> {
    let (file, found) = BuildFile::parse(&options.dockerfile, options.language, &options.imports);
    let broken = |found| BuildError::File(check::with_warnings(&file, options, found));
    if check::has_errors(&found) {
        return Err(broken(found));
    }
    check_fresh(&file, options)?;
    let finder = Bases {
        store,
        names: &options.frontend.named_contexts,
        contexts: &options.contexts,
        epoch: options.epoch,
    };
    let mut images = Images::new();
    let mut configs = Configs::new();
    let mut used = Vec::new();
    // The triggers of a base may need further images.
    loop {
        let uses = file.images(&options.frontend, &configs).map_err(broken)?;
        let known = images.len();
        for wanted in uses {
            let key = (wanted.reference.clone(), wanted.platform.clone());
            if images.contains_key(&key) {
                continue;
            }
            let resolved = pins::resolve(&finder, options, &wanted.reference, &wanted.platform);
            let resolved = resolved.map_err(|source| BuildError::Base {
                file: options.dockerfile.name.clone(),
                reference: wanted.reference.clone(),
                line: options.dockerfile.position(wanted.span.start).0,
                source: Box::new(source.or_stage(file.stage_names().iter().map(String::as_str))),
            })?;
            configs.insert(key.clone(), resolved.base.config.clone());
            images.insert(key, resolved);
            used.push(wanted);
        }
        if images.len() == known {
            break;
        }
    }
    let (recipe, warnings) = file.lower(&options.frontend, &configs).map_err(broken)?;
    let warnings = check::build(&file, options, &configs, warnings)?;
    let unpinned = pins::unpinned(options, &recipe, &used);
    if !unpinned.is_empty() {
        return Err(BuildError::File(unpinned));
    }
    Ok((recipe, images, warnings))
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

    /// How a stage is called: its name, or its number among the needed ones.
    pub fn stage_name(&self, stage: usize) -> String {
        self.recipe.stages[stage].name.clone().unwrap_or_else(|| format!("stage{stage}"))
    }

    /// How a step is called: the stage's name or number, and the step's number from 1.
    pub fn info(&self, id: crate::plan::StepId) -> StepInfo {
        let step = &self.recipe.stages[id.stage].steps[id.step];
        let name = self.stage_name(id.stage);
        StepInfo {
            id,
            name: format!("{name}/{}", id.step + 1),
            text: redact(&step.origin.text),
            line: step.origin.line,
            span: step.origin.span,
            effects: step.op.effects(self.options.hermetic),
        }
    }

    /// Where a target is built from: the key of its last build record.
    pub fn place(&self, target: usize) -> String {
        let target = self.options.frontend.targets.get(target).map_or("", String::as_str);
        let platform = &self.options.frontend.platform;
        format!("{}\n{}\n{target}\n{platform}", self.options.context.place(), self.options.dockerfile.name)
    }

    /// Whether the steps of a stage are done again whatever the cache has.
    pub fn is_fresh(&self, stage: usize) -> bool {
        match &self.options.fresh {
            Fresh::None => false,
            Fresh::All => true,
            Fresh::Stages(names) => {
                let own = self.stage_name(stage);
                names.iter().any(|name| name.eq_ignore_ascii_case(&own))
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
