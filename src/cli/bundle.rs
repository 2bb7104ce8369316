//! `lith bundle`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::process_flags::ProcessFlags;
use super::session::{self, Need, Session};
use super::{CliError, find, limits, out};
use crate::bundle::{self, BundleError, Lost, Options};
use crate::exec::process;
use crate::image::StoredImage;
use crate::platform::Platform;
use crate::sandbox::emulation::{self, Support};
use crate::sandbox::spec::Net;
use crate::sandbox::userns::IdMaps;
use crate::store::Unpacking;

/// The host name in a container of a bundle, unless another is asked for.
const HOSTNAME: &str = "lith";

/// Arguments of `lith bundle`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lith bundle app:latest app.bundle && crun run -b app.bundle app")]
pub struct Bundle {
    /// A name, an id or a digest
    image: String,
    /// Where to write: a directory that is new or empty
    dir: PathBuf,
    /// What to run instead of the image's CMD
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    process: ProcessFlags,
    /// The network: the machine's, or one of its own with nothing but loopback
    #[arg(long, value_enum, default_value_t)]
    network: Network,
    /// Let the process only read the root file system
    #[arg(long)]
    read_only: bool,
    /// The host name in the container
    #[arg(long, value_name = "NAME", default_value = HOSTNAME)]
    hostname: String,
    /// A limit of each process, as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// The image's platform, if it is not this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
}

/// A network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Network {
    #[default]
    Host,
    None,
}

impl Bundle {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let Session { store, no_sandbox, .. } = session::open(root, Need::FileSystems)?;
        let record = find::image(&store, &self.image)?;
        let manifest = record.manifest.ok_or_else(|| {
            CliError::Usage(format!("{} is an intermediate image and cannot be exported", self.image))
        })?;
        let image = StoredImage::open(&store, manifest)?;
        self.check_platform(image.config.platform().as_ref())?;
        let overrides = self.process.overrides(&self.command)?;
        let options = Options {
            process: process::resolve(&store, &image.config, &overrides)?,
            capabilities: self.process.capabilities()?,
            ulimits: limits::ulimits(&self.ulimit)?,
            network: match self.network {
                Network::Host => Net::Host,
                Network::None => Net::None,
            },
            hostname: self.hostname.clone(),
            read_only: self.read_only,
            ids: match store.unpacking() {
                Unpacking::Root => None,
                Unpacking::Mapped | Unpacking::SingleId => {
                    Some(IdMaps::own().map_err(CliError::io("read the ids of the user namespace"))?)
                }
                Unpacking::Never => return Err(CliError::Environment(no_sandbox.unwrap_or_default())),
            },
        };
        let lost = bundle::write(&store, &image, &self.dir, &options)?;
        warn(&lost);
        Ok(())
    }

    /// A bundle for another machine is one that was asked for.
    fn check_platform(&self, own: Option<&Platform>) -> Result<(), CliError> {
        let Some(own) = own else { return Ok(()) };
        let host = Platform::host();
        match &self.platform {
            None if emulation::support(own, &host, Path::new(emulation::BINFMT)) == Support::Native => Ok(()),
            None => Err(CliError::Usage(format!(
                "{} is for {own} and this machine is {host}; for a bundle all the same pass --platform {own}",
                self.image
            ))),
            Some(text) => {
                let wanted = Platform::parse_on(text, &host)
                    .map_err(|error| CliError::Usage(format!("--platform: {error}")))?;
                match wanted == *own {
                    true => Ok(()),
                    false => Err(CliError::Usage(format!("{} is for {own}, not for {wanted}", self.image))),
                }
            }
        }
    }
}

/// Says what the bundle lacks of its image.
fn warn(lost: &Lost) {
    let warning = out::paint().wrap("1;33", "warning:");
    if !lost.devices.is_empty() {
        let names: Vec<String> = lost.devices.iter().map(ToString::to_string).collect();
        out::err(&format!(
            "{warning} device nodes are left out, only root can make them: {}\n",
            names.join(", ")
        ));
    }
    if lost.owners > 0 {
        out::err(&format!(
            "{warning} {} files of other owners are root's, since this user has no range of ids (/etc/subuid)\n",
            lost.owners
        ));
    }
    if !lost.labels.is_empty() {
        let names: Vec<String> =
            lost.labels.iter().map(|name| crate::diag::escape(name.as_bytes())).collect();
        out::err(&format!(
            "{warning} labels that a runtime takes for orders are left out: {}\n",
            names.join(", ")
        ));
    }
}

/// What a person can do better is wrong usage.
impl From<BundleError> for CliError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::NotEmpty { .. }
            | BundleError::NotADirectory { .. }
            | BundleError::NoParent { .. }
            | BundleError::InTheWay { .. }
            | BundleError::Hostname(_) => Self::Usage(error.to_string()),
            BundleError::OneId { .. } => Self::Environment(error.to_string()),
            BundleError::Files(error) => Self::Export(error),
            BundleError::Busy { .. } | BundleError::Unpack(_) | BundleError::Io(_) => {
                Self::Bundle(Box::new(error))
            }
        }
    }
}
