//! `lith lock`: writes down what names stand for.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use super::build::What;
use super::session::{self, Need};
use super::{CliError, out, pins, progress};
use crate::diag::suggest;
use crate::engine::bases::When;
use crate::engine::pins::{Pins, Unused, lock};
use crate::fetch::Watcher;
use crate::lock::Lock;

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
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = ALL)]
    update: Vec<String>,
    /// Drop pins of names that this build does not use
    #[arg(long)]
    prune: bool,
    /// Write nothing; fail if anything would be written
    #[arg(long)]
    check: bool,
}

/// What stands for all names; no name is empty or has a line feed.
const ALL: &str = "\n";

impl LockFile {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let path = self.what.lock_path().ok_or_else(|| {
            CliError::Usage(
                "this build file is on no disk, so say where its lock is with --lock-file FILE".into(),
            )
        })?;
        // A link is where the lock is reached from, not what is to be replaced.
        let path = std::fs::canonicalize(&path).or_else(|_| std::path::absolute(&path));
        let path = path.map_err(CliError::io("find the directory of the lock"))?;
        let shown = path.display().to_string();
        let _alone = pins::alone(&path)?;
        let there = match self.what.pins_if_there() {
            // Of what is written anew nothing has to be understood.
            Err(CliError::File { .. }) if self.update.iter().any(|name| name == ALL) => None,
            result => result?,
        };
        let mut pins = there.clone().unwrap_or_else(|| Pins { file: shown.clone(), ..Pins::default() });
        let old = pins.lock.clone();
        forget(&mut pins, &self.update)?;
        let mut options = self.what.options_with(&store, pins, Watcher::new(progress::of_fetching()))?;
        options.pulls.only_pinned = false;
        if options.pulls.when == When::Missing && !self.update.is_empty() {
            options.pulls.when = When::Again;
        }
        let unused = if self.prune { Unused::Drop } else { Unused::Keep };
        let new =
            lock(&store, &options, unused).map_err(|error| CliError::of_build(error, &options.dockerfile))?;
        let changes = changes(&old, &new);
        out::print(&changes);
        if changes.is_empty() && there.is_some() {
            return Ok(());
        }
        if self.check {
            return Err(CliError::Failed(format!("{shown} is out of date; write it with `lith lock`")));
        }
        pins::replace(&path, &new)
    }
}

/// Takes the pins away that are to be asked for anew.
fn forget(pins: &mut Pins, names: &[String]) -> Result<(), CliError> {
    for name in names {
        if name == ALL {
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
