//! `lith why`: which input made a step or an image what it is, from the builds that are remembered.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::find::Known;
use super::session::{self, Need};
use super::{CliError, find, out};
use crate::store::builds::{BuildRecord, StepRecord};

const EXAMPLES: &str = "Examples:
  lith why app
  lith why app build/3
  lith why stage0/3
  lith why --fields build/2";

/// Arguments of `lith why`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Why {
    /// An image, or a step as progress and plan name it
    what: String,
    /// A step of the image, or its number alone where that says which
    step: Option<String>,
    /// Also print everything the step's key is made of
    #[arg(long)]
    fields: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl Why {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::Store)?.store;
        let builds = store.recorded_builds()?;
        let found = match &self.step {
            None => find::steps(&store, &builds, &self.what)?,
            Some(step) => of_image(find::steps_of(&store, &builds, &self.what)?, &self.what, step)?,
        };
        // A step that several builds share is told once, unless their keys are asked for.
        let mut told = BTreeSet::new();
        for (build, step) in found {
            let line = match self.format {
                Format::Text => {
                    format!("{} `{}` (line {}): {}\n", step.shown(), step.text, step.line, why(step))
                }
                Format::Json => format!("{}\n", self.value(build, step)),
            };
            if told.insert(line.clone()) || self.fields {
                out::print(&line);
            }
            if self.fields && self.format == Format::Text {
                out::print(&details(build, step));
            }
        }
        Ok(())
    }

    fn value(&self, build: &BuildRecord, step: &StepRecord) -> Value {
        let mut value = json!({
            "step": step.shown(), "text": step.text, "line": step.line,
            "context": build.place.lines().next().unwrap_or_default(), "image": step.image,
            "status": if step.why.is_empty() { "hit" } else { "built" }, "why": why(step),
            "key": step.key, "layer": step.layer.diff_id, "size": step.layer.size,
            "compared": null, "field": null, "was": [], "is": [],
        });
        if let Some(cause) = &step.cause {
            let context = cause.place.lines().next().unwrap_or_default();
            value["compared"] = json!({ "context": context, "step": cause.step, "key": cause.key });
            value["field"] = json!(cause.field);
            (value["was"], value["is"]) = (json!(cause.was), json!(cause.is));
        }
        if let Some(spent) = &step.spent {
            value["micros"] = spent.total.into();
        }
        if self.fields {
            value["fields"] = json!(step.fields);
            value["observations"] = json!(step.observations);
            value["dropped"] = json!(step.dropped);
        }
        value
    }
}

fn why(step: &StepRecord) -> String {
    match step.why.as_str() {
        "" => "hit: every input was as before".to_owned(),
        why => format!("built because {why}"),
    }
}

/// Those of an image's steps that a name, or a number alone, means.
fn of_image<'a>(mut steps: Vec<Known<'a>>, image: &str, wanted: &str) -> Result<Vec<Known<'a>>, CliError> {
    let names = |step: &StepRecord| {
        step.name == wanted || step.shown() == wanted || step.name.rsplit('/').next() == Some(wanted)
    };
    let all: BTreeSet<String> = steps.iter().map(|(_, step)| step.shown()).collect();
    steps.retain(|(_, step)| names(step));
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    let meant: BTreeSet<String> = steps.iter().map(|(_, step)| step.name.clone()).collect();
    match meant.len() {
        0 => Err(CliError::Usage(format!("{image} has no step {wanted}; its steps are {}", list(all)))),
        1 => Ok(steps),
        _ => Err(CliError::Usage(format!("{wanted} may be any of {}; write one of these", list(meant)))),
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
    for path in &step.dropped {
        text.push_str(&format!("  dropped {path}\n"));
    }
    text.push_str(&format!("  layer {} ({} bytes)\n", step.layer.diff_id, step.layer.size));
    text
}
