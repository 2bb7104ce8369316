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
use crate::shared::{Fetcher, Form, From, Layout, Place, PlaceError, Remote, Sink, Sources, To};

/// Where records are looked up. `fetcher` will know the same places.
pub fn sources(given: &[From], fetcher: &Fetcher) -> Result<Sources, CliError> {
    let open = |from: &From| -> Result<(Arc<dyn Place>, bool), CliError> {
        let place =
            open(&from.form).map_err(|error| CliError::Usage(format!("--cache-from: {}", chain(&*error))))?;
        fetcher.know(place.clone());
        Ok((place, from.is_lazy))
    };
    Ok(Sources::new(given.iter().map(open).collect::<Result<_, _>>()?))
}

/// Opens a place to read from it.
pub fn open(form: &Form) -> Result<Arc<dyn Place>, PlaceError> {
    Ok(match form {
        Form::Layout(dir) => layout(dir, Layout::read(dir))?,
        Form::Registry { name, insecure } => remote(name, *insecure)?,
    })
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
    Ok(Arc::new(Remote::new(registry, name.clone(), insecure)))
}
