//! `lith save`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find};
use crate::image::copy::save_layout;
use crate::image::output::Dest;
use crate::image::{Extent, StoredImage, docker_archive, gather, index};
use crate::oci::Reference;
use crate::platform::Platform;
use crate::store::Store;

/// Arguments of `lith save`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lith save -o app.tar app:latest && docker load -i app.tar")]
pub struct Save {
    /// Names, ids or digests
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of an image for several platforms, the one for this [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Write an OCI layout with the image for each of its platforms, as the store has them
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
}

impl Save {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        use std::io::IsTerminal as _;
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(CliError::Usage("an archive cannot go to a terminal; pass --output FILE".into()));
        }
        let store = session::open(root, Need::Store)?.store;
        if self.all_platforms {
            return self.all_platforms(&store);
        }
        let mut images = Vec::new();
        for text in &self.images {
            let record = find::image_for(&store, text, self.platform.as_ref())?;
            let manifest = record.manifest.ok_or_else(|| {
                CliError::Usage(format!("{text} is an intermediate image and cannot be saved"))
            })?;
            let named = text.parse::<Reference>().ok().filter(|r| store.get_ref(&r.to_string()).is_some());
            let names: BTreeSet<Reference> = named.into_iter().collect();
            images.push((StoredImage::open(&store, manifest)?, names));
        }
        let images: Vec<(&StoredImage, &BTreeSet<Reference>)> = images.iter().map(|(i, n)| (i, n)).collect();
        match &self.output {
            None => docker_archive(&store, &images, io::stdout().lock())?,
            Some(path) => {
                let act = format!("write {}", path.display());
                let mut file = BufWriter::new(File::create(path).map_err(CliError::io(act.clone()))?);
                docker_archive(&store, &images, &mut file)?;
                file.flush().map_err(CliError::io(act))?;
            }
        }
        Ok(())
    }

    fn all_platforms(&self, store: &Store) -> Result<(), CliError> {
        let [text] = &self.images[..] else {
            return Err(CliError::Usage("--all-platforms saves one image; save each to its own file".into()));
        };
        let found = find::found(store, text)?;
        let index = found.index.ok_or_else(|| {
            CliError::Usage(format!("{text} is for one platform; save it without --all-platforms"))
        })?;
        let (top, _) = index::top(store, &index)?;
        let gathered = gather(store, &top, Extent { platform: None, referrers: true })?;
        let named = text.parse::<Reference>().ok().filter(|r| store.get_ref(&r.to_string()).is_some());
        let names: BTreeSet<Reference> = named.into_iter().collect();
        let dest = self.output.clone().map_or(Dest::Stdout, Dest::File);
        Ok(save_layout(store, &gathered, &names, &dest, &mut io::stdout())?)
    }
}
