//! From resolved stages to a recipe: everything expanded, every step with its history and config.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, Span, escape};
use crate::oci::config::Empty;
use crate::oci::{ImageConfig, RunConfig};
use crate::path::{ImagePath, PathError};
use crate::recipe::{Base, Copy, CopyFrom, Op, Recipe, Run, Stage, Step, Unpack};

use super::ast::{
    ArgDecl, CommandLine, CopyKind, CopyText, Dockerfile, Heredoc, Instruction, Kind, Pair, RunText, Word,
};
use super::env::Budget;
use super::expand::{ExpandError, Lexer};
use super::options::Options;
use super::problems::Problems;
use super::scope::{Scope, clean};
use super::stages::{Resolved, ResolvedStage, resolve};
use super::{created_by, heredoc, instructions, ports, shown, signal};

impl Dockerfile {
    /// The recipe of the target: stages it does not need are left out, the others keep their order.
    ///
    /// `bases` has the config of every image that [`Dockerfile::images`] lists with `as_base`, by reference.
    /// Warnings come with a recipe; an error anywhere means there is none.
    pub fn lower(
        &self,
        options: &Options,
        bases: &BTreeMap<String, ImageConfig>,
    ) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let mut budget = Budget::new();
        let recipe = resolve(self, options, &mut budget, &mut problems).map(|resolved| {
            recipe(self, options, Bases::Known(bases), &resolved, &mut budget, &mut problems)
        });
        self.warn(options, &mut problems);
        match recipe {
            Some(recipe) if problems.errors() == 0 => Ok((recipe, problems.finish())),
            Some(_) | None => Err(problems.finish()),
        }
    }

    /// What is odd about the file and the options together.
    fn warn(&self, options: &Options, problems: &mut Problems) {
        let mut names = BTreeSet::new();
        for name in self.stages.iter().filter_map(|stage| stage.name.as_ref()) {
            if !names.insert(name.text.as_str()) {
                let message =
                    format!("stage name {} is used more than once; the last one counts", shown(&name.text));
                problems.push(Diagnostic::warning(name.span, message));
            }
        }
        let mut declared: BTreeSet<&str> = self.globals.iter().map(|decl| decl.name.as_str()).collect();
        for instruction in self.stages.iter().flat_map(|stage| &stage.body) {
            if let Kind::Arg(decls) = &instruction.kind {
                declared.extend(decls.iter().map(|decl| decl.name.as_str()));
            }
        }
        for (name, _) in &options.build_args {
            if declared.insert(name) && !options.needs_no_arg(name) {
                let message = format!("build argument {} is not used: no ARG declares it", shown(name));
                problems.push(Diagnostic::warning(Span::default(), message));
            }
        }
    }
}

/// Reports what is wrong with the needed stages whatever their base images are, so that it is known before any
/// image is fetched.
pub fn check(
    file: &Dockerfile,
    options: &Options,
    resolved: &Resolved,
    budget: &mut Budget,
    problems: &mut Problems,
) {
    recipe(file, options, Bases::NotYet, resolved, budget, problems);
}

/// What is known of base images.
#[derive(Clone, Copy)]
enum Bases<'a> {
    NotYet,
    Known(&'a BTreeMap<String, ImageConfig>),
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
        let guess = match (&stage.base, bases) {
            (Base::Image(_), Bases::NotYet) => true,
            (Base::Image(_), Bases::Known(_)) | (Base::Scratch, _) => false,
            (Base::Stage(index), _) => guessed[*index],
        };
        guessed.push(guess);
        let mut lowering =
            Lowering { file, options, resolved, stage, proxies: &proxies, scope, guess, budget, problems };
        let steps = lowering.steps();
        let mut scope = lowering.scope;
        if stages.len() == resolved.target {
            scope.config().labels.extend(options.labels.iter().cloned());
        }
        let text = &file.stages[stage.index];
        stages.push(Stage {
            name: text.name.as_ref().map(|name| name.text.clone()),
            base: stage.base.clone(),
            platform: stage.platform.clone(),
            steps,
            config: scope.image.clone(),
            origin: text.origin.clone(),
        });
        scopes.push(scope);
    }
    Recipe { stages, target: resolved.target }
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
        Base::Scratch => Scope::on_scratch(ImageConfig::scratch(&stage.platform)),
        Base::Stage(index) => Scope::on_stage(&scopes[*index]),
        Base::Image(reference) => match known(bases, reference) {
            Known::NotYet => Scope::on_scratch(ImageConfig::scratch(&stage.platform)),
            Known::Config(config) => {
                if !config.config.on_build.is_empty() {
                    let message = format!(
                        "base image {} has ONBUILD triggers, which are not supported yet",
                        shown(reference)
                    );
                    problems.error_help(span, message, "use a base without them");
                }
                Scope::on_image(config)
            }
            Known::Missing => {
                problems.error(span, format!("the config of base image {} is not known", shown(reference)));
                Scope::on_scratch(ImageConfig::scratch(&stage.platform))
            }
        },
    }
}

/// One base image's config.
enum Known<'a> {
    NotYet,
    Missing,
    Config(&'a ImageConfig),
}

fn known<'a>(bases: Bases<'a>, reference: &str) -> Known<'a> {
    match bases {
        Bases::NotYet => Known::NotYet,
        Bases::Known(configs) => configs.get(reference).map_or(Known::Missing, Known::Config),
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
        let mut steps = Vec::new();
        for (number, instruction) in self.file.stages[self.stage.index].body.iter().enumerate() {
            let mark = self.problems.mark();
            let result = self.instruction(number, instruction);
            if self.guess && has_variable(instruction) {
                self.problems.forget_since(&mark);
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

    fn instruction(&mut self, number: usize, instruction: &Instruction) -> Result<Option<Lowered>, Failed> {
        let span = instruction.origin.span;
        Ok(Some(match &instruction.kind {
            Kind::Run(run) => self.run(run, span)?,
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
            // Refused already, when the stage was resolved.
            Kind::OnBuild => return Ok(None),
        }))
    }

    fn run(&mut self, run: &RunText, span: Span) -> Result<Lowered, Failed> {
        let mut scripts = Vec::new();
        let argv = match &run.command {
            CommandLine::Exec(argv) if argv.is_empty() => return self.fail(span, "RUN [] names no command"),
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => {
                let text = self.run_text(text, &run.heredocs, span, &mut scripts)?;
                self.scope.shell(text)
            }
        };
        let env = self.scope.process_env();
        self.spend(env.iter().map(|(name, value)| name.len() + value.len() + 128).sum(), span)?;
        let taken: BTreeSet<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        let proxy_env =
            self.proxies.iter().filter(|(name, _)| !taken.contains(name.as_str())).cloned().collect();
        let created_by = created_by::run(&argv, &self.scope.declared());
        let user = self.scope.image.config.user.clone();
        let run = Run { argv, env, proxy_env, cwd: self.scope.cwd(), user, network: run.network, scripts };
        Ok(Lowered { op: Op::Run(run), created_by })
    }

    /// What the shell gets: a sole here-document is the script itself, or a file to run if it begins with `#!`;
    /// any other line is put together again for the shell to read.
    fn run_text(
        &mut self,
        text: &str,
        documents: &[Heredoc],
        span: Span,
        scripts: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<String, Failed> {
        let Some(first) = documents.first() else { return Ok(text.to_owned()) };
        if heredoc::parse(text).is_none() {
            let mut whole = text.to_owned();
            for document in documents {
                whole.extend(["\n", &document.body, &document.name]);
            }
            return Ok(whole);
        }
        let body = first.text();
        if !body.starts_with("#!") {
            return Ok(body);
        }
        if !crate::path::is_name(first.name.as_bytes()) {
            return self.fail(span, format!("heredoc {} is not a plain file name", shown(&first.name)));
        }
        let path = format!("/dev/pipes/{}", first.name);
        scripts.push((path.clone(), body.into_bytes()));
        Ok(path)
    }

    fn copy(&mut self, number: usize, copy: &CopyText) -> Result<Lowered, Failed> {
        let mut message = copy.kind.name().to_owned();
        let chown = self.option(copy.chown.as_ref(), "--chown", &mut message)?;
        let chmod = self.option(copy.chmod.as_ref(), "--chmod", &mut message)?;
        let chmod = match (chmod, &copy.chmod) {
            (Some(text), Some(word)) => Some(self.mode(&text, word)?),
            (_, _) => None,
        };
        let mut sources = Vec::new();
        for word in &copy.sources {
            let text = self.word(word)?;
            message.extend([" ", &text]);
            sources.push(self.source(copy.kind, &text, word)?);
        }
        let mut inline = Vec::new();
        for document in &copy.inline {
            message.extend([" <<", &document.name]);
            inline.push((document.name.clone(), self.document(document)?.into_bytes()));
        }
        let dest = self.word(&copy.dest)?;
        message.extend([" ", &dest, " # buildkit"]);
        let op = Op::Copy(Copy {
            from: self.stage.copies.get(&number).cloned().unwrap_or(CopyFrom::Context),
            sources,
            inline,
            dest: self.path(&clean(&self.scope.cwd(), &dest), copy.dest.span)?,
            dest_is_dir: is_directory(&dest),
            chown,
            chmod,
            unpack: match copy.kind {
                CopyKind::Copy => Unpack::Never,
                CopyKind::Add => Unpack::Archives,
            },
        });
        Ok(Lowered { op, created_by: message })
    }

    /// An expanded flag, noted in the history; `None` if it is absent or empty.
    fn option(
        &mut self,
        word: Option<&Word>,
        flag: &str,
        message: &mut String,
    ) -> Result<Option<String>, Failed> {
        let Some(word) = word else { return Ok(None) };
        let text = self.word(word)?;
        if text.is_empty() {
            return Ok(None);
        }
        message.extend([" ", flag, "=", &text]);
        Ok(Some(text))
    }

    fn mode(&mut self, text: &str, word: &Word) -> Result<u16, Failed> {
        let octal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match u16::from_str_radix(text, 8) {
            Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
            _ if octal => {
                let message = format!("invalid chmod parameter: {}", shown(text));
                self.problems.error_help(word.span, message, "it is octal, from 0 to 07777");
                Err(Failed)
            }
            _ => {
                let message = format!("symbolic --chmod={} is not supported yet", escape(text.as_bytes()));
                self.problems.error_help(word.span, message, "write the mode in octal, for example 755");
                Err(Failed)
            }
        }
    }

    fn source(&mut self, kind: CopyKind, text: &str, word: &Word) -> Result<ImagePath, Failed> {
        // One that says so as it is written was refused before.
        if instructions::is_remote(text) {
            if !instructions::is_remote(&word.text) {
                let word = Word { text: text.to_owned(), span: word.span };
                self.problems.push(match kind {
                    CopyKind::Add => instructions::remote_add(&word),
                    CopyKind::Copy => instructions::remote_copy(&word),
                });
            }
            return Err(Failed);
        }
        self.path(text, word.span)
    }

    fn path(&mut self, text: &str, span: Span) -> Result<ImagePath, Failed> {
        ImagePath::clamped(text.as_bytes()).or_else(|error: PathError| self.fail(span, error.to_string()))
    }

    fn document(&mut self, document: &Heredoc) -> Result<String, Failed> {
        let body = document.text();
        if !document.expand {
            return Ok(body);
        }
        let lexer = Lexer::document(&self.scope.env);
        let result = lexer.word(&body, self.budget);
        self.expanded(result, document.span)
    }

    fn env(&mut self, pairs: &[Pair], span: Span) -> Result<Lowered, Failed> {
        let mut message = "ENV".to_owned();
        for (name, value) in self.pairs(pairs)? {
            message.extend([" ", &name, "=", &value]);
            if !self.scope.set_env(&name, &value) {
                return self.fail(span, "the environment of the image grows beyond 8388608 bytes");
            }
        }
        Ok(Lowered::config(message))
    }

    fn label(&mut self, pairs: &[Pair]) -> Result<Lowered, Failed> {
        let mut message = "LABEL".to_owned();
        for (name, value) in self.pairs(pairs)? {
            message.extend([" ", &name, "=", &value]);
            self.scope.config().labels.insert(name, value);
        }
        Ok(Lowered::config(message))
    }

    /// All pairs, expanded in the environment before the instruction.
    fn pairs(&mut self, pairs: &[Pair]) -> Result<Vec<(String, String)>, Failed> {
        let mut out = Vec::new();
        for pair in pairs {
            let name = self.word(&pair.name)?;
            if name.is_empty() || name.contains('=') {
                let message = format!("name {} expands to {}", shown(&pair.name.text), shown(&name));
                return self.fail(pair.name.span, format!("{message}; a name is not empty and holds no ="));
            }
            out.push((name, self.word(&pair.value)?));
        }
        Ok(out)
    }

    /// Each ARG sees those before it. A value comes from the build, else the default, else the global ARG.
    fn arg(&mut self, decls: &[ArgDecl], span: Span) -> Result<Lowered, Failed> {
        let mut message = "ARG".to_owned();
        for decl in decls {
            let value = match (self.options.build_arg(&decl.name), &decl.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(default)) => Some(self.word(default)?),
                (None, None) => self.resolved.globals.get(&decl.name).map(str::to_owned),
            };
            self.spend(value.as_ref().map_or(0, String::len) + decl.name.len() + 64, span)?;
            message.extend([" ", &decl.name]);
            if let Some(value) = &value {
                message.extend(["=", value]);
            }
            self.scope.set_arg(&decl.name, value);
        }
        Ok(Lowered::config(message))
    }

    fn workdir(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let text = self.word(word)?;
        let dir = clean(&self.scope.cwd(), &text);
        let path = self.path(&dir, word.span)?;
        self.scope.config().working_dir.clone_from(&dir);
        let user = self.scope.image.config.user.clone();
        let op = if path.is_root() { Op::Config } else { Op::MakeDir { path, user } };
        Ok(Lowered { op, created_by: format!("WORKDIR {dir}") })
    }

    fn user(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let user = self.word(word)?;
        self.scope.config().user.clone_from(&user);
        Ok(Lowered::config(format!("USER {user}")))
    }

    fn stop_signal(&mut self, word: &Word) -> Result<Lowered, Failed> {
        let text = self.word(word)?;
        if !signal::is_signal(&text) {
            let message = format!("invalid signal: {}", shown(&text));
            self.problems.error_help(
                word.span,
                message,
                "write a name such as SIGTERM, or a number from 1 to 64",
            );
            return Err(Failed);
        }
        self.scope.config().stop_signal.clone_from(&text);
        Ok(Lowered::config(format!("STOPSIGNAL {text}")))
    }

    fn expose(&mut self, words: &[Word]) -> Result<Lowered, Failed> {
        let mut all = Vec::new();
        for word in words {
            let lexer = Lexer::new(self.file.escape, &self.scope.env);
            let result = lexer.words(&word.text, self.budget);
            for spec in self.expanded(result, word.span)? {
                let ports = ports::parse(&spec)
                    .or_else(|error| self.fail(word.span, escape(error.to_string().as_bytes())))?;
                self.spend(ports.len() * 64, word.span)?;
                all.extend(ports);
            }
        }
        self.scope.config().exposed_ports.extend(all.iter().map(|port| (port.clone(), Empty {})));
        Ok(Lowered::config(format!("EXPOSE {}", created_by::list(&all))))
    }

    fn volume(&mut self, words: &[Word]) -> Result<Lowered, Failed> {
        let mut all = Vec::new();
        for word in words {
            let volume = self.word(word)?;
            if volume.is_empty() {
                return self.fail(word.span, "VOLUME specified can not be an empty string");
            }
            all.push(volume);
        }
        self.scope.config().volumes.extend(all.iter().map(|volume| (volume.clone(), Empty {})));
        Ok(Lowered::config(format!("VOLUME {}", created_by::list(&all))))
    }

    fn cmd(&mut self, command: &CommandLine) -> Lowered {
        let argv = self.argv(command);
        let message = format!("CMD {}", created_by::quoted_list(&argv));
        self.scope.cmd_set = true;
        let config: &mut RunConfig = self.scope.config();
        config.cmd = Some(argv).filter(|argv| !argv.is_empty());
        config.args_escaped = true;
        Lowered::config(message)
    }

    /// A CMD that came from the base belongs to the base's entry point, not to this one.
    fn entrypoint(&mut self, command: &CommandLine) -> Lowered {
        let argv = self.argv(command);
        let message = format!("ENTRYPOINT {}", created_by::quoted_list(&argv));
        let keep = self.scope.cmd_set;
        let config = self.scope.config();
        config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
        if !keep {
            config.cmd = None;
        }
        Lowered::config(message)
    }

    fn argv(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => self.scope.shell(text.clone()),
        }
    }

    fn word(&mut self, word: &Word) -> Result<String, Failed> {
        let lexer = Lexer::new(self.file.escape, &self.scope.env);
        let result = lexer.word(&word.text, self.budget);
        self.expanded(result, word.span)
    }

    fn expanded<T>(&mut self, result: Result<T, ExpandError>, span: Span) -> Result<T, Failed> {
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

/// Whether a destination as written must be a directory.
fn is_directory(dest: &str) -> bool {
    matches!(dest, "" | ".") || dest.ends_with('/') || dest.ends_with("/.")
}
