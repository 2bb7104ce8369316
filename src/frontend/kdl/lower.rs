//! From blocks to a recipe: parameters replaced, every step with its history and config.

mod base;
mod config;
mod copy;
mod mount;
mod run;

use std::collections::BTreeSet;

use crate::frontend::bases::{Bases, ImageUse};
use crate::frontend::contexts::ContextKind;
use crate::frontend::created_by;
use crate::frontend::options::Options;
use crate::frontend::scope::Scope;
use crate::frontend::shown::shown;
use crate::oci::RunConfig;
use crate::platform::Platform;
use crate::recipe::{FilesFrom, LayerGroup, Op, Origin, Recipe, Stage, Step};

use super::blocks::{Block, Blocks, Kind};
use super::imports::Files;
use super::taking::{Taking, unknown};
use super::tree::{Node, Text};
use super::words::Words;

/// Whatever may stand in an image; in a stage no other `stage`, in a layer none of the last three.
pub const STEPS: [&str; 23] = [
    "add",
    "author",
    "cmd",
    "config",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "fetch",
    "file",
    "healthcheck",
    "history",
    "label",
    "onbuild",
    "run",
    "shell",
    "stop-signal",
    "user",
    "volume",
    "workdir",
    "base",
    "layer",
    "stage",
];

/// What the blocks come to.
pub struct Lowered {
    /// Of the targets and what they need; empty if a target is missing.
    pub recipe: Recipe,
    pub images: Vec<ImageUse>,
}

/// Works out all blocks, so that all mistakes are found; those that are needed make the recipe.
pub fn lower(files: &Files, blocks: &Blocks, options: &Options, bases: Bases, words: &mut Words) -> Lowered {
    let targets = blocks.targets(&options.targets, words.problems).unwrap_or_default();
    let needed = blocks.needed(&targets);
    let mut images = Vec::new();
    let mut done = Done { ends: blocks.all.iter().map(|_| None).collect(), stages: Vec::new() };
    for index in blocks.order(words.problems) {
        words.needed = needed.contains(&index);
        let block = &blocks.all[index];
        let mut lowering = Lowering {
            files,
            blocks,
            options,
            bases,
            words,
            done: &done,
            images: &mut images,
            platform: options.platform.clone(),
            scope: Scope::on_scratch(crate::oci::ImageConfig::scratch(&options.platform)),
            guess: false,
            steps: Vec::new(),
            layers: Vec::new(),
        };
        let stage = lowering.block(block, targets.contains(&index));
        let (scope, guess) = (lowering.scope, lowering.guess);
        let at = needed.contains(&index).then(|| {
            done.stages.push(stage);
            done.stages.len() - 1
        });
        done.ends[index] = Some(End { scope, guess, at });
        if words.exhausted {
            break;
        }
    }
    let at = |target: &usize| done.ends[*target].as_ref().and_then(|end| end.at);
    let targets = targets.iter().filter_map(at).collect();
    Lowered { recipe: Recipe { stages: done.stages, targets }, images }
}

/// The blocks that were worked out.
struct Done {
    ends: Vec<Option<End>>,
    stages: Vec<Stage>,
}

/// How a block ended.
struct End {
    scope: Scope,
    guess: bool,
    /// Its number in the recipe, if it is needed.
    at: Option<usize>,
}

/// What a part of a config, or a step without files, comes to.
struct Part {
    op: Op,
    created_by: String,
}

impl Part {
    fn config(created_by: String) -> Self {
        Self { op: Op::Config, created_by }
    }
}

struct Lowering<'a, 'b> {
    files: &'a Files,
    blocks: &'a Blocks<'a>,
    options: &'a Options,
    bases: Bases<'a>,
    words: &'a mut Words<'b>,
    done: &'a Done,
    images: &'a mut Vec<ImageUse>,
    platform: Platform,
    scope: Scope,
    /// Whether the config of what it stands on is not known yet.
    guess: bool,
    steps: Vec<Step>,
    layers: Vec<LayerGroup>,
}

impl Lowering<'_, '_> {
    fn block(&mut self, block: &Block, is_target: bool) -> Stage {
        let mut taking = Taking::new(block.node);
        taking.skip_args();
        self.platform(&mut taking);
        let base = self.base(block, &mut taking);
        for step in &block.node.children {
            if self.words.exhausted {
                break;
            }
            if step.name.text == "stage" && block.kind == Kind::Stage {
                self.words.problems.error(step.name.span, "a stage holds no other stage");
            }
            self.step(step);
        }
        if is_target {
            self.scope.config().labels.extend(self.options.labels.iter().cloned());
        }
        taking.finish_line(self.words);
        // Where a FROM would be: what is wrong with a stage is mostly wrong with its base.
        let mut children = block.node.children.iter();
        let base_node = children.find(|node| matches!(node.name.text.as_str(), "base" | "from"));
        Stage {
            name: block.name.as_ref().map(|name| name.text.clone()),
            base,
            platform: self.platform.clone(),
            steps: std::mem::take(&mut self.steps),
            layers: std::mem::take(&mut self.layers),
            config: self.scope.image.clone(),
            origin: self.files.origin(base_node.unwrap_or(block.node).head),
        }
    }

    fn platform(&mut self, taking: &mut Taking) {
        let Some(text) = taking.text("platform", self.words) else { return };
        match Platform::parse_on(&text.text, &self.options.build_platform) {
            Ok(platform) => self.platform = platform,
            Err(_) => {
                let message = format!("{} is not a platform", shown(&text.text));
                let help = "write os/architecture[/variant], for example linux/amd64";
                self.words.problems.error_help(text.span, message, help);
            }
        }
    }

    fn step(&mut self, node: &Node) {
        match node.name.text.as_str() {
            // Bases and inner stages are looked at on their own.
            "base" | "from" | "stage" => {}
            "layer" => self.layer(node),
            "config" => self.group(node),
            "history" => self.note(node),
            "onbuild" => self.onbuild(node),
            "copy" => self.copy(node),
            "add" => self.add(node),
            "fetch" => self.fetch(node),
            "file" => self.file(node),
            "run" => self.run(node),
            name if config::PARTS.contains(&name) => self.lone_part(node),
            _ => {
                let message = format!("{} is no step", shown(&node.name.text));
                unknown(&node.name, message, &STEPS, self.words);
            }
        }
    }

    /// `layer NAME { … }`: steps that make one layer of the image.
    fn layer(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let name = taking.only("a name", self.words);
        taking.finish_line(self.words);
        let start = self.steps.len();
        for child in &node.children {
            match child.name.text.as_str() {
                "layer" => self.words.problems.error(child.name.span, "a layer holds no other layer"),
                "base" | "from" | "stage" => {
                    let message = format!("{} is no step, so a layer cannot hold it", child.name.text);
                    self.words.problems.error(child.name.span, message);
                }
                _ => self.step(child),
            }
        }
        if node.children.is_empty() {
            self.words.problems.error(node.name.span, "this layer is empty");
        }
        let Some(name) = name else { return };
        if name.text.is_empty() {
            self.words.problems.error(name.span, "the name of a layer is empty");
        } else if self.layers.iter().any(|layer| layer.name == name.text) {
            let message = format!("the block has a layer {} already", shown(&name.text));
            self.words.problems.error(name.span, message);
        }
        if start < self.steps.len() {
            self.layers.push(LayerGroup { name: name.text, steps: start..self.steps.len() });
        }
    }

    /// A line of history without a change.
    fn note(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let text = taking.only("a text", self.words);
        taking.finish(self.words);
        if let Some(text) = text {
            self.push(node, Part::config(text.text), None);
        }
    }

    fn onbuild(&mut self, node: &Node) {
        let mut taking = Taking::new(node);
        let text = taking.only("an instruction of a Dockerfile", self.words);
        taking.finish(self.words);
        self.scope.config().on_build.extend(text.map(|text| text.text));
    }

    /// Notes a step; `history` is the text that the file has for it.
    fn push(&mut self, node: &Node, part: Part, history: Option<Text>) {
        let created_by = history.map_or(part.created_by, |text| text.text);
        self.words.spend(self.scope.weight() + created_by.len(), node.head);
        self.steps.push(Step {
            history: created_by::history(created_by, part.op == Op::Config),
            op: part.op,
            origin: self.origin(node),
            config: RunConfig::clone(&self.scope.image.config),
        });
    }

    fn origin(&self, node: &Node) -> Origin {
        self.files.origin(node.head)
    }

    /// The text that a step leaves in the history, if the file has one for it.
    fn history(&mut self, taking: &mut Taking) -> Option<Text> {
        taking.child_text("history", "a text", self.words)
    }

    /// Whose files are meant: `from=`, `image=` or `context=`, one of them at most.
    fn files_from(&mut self, taking: &mut Taking) -> Option<FilesFrom> {
        let stage = taking.name("from", self.words);
        let image = taking.text("image", self.words);
        let context = taking.text("context", self.words);
        let given: Vec<&Text> = [&stage, &image, &context].into_iter().flatten().collect();
        if let [_, second, ..] = given.as_slice() {
            self.words
                .problems
                .error(second.span, "only one of from=, image= and context= can say whose files they are");
        }
        if let Some(name) = stage {
            return self.stage_files(&name);
        }
        if let Some(reference) = image {
            return Some(match self.options.named_contexts.find(&reference.text, &self.platform) {
                Some((key, ContextKind::Files)) => FilesFrom::NamedContext(key.to_owned()),
                Some((_, ContextKind::Image)) | None => {
                    self.uses(&reference, false);
                    FilesFrom::Image(reference.text)
                }
            });
        }
        self.context_files(&context?)
    }

    fn stage_files(&mut self, name: &Text) -> Option<FilesFrom> {
        if name.text == "scratch" {
            return Some(FilesFrom::Scratch);
        }
        self.stage(name).map(|(_, at)| FilesFrom::Stage(at))
    }

    /// An earlier block by name, and its number in the recipe.
    fn stage(&mut self, name: &Text) -> Option<(usize, usize)> {
        let Some(index) = self.blocks.get(&name.text) else {
            let message = format!("there is no stage {}", shown(&name.text));
            let help = match self.blocks.similar(&name.text) {
                Some(known) => format!("did you mean {known}?"),
                None => "an image is named with image=, a build context with context=".to_owned(),
            };
            self.words.problems.error_help(name.span, message, help);
            return None;
        };
        // A circle was reported; a stage that is not needed has no number and needs none.
        self.done.ends[index].as_ref().map(|end| (index, end.at.unwrap_or(0)))
    }

    fn context_files(&mut self, name: &Text) -> Option<FilesFrom> {
        match self.options.named_contexts.find(&name.text, &self.platform) {
            Some((key, ContextKind::Files)) => Some(FilesFrom::NamedContext(key.to_owned())),
            Some((_, ContextKind::Image)) => {
                self.uses(name, false);
                Some(FilesFrom::Image(name.text.clone()))
            }
            None if !self.words.needed => None,
            None => {
                let message = format!("build context {} was not given", shown(&name.text));
                let help = format!("pass --build-context {}=…", crate::frontend::shown::clipped(&name.text));
                self.words.problems.error_help(name.span, message, help);
                None
            }
        }
    }

    /// Takes note of an image that the build needs. False if the text is no reference.
    fn uses(&mut self, reference: &Text, as_base: bool) -> bool {
        if reference.text.is_empty() || reference.text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            let message = format!("{} is not an image reference", shown(&reference.text));
            self.words.problems.error(reference.span, message);
            return false;
        }
        if self.words.needed {
            self.images.push(ImageUse {
                reference: reference.text.clone(),
                span: self.files.outward(reference.span).0,
                as_base,
                platform: self.platform.clone(),
            });
        }
        true
    }
}

/// Each image once, as a base if it is one anywhere.
pub fn distinct(images: Vec<ImageUse>) -> Vec<ImageUse> {
    let mut seen = BTreeSet::new();
    let bases: BTreeSet<(String, Platform)> = images
        .iter()
        .filter(|image| image.as_base)
        .map(|image| (image.reference.clone(), image.platform.clone()))
        .collect();
    let key = |image: &ImageUse| (image.reference.clone(), image.platform.clone());
    let mut images: Vec<ImageUse> = images.into_iter().filter(|image| seen.insert(key(image))).collect();
    for image in &mut images {
        image.as_base = bases.contains(&key(image));
    }
    images
}
