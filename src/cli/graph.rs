//! `lith graph`: the plan as a picture or a page.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::build::What;
use super::plan::of_plan;
use super::{CliError, out};
use crate::engine::graph::drawing;
use crate::graph;

/// Arguments of `lith graph`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lith graph -o plan.html .\n  lith graph --format svg . > plan.svg")]
pub struct Graph {
    #[command(flatten)]
    what: What,
    /// What to write [default: what the ending of the output's name says, else svg]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A picture
    Svg,
    /// One page to search and move in, that needs nothing else
    Html,
    /// For graphviz
    Dot,
    Json,
}

impl Graph {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let format = self.format()?;
        let drawing = of_plan(&self.what, root, drawing)?;
        let text = match format {
            Format::Svg => graph::svg(&drawing),
            Format::Html => graph::html(&drawing),
            Format::Dot => graph::dot(&drawing),
            Format::Json => graph::json(&drawing),
        };
        match &self.output {
            Some(path) => fs::write(path, text).map_err(CliError::io(format!("write {}", path.display()))),
            None => {
                out::print(&text);
                Ok(())
            }
        }
    }

    /// What is asked for, or what the name of the output says.
    fn format(&self) -> Result<Format, CliError> {
        let by_name = || {
            let Some(path) = &self.output else { return Ok(Format::Svg) };
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("svg") => Ok(Format::Svg),
                Some("html" | "htm") => Ok(Format::Html),
                Some("dot" | "gv") => Ok(Format::Dot),
                Some("json") => Ok(Format::Json),
                Some(_) | None => Err(CliError::Usage(format!(
                    "--output {}: its name does not say what to write; end it in .svg, .html, .dot or .json, or add --format",
                    path.display()
                ))),
            }
        };
        self.format.map_or_else(by_name, Ok)
    }
}
