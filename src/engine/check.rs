//! The linter in a build, and on its own: what it is told of images and of the context.

use super::{BuildError, Options};
use crate::context::ignore::Ignore;
use crate::diag::{Diagnostic, Severity, Source};
use crate::frontend::dockerfile::{self, Dockerfile, Facts, Level, Linted};
use crate::frontend::{BuildFile, Configs};
use crate::path::ImagePath;

/// Whether anything found stops a build.
pub fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|d| d.severity == Severity::Error)
}

/// Everything that is wrong or odd about a file, by place: its errors, and what the linter says of it with lith's own
/// rules. All stages are looked at unless the options name targets. No image is needed or looked for.
pub fn lint(source: &Source, options: &dockerfile::Options, ignore: &[u8]) -> Linted {
    let (file, mut found) = dockerfile::parse(source);
    if !has_errors(&found) {
        let mut all = options.clone();
        if all.targets.is_empty() {
            all.targets = (0..file.targets().len()).map(|number| number.to_string()).collect();
        }
        found.extend(file.images(&all, &Configs::new()).err().unwrap_or_default());
    }
    let mut linted = run(&file, source, options, &Configs::new(), ignore, Level::Lint);
    linted.found = by_place(found, linted.found);
    linted
}

/// The warnings of a build, those of the linter among them.
pub(super) fn build(
    file: &BuildFile,
    options: &Options,
    bases: &Configs,
    warnings: Vec<Diagnostic>,
) -> Result<Vec<Diagnostic>, BuildError> {
    let linted = in_build(file, options, bases);
    let found = by_place(warnings, linted.found);
    if has_errors(&found) {
        return Err(BuildError::File(found));
    }
    match linted.failing.is_empty() {
        true => Ok(found),
        false => Err(BuildError::Checks { found, rules: linted.failing }),
    }
}

/// Errors with the warnings of the linter among them.
pub(super) fn with_warnings(file: &BuildFile, options: &Options, errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    by_place(errors, in_build(file, options, &Configs::new()).found)
}

/// The linter knows one language.
fn in_build(file: &BuildFile, options: &Options, bases: &Configs) -> Linted {
    let BuildFile::Dockerfile(file) = file else { return Linted::default() };
    run(file, &options.dockerfile, &options.frontend, bases, options.context.rules(), Level::Build)
}

fn run(
    file: &Dockerfile,
    source: &Source,
    options: &dockerfile::Options,
    bases: &Configs,
    ignore: &[u8],
    level: Level,
) -> Linted {
    // Whoever opens the context says what is wrong with its ignore file.
    let ignore = Ignore::parse(ignore).unwrap_or_default();
    let left_out = |source: &ImagePath| ignore.leaves_out(source);
    file.lint(source, options, &Facts { bases, left_out: &left_out }, level)
}

fn by_place(mut some: Vec<Diagnostic>, more: Vec<Diagnostic>) -> Vec<Diagnostic> {
    some.extend(more);
    some.sort_by_key(|d| (d.span.start, d.span.end));
    some
}
