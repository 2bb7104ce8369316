//! Each pair is told as it is to be, in text and in JSON.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lith::diag::Paint;
use lith::diff::Report;
use lith::diff::report::EntryChange;
use lith::diff::text::{Detail, render};

use super::build::compared;
use super::pairs::pairs;
use crate::support::{bless, data, golden};

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diff")
}

#[test]
fn pairs_are_told_as_they_are_to_be() {
    let mut wrong = String::new();
    let pairs = pairs();
    let names: BTreeSet<&str> = pairs.iter().map(|pair| pair.name).collect();
    assert_eq!(names.len(), pairs.len(), "a name is used twice");
    for pair in &pairs {
        let report = compared(&pair.a, &pair.b, &pair.options);
        let dir = home().join(pair.name);
        if bless() {
            fs::create_dir_all(&dir).unwrap();
        }
        let none = dir.join("none");
        golden(&dir.join("text"), &none, &render(&report, Paint::Plain, Detail::Full), &mut wrong);
        golden(&dir.join("json"), &none, &report.to_json(), &mut wrong);
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report, "{}", pair.name);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What A has and B has not is what B has and A has not, seen from the other side.
#[test]
fn pairs_are_mirrored() {
    for pair in &pairs() {
        let (there, back) =
            (compared(&pair.a, &pair.b, &pair.options), compared(&pair.b, &pair.a, &pair.options));
        assert_mirrored(&there, &back, pair.name);
    }
}

#[test]
fn a_side_is_like_itself() {
    for pair in &pairs() {
        for side in [&pair.a, &pair.b] {
            let report = compared(side, side, &pair.options);
            assert!(!report.differs && report.ignored.is_empty(), "{}: {}", pair.name, report.to_json());
        }
    }
}

pub fn assert_mirrored(there: &Report, back: &Report, name: &str) {
    assert_eq!(there.differs, back.differs, "{name}");
    assert_eq!(there.ignored, back.ignored, "{name}");
    assert_eq!(there.images.len(), back.images.len(), "{name}");
    for (one, other) in there.images.iter().zip(&back.images) {
        let fields: Vec<_> = one.fields.iter().map(|f| (f.level, f.kind, &f.a, &f.b)).collect();
        let turned: Vec<_> = other.fields.iter().map(|f| (f.level, f.kind, &f.b, &f.a)).collect();
        assert_eq!(fields.len(), turned.len(), "{name}");
        assert!(fields.iter().all(|field| turned.contains(field)), "{name}: {fields:?}\n{turned:?}");
        assert_eq!(one.entries.len(), other.entries.len(), "{name}");
        for (entry, turned) in one.entries.iter().zip(&other.entries) {
            let change = match entry.change {
                EntryChange::Added => EntryChange::Removed,
                EntryChange::Removed => EntryChange::Added,
                EntryChange::Changed => EntryChange::Changed,
            };
            assert_eq!((&entry.path, change), (&turned.path, turned.change), "{name}");
            assert_eq!((&entry.a, &entry.b), (&turned.b, &turned.a), "{name}");
            assert_eq!(entry.hidden_in.is_some(), turned.hidden_in.is_some(), "{name}");
            assert_eq!(entry.content.is_some(), turned.content.is_some(), "{name}");
        }
        assert_eq!(one.layers.len(), other.layers.len(), "{name}");
    }
}

/// Every directory of expectations is that of a pair, here or among the classes of files.
#[test]
fn no_expectation_is_left_behind() {
    let known: BTreeSet<String> = pairs().iter().map(|pair| pair.name.to_owned()).collect();
    let mine = data("tests/data/diff");
    let mine = mine.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let unknown: Vec<String> =
        mine.filter(|name| !name.starts_with("content-") && !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(known.len() >= 40, "{} pairs", known.len());
}
