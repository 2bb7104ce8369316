//! Why a step was not a hit, in one line: in what it differs from the nearest earlier record of the same step.

use crate::action::LayerRef;
use crate::exec::How;
use crate::layer::{Toc, TocEntry};
use crate::path::ImagePath;
use crate::plan::explain::{self, Change};
use crate::store::builds::{BuildRecord, Cause, StepRecord};
use crate::store::{Record, Store};

/// A step of an earlier build.
#[derive(Debug, Clone, Copy)]
pub struct Nearest<'a> {
    pub build: &'a BuildRecord,
    pub step: &'a StepRecord,
}

/// A step of this build, above the one in question.
#[derive(Debug)]
pub struct Above<'a> {
    /// As if its platform was the only one.
    pub name: String,
    pub shown: &'a str,
    pub text: &'a str,
    pub layer: LayerRef,
}

/// What is known of a step when it was done again.
pub struct Case<'a> {
    pub store: &'a Store,
    /// What it is compared with.
    pub nearest: Option<Nearest<'a>>,
    /// Where this build is from, and what the step is called in it.
    pub place: String,
    pub name: String,
    pub fields: &'a [(String, String)],
    /// What it made now.
    pub record: &'a Record,
    pub how: &'a How,
    /// The steps of its stage above it.
    pub above: Vec<Above<'a>>,
}

impl Case<'_> {
    /// The line.
    pub fn explain(&self) -> String {
        let Some(nearest) = self.nearest else { return "it was never built here".to_owned() };
        let old = nearest.step;
        let line = match explain::changed(&old.fields, self.fields) {
            Some(change) => self.name_files(old, &change),
            None if old.observations == self.record.observations => {
                return "its record is gone from the cache, or the cache was not asked".to_owned();
            }
            None => self.below(nearest),
        };
        line + &self.compared(nearest)
    }

    /// The same for programs.
    pub fn cause(&self) -> Option<Cause> {
        let Nearest { build, step } = self.nearest?;
        let (field, was, is) = match explain::changed(&step.fields, self.fields) {
            Some(Change { field, was, is, text: _ }) => (Some(field), was, is),
            None => (None, vec![], vec![]),
        };
        Some(Cause { place: build.place.clone(), step: step.name.clone(), key: step.key, field, was, is })
    }

    /// With whose step it was compared, if not with its own.
    fn compared(&self, Nearest { build, step }: Nearest<'_>) -> String {
        let of_step = step.name != self.name;
        if build.place != self.place {
            let place = build.place.lines().next().unwrap_or_default();
            return format!(" (compared with {} of the build of {place})", step.shown());
        }
        if of_step { format!(" (compared with what was {})", step.shown()) } else { String::new() }
    }

    /// The key is the same, so it is what it stands on.
    fn below(&self, Nearest { build, step: old }: Nearest<'_>) -> String {
        let was_there = |layer: LayerRef| build.steps.iter().any(|step| step.layer == layer);
        if let Some(moved) = self.above.iter().find(|above| !was_there(above.layer)) {
            let known = build.steps.iter().any(|step| step.name == moved.name && step.text == moved.text);
            let what = if known { "changed" } else { "is new" };
            return format!("the layer of {} `{}` {what}", moved.shown, moved.text);
        }
        if build.place == self.place
            && let Some(gone) = self.gone(build, old)
        {
            return format!("the layer of {} `{}` above it is gone", gone.shown(), gone.text);
        }
        match self.how {
            How::Rebuilt { expected, found } => explain::contradiction(expected, found),
            How::Built | How::Hit => "the image or stage it stands on changed".to_owned(),
        }
    }

    /// The first step that was above it and is no more.
    fn gone<'b>(&self, build: &'b BuildRecord, old: &StepRecord) -> Option<&'b StepRecord> {
        let stage = |name: &str| name.rsplit_once('/').map(|(stage, _)| stage.to_owned());
        let were = build.steps.iter().take_while(|step| step.name != old.name);
        let mut were = were.filter(|step| stage(&step.name) == stage(&old.name));
        were.find(|step| !self.above.iter().any(|above| above.layer == step.layer))
    }

    /// For a copy: which files of the layer changed.
    fn name_files(&self, old: &StepRecord, change: &Change) -> String {
        if !change.field.starts_with("copy.source") {
            return change.text.clone();
        }
        let tocs = (self.store.toc(old.layer.diff_id), self.store.toc(self.record.layer.diff_id));
        let (Ok(was), Ok(is)) = tocs else { return change.text.clone() };
        match difference(&was, &is) {
            None => change.text.clone(),
            Some(files) => format!("{}: {files}", change.text),
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
