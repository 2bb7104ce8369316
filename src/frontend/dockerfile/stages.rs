//! Which stages the wanted one needs, and what each `FROM` and `--from` means.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, Span, suggest};
use crate::platform::Platform;
use crate::recipe::{Base, FilesFrom};

use super::ast::{Dockerfile, Instruction, Kind, StageText, Word};
use super::bases::{Bases, Configs, Known};
use super::contexts::ContextKind;
use super::env::{Budget, Env};
use super::expand::Lexer;
use super::options::Options;
use super::problems::Problems;
use super::trigger::{self, Place};
use super::{lower, shown};

/// What a trigger costs beside its text, about: each stage on a base reads all of its triggers again.
const TRIGGER: usize = 1024;
/// So many stages of a cycle are shown.
const SHOWN: usize = 12;

/// An image that a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// As written, after expansion.
    pub reference: String,
    /// Of the FROM or `--from` that names it first.
    pub span: Span,
    /// Whether a stage stands on it, so that its config is needed.
    pub as_base: bool,
    /// What it is wanted for.
    pub platform: Platform,
}

/// The stages that are needed, in the order of the file.
pub struct Resolved {
    pub stages: Vec<ResolvedStage>,
    /// Indices into `stages`, in the order asked for, each once.
    pub targets: Vec<usize>,
    /// Arguments before the first FROM, and the automatic ones.
    pub globals: Env,
}

/// One needed stage. Numbers of stages are those of [`Resolved::stages`].
pub struct ResolvedStage {
    /// Number in the file.
    pub index: usize,
    pub base: Base,
    pub platform: Platform,
    /// The named context whose files the stage begins with.
    pub files: Option<String>,
    /// A named context has the stage's own name and stands for all of it.
    pub replaced: bool,
    /// What the base leaves to be done first.
    pub triggers: Vec<Instruction>,
    /// What each `--from` and each mount's `from` means, by number of the instruction in the stage and number of the
    /// mount in the instruction.
    pub inputs: BTreeMap<(usize, usize), FilesFrom>,
}

impl ResolvedStage {
    /// All instructions: the triggers of the base, then those of the file.
    pub fn body<'a>(&'a self, file: &'a Dockerfile) -> impl Iterator<Item = &'a Instruction> {
        let own: &[Instruction] = if self.replaced { &[] } else { &file.stages[self.index].body };
        self.triggers.iter().chain(own)
    }
}

impl Dockerfile {
    /// Names of all stages that have one, lower case, in the order of the file.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_ref()).map(|name| name.text.as_str())
    }

    /// The images that the targets need, in the order of the file, each once for each use and platform. Global ARGs
    /// are expanded; stages that no target needs are not looked at.
    ///
    /// `bases` has the configs of base images as far as they are known: the triggers of one may need further images. So
    /// whoever resolves images asks again until nothing new comes.
    pub fn images(&self, options: &Options, bases: &Configs) -> Result<Vec<ImageUse>, Vec<Diagnostic>> {
        let mut problems = Problems::default();
        let mut budget = Budget::new();
        let bases = Bases::so_far(bases);
        let resolved = resolve(self, options, bases, &mut budget, &mut problems);
        if let Some(resolved) = &resolved {
            lower::check(self, options, bases, resolved, &mut budget, &mut problems);
        }
        match resolved {
            Some(resolved) if problems.errors() == 0 => Ok(used_images(self, &resolved)),
            Some(_) | None => Err(problems.finish()),
        }
    }
}

fn used_images(file: &Dockerfile, resolved: &Resolved) -> Vec<ImageUse> {
    let mut uses: Vec<ImageUse> = Vec::new();
    let mut seen = BTreeSet::new();
    for stage in &resolved.stages {
        let text = &file.stages[stage.index];
        let mut add = |reference: &str, span: Span, as_base: bool| {
            if seen.insert((reference.to_owned(), as_base, stage.platform.clone())) {
                let platform = stage.platform.clone();
                uses.push(ImageUse { reference: reference.to_owned(), span, as_base, platform });
            }
        };
        if let Base::Image(reference) = &stage.base {
            add(reference, text.base.span, true);
        }
        for ((number, mount), from) in &stage.inputs {
            let FilesFrom::Image(reference) = from else { continue };
            let Some(instruction) = stage.body(file).nth(*number) else { continue };
            let named = instruction.froms().into_iter().find(|(index, _)| index == mount);
            add(reference, named.map_or(instruction.origin.span, |(_, word)| word.span), false);
        }
    }
    uses
}

/// Resolves everything the target needs. `None` if there is no target; errors may come with a result too.
pub fn resolve(
    file: &Dockerfile,
    options: &Options,
    bases: Bases,
    budget: &mut Budget,
    problems: &mut Problems,
) -> Option<Resolved> {
    let globals = globals(file, options, budget, problems);
    let names = Names::new(file);
    let targets = targets(file, options, &names, problems)?;
    let mut resolver = Resolver { file, options, bases, globals: &globals, names, budget, problems };
    let stages = resolver.reach(&targets);
    let numbers: BTreeMap<usize, usize> = stages.keys().enumerate().map(|(new, old)| (*old, new)).collect();
    let targets = targets.iter().map(|target| numbers[target]).collect();
    let mut stages: Vec<ResolvedStage> =
        stages.into_values().map(|stage| renumber(stage, &numbers)).collect();
    inherit_platforms(&mut stages);
    Some(Resolved { stages, targets, globals })
}

fn renumber(mut stage: ResolvedStage, numbers: &BTreeMap<usize, usize>) -> ResolvedStage {
    if let Base::Stage(index) = &mut stage.base {
        *index = numbers[index];
    }
    for from in stage.inputs.values_mut() {
        if let FilesFrom::Stage(index) = from {
            *index = numbers[index];
        }
    }
    stage
}

/// A stage on another stage has that one's platform.
fn inherit_platforms(stages: &mut [ResolvedStage]) {
    for index in 0..stages.len() {
        if let Base::Stage(base) = stages[index].base {
            stages[index].platform = stages[base].platform.clone();
        }
    }
}

/// Values of the ARGs before the first FROM, over the automatic ones. Each sees those before it.
pub fn globals(file: &Dockerfile, options: &Options, budget: &mut Budget, problems: &mut Problems) -> Env {
    let mut env = options.automatic();
    for decl in file.global_args() {
        let value = match (options.build_arg(&decl.name), &decl.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => match Lexer::new(file.escape, &env).word(&default.text, budget) {
                Ok(value) => Some(value),
                Err(error) => {
                    problems.error(default.span, error.to_string());
                    None
                }
            },
            (None, None) => None,
        };
        if let Some(value) = value {
            env.set(&decl.name, value);
        }
    }
    env
}

/// The wanted stages' numbers in the file; `None` if one is missing.
fn targets(
    file: &Dockerfile,
    options: &Options,
    names: &Names,
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    if options.targets.is_empty() {
        if file.stages.is_empty() {
            problems.error(Span::default(), "no build stage: the file has no FROM");
        }
        return Some(vec![file.stages.len().checked_sub(1)?]);
    }
    let found: Vec<Option<usize>> =
        options.targets.iter().map(|wanted| target(file, wanted, names, problems)).collect();
    let found: indexmap::IndexSet<usize> = found.into_iter().collect::<Option<_>>()?;
    Some(found.into_iter().collect())
}

fn target(file: &Dockerfile, wanted: &str, names: &Names, problems: &mut Problems) -> Option<usize> {
    let by_number = || wanted.parse().ok().filter(|index| *index < file.stages.len());
    let found = names.before(&wanted.to_lowercase(), usize::MAX).or_else(by_number);
    if found.is_none() {
        let message = format!("target stage {} could not be found", shown(wanted));
        match suggest(&wanted.chars().take(40).collect::<String>(), file.stage_names().take(1000)) {
            Some(known) => problems.error_help(Span::default(), message, format!("did you mean {known}?")),
            None => problems.error(Span::default(), message),
        }
    }
    found
}

/// Numbers of the stages of each name, rising.
pub struct Names<'a>(BTreeMap<&'a str, Vec<usize>>);

impl<'a> Names<'a> {
    pub fn new(file: &'a Dockerfile) -> Self {
        let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, stage) in file.stages.iter().enumerate() {
            if let Some(name) = &stage.name {
                names.entry(&name.text).or_default().push(index);
            }
        }
        Self(names)
    }

    /// The last stage of that name with a number below `limit`.
    pub fn before(&self, name: &str, limit: usize) -> Option<usize> {
        let stages = self.0.get(name)?;
        stages[..stages.partition_point(|index| *index < limit)].last().copied()
    }

    /// The first stage of that name.
    fn first(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.first().copied()
    }
}

struct Resolver<'a> {
    file: &'a Dockerfile,
    options: &'a Options,
    bases: Bases<'a>,
    globals: &'a Env,
    names: Names<'a>,
    budget: &'a mut Budget,
    problems: &'a mut Problems,
}

impl Resolver<'_> {
    /// Every stage that the targets need, by number in the file. References lead to earlier stages only, so going
    /// down from the last target meets each stage after everything that needs it.
    fn reach(&mut self, targets: &[usize]) -> BTreeMap<usize, ResolvedStage> {
        let mut wanted: BTreeSet<usize> = targets.iter().copied().collect();
        let mut stages = BTreeMap::new();
        while let Some(index) = wanted.pop_last() {
            let stage = self.stage(index);
            if let Base::Stage(base) = stage.base {
                wanted.insert(base);
            }
            wanted.extend(stage.inputs.values().filter_map(FilesFrom::stage));
            stages.insert(index, stage);
        }
        stages
    }

    fn stage(&mut self, index: usize) -> ResolvedStage {
        let text = &self.file.stages[index];
        let platform = self.platform(text);
        let own = text.name.as_ref().and_then(|name| self.context(&name.text, &platform));
        let replaced = own.is_some();
        let (base, files) = own.unwrap_or_else(|| self.base(index, text, &platform));
        let triggers = self.triggers(&base, text, &platform);
        let body: &[Instruction] = if replaced { &[] } else { &text.body };
        let mut inputs = BTreeMap::new();
        for (number, instruction) in triggers.iter().chain(body).enumerate() {
            instruction.refused.iter().for_each(|refused| self.problems.push(refused.clone()));
            let act = if matches!(instruction.kind, Kind::Run(_)) { "mount" } else { "copy" };
            for (mount, word) in instruction.froms() {
                inputs.insert((number, mount), self.files_from(index, &word, &platform, act));
            }
        }
        ResolvedStage { index, base, platform, files, replaced, triggers, inputs }
    }

    /// What the base leaves to be done first. A stage leaves what its own ONBUILDs say: those of its base ran in it.
    fn triggers(&mut self, base: &Base, text: &StageText, platform: &Platform) -> Vec<Instruction> {
        let from = Place { line: text.origin.line, span: text.base.span };
        let left: Vec<(String, Place)> = match base {
            Base::Scratch | Base::Packages(_) => Vec::new(),
            Base::Stage(stage) => {
                let left = self.file.stages[*stage].body.iter().filter_map(|instruction| {
                    let place = Place { line: instruction.origin.line, span: instruction.origin.span };
                    Some((instruction.leaves()?.to_owned(), place))
                });
                left.collect()
            }
            Base::Image(reference) => match self.bases.get(reference, platform) {
                Known::Config(config) => {
                    config.config.on_build.iter().map(|text| (text.clone(), from)).collect()
                }
                Known::NotYet | Known::Missing => Vec::new(),
            },
        };
        let mut triggers = Vec::new();
        for (text, place) in left {
            if let Err(error) = self.budget.spend(text.len() + TRIGGER) {
                self.problems.error(place.span, error.to_string());
                break;
            }
            triggers.extend(trigger::parse(&text, place, self.problems));
        }
        triggers
    }

    fn expand(&mut self, word: &Word) -> Option<String> {
        match Lexer::new(self.file.escape, self.globals).word(&word.text, self.budget) {
            Ok(text) => Some(text),
            Err(error) => {
                self.problems.error(word.span, error.to_string());
                None
            }
        }
    }

    fn platform(&mut self, text: &StageText) -> Platform {
        let default = self.options.platform.clone();
        let Some(word) = &text.platform else { return default };
        let Some(value) = self.expand(word) else { return default };
        if value.is_empty() {
            let message = format!("empty platform value from expression {}", shown(&word.text));
            self.problems.error_help(word.span, message, "declare an ARG for it before the first FROM");
            return default;
        }
        match Platform::parse_on(&value, &self.options.build_platform) {
            Ok(platform) => platform,
            Err(_) => {
                let message = format!("{} is not a platform", shown(&value));
                self.problems.error_help(
                    word.span,
                    message,
                    "write os/architecture[/variant], for example linux/amd64",
                );
                default
            }
        }
    }

    /// The named context that takes the place of a name: a base, and whose files come first.
    fn context(&self, name: &str, platform: &Platform) -> Option<(Base, Option<String>)> {
        let (key, kind) = self.options.named_contexts.find(name, platform)?;
        Some(match kind {
            ContextKind::Files => (Base::Scratch, Some(key.to_owned())),
            ContextKind::Image => (Base::Image(name.to_owned()), None),
        })
    }

    /// What FROM means: a named context, scratch, an earlier stage with exactly that name, or an image.
    fn base(&mut self, index: usize, text: &StageText, platform: &Platform) -> (Base, Option<String>) {
        let Some(name) = self.expand(&text.base) else { return (Base::Scratch, None) };
        match self.context(&name, platform).filter(|_| !name.is_empty()) {
            Some(found) => found,
            None => (self.named_base(index, text, name), None),
        }
    }

    fn named_base(&mut self, index: usize, text: &StageText, name: String) -> Base {
        let span = text.base.span;
        if name.is_empty() {
            let message = format!("base name ({}) should not be blank", shown(&text.base.text));
            self.problems.error_help(
                span,
                message,
                "declare an ARG for it before the first FROM, or pass --build-arg",
            );
            return Base::Scratch;
        }
        if name == "scratch" {
            return Base::Scratch;
        }
        if let Some(stage) = self.names.before(&name, index) {
            return Base::Stage(stage);
        }
        let folded = name.to_lowercase();
        if folded != name && !name.contains(['/', ':', '@']) {
            let message = format!("{} is no stage, and no image name: those are lower case", shown(&name));
            match self.names.before(&folded, index) {
                Some(_) => self.problems.error_help(span, message, format!("write FROM {folded}")),
                None => self.problems.error(span, message),
            }
            return Base::Scratch;
        }
        if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.problems.error(span, format!("{} is not an image reference", shown(&name)));
            return Base::Scratch;
        }
        Base::Image(name)
    }

    /// What `--from` means: a named context, an earlier stage by name or number, nothing, or an image. `act`: copy or mount.
    fn files_from(&mut self, current: usize, word: &Word, platform: &Platform, act: &str) -> FilesFrom {
        let name = word.text.as_str();
        let folded = name.to_lowercase();
        match self.options.named_contexts.find(name, platform) {
            Some((key, ContextKind::Files)) => return FilesFrom::NamedContext(key.to_owned()),
            Some((_, ContextKind::Image)) => return FilesFrom::Image(name.to_owned()),
            None => {}
        }
        let digits = name.strip_prefix(['+', '-']).unwrap_or(name);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return match name.parse::<usize>().ok().filter(|index| *index < self.file.stages.len()) {
                Some(index) => self.earlier(current, index, word, act),
                None => {
                    let message = format!("invalid stage index {}", shown(name));
                    let help = format!("stages are numbered from 0 to {}", self.file.stages.len() - 1);
                    self.problems.error_help(word.span, message, help);
                    FilesFrom::Context
                }
            };
        }
        let stage = self.names.before(&folded, current).or_else(|| self.names.first(&folded));
        if let Some(stage) = stage {
            return self.earlier(current, stage, word, act);
        }
        if name == "scratch" {
            return FilesFrom::Scratch;
        }
        if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.problems.error(word.span, format!("{} is not an image reference", shown(name)));
            return FilesFrom::Context;
        }
        FilesFrom::Image(name.to_owned())
    }

    fn earlier(&mut self, current: usize, stage: usize, word: &Word, act: &str) -> FilesFrom {
        if stage < current {
            return FilesFrom::Stage(stage);
        }
        // Working out a cycle takes time; nobody reads the thousandth.
        if self.problems.is_full() {
            self.problems.error(word.span, "stage needs itself or a later one");
            return FilesFrom::Context;
        }
        let name = |index: usize| match &self.file.stages[index].name {
            Some(name) => name.text.clone(),
            None => index.to_string(),
        };
        let message = match self.cycle(current, stage) {
            Some(path) => {
                let mut path: Vec<String> = path.into_iter().map(name).collect();
                if path.len() > SHOWN {
                    let left_out = format!("({} more)", path.len() - SHOWN);
                    path.splice(SHOWN - 1..path.len() - 1, [left_out]);
                }
                format!("circular dependency detected on stage: {}", path.join(" -> "))
            }
            None => format!(
                "cannot {act} from stage '{}', it needs to be defined before current stage '{}'",
                name(stage),
                name(current)
            ),
        };
        self.problems.error(word.span, message);
        FilesFrom::Context
    }

    /// The way from `current` over `next` back to `current`, by FROM and `--from` as written.
    fn cycle(&self, current: usize, next: usize) -> Option<Vec<usize>> {
        let mut came_from = BTreeMap::from([(next, current)]);
        let mut queue = std::collections::VecDeque::from([next]);
        while let Some(index) = queue.pop_front() {
            if index == current {
                let mut path = vec![current];
                let mut at = came_from.get(&current).copied().unwrap_or(current);
                while at != current {
                    path.push(at);
                    at = came_from[&at];
                }
                path.push(current);
                path.reverse();
                return Some(path);
            }
            for reference in self.references(index) {
                came_from.entry(reference).or_insert_with(|| {
                    queue.push_back(reference);
                    index
                });
            }
        }
        None
    }

    fn references(&self, index: usize) -> Vec<usize> {
        let text = &self.file.stages[index];
        let base = self.names.before(&text.base.text, index);
        let inputs = text.body.iter().flat_map(Instruction::froms).filter_map(|(_, word)| {
            let folded = word.text.to_lowercase();
            let named = self.names.before(&folded, index).or_else(|| self.names.first(&folded));
            named.or_else(|| word.text.parse().ok()).filter(|index| *index < self.file.stages.len())
        });
        base.into_iter().chain(inputs).collect()
    }
}
