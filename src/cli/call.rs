//! `lith build --call`: questions about a Dockerfile that are answered instead of building it. No image is needed.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::build::What;
use super::lint::{pretty, show};
use super::{CliError, out};
use crate::diag::{Diagnostic, Source, Span, escape};
use crate::frontend::dockerfile::{self, Outline, Target, Wanted};

/// `--call` and what belongs to it.
#[derive(Debug, Args)]
pub struct Calls {
    /// Answer instead of building: check (or lint), outline, targets; ,format=json may follow
    #[arg(long, value_name = "build|check|outline|targets", default_value_t)]
    call: Call,
    /// Say what is odd about the Dockerfile; the same as --call=check
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// How the answer of --call is written [default: text]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// A question and how its answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    question: Question,
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Question {
    #[default]
    Build,
    Check,
    Outline,
    Targets,
}

/// `--format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, option) = text.split_once(',').map_or((text, None), |(name, option)| (name, Some(option)));
        let question = match name {
            "build" => Question::Build,
            "check" | "lint" => Question::Check,
            "outline" => Question::Outline,
            "targets" => Question::Targets,
            other => {
                return Err(format!("there is no call {other}; use build, check, lint, outline or targets"));
            }
        };
        let format = match option {
            None | Some("format=text") => Format::Text,
            Some("format=json") => Format::Json,
            Some(other) => return Err(format!("{other} is not understood; use format=text or format=json")),
        };
        Ok(Self { question, format })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.question {
            Question::Build => "build",
            Question::Check => "check",
            Question::Outline => "outline",
            Question::Targets => "targets",
        })
    }
}

impl Calls {
    /// The question, if there is one.
    pub fn wanted(&self) -> Result<Option<Call>, CliError> {
        let question = if self.check { Question::Check } else { self.call.question };
        let format = self.format.unwrap_or(self.call.format);
        match (question, self.format) {
            (Question::Build, Some(_)) => {
                Err(CliError::Usage("--format is for the answers of --call and --check".into()))
            }
            (Question::Build, None) => Ok(None),
            (question, _) => Ok(Some(Call { question, format })),
        }
    }
}

impl Call {
    /// Reads the file and prints the answer.
    pub fn answer(self, what: &What, root: Option<&Path>) -> Result<(), CliError> {
        let text = what.text(root)?;
        let (options, _) = what.language_options()?;
        let source = &text.dockerfile;
        let failed =
            |diagnostics: Vec<Diagnostic>| CliError::File { file: Box::new(source.clone()), diagnostics };
        let parsed = || {
            let (file, found) = dockerfile::parse(source);
            if found.is_empty() { Ok(file) } else { Err(failed(found)) }
        };
        out::print(&match (self.question, self.format) {
            (Question::Build, _) => String::new(),
            (Question::Check, format) => return show(&text, &options, format),
            (Question::Outline, format) => {
                let outline = parsed()?.outline(&options).map_err(failed)?;
                match format {
                    Format::Text => outline_text(&outline),
                    Format::Json => pretty(&outline_json(&outline, source)),
                }
            }
            (Question::Targets, Format::Text) => targets_text(&parsed()?.targets()),
            (Question::Targets, Format::Json) => pretty(&targets_json(&parsed()?.targets(), source)),
        });
        Ok(())
    }
}

fn outline_text(outline: &Outline) -> String {
    let shown = |text: &Option<String>| text.as_ref().map_or(String::new(), |text| escape(text.as_bytes()));
    let mut head = vec![vec!["TARGET:".to_owned(), outline.name.clone().unwrap_or_else(|| "default".into())]];
    if outline.description.is_some() {
        head.push(vec!["DESCRIPTION:".to_owned(), shown(&outline.description)]);
    }
    let mut parts = vec![out::table(&head)];
    if !outline.args.is_empty() {
        let rows =
            outline.args.iter().map(|arg| vec![arg.name.clone(), shown(&arg.value), shown(&arg.description)]);
        parts.push(table(&["BUILD ARG", "VALUE", "DESCRIPTION"], rows));
    }
    let wanted = |wanted: &Wanted| vec![escape(wanted.name.as_bytes()), wanted.required.to_string()];
    for (name, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !list.is_empty() {
            parts.push(table(&[name, "REQUIRED"], list.iter().map(wanted)));
        }
    }
    parts.join("\n")
}

fn targets_text(targets: &[Target]) -> String {
    let rows = targets.iter().enumerate().map(|(number, target)| {
        let name = target.name.clone().unwrap_or_else(|| number.to_string());
        let name = if target.default { format!("{name} (default)") } else { name };
        let description = target.description.as_deref().unwrap_or_default();
        vec![name, escape(target.base.as_bytes()), escape(description.as_bytes())]
    });
    table(&["TARGET", "BASE", "DESCRIPTION"], rows)
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn outline_json(outline: &Outline, source: &Source) -> Value {
    let wanted = |wanted: &Wanted| {
        json!({
            "name": wanted.name, "required": wanted.required, "location": location(source, wanted.span),
        })
    };
    let args = outline.args.iter().map(|arg| {
        json!({
            "name": arg.name, "description": arg.description, "value": arg.value,
            "location": location(source, arg.span),
        })
    });
    json!({
        "name": outline.name, "description": outline.description, "args": args.collect::<Vec<_>>(),
        "secrets": outline.secrets.iter().map(wanted).collect::<Vec<_>>(),
        "ssh": outline.ssh.iter().map(wanted).collect::<Vec<_>>(),
    })
}

fn targets_json(targets: &[Target], source: &Source) -> Value {
    let targets = targets.iter().map(|target| {
        json!({
            "name": target.name, "default": target.default, "description": target.description,
            "base": target.base, "platform": target.platform, "location": location(source, target.span),
        })
    });
    json!({ "targets": targets.collect::<Vec<_>>() })
}

/// A place as BuildKit writes one: lines from 1, characters from 0, the end behind the last.
pub fn location(source: &Source, span: Span) -> Value {
    let position = |offset: usize| {
        let (line, column) = source.position(offset);
        json!({ "line": line, "character": column - 1 })
    };
    json!({ "ranges": [{ "start": position(span.start), "end": position(span.end.max(span.start)) }] })
}
