//! `lith gc`.

use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, out};
use crate::store::Store;
use crate::store::gc::{CacheMounts, Scope};

/// Arguments of `lith gc`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(
    after_help = "Without --all only leftovers go: what killed builds left, and what removed images had."
)]
pub struct Gc {
    /// Also the cache: action records, intermediate and unnamed images
    #[arg(short, long)]
    all: bool,
    /// Also what RUN --mount=type=cache keeps
    #[arg(long)]
    caches: bool,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Give up instead of waiting for builds that are running
    #[arg(long)]
    no_wait: bool,
}

impl Gc {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let root = session::root(root)?;
        let unpacking = session::enter(Need::FileSystems).0;
        let Some(store) = Store::open_alone(&root, unpacking, !self.no_wait)? else {
            return Err(CliError::Failed("the store is in use; run gc again when no build runs".into()));
        };
        let scope = if self.all { Scope::Cache } else { Scope::Garbage };
        let mounts = if self.caches { CacheMounts::Clear } else { CacheMounts::Keep };
        let plan = store.gc_plan(scope, mounts)?;
        let size: u64 = plan.doomed.iter().map(|doomed| doomed.size).sum();
        if self.dry_run {
            for doomed in &plan.doomed {
                out::print(&format!("{}  {}\n", out::size(doomed.size), doomed.path.display()));
            }
            out::print(&format!("would remove {} entries, {}\n", plan.doomed.len(), out::size(size)));
            return Ok(());
        }
        store.sweep(&plan)?;
        out::print(&format!("removed {} entries, {}\n", plan.doomed.len(), out::size(size)));
        Ok(())
    }
}
