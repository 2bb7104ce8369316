//! `lith load` and `lith import`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::session::{self, Need};
use super::{CliError, names, out};
use crate::epoch::Epoch;
use crate::image::index::of_host;
use crate::image::{ImportOptions, LoadOptions, Platforms, import, load_path, load_stream};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::store::Store;

/// Arguments of `lith load`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith load image.tar\n  skopeo copy docker://alpine oci-archive:/dev/stdout | lith load -t alpine -"
)]
pub struct Load {
    /// A file, a directory, or - for standard input
    #[arg(default_value = "-")]
    archive: PathBuf,
    /// Name the image, if the archive holds one
    #[arg(short, long, value_name = "NAME")]
    tag: Option<String>,
    /// Only the image the archive calls so
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Of images for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Of images for several platforms all, and their index
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
}

impl Load {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let tag = self.tag.as_deref().map(names::parse).transpose()?;
        let store = session::open(root, Need::Store)?.store;
        let options = LoadOptions {
            platforms: match self.all_platforms {
                true => Platforms::All,
                false => Platforms::One(self.platform.clone().unwrap_or_else(Platform::host)),
            },
            name: self.only.clone(),
        };
        let loaded = if self.archive.as_os_str() == "-" {
            load_stream(&store, "standard input", io::stdin(), &options)?
        } else {
            load_path(&store, &self.archive, &options)?
        };
        if tag.is_some() && loaded.len() != 1 {
            return Err(CliError::Usage(format!(
                "--tag names one image, but the archive holds {}; choose one with --only",
                loaded.len()
            )));
        }
        for one in loaded {
            let names: Vec<Reference> = tag.iter().cloned().chain(one.names).collect();
            for name in &names {
                match &one.index {
                    Some(index) => store.set_index_ref(&name.to_string(), index, of_host(index))?,
                    None => store.set_ref(&name.to_string(), one.image.digest, one.image.id)?,
                }
                out::print(&format!("Loaded image: {}\n", name.familiar()));
            }
            if names.is_empty() {
                let id = one.index.map_or_else(|| one.image.id.to_string(), |index| index.digest.to_string());
                out::print(&format!("Loaded image ID: {id}\n"));
            }
        }
        Ok(())
    }
}

/// Arguments of `lith import`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mmdebstrap --variant=minbase bookworm - | lith import - debian:bookworm")]
pub struct Import {
    /// A tar of a root file system, compressed or not; - for standard input
    tarball: PathBuf,
    /// The image's name
    name: String,
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// The image's creation time in seconds since 1970
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    epoch: Epoch,
    /// A comment for the image's history
    #[arg(short, long)]
    message: Option<String>,
}

impl Import {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let name = names::parse(&self.name)?;
        let store = session::open(root, Need::Store)?.store;
        let (image, warnings) = self.import(&store)?;
        for warning in warnings {
            out::err(&format!("warning: {}: {warning}\n", self.tarball.display()));
        }
        store.set_ref(&name.to_string(), image.digest, image.id)?;
        out::print(&format!("{}\n", image.id));
        Ok(())
    }

    fn import(&self, store: &Store) -> Result<(crate::image::Assembled, Vec<String>), CliError> {
        let options = ImportOptions {
            platform: self.platform.clone().unwrap_or_else(Platform::host),
            epoch: self.epoch,
            comment: self.message.clone(),
        };
        if self.tarball.as_os_str() == "-" {
            return Ok(import(store, "standard input", io::stdin(), &options)?);
        }
        let file = File::open(&self.tarball)
            .map_err(|error| CliError::Usage(format!("open {}: {error}", self.tarball.display())))?;
        Ok(import(store, &self.tarball.to_string_lossy(), file, &options)?)
    }
}
