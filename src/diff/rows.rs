//! Which layers of A are which of B: by what they hold, so that one more does not shift the rest
//! (spec/diff.md, "Layers").
//!
//! Pure: looks at diff ids and tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::align::common;
use super::items::{What, of_layer};
use super::report::LayerChange;
use crate::digest::DiffId;
use crate::layer::{Node, Toc, TocEntry};
use crate::path::ImagePath;

/// What is known of a layer.
#[derive(Debug, Clone)]
pub(super) struct Known<'a> {
    pub diff_id: Option<DiffId>,
    /// Of the blob.
    pub digest: Option<&'a str>,
    pub created_by: Option<&'a str>,
    /// None of a layer that did not have to be read.
    pub toc: Option<&'a Arc<Toc>>,
}

/// Layers of both sides that belong together, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub change: LayerChange,
    pub a: Vec<usize>,
    pub b: Vec<usize>,
}

/// The most layers between two that are the same, for which merged and split ones are looked for.
const MAX_GAP: usize = 64;

/// Every layer of both sides, each in one row, bottom first.
pub(super) fn rows(a: &[Known<'_>], b: &[Known<'_>]) -> Vec<Row> {
    let ids = |side: &[Known<'_>]| {
        // What has no diff id is like nothing, not even itself.
        let id = |(at, known): (usize, &Known<'_>)| (known.diff_id, known.diff_id.map_or(at + 1, |_| 0));
        side.iter().enumerate().map(id).collect::<Vec<_>>()
    };
    let same: Vec<(usize, usize)> = common(&ids(a), &ids(b));
    let same: Vec<(usize, usize)> = same.into_iter().filter(|(i, _)| a[*i].diff_id.is_some()).collect();
    let moved = moved(a, b, &same);
    let mut rows = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (x, y) in same.iter().copied().chain([(a.len(), b.len())]) {
        let gap = Gap {
            a: (i..x).filter(|at| !moved.iter().any(|(one, _)| one == at)).collect(),
            b: (j..y).filter(|at| !moved.iter().any(|(_, other)| other == at)).collect(),
        };
        rows.extend(gap.rows(a, b));
        // A layer that moved is told where B has it.
        let here = moved.iter().filter(|(_, other)| (j..y).contains(other));
        rows.extend(here.map(|(one, other)| Row {
            change: LayerChange::Moved,
            a: vec![*one],
            b: vec![*other],
        }));
        if x < a.len() {
            let packed_alike = a[x].digest.is_none() || b[y].digest.is_none() || a[x].digest == b[y].digest;
            let change = if packed_alike { LayerChange::Same } else { LayerChange::Recompressed };
            rows.push(Row { change, a: vec![x], b: vec![y] });
        }
        (i, j) = (x + 1, y + 1);
    }
    rows
}

/// Layers that both have, at other places among those that are the same.
fn moved(a: &[Known<'_>], b: &[Known<'_>], same: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut free: BTreeMap<DiffId, Vec<usize>> = BTreeMap::new();
    for (at, known) in b.iter().enumerate().filter(|(at, _)| !same.iter().any(|(_, other)| other == at)) {
        if let Some(diff) = known.diff_id {
            free.entry(diff).or_default().push(at);
        }
    }
    let mut moved = Vec::new();
    for (at, known) in a.iter().enumerate().filter(|(at, _)| !same.iter().any(|(one, _)| one == at)) {
        let partners = known.diff_id.and_then(|diff| free.get_mut(&diff));
        if let Some(partners) = partners.filter(|partners| !partners.is_empty()) {
            moved.push((at, partners.remove(0)));
        }
    }
    moved
}

/// Layers of both sides between two that are the same.
struct Gap {
    a: Vec<usize>,
    b: Vec<usize>,
}

impl Gap {
    fn rows(self, a: &[Known<'_>], b: &[Known<'_>]) -> Vec<Row> {
        match (self.a.len(), self.b.len()) {
            (0, _) | (_, 0) => return self.lone(),
            (1, 1) => return vec![pair(a, b, self.a[0], self.b[0])],
            (x, y) if x > MAX_GAP || y > MAX_GAP => return self.paired(a, b),
            _ => {}
        }
        match self.joined(a, b) {
            None => self.paired(a, b),
            Some(row) => {
                let cut = |side: &[usize], of: &[usize]| {
                    let at = side.iter().position(|layer| *layer == of[0]).expect("a run of the gap");
                    (side[..at].to_vec(), side[at + of.len()..].to_vec())
                };
                let ((before_a, after_a), (before_b, after_b)) = (cut(&self.a, &row.a), cut(&self.b, &row.b));
                let mut rows = Gap { a: before_a, b: before_b }.rows(a, b);
                rows.push(row);
                rows.extend(Gap { a: after_a, b: after_b }.rows(a, b));
                rows
            }
        }
    }

    fn lone(&self) -> Vec<Row> {
        let removed = self.a.iter().map(|at| Row { change: LayerChange::Removed, a: vec![*at], b: vec![] });
        let inserted = self.b.iter().map(|at| Row { change: LayerChange::Inserted, a: vec![], b: vec![*at] });
        removed.chain(inserted).collect()
    }

    /// The longest run of layers of one side that come to the same as one layer of the other.
    fn joined(&self, a: &[Known<'_>], b: &[Known<'_>]) -> Option<Row> {
        let merged = |one: &[usize], all: &[Known<'_>], single: usize, of: &[Known<'_>]| {
            let tocs: Option<Vec<&Arc<Toc>>> = one.iter().map(|at| all[*at].toc).collect();
            let (Some(tocs), Some(single)) = (tocs, of[single].toc) else { return false };
            squashed(&tocs) == squashed(&[single])
        };
        for len in (2..=self.a.len().max(self.b.len())).rev() {
            for run in self.a.windows(len) {
                if let Some(single) = self.b.iter().find(|at| merged(run, a, **at, b)) {
                    return Some(Row { change: LayerChange::Merged, a: run.to_vec(), b: vec![*single] });
                }
            }
            for run in self.b.windows(len) {
                if let Some(single) = self.a.iter().find(|at| merged(run, b, **at, a)) {
                    return Some(Row { change: LayerChange::Split, a: vec![*single], b: run.to_vec() });
                }
            }
        }
        None
    }

    /// Pairs in order such that the sum of what they have in common is largest; the rest stands alone.
    fn paired(&self, a: &[Known<'_>], b: &[Known<'_>]) -> Vec<Row> {
        let (rows, columns) = (self.a.len(), self.b.len());
        let score = |i: usize, j: usize| similarity(&a[self.a[i]], &b[self.b[j]]);
        let scores: Vec<Vec<u64>> = (0..rows).map(|i| (0..columns).map(|j| score(i, j)).collect()).collect();
        let mut best = vec![vec![0u64; columns + 1]; rows + 1];
        for i in (0..rows).rev() {
            for j in (0..columns).rev() {
                let with = if scores[i][j] > 0 { best[i + 1][j + 1] + scores[i][j] } else { 0 };
                best[i][j] = with.max(best[i + 1][j]).max(best[i][j + 1]);
            }
        }
        let (mut i, mut j, mut found) = (0, 0, Vec::new());
        while i < rows && j < columns {
            if scores[i][j] > 0 && best[i][j] == best[i + 1][j + 1] + scores[i][j] {
                found.push(pair(a, b, self.a[i], self.b[j]));
                (i, j) = (i + 1, j + 1);
            } else if best[i][j] == best[i + 1][j] {
                found.push(Row { change: LayerChange::Removed, a: vec![self.a[i]], b: vec![] });
                i += 1;
            } else {
                found.push(Row { change: LayerChange::Inserted, a: vec![], b: vec![self.b[j]] });
                j += 1;
            }
        }
        found.extend(Gap { a: self.a[i..].to_vec(), b: self.b[j..].to_vec() }.lone());
        found
    }
}

/// How much two layers have in common, in thousandths and a bit: the same line of history counts too.
fn similarity(a: &Known<'_>, b: &Known<'_>) -> u64 {
    let same_line = u64::from(a.created_by.is_some() && a.created_by == b.created_by);
    let (Some(one), Some(other)) = (a.toc, b.toc) else { return 100 * same_line };
    let (one, other) = (one.entries(), other.entries());
    let (mut i, mut j, mut common) = (0, 0, 0u64);
    while let (Some(x), Some(y)) = (one.get(i), other.get(j)) {
        match x.path.cmp(&y.path) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                // Directories that lead to something are in many layers.
                common += match (x.node == Node::Dir, same(x, y)) {
                    (true, _) => 0,
                    (false, true) => 2,
                    (false, false) => 1,
                };
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    let count = |entries: &[TocEntry]| entries.iter().filter(|entry| entry.node != Node::Dir).count() as u64;
    let all = 2 * count(one).max(count(other)).max(1);
    // What has nothing in common is another layer, however its line of history reads.
    common * 1000 / all + 100 * same_line
}

/// Two layers that stand for each other.
fn pair(a: &[Known<'_>], b: &[Known<'_>], one: usize, other: usize) -> Row {
    let change = match (a[one].toc, b[other].toc) {
        (Some(left), Some(right)) if squashed(&[left]) == squashed(&[right]) => {
            match order(left) == order(right) {
                true => LayerChange::Rewritten,
                false => LayerChange::Reordered,
            }
        }
        _ => LayerChange::Changed,
    };
    Row { change, a: vec![one], b: vec![other] }
}

/// The files of a layer as its tar has them.
fn order(toc: &Toc) -> Vec<&ImagePath> {
    let mut files: Vec<(u64, &ImagePath)> = toc
        .entries()
        .iter()
        .filter_map(|entry| match entry.node {
            Node::File { offset, .. } => Some((offset, &entry.path)),
            _ => None,
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Equal but for where the bytes stand in the tar.
fn same(a: &TocEntry, b: &TocEntry) -> bool {
    let nodes = match (&a.node, &b.node) {
        (Node::File { size, content, .. }, Node::File { size: other_size, content: other, .. }) => {
            size == other_size && content == other
        }
        (one, other) => one == other,
    };
    nodes && a.meta == b.meta
}

/// What several layers come to as one, for whoever stands below: entries by path, without where their bytes stand.
fn squashed<'a>(tocs: &[&'a Arc<Toc>]) -> Vec<Squashed<'a>> {
    let mut all: BTreeMap<(&ImagePath, bool), Squashed<'a>> = BTreeMap::new();
    for (at, toc) in tocs.iter().enumerate() {
        let items = of_layer(toc, 0);
        let hiding = items.iter().filter(|item| at > 0 && item.what != What::Dir);
        for item in hiding {
            let below = all.range((item.path, true)..).map(|(key, _)| *key);
            let below = below.skip_while(|(path, _)| *path == item.path);
            let below = below.take_while(|(path, _)| path.strip_prefix(item.path).is_some());
            for key in below.collect::<Vec<_>>() {
                all.remove(&key);
            }
        }
        for item in items {
            // Of a file only what it is: which name holds its bytes may change as layers become one.
            let what = match item.what {
                What::File { size, content, first, .. } => Plain::File(size, content, first),
                other => Plain::Other(other),
            };
            if item.what != What::Dir {
                all.remove(&(item.path, true));
            }
            let squashed = Squashed { path: item.path, what, meta: item.meta };
            let before = all.insert((item.path, item.what == What::Opaque), squashed);
            // What came and went within the run leaves nothing.
            let came = before.is_some_and(|before| before.what != Plain::Other(What::Whiteout));
            if came && item.what == What::Whiteout {
                all.remove(&(item.path, false));
            }
        }
    }
    all.into_values().collect()
}

#[derive(PartialEq)]
struct Squashed<'a> {
    path: &'a ImagePath,
    what: Plain<'a>,
    meta: &'a crate::layer::Meta,
}

#[derive(PartialEq)]
enum Plain<'a> {
    File(u64, crate::digest::ContentDigest, Option<&'a ImagePath>),
    Other(What<'a>),
}

#[cfg(test)]
mod tests;
