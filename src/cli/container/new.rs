//! What `run` and `create` share: the options of a new container.

use clap::Args;

use super::mounts::MountFlags;
use crate::cli::limits::LimitArgs;
use crate::cli::process_flags::ProcessFlags;
use crate::cli::session::Session;
use crate::cli::{CliError, find};
use crate::container::{Config, STATE_VERSION, Wanted, now, signals};
use crate::digest::DiffId;
use crate::exec::process::{self, ImageProcess};
use crate::oci::{Healthcheck, RunConfig};
use crate::platform::Platform;
use crate::sandbox::spec::{Net, SHM_SIZE};
use crate::store::ContainerId;

/// Options of a new container.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a command line")]
pub struct NewFlags {
    /// Its name [default: one is picked]
    #[arg(long)]
    name: Option<String>,
    /// Keep its standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove it when its program ends
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    process: ProcessFlags,
    #[command(flatten)]
    mounts: MountFlags,
    #[command(flatten)]
    limits: LimitArgs,
    /// Its network: the host's, or loopback alone
    #[arg(long, value_name = "host|none", default_value = "host")]
    network: String,
    /// Not needed: a container has the host's network, so its ports are the host's
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Its host name [default: the first 12 digits of its id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Let it write only to volumes and memory
    #[arg(long)]
    read_only: bool,
    /// Put an init before the program: it passes signals on and reaps
    #[arg(long)]
    init: bool,
    /// A label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// The signal that asks the program to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Do not do the image's health checks
    #[arg(long)]
    no_healthcheck: bool,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Audit the image's unpacked layers first, and refuse if anything was changed
    #[arg(long)]
    verify: bool,
    /// A name, an id or a digest
    image: String,
    /// Instead of the image's CMD
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl NewFlags {
    /// The container that they ask for.
    pub fn wanted(&self, session: &Session, start_now: bool) -> Result<Wanted, CliError> {
        session.check()?;
        let store = &session.store;
        let network = self.network()?;
        let limits = self.limits.read()?;
        let mounts = self.mounts.read()?;
        let image = find::image_for(store, &self.image, self.platform.as_ref())?;
        let config = find::config(store, &image.id)?;
        let id = ContainerId::random().map_err(CliError::io("read random numbers"))?;
        let hostname = self.hostname(&id)?;
        let program = process::resolve(store, &config, &self.process.overrides(&self.command)?)?;
        let program = ImageProcess { env: with_own(program.env, &hostname, self.tty), ..program };
        let config = Config {
            version: STATE_VERSION,
            created: now(),
            image: image.id,
            image_name: self.image.clone(),
            layers: process::rootfs(store, &config)?,
            run: self.run_config(config.config, &program.env)?,
            program,
            hostname,
            network,
            hosts: limits.hosts,
            capabilities: self.process.capabilities()?,
            limits: limits.group,
            ulimits: limits.ulimits,
            shm_size: limits.shm_size.unwrap_or(SHM_SIZE),
            mounts,
            open_stdin: self.interactive,
            tty: self.tty,
            read_only: self.read_only,
            init: self.init,
            auto_remove: self.rm,
        };
        if self.verify {
            verify(session, &self.image, &config)?;
        }
        Ok(Wanted { id, name: self.name.clone(), config, start_now })
    }

    fn network(&self) -> Result<Net, CliError> {
        let network = match self.network.as_str() {
            "host" => Net::Host,
            "none" => Net::None,
            other => {
                return Err(CliError::Usage(format!(
                    "--network {other}: there is host, the host's own, and none, loopback alone"
                )));
            }
        };
        if let Some(port) = self.publish.first() {
            return Err(CliError::Usage(match network {
                Net::Host => format!(
                    "--publish {port}: a container has the host's network, so the port it listens on is the host's; leave \
                     --publish out"
                ),
                Net::None => format!("--publish {port}: with --network none there is nothing to publish to"),
            }));
        }
        Ok(network)
    }

    fn hostname(&self, id: &ContainerId) -> Result<String, CliError> {
        let Some(name) = &self.hostname else { return Ok(id.short().to_owned()) };
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(fine) {
            return Err(CliError::Usage(format!(
                "--hostname {name}: expected letters, digits, -, . and _, at most 63"
            )));
        }
        Ok(name.clone())
    }

    /// The image's config as this container has it.
    fn run_config(&self, image: RunConfig, env: &[String]) -> Result<RunConfig, CliError> {
        let overrides = self.process.overrides(&self.command)?;
        let mut run = RunConfig { env: env.to_vec(), ..image };
        match overrides.entrypoint {
            Some(entrypoint) => {
                run.entrypoint = Some(entrypoint);
                run.cmd = Some(self.command.clone());
            }
            None if !self.command.is_empty() => run.cmd = Some(self.command.clone()),
            None => {}
        }
        run.working_dir = overrides.cwd.unwrap_or(run.working_dir);
        run.user = overrides.user.unwrap_or(run.user);
        for label in &self.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            run.labels.insert(name.to_owned(), value.to_owned());
        }
        if let Some(signal) = &self.stop_signal {
            signals::number(signal).map_err(crate::container::ContainerError::from)?;
            run.stop_signal.clone_from(signal);
        }
        if self.no_healthcheck {
            run.healthcheck = Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
        }
        Ok(run)
    }
}

/// What docker sets besides, unless it is set already.
fn with_own(env: Vec<String>, hostname: &str, tty: bool) -> Vec<String> {
    let mut own = vec![format!("HOSTNAME={hostname}")];
    if tty {
        own.push("TERM=xterm".into());
    }
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    own.retain(|variable| !env.iter().any(|known| name(known) == name(variable)));
    let mut env = env;
    // Behind PATH, as there.
    env.splice(1.min(env.len())..1.min(env.len()), own);
    env
}

/// Holds the image's unpacked layers against their tables.
fn verify(session: &Session, image: &str, config: &Config) -> Result<(), CliError> {
    let layers: Vec<DiffId> = config.layers.iter().map(|layer| layer.diff_id).collect();
    let findings = session.store.verify_stack(&layers)?;
    if findings.is_empty() {
        return Ok(());
    }
    findings.iter().for_each(crate::cli::verify::show);
    Err(CliError::Tampered { image: image.to_owned() })
}
