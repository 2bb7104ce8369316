//! Two stacks of layers compared: how the layers stand to each other, what the merged trees hold, what later layers
//! hide, and the bytes of files that differ.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::DiffError;
use super::bodies::Bodies;
use super::content::{self, Difference, Worlds};
use super::entries::{self, Differing};
use super::items::{self, Item, What};
use super::kind::Kind;
use super::options::{MAX_SPOOL, Sieve};
use super::report::{Entry, LayerChange, LayerRow};
use super::rows::{Known, Row, rows};
use super::stack::{self, Layer};
use crate::layer::Tree;
use crate::path::ImagePath;

/// What two stacks come to.
#[derive(Default)]
pub(super) struct Trees {
    pub layers: Vec<LayerRow>,
    pub entries: Vec<Entry>,
    pub unread: u64,
    /// Whether the layers themselves differ in a way that counts.
    pub rows_differ: bool,
}

/// Whether layers are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Both are images.
    Images,
    /// One is a mere tree: only what is visible counts.
    Merged,
    /// Two layers by themselves, whiteouts and all.
    Layers,
}

pub(super) fn compare(
    a: &[Layer<'_>],
    b: &[Layer<'_>],
    view: View,
    worlds: &Worlds,
    sieve: &mut Sieve<'_>,
) -> Result<Trees, DiffError> {
    let bottom = stack::common_bottom(a, b);
    let (upper_a, upper_b) = (&a[bottom..], &b[bottom..]);
    let scratch = &sieve.options().scratch;
    stack::read([upper_a, upper_b], scratch)?;
    let from = match bottom > 0 && stack::cover_alike(upper_a, upper_b) {
        true => bottom,
        false => 0,
    };
    if from < bottom {
        stack::read([&a[..bottom], &b[..bottom]], scratch)?;
    }
    let known = |layers: &[Layer<'_>]| -> Tree {
        Tree::new(layers[from..].iter().map(|layer| Arc::clone(layer.toc())).collect())
    };
    let (tree_a, tree_b) = (known(a), known(b));
    let (items_a, items_b) = match view {
        View::Images | View::Merged => (items::of_tree(&tree_a, from), items::of_tree(&tree_b, from)),
        View::Layers => (items::of_layer(a[0].toc(), 0), items::of_layer(b[0].toc(), 0)),
    };
    let visible = entries::compare(&items_a, &items_b, sieve);
    let mut all: Vec<(Differing<'_>, Option<usize>)> = visible.into_iter().map(|one| (one, None)).collect();
    let mut trees = Trees::default();
    if view != View::Merged {
        let rows = rows(&describe(a), &describe(b));
        let mut hidden = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let own = row_items(row, a, b);
            let differing = match &own {
                Some((one, other)) => entries::compare(one, other, &mut Sieve::new(sieve.options())),
                None => Vec::new(),
            };
            trees.layers.push(told(row, a, b, differing.len() as u64));
            hidden.extend(differing.into_iter().map(|one| (one, at)));
        }
        trees.rows_differ = count_rows(&rows, sieve);
        if view == View::Images {
            let seen: BTreeSet<ImagePath> = all.iter().map(|(one, _)| one.path().clone()).collect();
            for (one, row) in hidden.into_iter().filter(|(one, _)| !seen.contains(one.path())) {
                if sieve.keeps(Kind::Hidden) {
                    all.push((one, Some(row)));
                }
            }
        }
    }
    all.sort_by(|(one, row), (other, other_row)| {
        row.is_some().cmp(&other_row.is_some()).then_with(|| one.path().cmp(other.path()))
    });
    trees.entries = all.iter().map(|(one, row)| one.entry(*row)).collect();
    contents([a, b], &all, &mut trees, worlds, sieve)?;
    Ok(trees)
}

fn describe<'a>(layers: &'a [Layer<'_>]) -> Vec<Known<'a>> {
    let known = |layer: &'a Layer<'_>| Known {
        diff_id: layer.diff_id,
        digest: layer.facts.digest.as_deref(),
        created_by: layer.facts.created_by.as_deref(),
        toc: layer.known(),
    };
    layers.iter().map(known).collect()
}

/// What both layers of a row list, where they are one each and differ.
fn row_items<'b>(
    row: &Row,
    a: &'b [Layer<'_>],
    b: &'b [Layer<'_>],
) -> Option<(Vec<Item<'b>>, Vec<Item<'b>>)> {
    match (row.change, &row.a[..], &row.b[..]) {
        (LayerChange::Changed, [one], [other]) => {
            Some((items::of_layer(a[*one].known()?, *one), items::of_layer(b[*other].known()?, *other)))
        }
        _ => None,
    }
}

fn told(row: &Row, a: &[Layer<'_>], b: &[Layer<'_>], differences: u64) -> LayerRow {
    let facts = |side: &[Layer<'_>], of: &[usize]| of.iter().map(|at| side[*at].facts.clone()).collect();
    LayerRow { change: row.change, a: facts(a, &row.a), b: facts(b, &row.b), differences }
}

/// Whether any row is a difference by itself. What changed in a layer is told by its entries.
fn count_rows(rows: &[Row], sieve: &mut Sieve<'_>) -> bool {
    let mut differ = false;
    for row in rows {
        let kind = match row.change {
            LayerChange::Same | LayerChange::Changed => continue,
            LayerChange::Recompressed => Kind::Compression,
            LayerChange::Reordered => Kind::Order,
            LayerChange::Rewritten => Kind::Tar,
            LayerChange::Moved
            | LayerChange::Inserted
            | LayerChange::Removed
            | LayerChange::Merged
            | LayerChange::Split => Kind::Layers,
        };
        // Who asks for some paths asks for entries.
        if sieve.options().only.is_none() {
            differ |= sieve.keeps(kind);
        }
    }
    differ
}

/// Looks into files whose bytes differ.
fn contents(
    [a, b]: [&[Layer<'_>]; 2],
    all: &[(Differing<'_>, Option<usize>)],
    trees: &mut Trees,
    worlds: &Worlds,
    sieve: &Sieve<'_>,
) -> Result<(), DiffError> {
    let options = sieve.options();
    let mut wanted: Vec<(usize, Item<'_>, Item<'_>)> = Vec::new();
    let mut bytes = 0u64;
    for (at, (one, _)) in all.iter().enumerate().filter(|(_, (one, _))| one.has_other_bytes()) {
        let (Some(left), Some(right)) = (one.a, one.b) else { continue };
        let size = |item: &Item<'_>| match item.what {
            What::File { size, .. } => size,
            _ => 0,
        };
        let next = bytes.saturating_add(size(&left).max(size(&right)));
        if wanted.len() < options.contents && next <= MAX_SPOOL {
            bytes = next;
            wanted.push((at, left, right));
        } else {
            trees.unread += 1;
        }
    }
    let lefts: Vec<Item<'_>> = wanted.iter().map(|(_, left, _)| *left).collect();
    let rights: Vec<Item<'_>> = wanted.iter().map(|(_, _, right)| *right).collect();
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| Bodies::of(a, &lefts, &options.scratch));
        let other = Bodies::of(b, &rights, &options.scratch);
        (one.join().expect("reading does not panic"), other)
    });
    let (one, other) = (one?, other?);
    let looked: Vec<(usize, Difference)> = wanted
        .par_iter()
        .map(|(at, left, right)| {
            let path = left.path;
            let look = || {
                let (left, right) = (one.open(left, &options.scratch)?, other.open(right, &options.scratch)?);
                content::compare_in(&path.to_string(), left, right, &options.limits, worlds)
            };
            let failed = |source| DiffError::Content { path: path.clone(), source };
            Ok((*at, look().map_err(failed)?))
        })
        .collect::<Result<_, DiffError>>()?;
    for (at, difference) in looked {
        trees.entries[at].content = Some(difference);
    }
    Ok(())
}
