//! `lith init`: a first build file for a project.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::files::NAMES;
use super::{CliError, out};
use crate::init::{self, Draft, Kind, Project};
use crate::sys::file::{self, Durability};

/// What is written where nobody says.
const FILE: &str = NAMES[2];
const IGNORE: &str = ".dockerignore";

/// Arguments of `lith init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lith init
  lith init --language go -o - service")]
pub struct Init {
    /// The project's directory
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// What builds the project [default: what its files say]
    #[arg(long, value_enum)]
    language: Option<Language>,
    /// Where the build file is written; - for standard output [default: image.kdl in DIR]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Write no .dockerignore
    #[arg(long)]
    no_ignore: bool,
}

/// `--language`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    #[value(alias = "rust")]
    Cargo,
    Go,
    Node,
    Python,
}

impl Language {
    fn kind(self) -> Kind {
        match self {
            Self::Cargo => Kind::Cargo,
            Self::Go => Kind::Go,
            Self::Node => Kind::Node,
            Self::Python => Kind::Python,
        }
    }
}

impl Init {
    pub fn run(self) -> Result<(), CliError> {
        if !self.dir.is_dir() {
            return Err(CliError::Usage(format!("{} is not a directory", self.dir.display())));
        }
        let project = Project::new(&self.dir);
        let kind = self.language.map(Language::kind).or_else(|| Kind::of(&project));
        let draft = init::draft(&project, kind).map_err(|error| CliError::Usage(error.to_string()))?;
        let path = self.output.clone().unwrap_or_else(|| self.dir.join(FILE));
        if path.as_os_str() == "-" {
            out::print(&draft.text);
            out::err(&notes(&draft, kind));
            return Ok(());
        }
        self.write(&path, &draft.text)?;
        let mut said = format!("{}: {}\n", path.display(), what(&draft, kind));
        let ignore = self.dir.join(IGNORE);
        if !self.no_ignore && !ignore.exists() {
            create(&ignore, &init::ignore_file(&project, kind))?;
            said.push_str(&format!("{}: what builds leave out\n", ignore.display()));
        }
        said.push_str(&notes(&draft, kind));
        said.push_str(&format!("next: {}\n", self.next(&path, &draft)));
        out::print(&said);
        Ok(())
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), CliError> {
        if self.force {
            return file::replace(path, text.as_bytes(), Durability::Cached)
                .map_err(CliError::io(format!("write {}", path.display())));
        }
        create(path, text)
    }

    /// The command that builds what was written.
    fn next(&self, path: &Path, draft: &Draft) -> String {
        let found = NAMES.iter().map(|name| self.dir.join(name)).find(|path| path.exists());
        let file = match found {
            Some(found) if found == path => String::new(),
            Some(_) | None => format!("-f {} ", path.display()),
        };
        format!("lith build {file}-t {} {}", draft.name, self.dir.display())
    }
}

/// Writes a file that is not there.
fn create(path: &Path, text: &str) -> Result<(), CliError> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::Usage(format!(
            "{} is there already; --force writes over it, -o FILE writes another",
            path.display()
        ))),
        Err(error) => Err(CliError::io(format!("write {}", path.display()))(error)),
    }
}

fn what(draft: &Draft, kind: Option<Kind>) -> String {
    match kind {
        Some(kind) => format!("image {} of a {} project", draft.name, kind.name()),
        None => format!("image {} to begin with", draft.name),
    }
}

/// What a person has to look at.
fn notes(draft: &Draft, kind: Option<Kind>) -> String {
    let marks: Vec<&str> = Kind::ALL.iter().flat_map(|kind| kind.marks()).copied().collect();
    let unknown = format!("no project was recognised: there is none of {}", marks.join(", "));
    let unknown = kind.is_none().then_some(unknown);
    unknown.iter().chain(&draft.notes).map(|note| format!("note: {note}\n")).collect()
}
