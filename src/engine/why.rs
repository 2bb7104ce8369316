//! Why a step was not a hit, in one line, from what the last build of the same place remembers.

use crate::exec::How;
use crate::layer::{Toc, TocEntry};
use crate::path::ImagePath;
use crate::plan::explain;
use crate::store::builds::StepRecord;
use crate::store::{Record, Store};

/// What is known of a step when it was done again.
pub struct Case<'a> {
    pub store: &'a Store,
    /// The step as the last build had it.
    pub old: Option<&'a StepRecord>,
    pub fields: &'a [(String, String)],
    /// What it made now.
    pub record: &'a Record,
    pub how: &'a How,
    /// The first step above this one whose layer differs from the last build's.
    pub moved: Option<&'a StepRecord>,
}

impl Case<'_> {
    /// The line.
    pub fn explain(&self) -> String {
        let Some(old) = self.old else { return "it was never built here".to_owned() };
        if let Some(changed) = explain::changed(&old.fields, self.fields) {
            return self.name_files(old, changed);
        }
        match (self.moved, self.how) {
            _ if old.observations == self.record.observations => {
                "its record is gone from the cache, or the cache was not asked".to_owned()
            }
            (Some(moved), _) => format!("the layer of {} `{}` changed", moved.shown(), moved.text),
            (None, How::Rebuilt { expected, found }) => explain::contradiction(expected, found),
            (None, How::Built | How::Hit) => "the image or stage it stands on changed".to_owned(),
        }
    }

    /// For a copy: which files of the layer changed.
    fn name_files(&self, old: &StepRecord, changed: String) -> String {
        if !changed.starts_with("content of") {
            return changed;
        }
        let tocs = (self.store.toc(old.layer.diff_id), self.store.toc(self.record.layer.diff_id));
        let (Ok(was), Ok(is)) = tocs else { return changed };
        match difference(&was, &is) {
            None => changed,
            Some(files) => format!("{changed}: {files}"),
        }
    }
}

/// The first paths in which two layers differ.
pub fn difference(was: &Toc, is: &Toc) -> Option<String> {
    const SHOWN: usize = 3;
    let mut paths = differing(was.entries(), is.entries());
    if paths.is_empty() {
        return None;
    }
    let more = paths.len().saturating_sub(SHOWN);
    paths.truncate(SHOWN);
    let mut text = paths.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    Some(text)
}

fn differing(was: &[TocEntry], is: &[TocEntry]) -> Vec<String> {
    let mut paths = Vec::new();
    let (mut was, mut is) = (was.iter().peekable(), is.iter().peekable());
    loop {
        let order = match (was.peek(), is.peek()) {
            (None, None) => return paths,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(&b.path),
        };
        let note = |paths: &mut Vec<String>, path: &ImagePath, what| paths.push(format!("{path} {what}"));
        match order {
            std::cmp::Ordering::Less => note(&mut paths, &was.next().expect("peeked").path, "gone"),
            std::cmp::Ordering::Greater => note(&mut paths, &is.next().expect("peeked").path, "new"),
            std::cmp::Ordering::Equal => {
                let (a, b) = (was.next().expect("peeked"), is.next().expect("peeked"));
                if !same(a, b) {
                    note(&mut paths, &b.path, "changed");
                }
            }
        }
    }
}

/// Equal but for where the bytes stand in the tar.
fn same(a: &TocEntry, b: &TocEntry) -> bool {
    use crate::layer::Node::File;
    let nodes = match (&a.node, &b.node) {
        (File { size: s1, content: c1, .. }, File { size: s2, content: c2, .. }) => s1 == s2 && c1 == c2,
        (one, other) => one == other,
    };
    nodes && a.meta == b.meta
}
