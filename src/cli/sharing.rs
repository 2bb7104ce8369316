//! The places of `--cache-from` and `--cache-to`, opened.

use std::path::Path;
use std::sync::Arc;

use super::CliError;
use super::client::client;
use super::logins::logins;
use super::registries::registries;
use crate::diag::chain;
use crate::fetch::Watcher;
use crate::oci::Reference;
use crate::shared::{Form, From, Layout, Place, PlaceError, Remote, Sink, Sources, To};

/// Where records are looked up.
pub fn sources(given: &[From]) -> Result<Sources, CliError> {
    let open = |from: &From| -> Result<Arc<dyn Place>, CliError> {
        let place: Result<Arc<dyn Place>, CliError> = match &from.form {
            Form::Layout(dir) => layout(dir, Layout::read(dir)),
            Form::Registry { name, insecure } => remote(name, *insecure),
        };
        place.map_err(|error| CliError::Usage(format!("--cache-from: {}", chain(&error))))
    };
    Ok(Sources::new(given.iter().map(open).collect::<Result<_, _>>()?))
}

/// Where records are written. That one cannot be is told at the end of the build, with what else may go wrong there.
pub fn sinks(given: &[To]) -> Vec<Sink> {
    let open = |to: &To| {
        let place = match &to.form {
            Form::Layout(dir) => layout(dir, Layout::write(dir)),
            Form::Registry { name, insecure } => remote(name, *insecure),
        };
        Sink { to: to.clone(), place: place.map_err(|error| chain(&error)) }
    };
    given.iter().map(open).collect()
}

fn layout(dir: &Path, opened: Result<Layout, PlaceError>) -> Result<Arc<dyn Place>, CliError> {
    match opened {
        Ok(layout) => Ok(Arc::new(layout)),
        Err(error) => Err(CliError::Usage(format!("{}: {}", dir.display(), chain(&*error)))),
    }
}

fn remote(name: &Reference, insecure: bool) -> Result<Arc<dyn Place>, CliError> {
    let logins = Box::new(logins()?);
    let registry = client([name.registry()], insecure, &registries()?, logins, Watcher::default())?;
    Ok(Arc::new(Remote::new(registry, name.clone())))
}
