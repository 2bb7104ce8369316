//! `lith lock`: writes down what names stand for.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use super::build::What;
use super::session::{self, Need};
use super::{CliError, out};
use crate::diag::suggest;
use crate::engine::pins::{Pins, lock};
use crate::lock::Lock;
use crate::sys::file::{self, Durability};

/// Arguments of `lith lock`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done, 1 --check found the lock out of date, 2 errors.

Examples:
  lith lock .
  lith lock --update=alpine:3.22 .
  lith lock --check -f docker/Dockerfile .")]
pub struct LockFile {
    #[command(flatten)]
    what: What,
    /// Ask anew for everything that is pinned, or for one name
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    update: Vec<String>,
    /// Write nothing; fail if anything would be written
    #[arg(long)]
    check: bool,
}

impl LockFile {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let mut options = self.what.options(&store)?;
        let path = self.what.lock_path().ok_or_else(|| {
            CliError::Usage(
                "this build file is on no disk, so say where its lock is with --lock-file FILE".into(),
            )
        })?;
        let old = options.pins.lock.clone();
        forget(&mut options.pins, &self.update)?;
        // Whatever has no pin is what gets one here.
        options.pins.locked = false;
        let new = lock(&store, &options).map_err(|error| CliError::of_build(error, &options.dockerfile))?;
        let changes = changes(&old, &new);
        out::print(&changes);
        let shown = path.display().to_string();
        if changes.is_empty() && path.exists() {
            return Ok(());
        }
        if self.check {
            return Err(CliError::Failed(format!("{shown} is out of date; write it with `lith lock`")));
        }
        let path = std::path::absolute(&path).map_err(CliError::io("find the directory of the lock"))?;
        file::replace(&path, new.text().as_bytes(), Durability::Synced)
            .map_err(|error| CliError::Failed(format!("write {shown}: {error}")))
    }
}

/// Takes the pins away that are to be asked for anew.
fn forget(pins: &mut Pins, names: &[String]) -> Result<(), CliError> {
    for name in names {
        if name.is_empty() {
            pins.lock = Lock::default();
            continue;
        }
        if !pins.lock.names().any(|known| known == name) {
            let similar = suggest(name, pins.lock.names());
            let guess = similar.map_or_else(String::new, |known| format!("; did you mean {known}?"));
            return Err(CliError::Usage(format!("--update={name}: {} has no such name{guess}", pins.file)));
        }
        pins.lock.forget(name);
    }
    Ok(())
}

/// The pins that go and those that come, as lines of a lock.
fn changes(old: &Lock, new: &Lock) -> String {
    let (old, new) = (old.text(), new.text());
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after) = (lines(&old), lines(&new));
    let gone = old.lines().filter(|line| !after.contains(*line)).map(|line| format!("- {line}\n"));
    let come = new.lines().filter(|line| !before.contains(*line)).map(|line| format!("+ {line}\n"));
    gone.chain(come).collect()
}
