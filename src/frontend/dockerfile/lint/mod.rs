//! The linter (`spec/lint.md`): what is odd about a file that builds.
//!
//! Reads the parsed file, and what is known of base images and of the context as plain data; executes and fetches
//! nothing. One file a family of rules; [`rules`] has the table.

mod casing;
mod checks;
mod commands;
mod copies;
mod descriptions;
mod from;
mod instructions;
mod owners;
mod packages;
mod ports;
mod report;
mod rules;
mod scripts;
mod secrets;
mod shell;
mod state;
mod variables;

use std::collections::BTreeSet;

use crate::diag::{Diagnostic, Source};
use crate::path::ImagePath;

use super::ast::{Dockerfile, Instruction, Kind};
use super::bases::{Bases, Configs};
use super::env::{Budget, Env};
use super::options::Options;
use super::problems::Problems;
use super::stages::{self, Names};

pub use descriptions::description;
pub use report::check_directive;
pub use rules::{Origin as RuleOrigin, RULES, Rule};

use report::Report;
use state::State;

/// Which rules speak unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// BuildKit's, on the stages that are built.
    Build,
    /// lith's too, on all stages unless targets are named.
    Lint,
}

/// What is known from outside the file.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Configs of base images. One that is missing is not known: nothing is said that depends on it.
    pub bases: &'a Configs,
    /// Whether nothing of a source of COPY is in the context, because the ignore file leaves it out.
    pub left_out: &'a dyn Fn(&ImagePath) -> bool,
}

/// What the linter found.
#[derive(Debug, Default)]
pub struct Linted {
    /// By place. An error only if `BUILDKIT_DOCKERFILE_CHECK` cannot be read.
    pub found: Vec<Diagnostic>,
    /// Rules that were broken where `check=error=true` holds: the build fails.
    pub failing: Vec<&'static str>,
}

impl Dockerfile {
    /// Holds the file against the rules. `source` is the text it was parsed from. A file with errors is linted as far
    /// as it was understood.
    pub fn lint(&self, source: &Source, options: &Options, facts: &Facts, level: Level) -> Linted {
        let report = Report::new(self, options.build_arg("BUILDKIT_DOCKERFILE_CHECK"), level);
        let mut budget = Budget::new();
        let mut ignored = Problems::default();
        let globals = stages::globals(self, options, &mut budget, &mut ignored);
        let defaults = Options { build_args: Vec::new(), ..options.clone() };
        let defaults = stages::globals(self, &defaults, &mut budget, &mut ignored);
        let wanted = self.wanted(options, facts, level);
        let mut linter = Linter {
            file: self,
            source,
            options,
            facts,
            globals,
            defaults,
            budget,
            report,
            names: Names::new(self),
            declared: self.global_args().map(|decl| decl.name.as_str()).collect(),
        };
        linter.casing();
        linter.gaps();
        let mut states = Vec::new();
        for index in 0..self.stages.len() {
            linter.from(index);
            let state = linter.begin(index, &states).begin(&mut linter);
            let state = if wanted.contains(&index) { linter.stage(index, state) } else { state };
            states.push(state);
        }
        linter.report.finish()
    }

    /// Numbers of the stages to be looked into.
    fn wanted(&self, options: &Options, facts: &Facts, level: Level) -> BTreeSet<usize> {
        let all = (0..self.stages.len()).collect();
        if level == Level::Lint && options.targets.is_empty() {
            return all;
        }
        let bases = Bases::so_far(facts.bases);
        let resolved = stages::resolve(self, options, bases, &mut Budget::new(), &mut Problems::default());
        resolved.map_or(all, |resolved| resolved.stages.iter().map(|stage| stage.index).collect())
    }
}

/// The linter at work on one file.
struct Linter<'a> {
    file: &'a Dockerfile,
    source: &'a Source,
    options: &'a Options,
    facts: &'a Facts<'a>,
    /// Arguments before the first FROM, and the automatic ones.
    globals: Env,
    /// The same if the build gave none.
    defaults: Env,
    budget: Budget,
    report: Report,
    names: Names<'a>,
    /// Names of the ARGs before the first FROM.
    declared: BTreeSet<&'a str>,
}

impl Linter<'_> {
    /// The body of a stage; answers what holds at its end.
    fn stage(&mut self, index: usize, mut state: State) -> State {
        let body = &self.file.stages[index].body;
        self.repeated(body);
        let later = variables::definitions(body);
        for (number, instruction) in body.iter().enumerate() {
            self.variables(&state, instruction, &|name| later.get(name).is_some_and(|last| *last >= number));
            self.instruction(&mut state, index, instruction);
            state.apply(self, instruction);
        }
        state
    }

    fn instruction(&mut self, state: &mut State, stage: usize, instruction: &Instruction) {
        match &instruction.kind {
            Kind::Run(run) => self.run(state, run, instruction),
            Kind::Copy(copy) => self.copy(state, copy, instruction),
            Kind::Env(pairs) => {
                self.old_form(instruction);
                self.secret_names(state, pairs, instruction);
            }
            Kind::Label(_) => self.old_form(instruction),
            Kind::Arg(decls) => self.secret_args(decls, instruction),
            Kind::Workdir(word) => self.workdir(state, word, instruction),
            Kind::Expose(words) => self.expose(state, words, instruction),
            Kind::Cmd(command) => self.shell_form("CMD", command, state, instruction),
            Kind::Entrypoint(command) => self.shell_form("ENTRYPOINT", command, state, instruction),
            Kind::Maintainer(_)
            | Kind::User(_)
            | Kind::Volume(_)
            | Kind::Shell(_)
            | Kind::StopSignal(_)
            | Kind::Healthcheck(_)
            | Kind::OnBuild(_) => {}
        }
        self.pinned_froms(stage, instruction);
    }
}
