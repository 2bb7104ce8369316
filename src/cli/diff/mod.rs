//! `lith diff`.

mod subjects;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::container::diff::list;
use super::places::{Access, scratch};
use super::session::{self, Need};
use super::{CliError, errors, out};
use crate::diag::Paint;
use crate::diff::text::{Detail, render};
use crate::diff::{Kind, Only, Options, Report, compare};
use crate::fetch::Watcher;
use crate::platform::Platform;
use crate::store::Store;
use subjects::{FORMS, Reach};

/// Arguments of `lith diff`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Examples:\n  \
    lith diff app:1 app:2\n  \
    lith diff app docker://registry.example.com/team/app:1 --semantic\n  \
    lith diff oci:out ./rootfs --only 'usr/lib/**'\n  \
    lith diff a.tar b.tar --ignore mtime,order --format json\n  \
    lith diff web\n\n\
    {FORMS}\n\n\
    Kinds that --ignore takes: mtime, mode, owner, xattr, hardlink, created, history, author, labels, annotations, \
    attestations, name, form, compression, layers, order, tar, hidden.\n\n\
    Exit codes: 0 no difference, 1 they differ, 2 they could not be compared. With one container: what its programs \
    changed, (A)dded, (C)hanged or (D)eleted, the entries of the layer that `lith commit` would make."
))]
pub struct Diff {
    /// An image, a tree or a container
    a: String,
    /// What it is compared with
    b: Option<String>,
    /// Kinds of differences that do not count, with commas between them
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', requires = "b")]
    ignore: Vec<Kind>,
    /// Ignore all that a running program cannot tell, and times of files
    #[arg(long, requires = "b")]
    semantic: bool,
    /// Compare only these paths and what is below them; a pattern as in .dockerignore
    #[arg(long, value_name = "PATH", requires = "b")]
    only: Vec<String>,
    /// How the report is written
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Text, requires = "b")]
    format: Form,
    /// Write the report to a file
    #[arg(short, long, value_name = "FILE", requires = "b")]
    output: Option<PathBuf>,
    /// Of images for several platforms only this one [default: all]
    #[arg(long, value_name = "OS/ARCH", requires = "b")]
    platform: Option<Platform>,
    /// Speak to registries in the clear
    #[arg(long, requires = "b")]
    plain_http: bool,
    /// As other programs have it: the exit code says whether they differ, here always
    #[arg(long, hide = true)]
    exit_code: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Html,
    Summary,
}

impl Diff {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let Some(b) = &self.b else { return list(root, &self.a) };
        match self.compare(root, b) {
            Ok(report) if report.differs => Err(CliError::Exit(1)),
            Ok(_) => Ok(()),
            Err(error) => {
                errors::show(&error);
                Err(CliError::Exit(2))
            }
        }
    }

    fn compare(&self, root: Option<&Path>, b: &str) -> Result<Report, CliError> {
        let options = self.options()?;
        let access = Access { root, plain_http: self.plain_http, watch: Watcher::default() };
        let reach = Reach::new(&access, [&self.a, b])?;
        let records = records(root);
        let report = reach.with(&self.a, |a| {
            reach.with(b, |b| compare(&a, &b, records.as_ref(), &options).map_err(CliError::from))
        })?;
        self.write(&report)?;
        Ok(report)
    }

    fn options(&self) -> Result<Options, CliError> {
        let usage = |error: crate::context::ignore::IgnoreError| CliError::Usage(format!("--only: {error}"));
        let mut ignore: std::collections::BTreeSet<Kind> = self.ignore.iter().copied().collect();
        if self.semantic {
            ignore.extend(Kind::semantic());
        }
        let mut options = Options {
            ignore,
            only: (!self.only.is_empty()).then(|| Only::parse(&self.only)).transpose().map_err(usage)?,
            platform: self.platform.clone(),
            scratch: scratch(),
            ..Options::default()
        };
        options.limits.scratch = scratch();
        Ok(options)
    }

    fn write(&self, report: &Report) -> Result<(), CliError> {
        let paint = if self.output.is_some() { Paint::Plain } else { out::paint_stdout() };
        let text = match self.format {
            Form::Text => render(report, paint, Detail::Full),
            Form::Summary => render(report, paint, Detail::Summary),
            Form::Json => report.to_json(),
            Form::Html => {
                let message = "--format html: this build of lith cannot write it; use json or text";
                return Err(CliError::Usage(message.into()));
            }
        };
        let Some(path) = &self.output else {
            out::print(&text);
            return Ok(());
        };
        let write = || std::fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
        write().map_err(CliError::io(format!("write {}", path.display())))
    }
}

/// The store, where there is one: it knows how images were built.
fn records(root: Option<&Path>) -> Option<Store> {
    let dir = session::root(root).ok().filter(|dir| dir.join("image-builds").is_dir())?;
    session::open(Some(&dir), Need::Store).ok().map(|session| session.store)
}
