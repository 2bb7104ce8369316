//! `spec/reproducibility.md` against what it speaks of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::corpus::{DEBIAN, snippets};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/reproducibility.md")).unwrap()
}

/// Rows of the table of the corpus: cells of each.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let table = page.split("| snippet |").nth(1).expect("a table of the corpus");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_table_has_a_row_for_each_snippet() {
    let page = page();
    let rows = rows(&page);
    let known: Vec<_> = DEBIAN.iter().flat_map(|file| snippets(file)).collect();
    let names: BTreeSet<&str> = known.iter().map(|snippet| snippet.name.as_str()).collect();
    assert_eq!(names.len(), known.len(), "a name is there twice");
    let written: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(written, known.iter().map(|snippet| snippet.name.as_str()).collect::<Vec<_>>());
    for (row, snippet) in rows.iter().zip(&known) {
        assert_eq!(row.len(), 6, "{row:?}");
        assert_eq!(row[1], snippet.varies);
        assert_eq!(row[5], snippet.reason.as_deref().unwrap_or_default(), "{}", snippet.name);
    }
}

#[test]
fn what_differs_in_a_deterministic_step_has_a_reason() {
    let page = page();
    let rows = rows(&page);
    for row in &rows {
        match row[4] {
            "same" => assert_eq!(row[5], "", "{row:?}"),
            "differs" | "same by luck" | "refused" => assert_ne!(row[5], "", "{row:?}"),
            other => panic!("{other:?} in {row:?}"),
        }
    }
    let same = rows.iter().filter(|row| row[4] == "same").count();
    assert!(same >= 100, "{same} of {} are the same", rows.len());
    let sum = format!("{same} of {} deterministic", rows.len());
    assert!(page.contains(&sum), "the page does not say {sum:?}");
    let refused = rows.iter().filter(|row| row[4] == "refused").count();
    let share = same * 100 / (rows.len() - refused);
    let sum =
        format!("{refused} make a key or a password and are refused; of the others {share} % are the same");
    assert!(page.contains(&sum), "the page does not say {sum:?}");
}
