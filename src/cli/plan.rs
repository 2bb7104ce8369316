//! `lith plan`: the graph as a tree, as JSON or for graphviz.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;

use super::build::{What, render};
use super::session::{self, Need};
use super::{CliError, out};
use crate::debian::Asking;
use crate::engine::preview::{Line, StageLines, Status, preview};
use crate::engine::{self, BuildError, Prepared};
use crate::fetch::Watcher;

/// Arguments of `lith plan`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lith plan --format dot . | dot -Tsvg > plan.svg")]
pub struct Plan {
    #[command(flatten)]
    what: What,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Tree,
    Json,
    Dot,
}

impl Plan {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let stages = of_plan(&self.what, root, preview)?;
        out::print(&match self.format {
            Format::Tree => tree(&stages),
            Format::Json => serde_json::to_string_pretty(&stages).expect("plain lines serialise") + "\n",
            Format::Dot => dot(&stages),
        });
        Ok(())
    }
}

/// Plans without asking or doing anything, and tells something of it. A plan is made of what is here.
pub fn of_plan<T>(
    what: &What,
    root: Option<&Path>,
    tell: impl FnOnce(&Prepared<'_>) -> Result<T, BuildError>,
) -> Result<T, CliError> {
    let session = session::open(root, Need::Store)?;
    session.fetcher.go_offline();
    let store = session.store;
    let mut options = what.options(&store, Watcher::default())?;
    options.pulls.puller = None;
    let result = engine::prepare(&store, &options, Asking::Never)
        .and_then(|prepared| Ok((tell(&prepared)?, prepared.warnings)));
    let (told, warnings) = result.map_err(|error| CliError::of_build(error, &options.dockerfile))?;
    out::err(&render(&options.dockerfile, &warnings));
    Ok(told)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Hit => "hit",
        Status::Miss => "miss",
        Status::Unknown => "unknown",
        Status::Config => "config",
    }
}

fn key(line: &Line) -> String {
    line.key.map_or_else(|| "-".repeat(12), |key| key.short())
}

fn tree(stages: &[StageLines]) -> String {
    let mut text = String::new();
    for stage in stages {
        let target = if stage.target { "  (target)" } else { "" };
        let _ = writeln!(text, "{} from {}{target}", stage.name, stage.base);
        for (at, line) in stage.steps.iter().enumerate() {
            let last = at + 1 == stage.steps.len();
            let branch = if last { "└─" } else { "├─" };
            let shown = crate::diag::escape(line.text.as_bytes());
            let pinned = match line.pinned {
                Some(true) => "  (pinned)",
                Some(false) => "  (not pinned: asks a server)",
                None => "",
            };
            let _ = writeln!(text, "{branch} {:<7} {}  {shown}{pinned}", word(line.status), key(line));
            let own_stage =
                |need: &&String| !need.starts_with(&format!("{}/", stage.name)) && **need != stage.base;
            let bar = if last { ' ' } else { '│' };
            // What every step has that is told nothing is said once, below.
            for effect in line.effects.iter().filter(|effect| effect.is_own()) {
                let _ = writeln!(text, "{bar}            effect {}", effect.name());
            }
            for need in line.needs.iter().filter(own_stage) {
                let _ = writeln!(text, "{bar}            needs {need}");
            }
        }
        if let Some(label) = &stage.reproducibility {
            let _ = writeln!(text, "   {label}");
        }
    }
    text
}

fn dot(stages: &[StageLines]) -> String {
    let mut text = String::from("digraph plan {\n  rankdir=BT;\n  node [shape=box, fontname=monospace];\n");
    for stage in stages {
        let _ = writeln!(
            text,
            "  {:?} [shape=folder, label={:?}];",
            stage.name,
            format!("{} from {}", stage.name, stage.base)
        );
        for line in stage.steps.iter().filter(|line| line.status != Status::Config) {
            let color = match line.status {
                Status::Hit => "palegreen",
                Status::Miss => "lightsalmon",
                Status::Unknown | Status::Config => "lightgrey",
            };
            let label = format!("{}\n{} {}", line.text, word(line.status), key(line));
            let _ = writeln!(text, "  {:?} [label={label:?}, style=filled, fillcolor={color}];", line.name);
            for need in &line.needs {
                let _ = writeln!(text, "  {:?} -> {need:?};", line.name);
            }
        }
        if let Some(last) = stage.steps.iter().rfind(|line| line.status != Status::Config) {
            let _ = writeln!(text, "  {:?} -> {:?};", stage.name, last.name);
        }
    }
    text.push_str("}\n");
    text
}
