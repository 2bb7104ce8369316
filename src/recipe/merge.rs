//! Recipes of one file for several platforms as one recipe: what is the same for all is there once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Recipe, Stage};

/// Several recipes of one file, merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The targets of the first recipe, then those of the second, and so on.
    pub recipe: Recipe,
    /// What each stage was before, by its number.
    pub origins: Vec<MergedFrom>,
}

/// A stage before recipes were merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedFrom {
    /// Its number in the first recipe that has it.
    pub number: usize,
    /// The recipes that have it.
    pub recipes: BTreeSet<usize>,
}

impl Merged {
    /// A recipe alone.
    pub fn of(recipe: Recipe) -> Self {
        let from = |number| MergedFrom { number, recipes: BTreeSet::from([0]) };
        let origins = (0..recipe.stages.len()).map(from).collect();
        Self { recipe, origins }
    }

    /// Takes in another recipe of the same file. The stages of each keep their order.
    pub fn add(&mut self, other: Recipe) {
        let number = self.origins.iter().flat_map(|origin| &origin.recipes).max().map_or(0, |last| last + 1);
        let order = order(self.recipe.stages.len(), &self.shared(&other));
        let own = places(&order, Place::own);
        let others = places(&order, Place::other);
        let mut old =
            std::mem::take(&mut self.recipe.stages).into_iter().zip(std::mem::take(&mut self.origins));
        let mut new = other.stages.into_iter().enumerate();
        for place in &order {
            let mut next_own = || old.next().expect("each of its own has one place");
            let mut next_other = || new.next().expect("each of the other's has one place");
            let (stage, from) = match place {
                Place::Own(_) => renumbered(next_own(), &own),
                Place::Other(_) => {
                    let (at, stage) = next_other();
                    renumbered((stage, MergedFrom { number: at, recipes: BTreeSet::from([number]) }), &others)
                }
                Place::Both(..) => {
                    next_other();
                    let (stage, mut from) = renumbered(next_own(), &own);
                    from.recipes.insert(number);
                    (stage, from)
                }
            };
            self.recipe.stages.push(stage);
            self.origins.push(from);
        }
        self.recipe.targets.iter_mut().for_each(|target| *target = own[&*target]);
        self.recipe.targets.extend(other.targets.iter().map(|target| others[target]));
    }

    /// For each stage of another recipe, the one here that is the same, in rising order.
    fn shared(&self, other: &Recipe) -> Vec<Option<usize>> {
        let mut shared: Vec<Option<usize>> = Vec::new();
        let mut after = 0;
        for stage in &other.stages {
            let same = self.same(stage, &shared, after);
            after = same.map_or(after, |same| same + 1);
            shared.push(same);
        }
        shared
    }

    fn same(&self, stage: &Stage, shared: &[Option<usize>], after: usize) -> Option<usize> {
        if stage.needs().any(|needed| shared[needed].is_none()) {
            return None;
        }
        let mut stage = stage.clone();
        stage.renumber(|needed| shared[needed].expect("checked above"));
        let found = self.recipe.stages[after..].iter().position(|own| *own == stage)?;
        Some(after + found)
    }
}

/// Whose stage stands at a place of the merged recipe, by number.
#[derive(Debug, Clone, Copy)]
enum Place {
    Own(usize),
    Other(usize),
    Both(usize, usize),
}

impl Place {
    fn own(self) -> Option<usize> {
        match self {
            Self::Own(stage) | Self::Both(stage, _) => Some(stage),
            Self::Other(_) => None,
        }
    }

    fn other(self) -> Option<usize> {
        match self {
            Self::Other(stage) | Self::Both(_, stage) => Some(stage),
            Self::Own(_) => None,
        }
    }
}

/// All of `own` stages in order and all of the others', those that are shared at one place.
fn order(own: usize, shared: &[Option<usize>]) -> Vec<Place> {
    let (mut order, mut waiting, mut next) = (Vec::new(), Vec::new(), 0);
    for (at, same) in shared.iter().enumerate() {
        match same {
            None => waiting.push(Place::Other(at)),
            Some(same) => {
                order.extend((next..*same).map(Place::Own));
                order.append(&mut waiting);
                order.push(Place::Both(*same, at));
                next = same + 1;
            }
        }
    }
    order.extend((next..own).map(Place::Own));
    order.append(&mut waiting);
    order
}

/// Where the stages of one side are, by number.
fn places(order: &[Place], side: fn(Place) -> Option<usize>) -> BTreeMap<usize, usize> {
    order.iter().enumerate().filter_map(|(at, place)| Some((side(*place)?, at))).collect()
}

fn renumbered((mut stage, from): (Stage, MergedFrom), to: &BTreeMap<usize, usize>) -> (Stage, MergedFrom) {
    stage.renumber(|needed| to[&needed]);
    (stage, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;
    use crate::oci::{History, ImageConfig, RunConfig};
    use crate::recipe::{Base, FilesFrom, Op, Origin, Step};

    /// A stage at a place of the file, for a platform, that stands on one stage and copies from others.
    fn stage(place: usize, platform: &str, base: Option<usize>, from: &[usize]) -> Stage {
        let platform = platform.parse().unwrap();
        let copy = |from: &usize| Step {
            op: Op::Copy(crate::recipe::Copy {
                from: FilesFrom::Stage(*from),
                sources: vec![],
                ..crate::recipe::Copy::whole_context(String::new())
            }),
            origin: Origin::default(),
            history: History::default(),
            config: RunConfig::default(),
        };
        Stage {
            name: None,
            base: base.map_or(Base::Scratch, Base::Stage),
            config: ImageConfig::scratch(&platform),
            platform,
            steps: from.iter().map(copy).collect(),
            layers: vec![],
            origin: Origin { line: place, span: Span { start: place, end: place }, text: String::new() },
        }
    }

    fn recipe(stages: Vec<Stage>) -> Recipe {
        let targets = vec![stages.len() - 1];
        Recipe { stages, targets }
    }

    /// Place, platform and recipes of each stage.
    fn shown(merged: &Merged) -> Vec<(usize, String, Vec<usize>)> {
        let stages = merged.recipe.stages.iter().zip(&merged.origins);
        stages
            .map(|(stage, from)| {
                let recipes = from.recipes.iter().copied().collect();
                (stage.origin.line, stage.platform.to_string(), recipes)
            })
            .collect()
    }

    #[test]
    fn what_is_the_same_is_there_once() {
        let of = |platform: &str| {
            recipe(vec![
                stage(1, platform, None, &[]),
                stage(2, "linux/amd64", None, &[]),
                stage(3, platform, Some(0), &[1]),
            ])
        };
        let mut merged = Merged::of(of("linux/arm64"));
        merged.add(of("linux/riscv64"));
        let arm = |place| (place, "linux/arm64".to_owned(), vec![0]);
        let riscv = |place| (place, "linux/riscv64".to_owned(), vec![1]);
        let both = (2, "linux/amd64".to_owned(), vec![0, 1]);
        assert_eq!(shown(&merged), [arm(1), riscv(1), both, arm(3), riscv(3)]);
        assert_eq!(merged.recipe.targets, [3, 4]);
        let needs = |stage: usize| merged.recipe.stages[stage].needs().collect::<Vec<_>>();
        assert_eq!((needs(3), needs(4)), (vec![0, 2], vec![1, 2]));
        assert_eq!(merged.origins[4].number, 2, "numbers are those of the stage's own recipe");
    }

    #[test]
    fn a_stage_on_another_is_another() {
        let of = |platform: &str| {
            recipe(vec![stage(1, platform, None, &[]), stage(2, "linux/amd64", Some(0), &[])])
        };
        let mut merged = Merged::of(of("linux/arm64"));
        merged.add(of("linux/riscv64"));
        assert_eq!(merged.recipe.stages.len(), 4);
        let mut merged = Merged::of(of("linux/arm64"));
        merged.add(of("linux/arm64"));
        assert_eq!(merged.recipe.stages.len(), 2);
        assert_eq!(merged.recipe.targets, [1, 1]);
    }

    #[test]
    fn the_stages_of_each_refer_to_earlier_ones() {
        let of = |platform: &str, more: &str| {
            recipe(vec![
                stage(1, "linux/amd64", None, &[]),
                stage(2, more, None, &[]),
                stage(3, platform, Some(1), &[0]),
                stage(4, "linux/amd64", Some(0), &[]),
                stage(5, platform, Some(3), &[2, 1]),
            ])
        };
        let mut merged = Merged::of(of("a/b", "x/x"));
        merged.add(of("c/d", "x/x"));
        merged.add(of("e/f", "y/y"));
        for (at, stage) in merged.recipe.stages.iter().enumerate() {
            assert!(stage.needs().all(|needed| needed < at), "{stage:?}");
        }
        let recipes = |place: usize| {
            let own =
                merged.recipe.stages.iter().zip(&merged.origins).filter(|(s, _)| s.origin.line == place);
            own.map(|(_, from)| from.recipes.len()).collect::<Vec<_>>()
        };
        assert_eq!((recipes(1), recipes(2)), (vec![3], vec![2, 1]));
        assert_eq!((recipes(4), recipes(5)), (vec![3], vec![1, 1, 1]));
    }
}
