//! The graph of a recipe: which steps make layers, and what each waits for. Pure.
//!
//! A COPY is two nodes. *Prepare* needs only its sources, so it starts at once and runs beside a slow RUN above it,
//! on the guess that the RUN does not touch the copy's destination. *Settle* needs the parent and checks the guess.

pub mod explain;

use crate::recipe::{Base, Op, Recipe};

/// Names a step of a recipe: stage and step, both by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    pub stage: usize,
    pub step: usize,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Read the sources and make the layer on the nearest parent that is known.
    Prepare,
    /// Look up or make the layer on the real parent.
    Settle,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub step: StepId,
    pub phase: Phase,
    /// Indices of nodes that must be done before.
    pub needs: Vec<usize>,
}

/// All nodes that the targets need, each after what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub nodes: Vec<Node>,
    /// For each stage of the recipe, whether a target needs it.
    pub wanted: Vec<bool>,
}

impl Plan {
    /// The plan of a recipe's targets.
    pub fn new(recipe: &Recipe) -> Self {
        let wanted = needed(recipe, &recipe.targets);
        let mut nodes: Vec<Node> = Vec::new();
        let mut ends: Vec<Option<usize>> = vec![None; recipe.stages.len()];
        for (stage, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            let mut below = match recipe.stages[stage].base {
                Base::Stage(earlier) => ends[earlier],
                Base::Scratch | Base::Image(_) | Base::Packages(_) => None,
            };
            for (step, spec) in recipe.stages[stage].steps.iter().enumerate() {
                let id = StepId { stage, step };
                let mut needs: Vec<usize> = below.into_iter().collect();
                let sources = spec.op.stages().filter_map(|from| ends[from]);
                match &spec.op {
                    Op::Config => continue,
                    Op::Run(_) | Op::MakeDir { .. } | Op::Packages(_) => needs.extend(sources),
                    Op::Copy(_) => {
                        nodes.push(Node { step: id, phase: Phase::Prepare, needs: sources.collect() });
                        needs.push(nodes.len() - 1);
                    }
                }
                nodes.push(Node { step: id, phase: Phase::Settle, needs });
                below = Some(nodes.len() - 1);
            }
            ends[stage] = below;
        }
        Self { nodes, wanted }
    }
}

/// For each stage of the recipe, whether one of `targets` is it, stands on it or copies from it.
pub fn needed(recipe: &Recipe, targets: &[usize]) -> Vec<bool> {
    let mut wanted = vec![false; recipe.stages.len()];
    for target in targets {
        wanted[*target] = true;
    }
    // Stages refer to earlier ones only, so one pass from the last to the first reaches all.
    for stage in (0..recipe.stages.len()).rev() {
        if !wanted[stage] {
            continue;
        }
        recipe.stages[stage].needs().for_each(|from| wanted[from] = true);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{History, ImageConfig, RunConfig};
    use crate::path::ImagePath;
    use crate::recipe::{
        Copy, FilesFrom, Link, Litter, Network, Origin, Run, Security, Stage, Step, Told, Unpack,
    };

    fn stage(base: Base, ops: Vec<Op>) -> Stage {
        let platform = "linux/amd64".parse().unwrap();
        let steps = ops
            .into_iter()
            .map(|op| Step {
                op,
                origin: Origin::default(),
                history: History::default(),
                config: RunConfig::default(),
            })
            .collect();
        let config = ImageConfig::scratch(&platform);
        Stage { name: None, base, platform, steps, layers: vec![], config, origin: Origin::default() }
    }

    fn run() -> Op {
        Op::Run(Run {
            argv: vec!["true".into()],
            env: vec![],
            proxy_env: vec![],
            cwd: "/".into(),
            user: String::new(),
            network: Network::Default,
            security: Security::Sandbox,
            told: Told::default(),
            litter: Litter::Dropped,
            mounts: vec![],
            scripts: vec![],
        })
    }

    fn copy(from: FilesFrom) -> Op {
        Op::Copy(Copy {
            from,
            sources: vec![],
            inline: vec![],
            dest: ImagePath::root(),
            dest_is_dir: true,
            chown: None,
            chmod: None,
            unpack: Unpack::Never,
            exclude: vec![],
            link: Link::No,
        })
    }

    fn id(stage: usize, step: usize) -> StepId {
        StepId { stage, step }
    }

    #[test]
    fn a_copy_does_not_wait_for_the_run_above_it() {
        let recipe = Recipe {
            stages: vec![stage(Base::Scratch, vec![run(), Op::Config, copy(FilesFrom::Context), run()])],
            targets: vec![0],
        };
        let plan = Plan::new(&recipe);
        let shown: Vec<_> = plan.nodes.iter().map(|n| (n.step, n.phase, n.needs.clone())).collect();
        assert_eq!(
            shown,
            [
                (id(0, 0), Phase::Settle, vec![]),
                (id(0, 2), Phase::Prepare, vec![]),
                (id(0, 2), Phase::Settle, vec![0, 1]),
                (id(0, 3), Phase::Settle, vec![2]),
            ]
        );
    }

    #[test]
    fn stages_the_target_does_not_need_are_pruned() {
        let recipe = Recipe {
            stages: vec![
                stage(Base::Scratch, vec![run()]),
                stage(Base::Scratch, vec![run()]),
                stage(Base::Stage(0), vec![]),
                stage(Base::Stage(2), vec![copy(FilesFrom::Stage(2))]),
            ],
            targets: vec![3],
        };
        let plan = Plan::new(&recipe);
        assert_eq!(plan.wanted, [true, false, true, true]);
        assert_eq!(plan.nodes.iter().map(|n| n.step.stage).collect::<Vec<_>>(), [0, 3, 3]);
        assert_eq!(plan.nodes[1].needs, [0], "a stage without steps ends where its base ends");
    }
}
