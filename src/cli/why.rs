//! `lith why`: which input made a step or an image what it is, from the last builds.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::store::builds::{BuildRecord, StepRecord};

/// Arguments of `lith why`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lith why app\n  lith why stage0/3\n  lith why --fields build/2")]
pub struct Why {
    /// An image, or a step as progress and plan name it
    what: String,
    /// Also print everything the step's key is made of
    #[arg(long)]
    fields: bool,
}

impl Why {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let builds = store.builds()?;
        let found = find::steps(&store, &builds, &self.what)?;
        // A step that several builds share is told once, unless their keys are asked for.
        let mut told = BTreeSet::new();
        for (build, step) in found {
            let why = if step.why.is_empty() {
                "hit: every input was as before".to_owned()
            } else {
                format!("built because {}", step.why)
            };
            let line = format!("{} `{}` (line {}): {why}\n", step.shown(), step.text, step.line);
            if told.insert(line.clone()) || self.fields {
                out::print(&line);
            }
            if self.fields {
                out::print(&details(build, step));
            }
        }
        Ok(())
    }
}

fn details(build: &BuildRecord, step: &StepRecord) -> String {
    let mut text = format!("  context {}\n  key {}\n", build.place.lines().next().unwrap_or(""), step.key);
    for (name, value) in &step.fields {
        text.push_str(&format!("  {name} = {value}\n"));
    }
    for observation in &step.observations {
        text.push_str(&format!(
            "  observed {}\n",
            serde_json::to_string(observation).expect("plain data serialises")
        ));
    }
    text.push_str(&format!("  layer {} ({} bytes)\n", step.layer.diff_id, step.layer.size));
    text
}
