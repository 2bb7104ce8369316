//! A recipe as KDL that comes to the same recipe: the other direction of [`super::lower`].

mod config;
mod copy;
mod run;

use std::collections::BTreeSet;

use crate::diag::Source;
use crate::frontend::bases::Configs;
use crate::frontend::options::Options;
use crate::frontend::scope::Scope;
use crate::oci::{ImageConfig, RunConfig};
use crate::recipe::{Base, FilesFrom, Op, Recipe, Stage, Step};

use super::imports::Imports;
use super::printer::Out;
use config::Change;

/// Writes a recipe. Read with these options and configs, with the targets by the names they have there, the text gives
/// the recipe again; stages without a name of their own have one, and triggers are steps.
pub fn write(recipe: &Recipe, options: &Options, bases: &Configs) -> String {
    let names = names(recipe);
    // What a step's history says is written down only where reading would not say the same.
    let silent = Writer { recipe, options, bases, names: &names, histories: Histories::None }.text();
    let known = read_back(silent, recipe, &names, options, bases);
    let histories = Histories::Beside(known.as_ref());
    Writer { recipe, options, bases, names: &names, histories }.text()
}

/// The recipe of a text, if it is one.
fn read_back(
    text: String,
    recipe: &Recipe,
    names: &[String],
    options: &Options,
    bases: &Configs,
) -> Option<Recipe> {
    let (file, _) = super::parse(&Source { name: "image.kdl".to_owned(), text }, &Imports::new());
    let targets = recipe.targets.iter().map(|target| names[*target].clone()).collect();
    let options = Options { targets, ..options.clone() };
    file.lower(&options, bases).ok().map(|(recipe, _)| recipe)
}

/// A name for every stage, none twice, none that means something else.
fn names(recipe: &Recipe) -> Vec<String> {
    let image = |stage: &Stage| match &stage.base {
        Base::Image(reference) => Some(reference.clone()),
        Base::Scratch | Base::Stage(_) | Base::Packages(_) => None,
    };
    let mut taken: BTreeSet<String> = recipe.stages.iter().filter_map(image).collect();
    taken.insert("scratch".to_owned());
    let mut names = Vec::new();
    for (index, stage) in recipe.stages.iter().enumerate() {
        let wanted = stage.name.clone().unwrap_or_else(|| format!("stage{index}"));
        let mut name = wanted.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{wanted}-{number}");
        }
        names.push(name);
    }
    names
}

struct Writer<'a> {
    recipe: &'a Recipe,
    options: &'a Options,
    bases: &'a Configs,
    names: &'a [String],
    histories: Histories<'a>,
}

/// Which steps have a word on their history.
enum Histories<'a> {
    None,
    /// Those that say something else in this recipe.
    Beside(Option<&'a Recipe>),
}

impl Writer<'_> {
    fn text(&self) -> String {
        let stages: Vec<String> = (0..self.recipe.stages.len())
            .map(|index| {
                let mut text = String::new();
                self.stage(index).write(0, &mut text);
                text
            })
            .collect();
        stages.join("\n")
    }

    fn stage(&self, index: usize) -> Out {
        let stage = &self.recipe.stages[index];
        let is_target = self.recipe.targets.contains(&index);
        let platform = Some(&stage.platform).filter(|platform| **platform != self.options.platform);
        let mut node = Out::new(if is_target { "image" } else { "stage" })
            .arg(&self.names[index])
            .maybe("platform", platform.map(ToString::to_string))
            .child(self.base(stage));
        let start = self.start(stage);
        let author = self.author_at(stage, &start);
        let mut before = start.config;
        let mut cmd_set = false;
        let mut open: Option<Out> = None;
        for (number, step) in stage.steps.iter().enumerate() {
            let group = stage.layers.iter().find(|group| group.steps.contains(&number));
            if let Some(group) = group.filter(|group| group.steps.start == number) {
                open = Some(Out::new("layer").arg(&group.name));
            }
            let mut outs = triggers(&before, &step.config);
            before.on_build.clone_from(&step.config.on_build);
            let change = Change {
                before: &before,
                step,
                author: author.filter(|(at, _)| *at == number).map(|(_, name)| name),
            };
            outs.push(self.step(index, number, step, &change, &mut cmd_set));
            before = step.config.clone();
            node = match open.take().map(|layer| layer.children(std::mem::take(&mut outs))) {
                None => node.children(outs),
                Some(layer) if group.is_some_and(|group| group.steps.end == number + 1) => node.child(layer),
                Some(layer) => {
                    open = Some(layer);
                    node
                }
            };
        }
        node.children(triggers(&before, &stage.config.config))
    }

    fn base(&self, stage: &Stage) -> Out {
        let node = Out::new("base");
        // They are among the steps.
        let noted =
            |node: Out, left: &[String]| if left.is_empty() { node } else { node.word("triggers=#false") };
        match &stage.base {
            Base::Scratch => node.arg("scratch"),
            Base::Image(reference) => {
                let config = self.bases.get(&(reference.clone(), stage.platform.clone()));
                noted(node.arg(reference), config.map_or(&[], |config| &config.config.on_build))
            }
            Base::Stage(index) => {
                let left = &self.recipe.stages[*index].config.config.on_build;
                noted(node.prop("stage", &self.names[*index]), left)
            }
            Base::Packages(set) => {
                let one = |name: &'static str, text: &Option<String>| {
                    text.as_ref().map(|text| Out::new(name).arg(text))
                };
                let list = |name: &'static str, texts: &[String]| {
                    (!texts.is_empty()).then(|| Out::new(name).args(texts))
                };
                let flag = |name: &'static str, set: bool| set.then(|| Out::new(name).word("#true"));
                // Layers follow what is in none.
                let plain = set.layers.first().map_or(set.names.len(), |layer| layer.start);
                let layers = set.layers.iter().enumerate().map(|(at, layer)| {
                    let packages = Out::new("packages").args(&set.names[layer.clone()]);
                    Out::new("layer").arg(format!("layer{at}")).child(packages)
                });
                let before = [list("packages", &set.names[..plain])];
                let behind = [
                    list("components", &set.components),
                    one("mirror", &set.mirror),
                    one("snapshot", &set.snapshot),
                    flag("essential", set.essential),
                    flag("configure", set.configure),
                ];
                let (before, behind) = (before.into_iter().flatten(), behind.into_iter().flatten());
                node.prop("debian", &set.suite).children(before.chain(layers).chain(behind))
            }
        }
    }

    /// The config before the first step.
    fn start(&self, stage: &Stage) -> ImageConfig {
        let scratch = || Scope::on_scratch(ImageConfig::scratch(&stage.platform));
        let scope = match &stage.base {
            Base::Scratch | Base::Packages(_) => scratch(),
            Base::Stage(index) => Scope::on_image(&self.recipe.stages[*index].config),
            Base::Image(reference) => match self.bases.get(&(reference.clone(), stage.platform.clone())) {
                Some(config) => Scope::on_image(config),
                None => scratch(),
            },
        };
        scope.image
    }

    /// Which step names the author, if one does: the config of a step does not say.
    fn author_at<'b>(&self, stage: &'b Stage, start: &ImageConfig) -> Option<(usize, &'b str)> {
        let author = stage.config.author.as_deref().filter(|_| stage.config.author != start.author)?;
        let text = format!("MAINTAINER {author}");
        let config = |step: &Step| matches!(step.op, Op::Config | Op::MakeDir { .. });
        let named = |step: &Step| {
            config(step) && step.history.created_by.as_ref().is_some_and(|said| said.contains(&text))
        };
        let at = stage.steps.iter().rposition(named).or_else(|| stage.steps.iter().rposition(config));
        at.map(|at| (at, author))
    }

    fn step(&self, stage: usize, number: usize, step: &Step, change: &Change, cmd_set: &mut bool) -> Out {
        let node = match &step.op {
            Op::Config | Op::MakeDir { .. } => change.node(cmd_set),
            Op::Copy(copy) => self.copy(copy),
            Op::Run(run) => self.run(run, &step.config),
            // They are steps only once they are settled, which no file is.
            Op::Packages(_) => None,
        };
        let text = step.history.created_by.clone().unwrap_or_default();
        let Some(node) = node else { return Out::new("history").arg(text) };
        let said = match self.histories {
            Histories::None => true,
            Histories::Beside(known) => {
                let known = known.and_then(|recipe| recipe.stages.get(stage)?.steps.get(number));
                known.is_some_and(|known| known.history.created_by.as_deref() == Some(&text))
            }
        };
        if said { node } else { node.child(Out::new("history").arg(text)) }
    }

    /// Adds whose files are meant.
    fn from(&self, node: Out, from: &FilesFrom) -> Out {
        match from {
            FilesFrom::Context => node,
            FilesFrom::Stage(index) => node.prop("from", &self.names[*index]),
            FilesFrom::Scratch => node.prop("from", "scratch"),
            FilesFrom::Image(reference) => node.prop("image", reference),
            // A name is kept with its platform if it is for one alone.
            FilesFrom::NamedContext(name) => node.prop("context", name.split("::").next().unwrap_or(name)),
        }
    }
}

/// The triggers that came in from one config to another.
fn triggers(before: &RunConfig, after: &RunConfig) -> Vec<Out> {
    let new = after.on_build.get(before.on_build.len()..).unwrap_or_default();
    new.iter().map(|text| Out::new("onbuild").arg(text)).collect()
}
