//! Chosen packages in groups, one layer each (spec/packages.md, "Layers").

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::solve::Solution;
use super::universe::{IndexError, Package, PackageId, Universe};
use crate::recipe::{PackageLayer, Pin};

/// How many of the requested packages have a layer of their own; the rest share one.
const OWN_LAYERS: usize = 40;
/// Unpacked before all others of its layer: it says what the directories of a system are like.
const FIRST: &str = "base-files";

/// How what was asked for is put into layers.
pub struct Shape<'a> {
    /// How many of the requests are the base of the rest.
    pub base: usize,
    /// Ranges of the rest that share a layer.
    pub layers: &'a [Range<usize>],
}

/// The layers of a solution, bottom first; `archives` has the URL of the archive of each index.
pub fn layers(
    universe: &Universe<'_>,
    solution: &Solution,
    shape: &Shape<'_>,
    archives: &[String],
) -> Result<Vec<PackageLayer>, IndexError> {
    let edges = edges(universe, solution)?;
    let mut layers = Vec::new();
    let mut below: Vec<PackageId> = Vec::new();
    let mut all = Vec::new();
    for group in groups(solution, shape, &edges) {
        let mut group: Vec<PackageId> = group.into_iter().collect();
        group.sort_by_key(|id| {
            let name = universe.package(*id).name;
            (name != FIRST, name)
        });
        let exact = |id: &PackageId| pin(universe.package(*id), &archives[universe.package(*id).index]);
        let pins: Vec<Pin> = group.iter().map(exact).collect();
        all.extend(pins.clone());
        let replaces = replaces(universe, &group, &below)?;
        layers.push(PackageLayer::Files { pins, replaces });
        below.extend(group);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    layers.push(PackageLayer::Database { pins: all });
    Ok(layers)
}

/// A package of an archive, exactly.
pub fn pin(package: &Package<'_>, archive: &str) -> Pin {
    Pin {
        name: package.name.to_owned(),
        version: package.version.to_string(),
        architecture: package.architecture.to_owned(),
        sha256: package.sha256,
        size: package.size,
        url: format!("{archive}/{}", package.filename),
    }
}

/// What each package brings along: of each clause the first alternative that was chosen.
fn edges(
    universe: &Universe<'_>,
    solution: &Solution,
) -> Result<BTreeMap<PackageId, Vec<PackageId>>, IndexError> {
    let mut sorted = solution.packages.clone();
    sorted.sort_by_key(|id| universe.package(*id).name);
    let mut edges = BTreeMap::new();
    for id in &solution.packages {
        let mut brings = Vec::new();
        for clause in universe.package(*id).needs()? {
            let met = clause.0.iter().find_map(|relation| {
                let own = |other: &&PackageId| universe.package(**other).name == relation.name;
                let mut fits = sorted.iter().filter(|other| universe.meets(**other, relation));
                fits.clone().find(own).or_else(|| fits.next())
            });
            brings.extend(met.copied());
        }
        edges.insert(*id, brings);
    }
    Ok(edges)
}

/// Groups of packages: the base and all it brings; what several layers bring; what each alone brings.
fn groups(
    solution: &Solution,
    shape: &Shape<'_>,
    edges: &BTreeMap<PackageId, Vec<PackageId>>,
) -> Vec<BTreeSet<PackageId>> {
    let (base, asked) = solution.asked.split_at(shape.base);
    let mut first = BTreeSet::new();
    base.iter().for_each(|root| reach(*root, edges, &mut first));
    let layers = together(asked, shape.layers);
    let mut reached: BTreeMap<PackageId, BTreeSet<usize>> = BTreeMap::new();
    for (at, roots) in layers.iter().enumerate() {
        let mut brings = BTreeSet::new();
        roots.iter().for_each(|root| reach(*root, edges, &mut brings));
        for id in brings.difference(&first) {
            reached.entry(*id).or_default().insert(at);
        }
    }
    let of = |at: usize| {
        let own = reached.iter().filter(|(_, by)| **by == BTreeSet::from([at]));
        own.map(|(id, _)| *id).collect::<BTreeSet<_>>()
    };
    let shared = reached.iter().filter(|(_, by)| by.len() > 1).map(|(id, _)| *id).collect();
    let mut groups = vec![first, shared];
    for at in 0..layers.len() {
        match groups.last_mut().filter(|_| at > OWN_LAYERS) {
            Some(last) => last.extend(of(at)),
            None => groups.push(of(at)),
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// What was asked for, by the layer it belongs to, in the order written. What was asked for twice under two names belongs
/// to the first.
fn together(asked: &[PackageId], layers: &[Range<usize>]) -> Vec<Vec<PackageId>> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Vec<PackageId>> = Vec::new();
    for (at, root) in asked.iter().enumerate() {
        let begun = layers.iter().any(|layer| layer.contains(&at) && layer.start < at);
        match all.last_mut().filter(|_| begun) {
            Some(layer) => layer.extend(seen.insert(*root).then_some(*root)),
            None => all.push(seen.insert(*root).then_some(*root).into_iter().collect()),
        }
    }
    all
}

fn reach(root: PackageId, edges: &BTreeMap<PackageId, Vec<PackageId>>, into: &mut BTreeSet<PackageId>) {
    let mut ahead = vec![root];
    while let Some(id) = ahead.pop() {
        if into.insert(id) {
            ahead.extend(edges.get(&id).into_iter().flatten());
        }
    }
}

/// Pairs of names, the first of which may take over files of the second.
fn replaces(
    universe: &Universe<'_>,
    group: &[PackageId],
    below: &[PackageId],
) -> Result<Vec<(String, String)>, IndexError> {
    let mut pairs = BTreeSet::new();
    let mut note = |by: PackageId, whom: &[PackageId]| -> Result<(), IndexError> {
        for relation in universe.package(by).replaces()? {
            let named = whom.iter().map(|id| universe.package(*id));
            let meant = named.filter(|other| other.name == relation.name && relation.admits(&other.version));
            pairs.extend(meant.map(|other| (universe.package(by).name.to_owned(), other.name.to_owned())));
        }
        Ok(())
    };
    let all: Vec<PackageId> = group.iter().chain(below).copied().collect();
    for id in group {
        note(*id, &all)?;
    }
    for id in below {
        note(*id, group)?;
    }
    Ok(pairs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::solve::{Request, solve};

    fn shown(packages: &[(&str, &str)], base: &[&str], names: &[&str]) -> Vec<Vec<String>> {
        shaped(packages, base, names, &[])
    }

    fn shaped(
        packages: &[(&str, &str)],
        base: &[&str],
        names: &[&str],
        layers: &[Range<usize>],
    ) -> Vec<Vec<String>> {
        let digest = "0".repeat(64);
        let paragraphs: Vec<String> = packages
            .iter()
            .map(|(name, more)| {
                format!(
                    "Package: {name}\nVersion: 1\nArchitecture: all\nFilename: {name}.deb\nSize: 1\nSHA256: {digest}\n{more}\n"
                )
            })
            .collect();
        let indices = [paragraphs.join("\n")];
        let universe = Universe::new(&indices, "amd64").unwrap();
        let requests: Vec<Request> = base.iter().chain(names).map(|name| name.parse().unwrap()).collect();
        let solution = solve(&universe, &requests).unwrap();
        let layers = super::layers(
            &universe,
            &solution,
            &Shape { base: base.len(), layers },
            &["http://a.invalid".into()],
        )
        .unwrap();
        layers
            .iter()
            .map(|layer| match layer {
                PackageLayer::Files { pins, replaces } => {
                    let names = pins.iter().map(|pin| pin.name.clone());
                    names.chain(replaces.iter().map(|(by, whom)| format!("{by}>{whom}"))).collect()
                }
                PackageLayer::Database { pins } => vec![format!("all {}", pins.len())],
            })
            .collect()
    }

    #[test]
    fn each_request_has_what_only_it_brings() {
        let all = [
            ("a", "Depends: x, lib"),
            ("b", "Depends: y, lib, base-files"),
            ("lib", ""),
            ("x", "Replaces: awk, gone"),
            ("y", ""),
            ("base-files", "Depends: awk"),
            ("awk", ""),
        ];
        assert_eq!(
            shown(&all, &["base-files"], &["b", "a"]),
            [vec!["base-files", "awk"], vec!["lib"], vec!["b", "y"], vec!["a", "x", "x>awk"], vec!["all 7"]]
        );
        assert_eq!(shown(&all, &[], &["y"]), [vec!["y"], vec!["all 1"]]);
        assert_eq!(shown(&all, &[], &["a", "lib"]), [vec!["lib"], vec!["a", "x"], vec!["all 3"]]);
    }
    #[test]
    fn requests_that_share_a_layer_have_what_they_alone_bring() {
        let all =
            [("a", "Depends: x"), ("b", "Depends: x, lib"), ("c", "Depends: lib"), ("x", ""), ("lib", "")];
        let names = ["c", "a", "b"];
        let one = |layer: Range<usize>| shaped(&all, &[], &names, std::slice::from_ref(&layer));
        let together = one(1..3);
        assert_eq!(together, [vec!["lib"], vec!["c"], vec!["a", "b", "x"], vec!["all 5"]]);
        let apart = shown(&all, &[], &names);
        assert_eq!(apart, [vec!["lib", "x"], vec!["c"], vec!["a"], vec!["b"], vec!["all 5"]]);
        assert_eq!(one(0..3), [vec!["a", "b", "c", "lib", "x"], vec!["all 5"]]);
        assert_eq!(shaped(&all, &["lib"], &names, &[0..1, 1..3])[1..3], [vec!["c"], vec!["a", "b", "x"]]);
    }
}
