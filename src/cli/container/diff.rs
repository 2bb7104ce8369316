//! `lith diff`.

use std::path::Path;

use clap::Args;

use super::{containers, epoch};
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::{changes, find};
use crate::layer::ChangeKind;

/// Arguments of `lith diff`.
#[derive(Debug, Args)]
#[command(
    after_help = "A path was (A)dded, (C)hanged or (D)eleted: the entries of the layer that `lith commit` would make."
)]
pub struct Diff {
    /// A name or an id
    container: String,
}

impl Diff {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::FileSystems)?;
        let container = find(&all, &self.container)?;
        session.check()?;
        for change in changes(&session.store, &container, epoch(None)?)? {
            let kind = match change.kind {
                ChangeKind::Added => 'A',
                ChangeKind::Changed => 'C',
                ChangeKind::Deleted => 'D',
            };
            out::bytes(&[format!("{kind} ").as_bytes(), &change.path.absolute(), b"\n"].concat());
        }
        Ok(())
    }
}
