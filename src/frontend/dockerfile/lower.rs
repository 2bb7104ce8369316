//! From resolved stages to a recipe: everything expanded, every step with its history and config.

mod config;
mod copy;
mod mount;
mod run;

use std::collections::BTreeSet;

use crate::diag::{Diagnostic, Span};
use crate::oci::ImageConfig;
use crate::path::{ImagePath, PathError};
use crate::recipe::{Base, Copy, Op, Recipe, Stage, Step};

use super::ast::{Dockerfile, Instruction, Kind, Word};
use super::bases::{Bases, Configs, Known};
use super::env::Budget;
use super::expand::Lexer;
use super::files::Fault;
use super::options::Options;
use super::problems::Problems;
use super::scope::Scope;
use super::stages::{Resolved, ResolvedStage, resolve};
use super::{created_by, shown, similar, trigger};

impl Dockerfile {
    /// The recipe of the targets: stages they do not need are left out, the others keep their order.
    ///
    /// `bases` has the config of every image that [`Dockerfile::images`] lists with `as_base`, by reference.
    /// Warnings come with a recipe; an error anywhere means there is none.
    pub fn lower(
        &self,
        options: &Options,
        bases: &Configs,
    ) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let mut budget = Budget::new();
        let bases = Bases::complete(bases);
        let resolved = resolve(self, options, bases, &mut budget, &mut problems);
        let recipe = resolved
            .as_ref()
            .map(|resolved| recipe(self, options, bases, resolved, &mut budget, &mut problems));
        self.unused_arguments(options, resolved.as_ref(), &mut problems);
        match recipe {
            Some(recipe) if problems.errors() == 0 => Ok((recipe, problems.finish())),
            Some(_) | None => Err(problems.finish()),
        }
    }

    /// Warns of build arguments that nothing in the file takes, and no trigger of a base.
    fn unused_arguments(&self, options: &Options, resolved: Option<&Resolved>, problems: &mut Problems) {
        let mut declared: BTreeSet<&str> = self.global_args().map(|decl| decl.name.as_str()).collect();
        let triggers =
            resolved.iter().flat_map(|resolved| &resolved.stages).flat_map(|stage| &stage.triggers);
        for instruction in self.stages.iter().flat_map(|stage| &stage.body).chain(triggers) {
            if let Kind::Arg(decls) = &instruction.kind {
                declared.extend(decls.iter().map(|decl| decl.name.as_str()));
            }
        }
        let mut reported = BTreeSet::new();
        for (name, _) in &options.build_args {
            if declared.contains(name.as_str()) || options.needs_no_arg(name) || !reported.insert(name) {
                continue;
            }
            let message = format!("build argument {} is not used: no ARG declares it", shown(name));
            let warning = Diagnostic::warning(Span::default(), message);
            problems.push(match similar(name, declared.iter().copied()) {
                Some(known) => warning.with_help(format!("did you mean {known}?")),
                None => warning,
            });
        }
    }
}

/// Reports what is wrong with the needed stages whatever their base images are, so that it is known before any
/// image is fetched.
pub fn check(
    file: &Dockerfile,
    options: &Options,
    bases: Bases,
    resolved: &Resolved,
    budget: &mut Budget,
    problems: &mut Problems,
) {
    recipe(file, options, bases, resolved, budget, problems);
}

fn recipe(
    file: &Dockerfile,
    options: &Options,
    bases: Bases,
    resolved: &Resolved,
    budget: &mut Budget,
    problems: &mut Problems,
) -> Recipe {
    let proxies = options.proxies();
    let mut scopes: Vec<Scope> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut guessed: Vec<bool> = Vec::new();
    for stage in &resolved.stages {
        let scope = base_scope(file, stage, bases, &scopes, problems);
        if let Err(error) = budget.spend(scope.weight_of_stage()) {
            problems.error(file.stages[stage.index].origin.span, error.to_string());
            break;
        }
        let guess = match &stage.base {
            Base::Image(reference) => matches!(bases.get(reference, &stage.platform), Known::NotYet),
            Base::Scratch | Base::Packages(_) => false,
            Base::Stage(index) => guessed[*index],
        };
        guessed.push(guess);
        let mut lowering =
            Lowering { file, options, resolved, stage, proxies: &proxies, scope, guess, budget, problems };
        let steps = lowering.steps();
        let mut scope = lowering.scope;
        if resolved.targets.contains(&stages.len()) {
            scope.config().labels.extend(options.labels.iter().cloned());
        }
        let text = &file.stages[stage.index];
        stages.push(Stage {
            name: text.name.as_ref().map(|name| name.text.clone()),
            base: stage.base.clone(),
            platform: stage.platform.clone(),
            steps,
            layers: Vec::new(),
            config: scope.image.clone(),
            origin: text.origin.clone(),
        });
        scopes.push(scope);
    }
    Recipe { stages, targets: resolved.targets.clone() }
}

fn base_scope(
    file: &Dockerfile,
    stage: &ResolvedStage,
    bases: Bases,
    scopes: &[Scope],
    problems: &mut Problems,
) -> Scope {
    let span = file.stages[stage.index].base.span;
    match &stage.base {
        Base::Scratch | Base::Packages(_) => Scope::on_scratch(ImageConfig::scratch(&stage.platform)),
        Base::Stage(index) => Scope::on_stage(&scopes[*index]),
        Base::Image(reference) => match bases.get(reference, &stage.platform) {
            Known::NotYet => Scope::on_scratch(ImageConfig::scratch(&stage.platform)),
            Known::Config(config) => Scope::on_image(config),
            Known::Missing => {
                problems.error(span, format!("the config of base image {} is not known", shown(reference)));
                Scope::on_scratch(ImageConfig::scratch(&stage.platform))
            }
        },
    }
}

/// What an instruction comes to.
struct Lowered {
    op: Op,
    created_by: String,
}

impl Lowered {
    fn config(created_by: String) -> Self {
        Self { op: Op::Config, created_by }
    }
}

/// A problem was reported already; the instruction has no result.
struct Failed;

struct Lowering<'a> {
    file: &'a Dockerfile,
    options: &'a Options,
    resolved: &'a Resolved,
    stage: &'a ResolvedStage,
    proxies: &'a [(String, String)],
    scope: Scope,
    /// Whether the base's variables are not known yet, so that no error about a variable is sure.
    guess: bool,
    budget: &'a mut Budget,
    problems: &'a mut Problems,
}

impl Lowering<'_> {
    fn steps(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.files().into_iter().collect();
        for (number, instruction) in self.stage.body(self.file).enumerate() {
            let mark = self.problems.mark();
            let result = self.instruction(number, instruction);
            if self.guess && has_variable(instruction) {
                self.problems.forget_since(&mark);
            }
            if let Some(text) = &instruction.trigger {
                self.problems.prefix_since(&mark, &trigger::prefix(text));
            }
            let Ok(lowered) = result else { continue };
            let Some(lowered) = lowered else { continue };
            let cost = self.scope.weight() + lowered.created_by.len();
            if self.spend(cost, instruction.origin.span).is_err() {
                break;
            }
            steps.push(Step {
                history: created_by::history(lowered.created_by, lowered.op == Op::Config),
                op: lowered.op,
                origin: instruction.origin.clone(),
                config: self.scope.image.config.clone(),
            });
        }
        steps
    }

    /// The step that a stage on a named context's files begins with.
    fn files(&self) -> Option<Step> {
        let name = self.stage.files.as_ref()?;
        let text = &self.file.stages[self.stage.index];
        let copy = Copy::whole_context(name.clone());
        Some(Step {
            op: Op::Copy(copy),
            origin: text.origin.clone(),
            history: created_by::history(format!("FROM {name} # buildkit"), false),
            config: self.scope.image.config.clone(),
        })
    }

    fn instruction(&mut self, number: usize, instruction: &Instruction) -> Result<Option<Lowered>, Failed> {
        let span = instruction.origin.span;
        Ok(Some(match &instruction.kind {
            Kind::Run(run) => self.run(number, run, span)?,
            Kind::Copy(copy) => self.copy(number, copy)?,
            Kind::Env(pairs) => self.env(pairs, span)?,
            Kind::Label(pairs) => self.label(pairs)?,
            Kind::Arg(decls) => self.arg(decls, span)?,
            Kind::Workdir(word) => self.workdir(word)?,
            Kind::User(word) => self.user(word)?,
            Kind::Expose(words) => self.expose(words)?,
            Kind::Volume(words) => self.volume(words)?,
            Kind::StopSignal(word) => self.stop_signal(word)?,
            Kind::Cmd(command) => self.cmd(command),
            Kind::Entrypoint(command) => self.entrypoint(command),
            Kind::Shell(argv) => {
                self.scope.config().shell = Some(argv.clone());
                Lowered::config(format!("SHELL {}", created_by::list(argv)))
            }
            Kind::Healthcheck(check) => {
                self.scope.config().healthcheck = Some(check.clone());
                Lowered::config(created_by::healthcheck(check))
            }
            Kind::Maintainer(name) => {
                self.scope.image.author = Some(name.clone());
                Lowered::config(format!("MAINTAINER {name}"))
            }
            Kind::OnBuild(text) => {
                self.scope.config().on_build.push(text.clone());
                return Ok(None);
            }
        }))
    }

    fn checked<T>(&mut self, result: Result<T, Fault>, span: Span) -> Result<T, Failed> {
        result.map_err(|fault| {
            self.problems.fault(span, fault);
            Failed
        })
    }

    fn path(&mut self, text: &str, span: Span) -> Result<ImagePath, Failed> {
        ImagePath::clamped(text.as_bytes()).or_else(|error: PathError| self.fail(span, error.to_string()))
    }

    fn word(&mut self, word: &Word) -> Result<String, Failed> {
        let lexer = Lexer::new(self.file.escape, &self.scope.env);
        let result = lexer.word(&word.text, self.budget);
        self.expanded(result, word.span)
    }

    fn expanded<T>(&mut self, result: Result<T, impl std::fmt::Display>, span: Span) -> Result<T, Failed> {
        result.or_else(|error| self.fail(span, error.to_string()))
    }

    fn spend(&mut self, amount: usize, span: Span) -> Result<(), Failed> {
        let result = self.budget.spend(amount);
        self.expanded(result, span)
    }

    fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Result<T, Failed> {
        self.problems.error(span, message);
        Err(Failed)
    }
}

/// Whether anything in the instruction may depend on a variable.
fn has_variable(instruction: &Instruction) -> bool {
    let inline =
        matches!(&instruction.kind, Kind::Copy(copy) if copy.inline.iter().any(|d| d.body.contains('$')));
    inline || instruction.origin.text.contains('$')
}
