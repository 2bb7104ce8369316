//! Which layer stands for which, of stacks of a few letters and of stacks drawn at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::digest::{BlobDigest, ContentDigest};
use crate::layer::{Meta, TocEntry};

/// A layer: what it lists, what its tar hashes to, and who packed it.
#[derive(Debug, Clone)]
struct Made {
    diff: Option<DiffId>,
    blob: String,
    line: Option<&'static str>,
    toc: Option<Arc<Toc>>,
}

impl Made {
    /// Of words such as `etc/x=text`, or `-etc/x` for a whiteout, in the order in which the tar has them.
    fn of(words: &str) -> Self {
        let entry = |(at, word): (usize, &str)| {
            let (path, node) = match (word.strip_prefix('-'), word.split_once('=')) {
                (Some(path), _) => (path, Node::Whiteout),
                (None, Some((path, text))) => {
                    let content = ContentDigest::of(text.as_bytes());
                    (path, Node::File { size: text.len() as u64, content, offset: 512 * at as u64 })
                }
                (None, None) => (word, Node::Dir),
            };
            TocEntry { path: ImagePath::parse(path.as_bytes()).unwrap(), meta: Meta::default(), node }
        };
        let entries = words.split_whitespace().enumerate().map(entry).collect();
        let toc = Some(Arc::new(Toc::new(entries)));
        Self { diff: Some(BlobDigest::of(words.as_bytes()).into()), blob: words.to_owned(), line: None, toc }
    }

    fn made_by(self, line: &'static str) -> Self {
        Self { line: Some(line), ..self }
    }

    /// The same entries in a tar of other bytes.
    fn rewritten(self) -> Self {
        let again = format!("{} again", self.blob);
        Self { diff: Some(BlobDigest::of(again.as_bytes()).into()), blob: again, ..self }
    }

    /// The same tar, packed by somebody else.
    fn packed_otherwise(self) -> Self {
        Self { blob: format!("{} packed", self.blob), ..self }
    }

    fn known(&self) -> Known<'_> {
        Known { diff_id: self.diff, digest: Some(&self.blob), created_by: self.line, toc: self.toc.as_ref() }
    }
}

fn matched(a: &[Made], b: &[Made]) -> Vec<Row> {
    rows(&known(a), &known(b))
}

fn known(side: &[Made]) -> Vec<Known<'_>> {
    side.iter().map(Made::known).collect()
}

/// The rows in short: `merged 1,2|1`.
fn told(a: &[Made], b: &[Made]) -> Vec<String> {
    let list = |at: &[usize]| at.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let name = |change: LayerChange| format!("{change:?}").to_lowercase();
    let line = |row: Row| format!("{} {}|{}", name(row.change), list(&row.a), list(&row.b));
    matched(a, b).into_iter().map(line).collect()
}

fn stack<const N: usize>(layers: [&str; N]) -> [Made; N] {
    layers.map(Made::of)
}

const BASE: &str = "bin bin/sh=shell etc etc/os=1";

#[test]
fn one_layer_more_or_less_does_not_shift_the_rest() {
    let (few, many) = (stack([BASE, "a=1", "b=1"]), stack([BASE, "a=1", "new=1", "b=1"]));
    assert_eq!(told(&few, &many), ["same 0|0", "same 1|1", "inserted |2", "same 2|3"]);
    assert_eq!(told(&many, &few), ["same 0|0", "same 1|1", "removed 2|", "same 3|2"]);
    let under = stack(["new=1", BASE, "a=1", "b=1"]);
    assert_eq!(told(&few, &under), ["inserted |0", "same 0|1", "same 1|2", "same 2|3"]);
    assert_eq!(told(&few, &[]), ["removed 0|", "removed 1|", "removed 2|"]);
    assert_eq!(told(&[], &[]), [""; 0]);
}

#[test]
fn what_stands_elsewhere_moved() {
    let (one, other) = (stack([BASE, "a=1", "b=1"]), stack([BASE, "b=1", "a=1"]));
    assert_eq!(told(&one, &other), ["same 0|0", "same 2|1", "moved 1|2"]);
    // What else is there is matched as if it had not.
    let other = stack([BASE, "b=1", "c=2", "a=1"]);
    assert_eq!(
        told(&stack([BASE, "a=1", "c=1", "b=1"]), &other),
        ["same 0|0", "removed 2|", "same 3|1", "inserted |2", "moved 1|3"]
    );
}

#[test]
fn several_that_come_to_one_were_merged() {
    let parts = stack([BASE, "a=1", "b=1"]);
    assert_eq!(told(&parts, &stack([BASE, "a=1 b=1"])), ["same 0|0", "merged 1,2|1"]);
    assert_eq!(told(&stack([BASE, "a=1 b=1"]), &parts), ["same 0|0", "split 1|1,2"]);
    // All that fit, not only two of them; and more than one run.
    let parts = stack([BASE, "a=1", "b=1", "c=1"]);
    assert_eq!(told(&parts, &stack([BASE, "a=1 b=1 c=1"])), ["same 0|0", "merged 1,2,3|1"]);
    assert_eq!(
        told(&stack(["a=1", "b=1", "c=1", "d=1"]), &stack(["a=1 b=1", "c=1 d=1"])),
        ["merged 0,1|0", "merged 2,3|1"]
    );
    // A later file takes the place of an earlier one.
    assert_eq!(told(&stack(["a=1 b=1", "a=2"]), &stack(["a=2 b=1"])), ["merged 0,1|0"]);
    // Nearly the same is not the same.
    assert_eq!(
        told(&stack(["a=1", "b=1"]), &stack(["a=1 b=2"])),
        ["changed 0|0", "removed 1|"],
        "one of them is most like it"
    );
}

#[test]
fn what_comes_and_goes_in_merged_layers_leaves_nothing() {
    let rest = stack([BASE, "a=1"]);
    assert_eq!(told(&stack([BASE, "a=1 tmp=x", "-tmp"]), &rest), ["same 0|0", "merged 1,2|1"]);
    // What stands below the run stays hidden by what becomes of it.
    let hiding = stack([BASE, "a=1 -etc/os"]);
    assert_eq!(told(&stack([BASE, "a=1", "-etc/os"]), &hiding), ["same 0|0", "merged 1,2|1"]);
    assert_ne!(told(&stack([BASE, "a=1", "-etc/os"]), &rest), ["same 0|0", "merged 1,2|1"]);
    // A file where there was a directory takes what was below it along.
    assert_eq!(told(&stack(["d d/x=1 e=1", "d=2"]), &stack(["d=2 e=1"])), ["merged 0,1|0"]);
}

#[test]
fn empty_layers_are_layers() {
    let (one, two) = (stack([BASE, ""]), stack([BASE, "", ""]));
    assert_eq!(told(&one, &one), ["same 0|0", "same 1|1"]);
    assert_eq!(told(&one, &two), ["same 0|0", "same 1|1", "inserted |2"]);
    assert_eq!(told(&two, &stack([BASE])), ["same 0|0", "removed 1|", "removed 2|"]);
    // With one that holds something it comes to that, whatever its tar is.
    let whole = [Made::of(BASE), Made::of("a=1").rewritten()];
    assert_eq!(told(&stack([BASE, "a=1", ""]), &whole), ["same 0|0", "merged 1,2|1"]);
    let empty = [Made::of("")];
    assert_eq!(told(&empty, &[Made::of("").rewritten()]), ["rewritten 0|0"]);
}

#[test]
fn layers_that_a_stack_has_twice_are_counted() {
    let twice = stack(["x=1", "x=1"]);
    assert_eq!(told(&twice, &twice), ["same 0|0", "same 1|1"]);
    assert_eq!(told(&twice, &stack(["x=1"])), ["same 0|0", "removed 1|"]);
    assert_eq!(told(&stack(["x=1", "y=1", "x=1"]), &twice), ["same 0|0", "removed 1|", "same 2|1"]);
    assert_eq!(
        told(&stack(["x=1", "y=1"]), &stack(["y=1", "x=1", "x=1"])),
        ["same 1|0", "inserted |2", "moved 0|1"],
        "only one of both can be what moved"
    );
}

#[test]
fn the_same_entries_in_another_tar() {
    let one = [Made::of("a=1 b=1")];
    assert_eq!(told(&one, &[Made::of("b=1 a=1")]), ["reordered 0|0"]);
    assert_eq!(told(&one, &[one[0].clone().rewritten()]), ["rewritten 0|0"]);
    assert_eq!(told(&one, &[one[0].clone().packed_otherwise()]), ["recompressed 0|0"]);
}

#[test]
fn the_rest_is_paired_by_what_it_has_in_common() {
    let (a, b) = (stack([BASE, "app=1 x=5"]), stack([BASE, "new=3", "app=2 x=5"]));
    assert_eq!(told(&a, &b), ["same 0|0", "inserted |1", "changed 1|2"]);
    assert_eq!(told(&b, &a), ["same 0|0", "removed 1|", "changed 2|1"]);
    // Where nothing is, the line of history; directories are in all of them.
    let step = |words: &str, line| Made::of(words).made_by(line);
    let a = [Made::of(BASE), step("etc etc/p=1", "RUN make")];
    let b = [Made::of(BASE), step("etc etc/q=1", "COPY q"), step("etc etc/r=1", "RUN make")];
    assert_eq!(told(&a, &b), ["same 0|0", "inserted |1", "changed 1|2"]);
    // One and one stand for each other whatever they hold.
    assert_eq!(told(&stack([BASE, "p=1"]), &stack([BASE, "q=1"])), ["same 0|0", "changed 1|1"]);
    // The sum counts: neither may take the better partner of the other.
    let (a, b) = (stack(["a=1 b=1 c=1", "d=1 e=1"]), stack(["a=1 b=1 c=2", "d=1 e=2"]));
    assert_eq!(told(&a, &b), ["changed 0|0", "changed 1|1"]);
}

#[test]
fn what_is_no_layer_is_like_nothing_and_what_was_not_read_is_not_looked_into() {
    let bare = Made { diff: None, ..Made::of("a=1") };
    assert_eq!(told(std::slice::from_ref(&bare), std::slice::from_ref(&bare)), ["rewritten 0|0"]);
    let unread = |words: &str| Made { toc: None, ..Made::of(words) };
    let (a, b) = ([unread(BASE), Made::of("a=1")], [unread(BASE), Made::of("a=2")]);
    assert_eq!(told(&a, &b), ["same 0|0", "changed 1|1"]);
    assert_eq!(
        told(&[unread("a=1"), unread("b=1")], &[Made::of("a=1 b=1")]),
        ["removed 0|", "removed 1|", "inserted |0"]
    );
}

#[test]
fn stacks_too_long_to_look_for_runs_are_paired_all_the_same() {
    let layer = |at: usize, text: usize| Made::of(&format!("f{at}={text} g{at}=1"));
    let a: Vec<Made> = (0..=MAX_GAP).map(|at| layer(at, 1)).collect();
    let b: Vec<Made> = (0..=MAX_GAP).map(|at| layer(at, 2)).collect();
    let wanted: Vec<String> = (0..=MAX_GAP).map(|at| format!("changed {at}|{at}")).collect();
    assert_eq!(told(&a, &b), wanted);
}

/// Stacks of layers of a few letters, so that much of them is equal, empty, or comes to the same as others.
fn stacks() -> impl Strategy<Value = Vec<Made>> {
    const LAYERS: &[&str] = &["", "a=1", "b=1", "a=1 b=1", "a=2", "-a", "c=1 d=1", "c=1"];
    prop::collection::vec(prop::sample::select(LAYERS).prop_map(Made::of), 0..7)
}

proptest! {
    /// Every layer is in one row, and each row is what it is called.
    #[test]
    fn every_layer_is_told_once((a, b) in (stacks(), stacks())) {
        let rows = matched(&a, &b);
        let told = |side: fn(&Row) -> &Vec<usize>| -> Vec<usize> { rows.iter().flat_map(side).copied().collect() };
        for (told, all) in [(told(|row| &row.a), a.len()), (told(|row| &row.b), b.len())] {
            prop_assert_eq!(told.len(), all);
            prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), (0..all).collect::<BTreeSet<_>>());
        }
        let mut last = (None, None);
        for row in &rows {
            let shape = (row.a.len(), row.b.len());
            let fits = match row.change {
                LayerChange::Same | LayerChange::Moved => shape == (1, 1) && a[row.a[0]].diff == b[row.b[0]].diff,
                LayerChange::Changed | LayerChange::Reordered | LayerChange::Rewritten => {
                    shape == (1, 1) && a[row.a[0]].diff != b[row.b[0]].diff
                }
                LayerChange::Recompressed => false,
                LayerChange::Inserted => shape == (0, 1),
                LayerChange::Removed => shape == (1, 0),
                LayerChange::Merged => shape.0 > 1 && shape.1 == 1,
                LayerChange::Split => shape.0 == 1 && shape.1 > 1,
            };
            prop_assert!(fits, "{row:?}");
            // But for what moved they stand in the order of both sides.
            if row.change != LayerChange::Moved {
                let next = (row.a.first().copied().or(last.0), row.b.first().copied().or(last.1));
                prop_assert!(last.0 <= next.0 && last.1 <= next.1, "{rows:?}");
                last = (row.a.last().copied().or(last.0), row.b.last().copied().or(last.1));
            }
        }
        // Nothing is different from itself.
        prop_assert!(matched(&a, &a).iter().all(|row| row.change == LayerChange::Same && row.a == row.b));
    }
}
