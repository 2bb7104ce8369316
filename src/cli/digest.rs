//! `lith image digest`.

use std::path::Path;

use clap::Args;

use super::places::{Access, FORMS, Place};
use super::pull::view;
use super::{CliError, out};
use crate::fetch::Watcher;
use crate::image::CopyError;
use crate::image::gather::descend;
use crate::platform::Platform;
use crate::registry::Target;

/// Arguments of `lith image digest`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  lith image digest app\n  lith image digest docker://alpine:3\n  \
    lith image digest --platform linux/arm64 docker://alpine:3\n\n{FORMS}\n\n\
    A registry is asked what the name stands for (HEAD), and nothing is brought here; with --platform also for the index."
))]
pub struct Digest {
    /// An image and where it is
    image: String,
    /// Of an image for several platforms, the one for this [default: what the name stands for]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Speak to the registry in the clear: anybody on the way can read and change what is sent
    #[arg(long)]
    plain_http: bool,
}

impl Digest {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let place = Place::parse(&self.image)?;
        let access = Access { root, plain_http: self.plain_http, watch: Watcher::new(view(true)) };
        let digest = match (&place, &self.platform) {
            (Place::Registry(name), None) => {
                access.client(name)?.repository(name)?.digest(Target::of(name))?
            }
            (_, platform) => access.read(&place, |source, top| match platform {
                None => Ok(top.digest),
                Some(platform) => match descend(source, &top, platform) {
                    Ok(image) => Ok(image.digest),
                    Err(CopyError::Choice { source, .. }) => {
                        Err(CliError::Usage(format!("{}: {source}", self.image)))
                    }
                    Err(error) => Err(error.into()),
                },
            })?,
        };
        out::print(&format!("{digest}\n"));
        Ok(())
    }
}
