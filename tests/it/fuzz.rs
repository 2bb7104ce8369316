//! The oracles of the fuzz targets on their seeds, and on what the fuzzer found: `tests/fuzz/finds/TARGET/NAME`.

use std::path::{Path, PathBuf};

#[path = "../fuzz/oracles/mod.rs"]
pub mod oracles;

#[expect(clippy::disallowed_methods, reason = "a test's own data; sorted below")]
fn below(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

/// Checks every file; a failure is preceded by the file's name.
fn check(files: &[PathBuf], check: fn(&[u8])) {
    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            panic!("{} does not hold", file.display());
        }
    }
}

#[test]
fn dockerfiles() {
    let mut files: Vec<PathBuf> =
        below("tests/data/dockerfile").into_iter().map(|case| case.join("Dockerfile")).collect();
    files.extend(below("tests/fuzz/finds/dockerfile"));
    check(&files, oracles::dockerfile::check);
}

#[test]
fn words() {
    check(&below("tests/fuzz/finds/words"), oracles::words::check);
}

#[test]
fn ignore_files() {
    check(&below("tests/fuzz/finds/ignore"), oracles::ignore::check);
}

#[test]
fn names() {
    check(&below("tests/fuzz/finds/names"), oracles::names::check);
}
