//! `lith save`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find};
use crate::image::{StoredImage, docker_archive};
use crate::oci::Reference;

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
}

impl Save {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        use std::io::IsTerminal as _;
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(CliError::Usage("an archive cannot go to a terminal; pass --output FILE".into()));
        }
        let store = session::open(root, Need::Store)?.store;
        let mut images = Vec::new();
        for text in &self.images {
            let record = find::image(&store, text)?;
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
}
