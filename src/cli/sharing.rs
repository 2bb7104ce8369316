//! The places of `--cache-from` and `--cache-to`, opened, and the keys of those who sign there.

use std::path::Path;
use std::sync::Arc;

use super::CliError;
use super::client::client;
use super::keys;
use super::logins::logins;
use super::registries::registries;
use crate::diag::chain;
use crate::epoch::Epoch;
use crate::fetch::Watcher;
use crate::oci::Reference;
use crate::shared::{
    Fetcher, Form, From, Layout, Place, PlaceError, Policy, Remote, Signing, Sink, Sources, To, Trusting,
};

/// Whose records count, and who signs what is written.
pub struct Sharing {
    policy: Policy,
    /// One for each `--cache-to`.
    signing: Vec<Option<Arc<Signing>>>,
}

/// Opens a place to read from it.
pub fn open(form: &Form) -> Result<Arc<dyn Place>, PlaceError> {
    Ok(match form {
        Form::Layout(dir) => layout(dir, Layout::read(dir))?,
        Form::Registry { name, insecure } => remote(name, *insecure)?,
    })
}

impl Sharing {
    /// Reads keys and asks for passphrases: before the build, which cannot do without. `now` is when it began.
    pub fn read(to: &[To], trusted: &[Trusting], now: Epoch) -> Result<Self, CliError> {
        let key = |one: &Trusting| {
            let since = one.since.map(|since| since.before(now));
            Ok((keys::public("--cache-trust", &one.file)?, since))
        };
        let keys = trusted.iter().map(key).collect::<Result<Vec<_>, CliError>>()?;
        let policy = match keys.is_empty() {
            true => Policy::default(),
            false => Policy::new(keys).map_err(|error| CliError::Usage(format!("--cache-trust: {error}")))?,
        };
        let signing = |to: &To| -> Result<_, CliError> {
            let Some(file) = &to.sign else { return Ok(None) };
            let signer = keys::signer("--cache-to", file)?;
            let since = policy.since(signer.public().id());
            Ok(Some(Arc::new(Signing::new(signer, now, since))))
        };
        let signing = to.iter().map(signing).collect::<Result<_, _>>()?;
        Ok(Self { policy, signing })
    }

    /// Where records are looked up. `fetcher` will know the same places.
    pub fn sources(&mut self, given: &[From], fetcher: &Fetcher) -> Result<Sources, CliError> {
        let open = |from: &From| -> Result<(Arc<dyn Place>, bool), CliError> {
            let place = open(&from.form)
                .map_err(|error| CliError::Usage(format!("--cache-from: {}", chain(&*error))))?;
            fetcher.know(place.clone());
            Ok((place, from.is_lazy))
        };
        if let Some(keys) = self.policy.keys() {
            fetcher.trust(keys);
        }
        let places = given.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Sources::new(places).trusting(std::mem::take(&mut self.policy)))
    }

    /// Where records are written. That one cannot be is told at the end of the build, with what else may go wrong there.
    pub fn sinks(&self, given: &[To]) -> Vec<Sink> {
        let open = |(to, signing): (&To, &Option<Arc<Signing>>)| {
            let place = match &to.form {
                Form::Layout(dir) => layout(dir, Layout::write(dir)),
                Form::Registry { name, insecure } => remote(name, *insecure),
            };
            let place = place.map_err(|error| chain(&error));
            Sink { to: to.clone(), place, signing: signing.clone() }
        };
        given.iter().zip(&self.signing).map(open).collect()
    }
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
