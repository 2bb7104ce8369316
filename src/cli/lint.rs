//! `lith lint`, and the linter's answer that it shares with `lith build --check`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::call::{Format, location};
use super::files::Text;
use super::language::LanguageArgs;
use super::network::fetch_options;
use super::{CliError, out};
use crate::diag::{Diagnostic, Severity, Source};
use crate::engine::check;
use crate::fetch::Access;
use crate::frontend::dockerfile::{Options, RULES, RuleOrigin};

/// Arguments of `lith lint`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing found, 1 warnings, 2 errors.

Example:
  lith lint -f docker/Dockerfile --format json .
  lith lint - <Dockerfile")]
#[command(mut_arg("target", |arg| arg.help("Look only at what this stage needs [default: at all stages]")))]
pub struct Lint {
    #[command(flatten)]
    language: LanguageArgs,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// List the rules
    #[arg(long)]
    rules: bool,
}

impl Lint {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        if self.rules {
            out::print(&rules(self.format));
            return Ok(());
        }
        let (options, _) = self.language.options()?;
        // Whether it may be done is a matter of the build.
        let options = Options { insecure: true, ..options };
        show(&self.language.text(root, Access::NONE, &fetch_options())?, &options, self.format)
    }
}

/// Lints and prints. An error if there was anything to say.
pub fn show(text: &Text, options: &Options, format: Format) -> Result<(), CliError> {
    let source = &text.dockerfile;
    let found = check::lint(source, options, &text.ignore.0).found;
    let count = |severity: Severity| found.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    out::print(&match format {
        Format::Text => {
            let paint = out::paint_stdout();
            found.iter().map(|d| source.render_in(d, paint)).collect()
        }
        Format::Json => pretty(&as_json(source, &found)),
    });
    let name = &source.name;
    match (errors, warnings) {
        (0, 0) => Ok(()),
        (0, _) => Err(CliError::Failed(format!("{name}: {}", counted(warnings, "warning")))),
        (_, _) => Err(CliError::Usage(format!(
            "{name}: {}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ))),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// BuildKit's fields, and `help`.
fn as_json(source: &Source, found: &[Diagnostic]) -> Value {
    let place = |d: &Diagnostic| {
        let mut place = location(source, d.span);
        place["sourceIndex"] = json!(0);
        place
    };
    let summary = |name: &str| RULES.iter().find(|rule| rule.name == name).map(|rule| rule.summary);
    let warning = |d: &Diagnostic| {
        json!({
            "ruleName": d.rule, "description": d.rule.and_then(summary), "detail": d.message, "help": d.help,
            "location": place(d),
        })
    };
    let error = |d: &Diagnostic| json!({ "message": d.message, "help": d.help, "location": place(d) });
    let of = |severity: Severity| found.iter().filter(move |d| d.severity == severity);
    let mut value = json!({
        "sources": [{ "fileName": source.name, "language": "Dockerfile" }],
        "warnings": of(Severity::Warning).map(warning).collect::<Vec<_>>(),
    });
    let errors: Vec<Value> = of(Severity::Error).map(error).collect();
    if let Some(first) = errors.first() {
        value["error"] = first.clone();
        value["errors"] = errors.into();
    }
    value
}

fn rules(format: Format) -> String {
    let origin = |origin: RuleOrigin| match origin {
        RuleOrigin::BuildKit => "buildkit",
        RuleOrigin::Experimental => "experimental",
        RuleOrigin::Lith => "lith",
    };
    match format {
        Format::Text => {
            let head = ["RULE", "ORIGIN", "ASKS FOR"].map(str::to_owned).to_vec();
            let rows = RULES.iter().map(|rule| {
                vec![rule.name.to_owned(), origin(rule.origin).to_owned(), rule.summary.to_owned()]
            });
            out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
        }
        Format::Json => {
            let rows = RULES.iter().map(|rule| {
                json!({ "name": rule.name, "origin": origin(rule.origin), "description": rule.summary })
            });
            pretty(&rows.collect())
        }
    }
}

/// A value as indented text with a line feed.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
