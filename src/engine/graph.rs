//! What `lith graph` draws: the plan, what the cache says of it, and what the last build of the place remembers.

use std::collections::BTreeMap;

use super::preview::{StageLines, Status, preview};
use super::{BuildError, Prepared};
use crate::graph::{self, Drawing};
use crate::plan::StepId;
use crate::recipe::Base;
use crate::store::builds::StepRecord;

/// The drawing of what was prepared.
pub fn drawing(prepared: &Prepared<'_>) -> Result<Drawing, BuildError> {
    let stages = preview(prepared)?;
    let (builds, places) = prepared.last_builds();
    let step =
        |(name, (build, at)): (&(usize, String), &(usize, usize))| (name.clone(), &builds[*build].steps[*at]);
    let last: BTreeMap<(usize, String), &StepRecord> = places.iter().map(step).collect();
    let wanted: Vec<usize> = (0..prepared.plan.wanted.len()).filter(|at| prepared.plan.wanted[*at]).collect();
    let mut drawn = Drawn::default();
    for (at, lines) in wanted.iter().zip(&stages) {
        drawn.stage(prepared, *at, lines, &last);
    }
    Ok(Drawing::new(prepared.options.dockerfile.name.clone(), drawn.stages, drawn.steps))
}

#[derive(Default)]
struct Drawn {
    stages: Vec<graph::Stage>,
    steps: Vec<graph::Step>,
    /// The step that a name stands for: of a stage its last one that makes a layer, or its base's.
    named: BTreeMap<String, usize>,
    /// By number in the recipe.
    number: BTreeMap<usize, usize>,
}

impl Drawn {
    fn stage(
        &mut self,
        prepared: &Prepared<'_>,
        at: usize,
        lines: &StageLines,
        last: &BTreeMap<(usize, String), &StepRecord>,
    ) {
        let number = self.stages.len();
        let from = match &prepared.recipe.stages[at].base {
            Base::Stage(earlier) => Some(self.number[earlier]),
            Base::Scratch | Base::Image(_) | Base::Packages(_) => None,
        };
        let first = self.steps.len();
        let mut end = from.and_then(|_| self.named.get(&lines.base).copied());
        for (place, line) in lines.steps.iter().enumerate() {
            let known = last
                .get(&(prepared.called[at].first, prepared.plain_step(StepId { stage: at, step: place })));
            let spent = known.and_then(|known| known.spent.as_ref());
            let here = self.steps.len();
            let mut needs: Vec<usize> =
                line.needs.iter().filter_map(|name| self.named.get(name).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            self.steps.push(graph::Step {
                stage: number,
                name: line.name.clone(),
                text: line.text.clone(),
                line: line.line,
                status: match line.status {
                    Status::Hit => graph::Status::Hit,
                    Status::Miss => graph::Status::Miss,
                    Status::Unknown => graph::Status::Unknown,
                    Status::Config => graph::Status::Config,
                },
                key: line.key.map(|key| key.short()),
                needs,
                micros: spent.map(|spent| spent.total),
                parts: spent.map(|spent| spent.parts.clone()).unwrap_or_default(),
                size: line.size.or_else(|| known.map(|known| known.layer.size)),
                why: known.map(|known| known.why.clone()).unwrap_or_default(),
            });
            self.named.insert(line.name.clone(), here);
            if line.status != Status::Config {
                end = Some(here);
            }
        }
        if let Some(end) = end {
            self.named.insert(lines.name.clone(), end);
        }
        self.number.insert(at, number);
        self.stages.push(graph::Stage {
            name: lines.name.clone(),
            base: lines.base.clone(),
            from,
            target: lines.target,
            steps: first..self.steps.len(),
        });
    }
}
