//! One file lowered for every platform that is built for: what the platforms share is there once.

use std::collections::btree_map::Entry;

use super::bases::Bases;
use super::{BuildError, Images, Options, check, pins};
use crate::diag::Diagnostic;
use crate::frontend::{BuildFile, Configs, ImageUse};
use crate::image::index;
use crate::platform::Platform;
use crate::recipe::{Merged, MergedFrom, Recipe, Stage};
use crate::store::Store;

/// A recipe, its images, and what is odd about its file.
#[derive(Debug)]
pub struct Lowered {
    /// Its targets are those that were asked for, for the first platform, then for the next.
    pub recipe: Recipe,
    /// For each stage, how it is called.
    pub called: Vec<Called>,
    pub images: Images,
    pub warnings: Vec<Diagnostic>,
}

impl Lowered {
    /// A recipe for one platform, of which nothing is odd.
    pub fn of(recipe: Recipe, images: Images) -> Self {
        let Merged { recipe, origins } = Merged::of(recipe);
        let stages = recipe.stages.iter().zip(&origins);
        let called = stages
            .map(|(stage, from)| Called::of(stage, from, std::slice::from_ref(&stage.platform)))
            .collect();
        Self { recipe, called, images, warnings: Vec::new() }
    }
}

/// How a stage is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Its name, or its number among those that a target needs, as if its platform was the only one.
    pub name: String,
    /// The first of the platforms it is needed for, by number.
    pub first: usize,
    /// What tells it from the same stage of other platforms, if there are any.
    pub platform: Option<String>,
}

impl Called {
    /// As people see it: `build`, or `linux/arm64 build`.
    pub fn shown(&self) -> String {
        match &self.platform {
            Some(platform) => format!("{platform} {}", self.name),
            None => self.name.clone(),
        }
    }

    fn of(stage: &Stage, from: &MergedFrom, platforms: &[Platform]) -> Self {
        let first = *from.recipes.first().expect("a stage is of some recipe");
        let name = stage.name.clone().unwrap_or_else(|| format!("stage{}", from.number));
        let is_for_all = from.recipes.len() == platforms.len();
        let platform = match platforms {
            [_] => None,
            _ if is_for_all || stage.platform == platforms[first] => Some(stage.platform.to_string()),
            // Made on one platform for another, as BuildKit shows it.
            _ => {
                let target = platforms[first].to_string();
                let short = target.strip_prefix(&format!("{}/", stage.platform.os)).unwrap_or(&target);
                Some(format!("{}->{short}", stage.platform))
            }
        };
        Self { name, first, platform }
    }
}

/// Lowers a file that was read without errors.
pub(super) fn lower(store: &Store, options: &Options, file: &BuildFile) -> Result<Lowered, BuildError> {
    let mut images = Images::new();
    let mut warnings: Vec<Diagnostic> = Vec::new();
    let mut merged: Option<Merged> = None;
    for platform in &options.platforms {
        let (recipe, odd) = lower_for(store, options, file, platform, &mut images)?;
        warnings.extend(odd.into_iter().filter(|new| !warnings.contains(new)).collect::<Vec<_>>());
        match &mut merged {
            None => merged = Some(Merged::of(recipe)),
            Some(merged) => merged.add(recipe),
        }
    }
    let Merged { recipe, origins } = merged.expect("a build is for some platform");
    if options.is_for_several() {
        check_targets(options, &recipe)?;
    }
    let stages = recipe.stages.iter().zip(&origins);
    let called = stages.map(|(stage, from)| Called::of(stage, from, &options.platforms)).collect();
    Ok(Lowered { recipe, called, images, warnings })
}

/// The recipe for one platform, and what is odd about it; its images are added to those that are known.
fn lower_for(
    store: &Store,
    options: &Options,
    file: &BuildFile,
    platform: &Platform,
    images: &mut Images,
) -> Result<(Recipe, Vec<Diagnostic>), BuildError> {
    let mut options = options.clone();
    options.frontend.platform = platform.clone();
    let options = &options;
    let broken = |found| BuildError::File(check::with_warnings(file, options, found));
    let finder = Bases {
        store,
        pulls: &options.pulls,
        names: &options.frontend.named_contexts,
        contexts: &options.contexts,
        epoch: options.epoch,
    };
    let mut configs: Configs =
        images.iter().map(|(key, image)| (key.clone(), image.base.config.clone())).collect();
    let mut used: Vec<ImageUse> = Vec::new();
    // The triggers of a base may need further images.
    loop {
        let uses = file.images(&options.frontend, &configs).map_err(broken)?;
        let known = used.len();
        for wanted in uses {
            let key = (wanted.reference.clone(), wanted.platform.clone());
            if used.iter().any(|used| (&used.reference, &used.platform) == (&key.0, &key.1)) {
                continue;
            }
            if let Entry::Vacant(place) = images.entry(key) {
                let resolved = pins::resolve(&finder, options, &wanted.reference, &wanted.platform);
                let resolved = resolved.map_err(|source| BuildError::Base {
                    file: options.dockerfile.name.clone(),
                    reference: wanted.reference.clone(),
                    line: options.dockerfile.position(wanted.span.start).0,
                    source: Box::new(source.or_stage(file.stage_names().iter().map(String::as_str))),
                })?;
                configs.insert(place.key().clone(), resolved.base.config.clone());
                place.insert(resolved);
            }
            used.push(wanted);
        }
        if used.len() == known {
            break;
        }
    }
    let (recipe, warnings) = file.lower(&options.frontend, &configs).map_err(broken)?;
    let warnings = check::build(file, options, &configs, warnings)?;
    let unpinned = pins::unpinned(options, &recipe, &used);
    if !unpinned.is_empty() {
        return Err(BuildError::File(unpinned));
    }
    Ok((recipe, warnings))
}

/// An index says of each image what it is for, so each has to be for that, and no two for the same.
fn check_targets(options: &Options, recipe: &Recipe) -> Result<(), BuildError> {
    let each = recipe.targets.len() / options.platforms.len();
    let mut wrong = Vec::new();
    for (at, target) in recipe.targets.iter().enumerate() {
        let wanted = &options.platforms[at / each];
        let stage = &recipe.stages[*target];
        let actual = index::platform_of(&stage.config, wanted);
        let is_kin =
            actual.as_ref().is_some_and(|own| own.os == wanted.os && own.architecture == wanted.architecture);
        let is_taken = recipe.targets[..at].iter().enumerate().any(|(earlier, other)| {
            let other = index::platform_of(&recipe.stages[*other].config, &options.platforms[earlier / each]);
            earlier % each == at % each && other == actual
        });
        if is_kin && !is_taken {
            continue;
        }
        let shown = actual.map_or_else(|| "no platform".to_owned(), |own| own.to_string());
        let help = match stage.platform == *wanted {
            true => {
                format!("bring its base for {wanted}, for example with `lith load --platform {wanted} FILE`")
            }
            false => "take --platform out of its FROM, or build it for one platform alone".to_owned(),
        };
        let message = format!("the image for {wanted} would be for {shown}");
        wrong.push(Diagnostic::error(stage.origin.span, message).with_help(help));
    }
    if wrong.is_empty() { Ok(()) } else { Err(BuildError::File(wrong)) }
}
