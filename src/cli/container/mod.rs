//! Verbs about containers.

pub mod attach;
pub mod commit;
pub mod cp;
pub mod diff;
pub mod exec;
pub mod inspect;
pub mod logs;
mod mounts;
mod new;
pub mod ps;
pub mod rm;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
mod streams;
pub mod top;
pub mod volume;
pub mod wait;

use std::path::Path;

use super::session::{self, Need, Session};
use super::{CliError, out};
use crate::container::ContainerError;
use crate::epoch::Epoch;
use crate::store::Containers;

/// The containers of the store, which is made sure of first.
pub fn containers(root: Option<&Path>, need: Need) -> Result<(Session, Containers), CliError> {
    let session = session::open(root, need)?;
    let containers = Containers::of(session.store.root());
    Ok((session, containers))
}

/// The epoch of a layer, as builds have it: what is given, `SOURCE_DATE_EPOCH`, else 0.
fn epoch(given: Option<Epoch>) -> Result<Epoch, CliError> {
    match (given, session::variable("SOURCE_DATE_EPOCH").as_deref()) {
        (Some(epoch), _) => Ok(epoch),
        (None, None | Some("")) => Ok(Epoch::ZERO),
        (None, Some(text)) => {
            text.parse().map_err(|error| CliError::Usage(format!("SOURCE_DATE_EPOCH: {error}")))
        }
    }
}

/// Does something with each of several containers; what fails does not keep it from the others. Prints what was done as
/// docker does: each as it was named, unless there was nothing to do.
fn each(names: &[String], mut act: impl FnMut(&str) -> Result<Done, ContainerError>) -> Result<(), CliError> {
    let mut failed = None;
    for name in names {
        match act(name) {
            Ok(Done::Yes) => out::print(&format!("{name}\n")),
            Ok(Done::Nothing) => {}
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    super::errors::show(&earlier.into());
                }
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Whether something was done with a container.
enum Done {
    Yes,
    Nothing,
}
