//! The oracles of the fuzz targets on their seeds, and on what the fuzzer found: `tests/fuzz/finds/TARGET/NAME`.

use std::path::PathBuf;

use crate::support::data;

#[path = "../fuzz/oracles/mod.rs"]
pub mod oracles;

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
        data("tests/data/dockerfile").into_iter().map(|case| case.join("Dockerfile")).collect();
    files.extend(data("tests/fuzz/finds/dockerfile"));
    check(&files, oracles::dockerfile::check);
}

#[test]
fn kdl_files() {
    let cases = data("tests/data/kdl").into_iter().map(|case| case.join("image.kdl"));
    let files: Vec<PathBuf> = cases.chain(data("tests/fuzz/finds/kdl")).collect();
    check(&files, oracles::kdl::check);
}

#[test]
fn words() {
    check(&data("tests/fuzz/finds/words"), oracles::words::check);
}

#[test]
fn ignore_files() {
    check(&data("tests/fuzz/finds/ignore"), oracles::ignore::check);
}

#[test]
fn locks() {
    check(&data("tests/fuzz/finds/lock"), oracles::lock::check);
}

/// Every pair whose words are written down, and what was found.
#[test]
fn pairs_of_files() {
    check(&data("tests/fuzz/finds/content"), oracles::content::check);
    let pairs = crate::content::seeds();
    for (name, seed) in &pairs {
        if std::panic::catch_unwind(|| oracles::content::check(seed)).is_err() {
            panic!("{name} does not hold");
        }
    }
    #[expect(clippy::disallowed_methods, reason = "asks the person at the keyboard for a place for seeds")]
    if let Some(dir) = std::env::var_os("LITH_SEEDS") {
        for (name, seed) in pairs {
            std::fs::write(std::path::Path::new(&dir).join(name), seed).unwrap();
        }
    }
}

#[test]
fn names() {
    check(&data("tests/fuzz/finds/names"), oracles::names::check);
}
