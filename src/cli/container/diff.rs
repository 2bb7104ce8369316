//! `lith diff CONTAINER`: what its programs changed.

use std::path::Path;

use super::{containers, epoch};
use crate::cli::session::Need;
use crate::cli::{CliError, out};
use crate::container::{changes, find};
use crate::layer::ChangeKind;

/// Lists what a container's programs changed, as docker does.
pub fn list(root: Option<&Path>, container: &str) -> Result<(), CliError> {
    let (session, all) = containers(root, Need::FileSystems)?;
    let container = find(&all, container)?;
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
