//! `lith store verify`.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::session::{self, Need};
use super::{CliError, find, out};
use crate::diag::Paint;
use crate::layer::audit::{Change, Deviation, Difference};
use crate::store::repair::Mended;
use crate::store::verify::{Extent, Finding, Report};

/// The most paths of one layer that are listed for people.
const MOST: usize = 100;

/// Arguments of `lith store verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith store verify\n  lith store verify --repair\n  lith store verify --format json app:latest"
)]
pub struct Verify {
    /// Look only at what these images need: names, ids or digests
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Make again what can be made again: unpacked layers, tables, entries of the layer db, memos
    #[arg(long)]
    repair: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    /// One object a line for each finding
    Json,
}

impl Verify {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let store = session::open(root, Need::FileSystems)?.store;
        let mut images = Vec::new();
        for text in &self.images {
            images.extend(find::found(&store, text)?.images(&store));
        }
        let extent = if images.is_empty() { Extent::Store } else { Extent::Images(&images) };
        let report = store.verify(extent)?;
        let mut left = Vec::new();
        for finding in &report.findings {
            let mended = self.repair.then(|| store.repair(finding));
            match self.format {
                Format::Text => out::print(&text(finding, mended.as_ref(), out::paint_stdout())),
                Format::Json => out::print(&(json(finding, mended.as_ref()) + "\n")),
            }
            if !mended.is_some_and(|mended| mended.is_well()) {
                left.push(finding);
            }
        }
        if self.format == Format::Text {
            out::print(&self.summary(&report, left.len()));
        }
        if left.is_empty() {
            return Ok(());
        }
        let repairable = !self.repair && left.iter().any(|finding| finding.is_repairable());
        Err(CliError::Damaged { root: store.root().to_owned(), repairable })
    }

    fn summary(&self, report: &Report, left: usize) -> String {
        let found = report.findings.len();
        let checked = format!(
            "{} and {} checked",
            counted(report.blobs, "blob"),
            counted(report.unpacked, "unpacked layer")
        );
        match (found, self.repair) {
            (0, _) => format!("{checked}: all is well\n"),
            (_, false) => format!("{checked}: {}\n", counted(found, "problem")),
            (_, true) => format!("{checked}: {}, {} repaired\n", counted(found, "problem"), found - left),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints a finding to standard error.
pub fn show(finding: &Finding) {
    out::err(&text(finding, None, out::paint()));
}

/// A finding for people: the object, then its paths, then what became of it.
fn text(finding: &Finding, mended: Option<&Mended>, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.wrap("1", &finding.to_string()));
    if let Finding::Unpacked { deviations, dir, .. } = finding {
        text += &format!("  in {}\n", dir.display());
        for Deviation { path, change } in deviations.iter().take(MOST) {
            text += &match change {
                Change::Added(kind) => format!("  {}    {path}  {kind}\n", paint.wrap("32", "added")),
                Change::Removed => format!("  {}  {path}\n", paint.wrap("31", "removed")),
                Change::Changed(_) => format!("  {}  {path}  {change}\n", paint.wrap("33", "changed")),
            };
        }
        if let more @ 1.. = deviations.len().saturating_sub(MOST) {
            text += &format!("  and {more} more, which --format json lists\n");
        }
    }
    text += &match mended {
        None if finding.is_repairable() => String::new(),
        None | Some(Mended::Not) => format!("  = help: {}\n", finding.help()),
        Some(Mended::Made) => "  repaired\n".to_owned(),
        Some(Mended::Replaced(old)) => {
            format!("  repaired from its tar; what was there is in {} until `lith gc`\n", old.display())
        }
        Some(Mended::Forgotten) => "  repaired: forgotten, it is made again when it is needed\n".to_owned(),
        Some(Mended::Failed(error)) => format!("  not repaired: {error}\n  = help: {}\n", finding.help()),
    };
    text
}

/// A finding for programs (spec/cli.md, "Verification").
#[derive(Serialize)]
struct Line<'a> {
    object: &'static str,
    problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Changed>>,
    repairable: bool,
    /// Only with `--repair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    help: &'a str,
}

#[derive(Serialize)]
struct Changed {
    path: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Differs>,
}

#[derive(Serialize)]
struct Differs {
    what: &'static str,
    expected: Option<String>,
    found: Option<String>,
}

fn json(finding: &Finding, mended: Option<&Mended>) -> String {
    let line = Line {
        object: finding.object(),
        problem: finding.to_string(),
        layer: finding.layer().map(|diff| diff.to_string()),
        path: finding.path().map(|path| path.display().to_string()),
        changes: match finding {
            Finding::Unpacked { deviations, .. } => Some(deviations.iter().map(changed).collect()),
            _ => None,
        },
        repairable: finding.is_repairable(),
        repair: mended.map(|mended| match mended {
            Mended::Made | Mended::Replaced(_) => "made",
            Mended::Forgotten => "forgotten",
            Mended::Not => "none",
            Mended::Failed(_) => "failed",
        }),
        kept: match mended {
            Some(Mended::Replaced(old)) => Some(old.display().to_string()),
            _ => None,
        },
        error: match mended {
            Some(Mended::Failed(error)) => Some(error.to_string()),
            _ => None,
        },
        help: finding.help(),
    };
    serde_json::to_string(&line).expect("plain lines serialise")
}

fn changed(deviation: &Deviation) -> Changed {
    let differs = |difference: &Difference| {
        let (expected, found) = difference.sides();
        Differs { what: difference.what(), expected, found }
    };
    let (change, differences) = match &deviation.change {
        Change::Added(kind) => {
            let found = Some((*kind).to_owned());
            ("added", vec![Differs { what: "kind", expected: None, found }])
        }
        Change::Removed => ("removed", Vec::new()),
        Change::Changed(all) => ("changed", all.iter().map(differs).collect()),
    };
    Changed { path: deviation.path.to_string(), change, differences }
}
