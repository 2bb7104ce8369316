//! The table of the language's rules (`spec/dockerfile-rules.md`) against the cases that are there.

use std::path::{Path, PathBuf};

use crate::support::data;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rules that are for later: several platforms, caches and policies of other machines.
const LATER: [usize; 5] = [98, 99, 100, 102, 103];

/// Why a case that the table names is not one, if so.
fn fault(case: &str) -> Option<String> {
    let data = |dir: &str, name: &str| root().join("tests/data").join(dir).join(name);
    let missing =
        |path: PathBuf| (!path.join("Dockerfile").is_file()).then(|| format!("no case {}", path.display()));
    match case.split_once(':') {
        Some(("d", name)) => missing(data("dockerfile", name)),
        Some(("l", name)) => missing(data("lint", name)),
        Some(("x", name)) => missing(data("differential", name)),
        Some(("t", name)) => {
            let (module, function) = name.split_once("::")?;
            let files =
                ["it", "kernel"].map(|kind| root().join("tests").join(kind).join(format!("{module}.rs")));
            let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
            let found = texts.into_iter().any(|text| text.contains(&format!("fn {function}(")));
            (!found).then(|| format!("no test {name}"))
        }
        _ => Some(format!("{case:?} is no case")),
    }
}

#[test]
fn every_rule_has_a_case_for_it_and_one_against() {
    let text = std::fs::read_to_string(root().join("spec/dockerfile-rules.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=103).collect::<Vec<_>>());
    let mut faults = Vec::new();
    for (row, number) in rows.iter().zip(numbers) {
        for case in &row[2..] {
            match *case {
                "later" if LATER.contains(&number) => {}
                case => faults.extend(fault(case).map(|fault| format!("rule {number}: {fault}"))),
            }
        }
        assert_eq!(row.len(), 4, "rule {number}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn four_hundred_cases_of_the_language() {
    let cases = data("tests/data/dockerfile").into_iter();
    let numbered = cases.filter(|case| {
        let name = case.file_name().unwrap();
        name.to_str().unwrap().starts_with(|c: char| c.is_ascii_digit())
    });
    let count = numbered.count();
    assert!(count >= 400, "only {count}");
}
