//! A first build file for a project: what the project is, and what builds it (`lith init`).
//!
//! Owns: how a project is recognised and the text that is written for it. What is written stands on Debian's packages, so
//! it asks no registry, and gives a network to the one step that cannot do without. Writes no file.

mod cargo;
mod go;
mod ignore;
mod node;
mod project;
mod python;
mod text;

use std::path::Path;

pub use ignore::ignore_file;
pub use project::{InitError, Project};
use text::Text;

/// The release of Debian that everything stands on.
const SUITE: &str = "bookworm";
/// What has `/tmp` and says which distribution it is.
const FILES: &str = "base-files";
/// What a step needs that asks other machines: certificates, and a shell to put them into one file.
const FETCHING: [&str; 3] = ["ca-certificates", "coreutils", "dash"];
/// The shell command that does that: no package's script has run, so nobody else did.
const CERTIFICATES: &str = "cat /usr/share/ca-certificates/mozilla/*.crt >/tmp/ca.crt";

/// What a project is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Cargo,
    Go,
    Node,
    Python,
}

impl Kind {
    /// All of them, in the order they are looked for: a project in Rust or Go may have a `package.json` beside it, and
    /// one of node a `requirements.txt`.
    pub const ALL: [Self; 4] = [Self::Cargo, Self::Go, Self::Node, Self::Python];

    /// The files that say that a project is one, the first being the usual one.
    pub const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &["Cargo.toml"],
            Self::Go => &["go.mod", "go.work"],
            Self::Node => &["package.json"],
            Self::Python => &["pyproject.toml", "requirements.txt", "setup.py"],
        }
    }

    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cargo => "Rust",
            Self::Go => "Go",
            Self::Node => "Node.js",
            Self::Python => "Python",
        }
    }

    /// What a project is, by its files.
    pub fn of(project: &Project) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.marks().iter().any(|mark| project.has(mark)))
    }
}

/// A build file for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The image's name in it.
    pub name: String,
    /// KDL (`spec/kdl-grammar.md`).
    pub text: String,
    /// What a person has to look at, each a sentence.
    pub notes: Vec<String>,
}

/// Writes a build file for a project of a kind, or one to begin with if it is of none.
///
/// # Errors
/// [`InitError`] if a file of the project cannot be read or is not what its name says.
pub fn draft(project: &Project, kind: Option<Kind>) -> Result<Draft, InitError> {
    match kind {
        Some(Kind::Cargo) => cargo::draft(project),
        Some(Kind::Go) => go::draft(project),
        Some(Kind::Node) => node::draft(project),
        Some(Kind::Python) => python::draft(project),
        None => Ok(unknown(project)),
    }
}

/// A program that is there already, or a script, on a small root.
fn unknown(project: &Project) -> Draft {
    let name = image_name(&project.name());
    let mut text = Text::new("An image of a directory's files: to begin with.", &name);
    text.open(&format!("image {}", text::quoted(&name)));
    text.say("What it stands on: packages of Debian, or base \"NAME:TAG\", or base \"scratch\" for nothing.");
    text.base(&["busybox", "dash", FILES]);
    text.workdir("/app");
    text.say("What .dockerignore names is left out.");
    text.copy_all();
    text.gap();
    text.say("A step looks like this. It has no network; network=#true gives it one.");
    text.line("// run \"./configure && make install\"");
    text.gap();
    text.config(&name, &["busybox".into(), "ls".into(), "-l".into()], &[]);
    text.close();
    Draft { name, text: text.finish(), notes: Vec::new() }
}

/// The name that an image gets from a project's: what a block may be called, `app` if nothing of it can stay.
fn image_name(name: &str) -> String {
    let lower = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    let mut plain: String = lower.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    // A reference allows one separator at a time.
    while let Some(at) = plain.find("--").or_else(|| plain.find("..")) {
        plain.remove(at);
    }
    let plain = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let plain = plain.trim_end_matches(['-', '_', '.']);
    // A stage may have the name too.
    match plain {
        "" | "scratch" | "build" | "crates" | "modules" | "packages" => "app".to_owned(),
        plain => plain.to_owned(),
    }
}

/// Whether a version that a project asks for (`1.22.3`, `>=3.12`) is above one that the suite has.
fn is_newer(wanted: &str, has: (u32, u32)) -> bool {
    let digits = wanted.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.split('.').map(|part| {
        part.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().unwrap_or(0)
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) > has
}

/// The note that says so.
fn too_old(file: &str, what: &str, wanted: &str, has: (u32, u32)) -> String {
    format!(
        "{file} asks for {what} {wanted}, and {SUITE} has {}.{}: name another suite in base debian=, with mirror \
         \"http://deb.debian.org/debian\" if this machine's apt does not have it",
        has.0, has.1
    )
}

/// The directory's own name, for a project that says none.
fn directory_name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (name, image) in [
            ("hello", "hello"),
            ("@Scope/My App", "my-app"),
            ("github.com/a/b", "b"),
            ("1st--try..", "st-try"),
            ("..", "app"),
            ("scratch", "app"),
            ("build", "app"),
            ("ünï", "n"),
            ("", "app"),
        ] {
            assert_eq!(image_name(name), image, "{name}");
        }
    }

    #[test]
    fn versions() {
        assert!(is_newer("1.22.3", (1, 19)) && is_newer(">=3.12", (3, 11)) && is_newer("2", (1, 19)));
        assert!(!is_newer("1.19.9", (1, 19)) && !is_newer("1.9", (1, 19)) && !is_newer("", (1, 19)));
    }
}
