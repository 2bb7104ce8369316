//! `lith build`, and the options that `lith plan` and `lith why` share with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::CliError;
use super::progress;
use super::results::Results;
use super::secrets::SecretArgs;
use super::session::{self, Need, variable};
use crate::context;
use crate::diag::{Diagnostic, Source};
use crate::engine::{self, BuildError, Fresh, Options};
use crate::epoch::Epoch;
use crate::fetch::FetchOptions;
use crate::frontend::dockerfile;
use crate::platform::Platform;
use crate::recipe::Network;
use crate::store::Store;

const EXAMPLES: &str = "Examples:
  lith build -t app .
  lith build -f docker/Dockerfile --target test --build-arg VERSION=1.2 .
  lith build --hermetic --epoch git -o type=oci,dest=app.tar .";

/// What to build: shared by `build`, `plan` and `why`.
#[derive(Debug, Args)]
pub struct What {
    /// The directory that COPY takes files from
    #[arg(default_value = ".")]
    context: PathBuf,
    /// The Dockerfile; - for standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Build only up to this stage; several stages are built at once
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    target: Vec<String>,
    /// A value for an ARG; without =VALUE it comes from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Another source for FROM and --from: a directory, an image, oci-layout:PATH, docker-archive:FILE or rootfs:FILE
    #[arg(long, value_name = "NAME=SOURCE")]
    build_context: Vec<String>,
    /// A label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Let steps have what they ask for: security.insecure gives RUN --security=insecure all powers
    #[arg(long, value_enum, value_name = "ENTITLEMENT")]
    allow: Vec<Entitlement>,
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// The latest time in the image: seconds since 1970, git (last commit), base (the base image's) or now
    /// [default: $SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "N|git|base|now")]
    epoch: Option<String>,
    /// No network, fixed environment, context modes normalised
    #[arg(long)]
    hermetic: bool,
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

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetworkArg {
    Default,
    None,
    Host,
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
    /// How many steps run at once [default: one for each processor, at least 2]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[arg(long, value_enum, default_value_t)]
    progress: progress::Mode,
    /// Print the image id alone
    #[arg(short, long)]
    quiet: bool,
    /// Open a shell where a RUN step fails
    #[arg(long)]
    debug: bool,
}

impl Build {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let start = Instant::now();
        let targets = &self.what.target;
        let names = self.results.names(targets)?;
        self.results.check_outputs(targets)?;
        let annotations = self.results.annotations()?;
        let session = session::open(root, Need::FileSystems)?;
        let mut options = self.what.options(&session.store)?;
        options.names = names;
        options.annotations = annotations;
        options.fresh = match (self.no_cache, self.no_cache_filter.is_empty()) {
            (true, _) => Fresh::All,
            (false, true) => Fresh::None,
            (false, false) => Fresh::Stages(self.no_cache_filter.clone()),
        };
        options.debug = self.debug;
        options.no_sandbox = session.no_sandbox;
        if let Some(jobs) = self.jobs {
            options.jobs = jobs;
        }
        let mode = if self.quiet { progress::Mode::Quiet } else { self.progress };
        let ui = progress::start(mode, &options.dockerfile, start);
        let built = engine::build(&session.store, &options, ui.as_ref());
        let built = built.map_err(|error| self.failed(error, ui.as_ref(), &options.dockerfile))?;
        ui.warnings(&render(&options.dockerfile, &built.warnings));
        self.results.write(&session.store, &built, targets)?;
        ui.built(&built);
        Ok(())
    }

    fn failed(&self, error: BuildError, ui: &dyn progress::Show, source: &Source) -> CliError {
        ui.failed(&error);
        match error {
            BuildError::File(diagnostics) => CliError::File { file: Box::new(source.clone()), diagnostics },
            other => other.into(),
        }
    }
}

/// Diagnostics as one text.
pub fn render(source: &Source, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| source.render(d)).collect()
}

impl What {
    /// Reads the file and everything else from outside that a build depends on.
    pub fn options(&self, store: &Store) -> Result<Options, CliError> {
        let (dockerfile, ignore) = self.read_files()?;
        let build_args = pairs(&self.build_arg, "--build-arg", variable)?;
        let contexts: BTreeMap<String, String> = pairs(&self.build_context, "--build-context", |_| None)?
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let is_dir = |value: &&String| Path::new(value).is_dir();
        let named_contexts: BTreeSet<String> =
            contexts.iter().filter(|(_, value)| is_dir(value)).map(|(name, _)| name.clone()).collect();
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let mut options = Options {
            context: self.context.clone(),
            dockerfile,
            ignore,
            frontend: dockerfile::Options {
                build_args,
                labels: pairs(&self.label, "--label", |_| None)?,
                targets: self.target.clone(),
                platform,
                build_platform: Platform::host(),
                insecure: self.allow.contains(&Entitlement::Insecure),
                named_contexts,
            },
            contexts,
            names: vec![],
            annotations: BTreeMap::new(),
            epoch: Epoch::ZERO,
            hermetic: self.hermetic,
            network: match self.network {
                None | Some(NetworkArg::Default) => Network::Default,
                Some(NetworkArg::None) => Network::None,
                Some(NetworkArg::Host) => Network::Host,
            },
            jobs: jobs(),
            fresh: Fresh::None,
            debug: false,
            resolv_conf: fs::read("/etc/resolv.conf").unwrap_or_default(),
            secrets: Arc::new(self.secrets.read()?),
            fetch: FetchOptions { roots: certificates(), ..FetchOptions::default() },
            no_sandbox: None,
        };
        options.epoch = self.epoch(store, &options)?;
        Ok(options)
    }

    fn read_files(&self) -> Result<(Source, (Vec<u8>, String)), CliError> {
        if !self.context.is_dir() {
            return Err(CliError::Usage(format!(
                "{} is not a directory; the last argument is the build context",
                self.context.display()
            )));
        }
        let (name, bytes) = match &self.file {
            Some(path) if path.as_os_str() == "-" => {
                let mut bytes = Vec::new();
                io::stdin().read_to_end(&mut bytes).map_err(CliError::io("read the Dockerfile"))?;
                ("Dockerfile".to_owned(), bytes)
            }
            Some(path) => (path.display().to_string(), read_dockerfile(path)?),
            None => {
                let upper = self.context.join("Dockerfile");
                let lower = self.context.join("dockerfile");
                let path = if !upper.exists() && lower.exists() { lower } else { upper };
                (path.display().to_string(), read_dockerfile(&path)?)
            }
        };
        let source = dockerfile::source_from_bytes(&name, bytes)
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok((source, self.read_ignore()?))
    }

    /// `<Dockerfile>.dockerignore` beats `.dockerignore`.
    fn read_ignore(&self) -> Result<(Vec<u8>, String), CliError> {
        let file = self.file.clone().unwrap_or_else(|| self.context.join("Dockerfile"));
        let mut own = file.into_os_string();
        own.push(".dockerignore");
        for path in [PathBuf::from(own), self.context.join(".dockerignore")] {
            match context::ignore_file(&path) {
                Ok(Some(bytes)) => return Ok((bytes, path.display().to_string())),
                Ok(None) => {}
                Err(error) => return Err(CliError::Usage(format!("read {}: {error}", path.display()))),
            }
        }
        Ok((Vec::new(), ".dockerignore".into()))
    }

    fn epoch(&self, store: &Store, options: &Options) -> Result<Epoch, CliError> {
        let given = self.epoch.clone().or_else(|| {
            let argument = options.frontend.build_args.iter().find(|(name, _)| name == "SOURCE_DATE_EPOCH");
            argument.map(|(_, value)| value.clone()).or_else(|| variable("SOURCE_DATE_EPOCH"))
        });
        match given.as_deref() {
            None | Some("") => Ok(Epoch::ZERO),
            Some("git") => git_epoch(&self.context),
            Some("now") => Ok(now()),
            Some("base") => {
                let epoch = engine::base_epoch(store, options).map_err(|error| match error {
                    BuildError::File(diagnostics) => {
                        CliError::File { file: Box::new(options.dockerfile.clone()), diagnostics }
                    }
                    other => other.into(),
                })?;
                epoch.ok_or_else(|| {
                    CliError::Usage("--epoch base: the target stands on no image with a creation time".into())
                })
            }
            Some(number) => number.parse().map_err(|error| CliError::Usage(format!("--epoch: {error}"))),
        }
    }
}

fn read_dockerfile(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CliError::Usage(format!(
            "there is no Dockerfile at {}; say where it is with -f FILE",
            path.display()
        )),
        _ => CliError::Usage(format!("read {}: {error}", path.display())),
    })
}

/// `NAME=VALUE` arguments; a bare name asks `missing` and is left out if that knows nothing.
fn pairs(
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

/// Who may vouch for servers: what the user says, else what the machine trusts.
fn certificates() -> Vec<u8> {
    let named = variable("SSL_CERT_FILE").filter(|path| !path.is_empty());
    fs::read(named.as_deref().unwrap_or("/etc/ssl/certs/ca-certificates.crt")).unwrap_or_default()
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

#[expect(clippy::disallowed_methods, reason = "--epoch now asks for it")]
fn now() -> Epoch {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).ok().and_then(Epoch::from_seconds).unwrap_or(Epoch::ZERO)
}
