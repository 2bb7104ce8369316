//! Files of other projects, which stay out of this one: every file below a folder is parsed and lowered, for its
//! last stage and for each of its stages.
//!
//! `LITH_DOCKERFILES=DIR cargo test --test it corpus -- --ignored --nocapture` prints what each file met, and how
//! long all of them took; the recipe of every file's last stage is left in `dockerfiles` of cargo's folder for tests.
//! Base images have empty configs, any named context is an image, and nothing is read but the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Diagnostic, Options, Severity, build, dockerfile, dump, options, render};

/// What is built for: a file may hold stages for either.
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// What one file came to.
#[derive(Default)]
struct Outcome {
    errors: BTreeSet<String>,
    warnings: BTreeSet<String>,
    recipe: String,
    stages: usize,
    took: Duration,
}

impl Outcome {
    fn note(&mut self, source: &lith::diag::Source, found: &[Diagnostic]) {
        for diagnostic in found {
            let text = render(source, std::slice::from_ref(diagnostic));
            match diagnostic.severity {
                Severity::Error => self.errors.insert(text),
                Severity::Warning => self.warnings.insert(text),
            };
        }
    }
}

/// Files whose name says that they are Dockerfiles, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        #[expect(clippy::disallowed_methods, reason = "a person's own folder; sorted below")]
        let entries = std::fs::read_dir(folder).unwrap();
        for entry in entries.map(|entry| entry.unwrap()) {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if name.contains("dockerfile") || name.contains("containerfile") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The file as each of its stages and both platforms see it.
fn outcome(bytes: Vec<u8>) -> Outcome {
    let mut outcome = Outcome::default();
    let source = match dockerfile::source_from_bytes("Dockerfile", bytes) {
        Ok(source) => source,
        Err(error) => {
            outcome.errors.insert(format!("{error}\n"));
            return outcome;
        }
    };
    let began = Instant::now();
    let last = build(&source, &options());
    outcome.took = began.elapsed();
    match last {
        Ok((recipe, warnings)) => {
            outcome.note(&source, &warnings);
            outcome.recipe = dump(&recipe);
        }
        Err(found) => outcome.note(&source, &found),
    }
    outcome.stages = source.text.lines().filter(|line| line.to_lowercase().starts_with("from ")).count();
    for platform in PLATFORMS {
        for stage in 0..outcome.stages {
            let wanted = Options {
                targets: vec![stage.to_string()],
                platform: platform.parse().unwrap(),
                ..options()
            };
            match build(&source, &wanted) {
                Ok((_, warnings)) => outcome.note(&source, &warnings),
                Err(found) => outcome.note(&source, &found),
            }
        }
    }
    outcome
}

#[test]
#[ignore = "reads the folder that LITH_DOCKERFILES names"]
fn files_of_other_projects() {
    #[expect(clippy::disallowed_methods, reason = "asks the person at the keyboard, not the build")]
    let folder =
        std::env::var_os("LITH_DOCKERFILES").expect("LITH_DOCKERFILES names a folder of Dockerfiles");
    let folder = Path::new(&folder);
    let recipes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockerfiles");
    std::fs::create_dir_all(&recipes).unwrap();
    let files = files(folder);
    let (mut took, mut wrong, mut warned, mut stages) = (Duration::ZERO, 0, 0, 0);
    for path in &files {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('/', "_");
        let outcome = outcome(std::fs::read(path).unwrap());
        took += outcome.took;
        stages += outcome.stages;
        wrong += usize::from(!outcome.errors.is_empty());
        warned += usize::from(!outcome.warnings.is_empty());
        for text in outcome.errors.iter().chain(&outcome.warnings) {
            println!("== {name}\n{text}");
        }
        let warnings: String = outcome.warnings.into_iter().collect();
        std::fs::write(recipes.join(format!("{name}.txt")), warnings + &outcome.recipe).unwrap();
    }
    println!(
        "{} files, {stages} stages: {wrong} with errors, {warned} with warnings; {took:?} for the last stages",
        files.len()
    );
}
