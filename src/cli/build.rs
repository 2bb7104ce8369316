//! `lith build`, and the options that `lith plan` and `lith why` share with it.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::call::Calls;
use super::contexts::{Origin, Reach};
use super::files::Text;
use super::language::LanguageArgs;
use super::limits::LimitArgs;
use super::pins::{PinArgs, write_completed};
use super::progress;
use super::pulling::{Policy, Pulling};
use super::results::Results;
use super::secrets::SecretArgs;
use super::session::{self, Need, variable};
use super::sharing::Sharing;
use super::trace::Trace;
use super::{CliError, out};
use crate::debian::{Asking, Machine};
use crate::diag::{Diagnostic, Source};
use crate::engine::bases::{Puller, Pulls, When};
use crate::engine::contexts::{ContextSource, NamedContext, Packed};
use crate::engine::finish::Built;
use crate::engine::pins::{Pins, completed};
use crate::engine::report::Event;
use crate::engine::{self, BuildError, Fresh, Lowered, Options};
use crate::epoch::Epoch;
use crate::exec::source::Modes;
use crate::fetch::{Access, FetchOptions, Watcher};
use crate::frontend::{self, Language};
use crate::recipe::{Litter, Network, Told};
use crate::shared as cache;
use crate::store::Store;

const EXAMPLES: &str = "Examples:
  lith build -t app .
  lith build -f docker/Dockerfile --target test --build-arg VERSION=1.2 .
  lith build --hermetic --epoch git -o type=oci,dest=app.tar .";

/// What to build: shared by `build`, `plan` and `why`.
#[derive(Debug, Args)]
pub struct What {
    #[command(flatten)]
    language: LanguageArgs,
    /// A label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Let steps have what they ask for: security.insecure gives RUN --security=insecure all powers
    #[arg(long, value_enum, value_name = "ENTITLEMENT")]
    allow: Vec<Entitlement>,
    /// The latest time in the image: seconds since 1970, git (last commit), context (the
    /// commit of a git context, the date of one by URL), base (the base image's) or now
    /// [default: $SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "N|git|context|base|now")]
    epoch: Option<String>,
    /// No network, fixed environment, context modes as git has them, known litter left out
    #[arg(long)]
    hermetic: bool,
    /// Hermetic, and randomness of steps follows from a seed: keys that they make are known to everybody
    #[arg(long)]
    deterministic: bool,
    /// Fail if the image may come out differently: reproducible
    #[arg(long, value_enum, value_name = "WHAT")]
    require: Option<Requirement>,
    /// Modes of the context's files: git (0644, 0755 if the owner may execute it) or kept
    /// [default: git for KDL and with --hermetic, else kept]
    #[arg(long, value_enum, value_name = "WHICH")]
    context_modes: Option<ContextModes>,
    /// Keep what a hermetic build leaves out: logs and caches of package managers, machine ids
    #[arg(long)]
    keep_litter: bool,
    #[command(flatten)]
    pins: PinArgs,
    /// When registries are asked for bases; --pull alone is --pull=always
    #[arg(
        long, value_enum, value_name = "WHEN", default_value_t, default_missing_value = "always",
        num_args = 0..=1, require_equals = true
    )]
    pull: Policy,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    secrets: SecretArgs,
    /// The network of RUN steps that do not say [default: host; none with --hermetic]
    #[arg(long, value_enum)]
    network: Option<NetworkArg>,
}

/// `--allow`, as in buildx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Entitlement {
    #[value(name = "security.insecure")]
    Insecure,
    /// Always allowed: the host's network is what RUN gets anyway, unless told otherwise
    #[value(name = "network.host")]
    HostNetwork,
}

/// `--context-modes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ContextModes {
    Git,
    Kept,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetworkArg {
    Default,
    None,
    Host,
}

/// What an image has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Requirement {
    Reproducible,
}

/// Arguments of `lith build`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Build {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    results: Results,
    /// Do every step again
    #[arg(long, conflicts_with = "no_cache_filter")]
    no_cache: bool,
    /// Do every step of these stages again
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Look up what other machines did: type=registry,ref=NAME or type=oci-layout,src=DIR, and [,lazy=false] to bring
    /// layers at once
    #[arg(long, value_name = "PLACE")]
    cache_from: Vec<cache::From>,
    /// Write what is done for other machines: type=registry,ref=NAME or type=oci-layout,dest=DIR, and
    /// [,mode=min|max][,compression=gzip|zstd|uncompressed][,ignore-error=true][,sign=KEYFILE]
    #[arg(long, value_name = "PLACE")]
    cache_to: Vec<cache::To>,
    /// Use only what a key signed of what other machines did: PUBKEY[,since=DATE]
    #[arg(long, value_name = "KEY")]
    cache_trust: Vec<cache::Trusting>,
    /// How many steps run at once [default: one for each processor, at least 2]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[arg(long, value_enum, default_value_t)]
    progress: progress::Mode,
    /// Write down what was done when, for Perfetto and chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print the image id alone
    #[arg(short, long)]
    quiet: bool,
    /// Open a shell where a RUN step fails
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    call: Calls,
}

impl Build {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        if let Some(call) = self.call.wanted()? {
            return call.answer(&self.what, root);
        }
        let start = Instant::now();
        let targets = &self.what.language.target;
        let names = self.results.names(targets)?;
        let platforms = self.what.language.platforms();
        self.results.check_outputs(targets, &platforms)?;
        let annotations = self.results.annotations(&platforms)?;
        let mut sharing = Sharing::read(&self.cache_to, &self.cache_trust, now())?;
        let session = session::open(root, Need::FileSystems)?;
        let mode = if self.quiet { progress::Mode::Quiet } else { self.progress };
        let trace = Trace::start(self.trace.as_deref(), start)?;
        let ui = trace.beside(progress::start(mode, start));
        let mut options = self.what.options(&session.store, Watcher::new(ui.clone()))?;
        if self.what.pins.is_offline() {
            session.fetcher.go_offline();
        }
        ui.reads(&options.dockerfile);
        options.names = names;
        options.annotations = annotations.manifest;
        options.index_annotations = annotations.index;
        options.fresh = match (self.no_cache, self.no_cache_filter.is_empty()) {
            (true, _) => Fresh::All,
            (false, true) => Fresh::None,
            (false, false) => Fresh::Stages(self.no_cache_filter.clone()),
        };
        options.provenance = self.results.provenance()?;
        options.sbom = self.results.sbom()?;
        options.debug = self.debug;
        options.cache_from = Arc::new(sharing.sources(&self.cache_from, &session.fetcher)?);
        // What is built here is whole here, unless it is to stay at a shared cache.
        let is_lazy = self.cache_from.iter().any(|from| from.is_lazy);
        options.reads_layers = !is_lazy || self.results.has_outputs();
        options.cache_to = sharing.sinks(&self.cache_to);
        options.no_sandbox = session.no_sandbox;
        if let Some(jobs) = self.jobs {
            options.jobs = jobs;
        }
        let built = self.build(&session.store, &mut options, &trace, ui.as_ref());
        let result = match built {
            Err(error) => {
                ui.failed(&error);
                Err(CliError::of_build(error, &options.dockerfile))
            }
            Ok(built) => self
                .results
                .write(&session.store, &built, &options, targets, &trace)
                .map(|()| ui.built(&built)),
        };
        if let Some(problem) = trace.finish() {
            ui.warned(&problem);
        }
        result
    }

    fn build(
        &self,
        store: &Store,
        options: &mut Options,
        trace: &Trace,
        ui: &dyn progress::Show,
    ) -> Result<Built, BuildError> {
        let prepared = trace.during("planning", || {
            let lowered = engine::lower(store, options)?;
            self.complete_lock(store, options, &lowered, ui)?;
            engine::prepare_recipe(store, options, lowered, Asking::Allowed)
        })?;
        trace.during("steps", || engine::build_prepared(prepared, ui))
    }

    /// A KDL file's lock is written by the first build, and by the next that takes something new: before the steps, which go
    /// by it, and whose context it may be part of.
    fn complete_lock(
        &self,
        store: &Store,
        options: &mut Options,
        lowered: &Lowered,
        ui: &dyn progress::Show,
    ) -> Result<(), BuildError> {
        let Some(path) = self.what.lock_path() else { return Ok(()) };
        if options.pins.locked || options.language != Language::Kdl {
            return Ok(());
        }
        let Some(lock) = completed(store, options, lowered)? else { return Ok(()) };
        let note = match write_completed(&path, &lock) {
            Ok(()) => format!("{}: {} pins", path.display(), lock.len()),
            // A build of a tree that nobody may write is as good; only the next one may take something else.
            Err(error) => format!("warning: what was taken is not pinned: {error}"),
        };
        ui.event(Event::Note(&note));
        options.pins.lock = lock;
        Ok(())
    }
}

/// Diagnostics as one text.
pub fn render(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let paint = out::paint();
    diagnostics.iter().map(|d| source.render_in(d, paint)).collect()
}

impl What {
    /// Reads the file and everything else from outside that a build depends on.
    pub fn options(&self, store: &Store, watch: Watcher) -> Result<Options, CliError> {
        self.options_with(store, self.pins.read(&self.language.contexts.files)?, watch)
    }

    fn is_hermetic(&self) -> bool {
        self.hermetic || self.deterministic
    }

    /// Which bases are pulled.
    fn pulls(&self, watch: Watcher) -> Pulls {
        let puller: Arc<dyn Puller> = Arc::new(Pulling { watch });
        let is_asked = !self.pins.is_offline() && self.pull != Policy::Never;
        let when = if self.pull == Policy::Always { When::Always } else { When::Missing };
        Pulls { puller: is_asked.then_some(puller), when, only_pinned: self.is_hermetic() }
    }

    /// The same, with other pins.
    pub fn options_with(&self, store: &Store, pins: Pins, watch: Watcher) -> Result<Options, CliError> {
        let fetch = FetchOptions { watch: watch.clone(), ..self.pins.fetch_options()? };
        let secrets = self.secrets.read()?;
        let access = Access { secrets: &secrets, agent: secrets.agent("default") };
        let reach = Reach { store, fetch: &fetch, access };
        let Origin { context, dockerfile, language, imports } = self.language.contexts.read(reach)?;
        let (frontend, contexts) = self.language_options()?;
        let mut options = Options {
            context,
            dockerfile,
            language,
            imports,
            frontend,
            contexts,
            platforms: self.language.platforms(),
            names: vec![],
            annotations: BTreeMap::new(),
            index_annotations: BTreeMap::new(),
            epoch: Epoch::ZERO,
            told: Told { hermetic: self.is_hermetic(), seeded: self.deterministic },
            reproducible: self.require == Some(Requirement::Reproducible),
            context_modes: match self.context_modes {
                Some(ContextModes::Git) => Modes::Normalised,
                Some(ContextModes::Kept) => Modes::AsTheyAre,
                None if self.is_hermetic() || language == Language::Kdl => Modes::Normalised,
                None => Modes::AsTheyAre,
            },
            litter: if self.keep_litter { Litter::Kept } else { Litter::Dropped },
            network: match self.network {
                None | Some(NetworkArg::Default) => Network::Default,
                Some(NetworkArg::None) => Network::None,
                Some(NetworkArg::Host) => Network::Host,
            },
            jobs: jobs(),
            fresh: Fresh::None,
            debug: false,
            resolv_conf: fs::read("/etc/resolv.conf").unwrap_or_default(),
            limits: self.limits.read()?,
            secrets: Arc::new(secrets),
            fetch,
            provenance: None,
            sbom: None,
            pins,
            machine: Machine::new(now().seconds()),
            no_sandbox: None,
            pulls: self.pulls(watch),
            reads_layers: false,
            cache_from: Arc::default(),
            cache_to: vec![],
        };
        options.epoch = self.epoch(store, &options)?;
        Ok(options)
    }

    /// The pins of the lock that is there.
    pub fn pins_if_there(&self) -> Result<Option<Pins>, CliError> {
        self.pins.read_if_there(&self.language.contexts.files)
    }

    /// Where the lock is or would be.
    pub fn lock_path(&self) -> Option<PathBuf> {
        self.pins.path(&self.language.contexts.files)
    }

    /// The Dockerfile and its ignore file.
    pub fn text(&self, root: Option<&Path>) -> Result<Text, CliError> {
        let secrets = self.secrets.read()?;
        let access = Access { secrets: &secrets, agent: secrets.agent("default") };
        self.language.text(root, access, &self.pins.fetch_options()?)
    }

    /// The options that the language sees, and the named contexts.
    pub fn language_options(&self) -> Result<(frontend::Options, BTreeMap<String, NamedContext>), CliError> {
        let (options, contexts) = self.language.options()?;
        let labels = pairs(&self.label, "--label", |_| None)?;
        let insecure = self.allow.contains(&Entitlement::Insecure);
        Ok((frontend::Options { labels, insecure, ..options }, contexts))
    }

    fn epoch(&self, store: &Store, options: &Options) -> Result<Epoch, CliError> {
        let given = self.epoch.clone().or_else(|| {
            let argument = options.frontend.build_args.iter().find(|(name, _)| name == "SOURCE_DATE_EPOCH");
            argument.map(|(_, value)| value.clone()).or_else(|| variable("SOURCE_DATE_EPOCH"))
        });
        match given.as_deref() {
            None | Some("") => Ok(Epoch::ZERO),
            Some("git") => match &options.context {
                ContextSource::Directory { path, .. } => git_epoch(path),
                ContextSource::Packed(packed) => context_epoch(packed),
            },
            Some("context") => match &options.context {
                ContextSource::Packed(packed) => context_epoch(packed),
                ContextSource::Directory { path, .. } => Err(CliError::Usage(format!(
                    "--epoch context: a directory has no time of its own; if {} is a git checkout, say --epoch git",
                    path.display()
                ))),
            },
            Some("now") => Ok(now()),
            Some("base") => {
                let epoch = engine::base_epoch(store, options)
                    .map_err(|error| CliError::of_build(error, &options.dockerfile))?;
                epoch.ok_or_else(|| {
                    CliError::Usage("--epoch base: the target stands on no image with a creation time".into())
                })
            }
            Some(number) => number.parse().map_err(|error| CliError::Usage(format!("--epoch: {error}"))),
        }
    }
}

/// `NAME=VALUE` arguments; a bare name asks `missing` and is left out if that knows nothing.
pub fn pairs(
    given: &[String],
    flag: &str,
    missing: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, CliError> {
    let mut all = Vec::new();
    for text in given {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if flag == "--build-arg" => (text.as_str(), missing(text)),
            None => return Err(CliError::Usage(format!("{flag} {text}: expected NAME=VALUE"))),
        };
        if name.is_empty() {
            return Err(CliError::Usage(format!("{flag} {text}: the name is empty")));
        }
        all.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(all)
}

/// A COPY that packs should never wait for a RUN that sleeps, even on one processor.
fn jobs() -> NonZeroUsize {
    let two = NonZeroUsize::MIN.saturating_add(1);
    std::thread::available_parallelism().map_or(two, |n| n.max(two))
}

/// The time of the last commit of the context's repository.
fn git_epoch(context: &Path) -> Result<Epoch, CliError> {
    let output = std::process::Command::new("git")
        .args(["-c", "core.fsmonitor=false", "log", "-1", "--format=%ct"])
        .current_dir(context)
        .output()
        .map_err(CliError::io("run git for --epoch git"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(CliError::Usage(format!("--epoch git: {} has no commit: {why}", context.display())));
    }
    text.trim().parse().map_err(|error| CliError::Usage(format!("--epoch git: {error}")))
}

/// When a context that came as one was made.
fn context_epoch(packed: &Packed) -> Result<Epoch, CliError> {
    packed.time.ok_or_else(|| {
        CliError::Usage(format!("--epoch context: {} does not say when it was made", packed.shown))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "--epoch now asks for it, whether a release of an archive is over, and signatures of cache records"
)]
pub fn now() -> Epoch {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).ok().and_then(Epoch::from_seconds).unwrap_or(Epoch::ZERO)
}
