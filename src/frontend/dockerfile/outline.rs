//! What a file offers to who builds it: its targets, and what a target asks for. Reads the text alone.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{ArgDecl, Dockerfile, Instruction, Kind};
use super::bases::Bases;
use super::env::{Budget, Env};
use super::expand::Lexer;
use super::lint::description;
use super::options::Options;
use super::problems::Problems;
use super::stages::{self, Resolved};
use crate::diag::{Diagnostic, Span};
use crate::recipe::Base;

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `None` if the stage has none: its number names it.
    pub name: Option<String>,
    /// Of the comment above FROM.
    pub description: Option<String>,
    /// As written.
    pub base: String,
    pub platform: Option<String>,
    /// Whether it is built if no target is named.
    pub default: bool,
    pub span: Span,
}

/// What a target asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Of the target.
    pub name: Option<String>,
    pub description: Option<String>,
    pub args: Vec<Arg>,
    pub secrets: Vec<Wanted>,
    pub ssh: Vec<Wanted>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub name: String,
    pub description: Option<String>,
    /// In this build: given, or the default.
    pub value: Option<String>,
    pub span: Span,
}

/// A secret or an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub required: bool,
    pub span: Span,
}

impl Dockerfile {
    /// All stages in the order of the file.
    pub fn targets(&self) -> Vec<Target> {
        let last = self.stages.len().saturating_sub(1);
        let stages = self.stages.iter().enumerate();
        let target = stages.map(|(index, stage)| {
            let name = stage.name.as_ref().map(|name| name.text.clone());
            Target {
                description: name.as_ref().and_then(|name| self.describe(stage.origin.line, name)),
                name,
                base: stage.base.text.clone(),
                platform: stage.platform.as_ref().map(|platform| platform.text.clone()),
                default: index == last,
                span: stage.origin.span,
            }
        });
        target.collect()
    }

    /// What the targets of these options ask for, in the order of the file.
    pub fn outline(&self, options: &Options) -> Result<Outline, Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let mut budget = Budget::new();
        let none = BTreeMap::new();
        let resolved = stages::resolve(self, options, Bases::so_far(&none), &mut budget, &mut problems);
        let Some(resolved) = resolved.filter(|_| problems.errors() == 0) else {
            return Err(problems.finish());
        };
        let target = &self.stages[resolved.stages[resolved.targets[0]].index];
        let name = target.name.as_ref().map(|name| name.text.clone());
        let mut survey =
            Survey { file: self, options, budget, outline: Outline::default(), seen: BTreeSet::new() };
        survey.globals(&resolved);
        survey.stages(&resolved);
        let description = name.as_ref().and_then(|name| self.describe(target.origin.line, name));
        Ok(Outline { description, name, ..survey.finish() })
    }

    fn describe(&self, line: usize, name: &str) -> Option<String> {
        description(self, line, name).map(str::to_owned)
    }
}

struct Survey<'a> {
    file: &'a Dockerfile,
    options: &'a Options,
    budget: Budget,
    outline: Outline,
    /// Names of the arguments that are listed already.
    seen: BTreeSet<String>,
}

impl Survey<'_> {
    /// The ARGs before the first FROM that a FROM of the target uses.
    fn globals(&mut self, resolved: &Resolved) {
        let mut used: BTreeSet<String> = BTreeSet::new();
        for stage in &resolved.stages {
            let text = &self.file.stages[stage.index];
            for word in std::iter::once(&text.base).chain(&text.platform) {
                used.extend(Lexer::new(self.file.escape, &resolved.globals).variables(&word.text));
            }
        }
        // An ARG may use those before it.
        for decl in self.file.global_args().collect::<Vec<_>>().into_iter().rev() {
            if let Some(default) = decl.default.as_ref().filter(|_| used.contains(&decl.name)) {
                used.extend(Lexer::new(self.file.escape, &resolved.globals).variables(&default.text));
            }
        }
        for arg in &self.file.globals {
            for decl in arg.decls.iter().filter(|decl| used.contains(&decl.name)) {
                self.arg(decl, arg.origin.line, resolved.globals.get(&decl.name).map(str::to_owned));
            }
        }
    }

    fn stages(&mut self, resolved: &Resolved) {
        let mut ends: BTreeMap<usize, Env> = BTreeMap::new();
        for (number, stage) in resolved.stages.iter().enumerate() {
            let mut env = match stage.base {
                Base::Stage(base) => ends[&base].clone(),
                Base::Scratch | Base::Image(_) | Base::Packages(_) => Env::default(),
            };
            for instruction in stage.body(self.file) {
                self.instruction(instruction, &mut env, resolved);
            }
            ends.insert(number, env);
        }
    }

    fn instruction(&mut self, instruction: &Instruction, env: &mut Env, resolved: &Resolved) {
        match &instruction.kind {
            Kind::Arg(decls) => {
                for decl in decls {
                    let value = match (self.options.build_arg(&decl.name), &decl.default) {
                        (Some(given), _) => Some(given.to_owned()),
                        (None, Some(default)) => self.expand(&default.text, env),
                        (None, None) => resolved.globals.get(&decl.name).map(str::to_owned),
                    };
                    if let Some(value) = &value {
                        env.set(&decl.name, value.clone());
                    }
                    // The automatic ones are nobody's to give.
                    if self.options.automatic().get(&decl.name).is_none() {
                        self.arg(decl, instruction.origin.line, value);
                    }
                }
            }
            Kind::Env(pairs) => {
                for pair in pairs {
                    if let (Some(name), Some(value)) =
                        (self.expand(&pair.name.text, env), self.expand(&pair.value.text, env))
                    {
                        env.set(&name, value);
                    }
                }
            }
            Kind::Run(run) => {
                for mount in &run.mounts {
                    let field = |keys: &[&str]| {
                        let field = mount.fields.iter().rfind(|field| keys.contains(&field.key.as_str()))?;
                        Some(field.value.clone().unwrap_or_default())
                    };
                    let kind = field(&["type"]).unwrap_or_default();
                    let required = field(&["required"]).is_some_and(|value| value != "false" && value != "0");
                    let id = field(&["id"]).filter(|id| !id.is_empty());
                    let name = match kind.as_str() {
                        "secret" => {
                            let target = field(&["target", "dst", "destination"]).unwrap_or_default();
                            let last = target.rsplit('/').next().unwrap_or_default().to_owned();
                            id.or_else(|| Some(last).filter(|last| !last.is_empty()))
                        }
                        "ssh" => Some(id.unwrap_or_else(|| "default".to_owned())),
                        _ => None,
                    };
                    let Some(name) = name.and_then(|name| self.expand(&name, env)) else { continue };
                    self.wanted(&kind, Wanted { name, required, span: mount.span });
                }
            }
            _ => {}
        }
    }

    fn expand(&mut self, text: &str, env: &Env) -> Option<String> {
        Lexer::new(self.file.escape, env).word(text, &mut self.budget).ok()
    }

    fn arg(&mut self, decl: &ArgDecl, line: usize, value: Option<String>) {
        if self.seen.insert(decl.name.clone()) {
            let description = description(self.file, line, &decl.name).map(str::to_owned);
            self.outline.args.push(Arg { name: decl.name.clone(), description, value, span: decl.span });
        }
    }

    fn wanted(&mut self, kind: &str, wanted: Wanted) {
        let list = if kind == "secret" { &mut self.outline.secrets } else { &mut self.outline.ssh };
        match list.iter_mut().find(|known| known.name == wanted.name) {
            Some(known) => known.required |= wanted.required,
            None => list.push(wanted),
        }
    }

    fn finish(mut self) -> Outline {
        self.outline.args.sort_by_key(|arg| arg.span.start);
        self.outline
    }
}
