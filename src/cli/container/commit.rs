//! `lith commit`.

use std::path::Path;

use clap::Args;

use super::{containers, epoch};
use crate::cli::session::Need;
use crate::cli::{CliError, names, out};
use crate::container::{Commit as How, commit, find, image_config};
use crate::epoch::Epoch;
use crate::frontend::dockerfile::apply_changes;

/// Arguments of `lith commit`.
#[derive(Debug, Args)]
#[command(after_help = "The same files give the same image.

Example:
  lith commit -m \"with tools\" -c 'CMD [\"/bin/tool\"]' work tools:1")]
pub struct Commit {
    /// Who made it, for the image's history
    #[arg(short, long)]
    author: Option<String>,
    /// A comment for the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// A Dockerfile instruction that changes the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
    /// ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// The image's creation time in seconds since 1970; no file is newer [default: $SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    epoch: Option<Epoch>,
    /// A name or an id
    container: String,
    /// The image's name
    name: Option<String>,
}

impl Commit {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let name = self.name.as_deref().map(names::parse).transpose()?;
        let epoch = epoch(self.epoch)?;
        let (session, all) = containers(root, Need::FileSystems)?;
        let container = find(&all, &self.container)?;
        session.check()?;
        let config = image_config(&session.store, &container)?;
        let config = apply_changes(&self.change, &config)
            .map_err(|(file, diagnostics)| CliError::File { file: Box::new(file), diagnostics })?;
        let how = How { epoch, author: self.author, message: self.message };
        let made = commit(&session.store, &container, &config, &how)?;
        for warning in made.warnings {
            out::err(&format!("warning: {warning}\n"));
        }
        if let Some(name) = name {
            session.store.set_ref(&name.to_string(), made.image.digest, made.image.id)?;
        }
        out::print(&format!("{}\n", made.image.id));
        Ok(())
    }
}
