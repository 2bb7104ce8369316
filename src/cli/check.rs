//! `lith check`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::build::{What, now};
use super::call::Format;
use super::places::scratch;
use super::session::{self, Need};
use super::{CliError, errors, out, progress};
use crate::debian::Asking;
use crate::diff::content::{Difference, World, Worlds};
use crate::diff::text::{Detail, render};
use crate::diff::{self, Report};
use crate::engine;
use crate::engine::again::{self, Again, Checked, CheckedStep, Wanted};
use crate::exec::run::HOSTNAME;
use crate::exec::variation::{Axis, OTHER_HOST};
use crate::fetch::Watcher;
use crate::store::{LayerRef, Store};

/// The version of the JSON form (spec/check.md).
const VERSION: u32 = 1;

/// Arguments of `lith check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lith check .\n  \
    lith check --hermetic --step build/7 .\n  \
    lith check --format json . >check.json\n\n\
    Builds, and does every step once more on what it stood on, in a world in which everything is different that may be: \
    clock, randomness, host name, umask, time zone, locale, processors, listing order, process numbers, memory layout, file \
    system. Of a step that varies it finds which of these make it vary.\n\n\
    Exit codes: 0 every step came out the same, 1 some did not, 2 it could not be checked.")]
pub struct Check {
    #[command(flatten)]
    what: What,
    /// Only this step, as `lith plan` calls it: stage/number
    #[arg(long, value_name = "STEP")]
    step: Vec<String>,
    /// What is made different, with commas between them [default: all but the umask, and nothing that a step is told]
    #[arg(long, value_enum, value_name = "WHAT,…", value_delimiter = ',')]
    vary: Option<Vec<Axis>>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[arg(long, value_enum, default_value_t)]
    progress: progress::Mode,
    /// Show only the report
    #[arg(short, long)]
    quiet: bool,
}

impl Check {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        match self.check(root) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CliError::Exit(1)),
            Err(error) => {
                errors::show(&error);
                Err(CliError::Exit(2))
            }
        }
    }

    fn check(&self, root: Option<&Path>) -> Result<bool, CliError> {
        let mut session = session::open(root, Need::FileSystems)?;
        let no_sandbox = session.no_sandbox.take();
        let (checked, file) = self.look(&session.store, no_sandbox)?;
        let reports = reports(&session.store, &checked)?;
        out::print(&match self.format {
            Format::Text => text(&checked, &reports, &file),
            Format::Json => {
                let value = json(&checked, &reports);
                serde_json::to_string_pretty(&value).expect("values serialise") + "\n"
            }
        });
        Ok(checked.is_reproducible())
    }
}

impl Check {
    /// Builds and checks; also gives the name of the file.
    fn look(&self, store: &Store, no_sandbox: Option<String>) -> Result<(Checked, String), CliError> {
        let mode = match self.progress {
            _ if self.quiet => progress::Mode::Quiet,
            progress::Mode::Json => {
                return Err(CliError::Usage(
                    "standard output is for the report: use --format json, and --progress plain or quiet"
                        .into(),
                ));
            }
            mode => mode,
        };
        let ui = progress::start(mode, Instant::now());
        let mut options = self.what.options(store, Watcher::new(ui.clone()))?;
        options.no_sandbox = no_sandbox;
        options.reads_layers = true;
        ui.reads(&options.dockerfile);
        let wanted = Wanted {
            now: now().seconds(),
            steps: self.step.clone(),
            different: self.vary.as_ref().map(|axes| axes.iter().copied().collect()),
        };
        let checked = engine::prepare(store, &options, Asking::Allowed)
            .and_then(|mut prepared| again::check(&mut prepared, &wanted, ui.as_ref()));
        match checked {
            Ok(checked) => Ok((checked, options.dockerfile.name.clone())),
            Err(error) => {
                ui.failed(&error);
                Err(CliError::of_build(error, &options.dockerfile))
            }
        }
    }
}

/// What differs in each step that varies.
fn reports(store: &Store, checked: &Checked) -> Result<Vec<Option<Report>>, CliError> {
    let mut options = diff::Options { scratch: scratch(), ..diff::Options::default() };
    options.limits.scratch = scratch();
    let report = |step: &CheckedStep| match &step.result {
        Again::Varies {
            layers: [LayerRef { diff_id: one, .. }, LayerRef { diff_id: other, .. }], ..
        } => {
            let report = diff::compare_layers(store, [*one, *other], &worlds(step), &options);
            report.map(Some).map_err(CliError::from)
        }
        Again::Same | Again::Fails { .. } => Ok(None),
    };
    checked.steps.iter().map(report).collect()
}

/// What the machine was called to the step, both times.
fn worlds(step: &CheckedStep) -> Worlds {
    let called = |name: &str| World { hostname: Some(name.to_owned()), ..World::default() };
    let is_other = step.different.contains(&Axis::HostName);
    Worlds { a: called(HOSTNAME), b: called(if is_other { OTHER_HOST } else { HOSTNAME }) }
}

fn text(checked: &Checked, reports: &[Option<Report>], file: &str) -> String {
    let paint = out::paint_stdout();
    let mut text = String::new();
    for (step, report) in checked.steps.iter().zip(reports) {
        let Some(finding) = finding(step) else { continue };
        let shown = crate::diag::escape(step.info.text.as_bytes());
        let place = format!("{} {file}:{}", step.info.name, step.info.line);
        let _ = writeln!(text, "{}  {shown}\n  {finding}", paint.wrap("1;31", &place));
        if let Some(report) = report {
            for line in guilty(report) {
                let _ = writeln!(text, "  {line}");
            }
            for line in render(report, paint, Detail::Full).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        text.push('\n');
    }
    let varying = checked.steps.iter().filter(|step| finding(step).is_some()).count();
    let count = checked.steps.len();
    let verdict = match varying {
        0 => paint.wrap("1;32", "reproducible"),
        _ => paint.wrap("1;31", "not reproducible"),
    };
    let _ = writeln!(text, "{verdict}: {} of {count} steps came out the same once more", count - varying);
    text
}

/// What is wrong with a step, in one line.
fn finding(step: &CheckedStep) -> Option<String> {
    match &step.result {
        Again::Same => None,
        Again::Varies { by_itself: true, .. } => Some(
            "varies where nothing is different: by the order in which its processes run, or by file numbers"
                .into(),
        ),
        Again::Varies { because, .. } if because.is_empty() => {
            Some(format!("varies only where several are different at once: {}", names(step.different.iter())))
        }
        Again::Varies { because, .. } => Some(format!("varies with: {}", names(because.iter()))),
        Again::Fails { because, error } => {
            let with = match because.len() {
                0 => "several different at once".to_owned(),
                _ => format!("other {}", names(because.iter())),
            };
            Some(format!("fails with {with}: {error}"))
        }
    }
}

/// Files of a step that varies: which bytes, and what they look like.
fn guilty(report: &Report) -> Vec<String> {
    const SHOWN: usize = 5;
    let entries = report.images.iter().flat_map(|images| &images.entries);
    let files = entries.filter_map(|entry| Some((&entry.path, entry.content.as_ref()?)));
    let line = |(path, content): (&String, &Difference)| {
        let bytes = content.ranges.first().map(|range| {
            let more = if content.ranges.len() > 1 { " and more" } else { "" };
            format!("bytes {}..{}{more}", range.a.start, range.a.end)
        });
        let class = content.suspects.first().map(|suspect| suspect.class.name());
        let parts: Vec<String> = bytes.into_iter().chain(class.map(str::to_owned)).collect();
        format!("{path}: {}", parts.join(", "))
    };
    files.map(line).take(SHOWN).collect()
}

fn names<'a>(axes: impl Iterator<Item = &'a Axis>) -> String {
    axes.map(|axis| axis.name()).collect::<Vec<_>>().join(", ")
}

fn json(checked: &Checked, reports: &[Option<Report>]) -> Value {
    let step = |(step, report): (&CheckedStep, &Option<Report>)| {
        let (verdict, because, by_itself, error) = match &step.result {
            Again::Same => ("same", None, None, None),
            Again::Varies { because, by_itself, .. } => ("varies", Some(because), Some(*by_itself), None),
            Again::Fails { because, error } => ("fails", Some(because), None, Some(error.to_string())),
        };
        let mut value = json!({
            "step": step.info.name, "line": step.info.line, "text": step.info.text,
            "verdict": verdict, "different": step.different,
        });
        for (name, found) in [
            ("because", because.map(|axes| json!(axes))),
            ("by-itself", by_itself.map(Value::from)),
            ("error", error.map(Value::from)),
            ("report", report.as_ref().map(|report| json!(report))),
        ] {
            if let Some(found) = found {
                value[name] = found;
            }
        }
        value
    };
    json!({
        "version": VERSION,
        "reproducible": checked.is_reproducible(),
        "steps": checked.steps.iter().zip(reports).map(step).collect::<Vec<_>>(),
    })
}
