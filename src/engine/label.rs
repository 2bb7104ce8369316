//! Whether images come out the same when they are built again, and builds that insist on it.

use super::{BuildError, Prepared};
use crate::digest::ImageId;
use crate::plan::{self, StepId};
use crate::recipe::{Effect, Label};
use crate::store::Store;
use crate::store::builds::StepRecord;

impl Prepared<'_> {
    /// The label of a target's image, by the effects that are known of each step.
    pub fn label(&self, target: usize, effects: impl Fn(StepId) -> Option<Vec<Effect>>) -> Label {
        let needed = plan::needed(&self.recipe, &[self.recipe.targets[target]]);
        let stages = self.recipe.stages.iter().enumerate().filter(|(at, _)| needed[*at]);
        let ids = stages.flat_map(|(stage, it)| (0..it.steps.len()).map(move |step| StepId { stage, step }));
        let known: Vec<(String, usize, Vec<Effect>)> = ids
            .map(|id| {
                let info = self.info(id);
                (self.plain_step(id), info.line, effects(id).unwrap_or(info.effects))
            })
            .collect();
        Label::of(known.iter().map(|(name, line, effects)| (name.as_str(), *line, &effects[..])))
    }

    /// What can be said before anything is done.
    pub fn label_beforehand(&self, target: usize) -> Label {
        self.label(target, |_| None)
    }

    /// Refuses a build that is to be reproducible and is not, for each target.
    pub(super) fn insist(&self, effects: impl Fn(StepId) -> Option<Vec<Effect>>) -> Result<(), BuildError> {
        if !self.options.reproducible {
            return Ok(());
        }
        (0..self.recipe.targets.len()).try_for_each(|target| match self.label(target, &effects) {
            Label::Reproducible => Ok(()),
            label @ (Label::Conditional(_) | Label::Impure(_)) => Err(BuildError::NotReproducible {
                file: self.options.dockerfile.name.clone(),
                label: Box::new(label),
            }),
        })
    }
}

/// The label of an image that was built here, as far as its build is remembered.
pub fn of_image(store: &Store, image: ImageId) -> Option<Label> {
    let build = store.build_of(image)?;
    let steps =
        build.steps.iter().map(|StepRecord { name, line, effects, .. }| (name.as_str(), *line, &effects[..]));
    Some(Label::of(steps))
}
