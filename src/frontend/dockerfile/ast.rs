//! A Dockerfile as written: typed instructions with the places they came from, nothing expanded.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Span};
use crate::oci::Healthcheck;
use crate::recipe::{Network, Origin, Security};

/// A parsed file: global arguments, then stages, and what only the linter and the descriptions look at.
#[derive(Debug, Clone, Default)]
pub struct Dockerfile {
    /// `\` or `` ` `` (parser directive `escape`).
    pub(super) escape: char,
    /// `ARG`s before the first `FROM`.
    pub(super) globals: Vec<ArgText>,
    pub(super) stages: Vec<StageText>,
    /// Comments directly above an instruction, by its line; without `#`, none of them empty.
    pub(super) comments: BTreeMap<usize, Vec<Word>>,
    /// Empty lines inside continued instructions, the first of each.
    pub(super) gaps: Vec<Span>,
    /// The value of the `check` directive.
    pub(super) check: Option<Word>,
}

impl Dockerfile {
    /// The declarations before the first `FROM`.
    pub(super) fn global_args(&self) -> impl Iterator<Item = &ArgDecl> {
        self.globals.iter().flat_map(|arg| &arg.decls)
    }
}

/// `ARG` before the first `FROM`.
#[derive(Debug, Clone)]
pub struct ArgText {
    pub decls: Vec<ArgDecl>,
    pub origin: Origin,
}

/// A piece of text and where it stands. Quotes and variables are still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub span: Span,
}

/// `FROM` and what follows it.
#[derive(Debug, Clone)]
pub struct StageText {
    pub base: Word,
    pub platform: Option<Word>,
    /// Lower case.
    pub name: Option<Word>,
    pub origin: Origin,
    pub body: Vec<Instruction>,
}

/// One instruction of a stage.
#[derive(Debug, Clone)]
pub struct Instruction {
    pub kind: Kind,
    pub origin: Origin,
    /// Forms lith knows and does not build yet: errors if the stage is needed.
    pub refused: Vec<Diagnostic>,
    /// The text, if it came from below: an ONBUILD of the base.
    pub trigger: Option<String>,
}

impl Instruction {
    /// Whose files the instruction says it takes: `--from` of a COPY as number 0, `from` of a RUN's mounts by the
    /// number of the mount.
    pub fn froms(&self) -> Vec<(usize, Word)> {
        match &self.kind {
            Kind::Copy(copy) => copy.from.iter().map(|word| (0, word.clone())).collect(),
            Kind::Run(run) => {
                let mounts = run.mounts.iter().enumerate();
                mounts.filter_map(|(number, mount)| Some((number, mount.from()?))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What an instruction says.
#[derive(Debug, Clone)]
pub enum Kind {
    Run(RunText),
    Copy(CopyText),
    Env(Vec<Pair>),
    Label(Vec<Pair>),
    Arg(Vec<ArgDecl>),
    Workdir(Word),
    User(Word),
    Expose(Vec<Word>),
    Volume(Vec<Word>),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Shell(Vec<String>),
    StopSignal(Word),
    Healthcheck(Healthcheck),
    Maintainer(String),
    /// A trigger's text, for whatever stands on the stage.
    OnBuild(String),
}

/// `name=value`.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: Word,
    pub value: Word,
}

/// `name` or `name=default`.
#[derive(Debug, Clone)]
pub struct ArgDecl {
    pub name: String,
    /// Of the whole declaration.
    pub span: Span,
    pub default: Option<Word>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// For the shell, as one text.
    Shell(String),
    /// A JSON array: the argument vector itself.
    Exec(Vec<String>),
}

/// `RUN`.
#[derive(Debug, Clone)]
pub struct RunText {
    pub command: CommandLine,
    pub heredocs: Vec<Heredoc>,
    pub network: Network,
    pub security: Security,
    pub mounts: Vec<MountText>,
}

/// One `--mount` of a RUN.
#[derive(Debug, Clone)]
pub struct MountText {
    /// In the order written.
    pub fields: Vec<MountField>,
    pub span: Span,
}

/// `key=value`, or a key alone.
#[derive(Debug, Clone)]
pub struct MountField {
    /// Lower case, one that exists.
    pub key: String,
    pub value: Option<String>,
    pub span: Span,
}

impl MountText {
    /// Whose files are mounted, if the mount says so.
    pub fn from(&self) -> Option<Word> {
        let field = self.fields.iter().rfind(|field| field.key == "from")?;
        let text = field.value.clone().filter(|text| !text.is_empty())?;
        Some(Word { text, span: field.span })
    }
}

/// Which of the two copying instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    Copy,
    Add,
}

impl CopyKind {
    /// The instruction's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "COPY",
            Self::Add => "ADD",
        }
    }
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone)]
pub struct CopyText {
    pub kind: CopyKind,
    pub sources: Vec<Word>,
    pub inline: Vec<Heredoc>,
    pub dest: Word,
    pub from: Option<Word>,
    pub chown: Option<Word>,
    pub chmod: Option<Word>,
    pub exclude: Vec<Word>,
    pub parents: bool,
    pub link: bool,
    /// `--checksum` of ADD.
    pub checksum: Option<Word>,
    /// `--keep-git-dir` of ADD.
    pub keep_git_dir: Option<bool>,
    /// `--unpack` of ADD.
    pub unpack: Option<bool>,
}

/// A here-document, announced on the instruction's line, its body below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// Whether variables in the body are expanded (the delimiter was not quoted).
    pub expand: bool,
    /// `<<-`: leading tabs are dropped.
    pub chomp: bool,
    /// Every line with its line end, the terminator left out, tabs still there.
    pub body: String,
    /// Of the body.
    pub span: Span,
}

impl Heredoc {
    /// The body as it is meant: without leading tabs if `<<-` was written.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.body.clone();
        }
        self.body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}
