//! Several platforms, and programs of some that cannot run here: better said of all before the first step of any.

use std::collections::BTreeMap;
use std::fmt;

use super::preview::{Status, preview};
use super::report::StepInfo;
use super::{BuildError, Prepared};
use crate::exec::ExecError;
use crate::exec::run::check_platform;
use crate::plan::StepId;
use crate::platform::Platform;
use crate::recipe::Op;

/// A step whose programs cannot run here.
#[derive(Debug)]
pub struct ForeignStep {
    pub step: Box<StepInfo>,
    pub source: Box<ExecError>,
}

impl fmt::Display for ForeignStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, source } = self;
        write!(f, "step {} (line {}) `{}`: {source}", step.name, step.line, step.text)
    }
}

/// Names, for each platform that cannot run, the first step that would have to. What is in the cache runs nothing.
pub(super) fn check(prepared: &Prepared<'_>) -> Result<(), BuildError> {
    if !prepared.options.is_for_several() {
        return Ok(());
    }
    let mut suspects = foreign_steps(prepared);
    if suspects.is_empty() {
        return Ok(());
    }
    let wanted = prepared.plan.wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
    let previewed: BTreeMap<usize, _> = wanted.map(|(stage, _)| stage).zip(preview(prepared)?).collect();
    suspects.retain(|id, _| {
        prepared.is_fresh(id.stage) || previewed[&id.stage].steps[id.step].status != Status::Hit
    });
    let mut first: BTreeMap<&Platform, ForeignStep> = BTreeMap::new();
    for (id, source) in suspects {
        first
            .entry(&prepared.recipe.stages[id.stage].platform)
            .or_insert_with(|| ForeignStep { step: Box::new(prepared.info(id)), source: Box::new(source) });
    }
    if first.is_empty() { Ok(()) } else { Err(BuildError::Foreign(first.into_values().collect())) }
}

/// All steps that run programs of a platform that this machine does not run.
fn foreign_steps(prepared: &Prepared<'_>) -> BTreeMap<StepId, ExecError> {
    let mut found = BTreeMap::new();
    let stages = prepared.recipe.stages.iter().enumerate().filter(|(at, _)| prepared.plan.wanted[*at]);
    for (at, stage) in stages {
        let runs = stage.steps.iter().enumerate().filter(|(_, step)| matches!(step.op, Op::Run(_)));
        for (number, _) in runs {
            if let Err(error) = check_platform(&stage.platform) {
                found.insert(StepId { stage: at, step: number }, error);
            }
        }
    }
    found
}
