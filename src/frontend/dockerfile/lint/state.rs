//! What holds at one place of a stage, as far as the text and the known bases tell.

use std::collections::BTreeSet;

use crate::diag::Span;
use crate::oci::ImageConfig;

use super::super::ast::{ArgDecl, Instruction, Kind, Pair, Word};
use super::super::env::{self, Env};
use super::super::expand::Lexer;
use super::super::problems::Problems;
use super::super::scope::clean;
use super::super::trigger::{self, Place};
use super::Linter;

/// State between two instructions.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub env: Env,
    /// Names that ARG declared, with a value or without.
    pub args: BTreeSet<String>,
    /// Whether every variable of the base is known.
    pub sure: bool,
    pub cwd: String,
    /// Whether the file set the working directory.
    pub workdir_set: bool,
    pub shell: Option<Vec<String>>,
    /// Whether packages come from a snapshot of an archive.
    pub snapshot: bool,
    /// Where COPY and ADD put files, absolute.
    pub copied: Vec<String>,
    /// What an image or stage leaves to be done first on top of it.
    triggers: Vec<String>,
}

impl State {
    /// On scratch.
    pub fn on_scratch() -> Self {
        let mut state = Self { sure: true, cwd: "/".to_owned(), ..Self::default() };
        // As every stage has one.
        state.env.set("PATH", String::new());
        state
    }

    /// On an image whose config is known.
    pub fn on_image(image: &ImageConfig) -> Self {
        let mut state = Self::on_scratch();
        for variable in &image.config.env {
            let (name, value) = env::split(variable);
            state.env.set(name, value.to_owned());
        }
        state.cwd = clean("/", &image.config.working_dir);
        state.triggers = image.config.on_build.clone();
        state.shell = image.config.shell.clone().filter(|shell| !shell.is_empty());
        state
    }

    /// On an image of which nothing is known.
    pub fn on_unknown() -> Self {
        Self { sure: false, ..Self::on_scratch() }
    }

    /// At the top of a stage on what this is the end of: its triggers have run.
    pub fn begin(mut self, linter: &mut Linter) -> Self {
        let place = Place { line: 0, span: Span::default() };
        for text in std::mem::take(&mut self.triggers) {
            // Whoever builds the stage says what is wrong with a trigger.
            if let Some(instruction) = trigger::parse(&text, place, &mut Problems::default()) {
                self.apply(linter, &instruction);
            }
        }
        self
    }

    /// A word expanded; `None` if that is not possible or a variable in it is not known.
    pub fn expand(&self, linter: &mut Linter, word: &Word) -> Option<String> {
        let lexer = Lexer::new(linter.file.escape, &self.env);
        let open = |name: &String| self.env.get(name).is_none() && !self.args.contains(name);
        if !self.sure && lexer.variables(&word.text).iter().any(open) {
            return None;
        }
        lexer.word(&word.text, &mut linter.budget).ok()
    }

    /// What holds after an instruction.
    pub fn apply(&mut self, linter: &mut Linter, instruction: &Instruction) {
        self.snapshot |= mentions_snapshot(instruction);
        match &instruction.kind {
            Kind::Env(pairs) => self.set_env(linter, pairs),
            Kind::Arg(decls) => decls.iter().for_each(|decl| self.set_arg(linter, decl)),
            Kind::Workdir(word) => {
                let dir = self.expand(linter, word).unwrap_or_default();
                self.cwd = clean(&self.cwd, &dir);
                self.workdir_set = true;
            }
            Kind::Shell(argv) => self.shell = Some(argv.clone()),
            Kind::Copy(copy) => {
                if let Some(dest) = self.expand(linter, &copy.dest) {
                    self.copied.push(clean(&self.cwd, &dest));
                }
            }
            Kind::OnBuild(text) => self.triggers.push(text.clone()),
            Kind::Run(_)
            | Kind::Label(_)
            | Kind::User(_)
            | Kind::Expose(_)
            | Kind::Volume(_)
            | Kind::Cmd(_)
            | Kind::Entrypoint(_)
            | Kind::StopSignal(_)
            | Kind::Healthcheck(_)
            | Kind::Maintainer(_) => {}
        }
    }

    fn set_env(&mut self, linter: &mut Linter, pairs: &[Pair]) {
        let pairs: Vec<(Option<String>, String)> = pairs
            .iter()
            .map(|pair| {
                (self.expand(linter, &pair.name), self.expand(linter, &pair.value).unwrap_or_default())
            })
            .collect();
        for (name, value) in pairs {
            if let Some(name) = name {
                self.env.set(&name, value);
            }
        }
    }

    fn set_arg(&mut self, linter: &mut Linter, decl: &ArgDecl) {
        let value = match (linter.options.build_arg(&decl.name), &decl.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => Some(self.expand(linter, default).unwrap_or_default()),
            (None, None) => linter.globals.get(&decl.name).map(str::to_owned),
        };
        if let Some(value) = value {
            self.env.set(&decl.name, value);
        }
        self.args.insert(decl.name.clone());
    }

    /// About how many bytes a copy of it takes.
    pub fn weight(&self) -> usize {
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let args: usize = self.args.iter().map(|name| name.len() + 64).sum();
        let triggers: usize = self.triggers.iter().map(|text| 10 * text.len() + 256).sum();
        env + args + triggers + self.copied.iter().map(|path| path.len() + 32).sum::<usize>()
    }
}

/// Whether an instruction sets up or uses an archive's snapshot.
fn mentions_snapshot(instruction: &Instruction) -> bool {
    let body = |text: &str| text.to_ascii_lowercase().contains("snapshot");
    let documents = match &instruction.kind {
        Kind::Run(run) => run.heredocs.as_slice(),
        Kind::Copy(copy) => copy.inline.as_slice(),
        _ => &[],
    };
    body(&instruction.origin.text) || documents.iter().any(|document| body(&document.body))
}
