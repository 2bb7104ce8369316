//! The KDL frontend on files: each case is a directory of `tests/data/kdl` with an `image.kdl`, what it imports, and
//! either `recipe.txt` (warnings and the recipe) or `errors.txt` (the diagnostics as people read them). Its head says how
//! it is built as in `tests/data/dockerfile`, behind `//:`.
//!
//! And KDL written from recipes: every Dockerfile of `tests/data/dockerfile` that is a recipe comes to the same one again.

use std::fmt::Write as _;
use std::path::Path;

use lith::diag::{Diagnostic, Severity, Source};
use lith::frontend::kdl::{self, Imports};
use lith::frontend::{Configs, Options};
use lith::oci::ImageConfig;
use lith::path::ImagePath;
use lith::recipe::{Origin, Recipe};

use crate::frontend::{build as build_dockerfile, case_options, config_of, dump, render};
use crate::support::{bless, data};

/// Everything a file comes to: the recipe with its warnings, or the errors.
fn build(
    source: &Source,
    imports: &Imports,
    options: &Options,
) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (file, found) = kdl::parse(source, imports);
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Err(found);
    }
    let bases = bases(&file.images(options, &Configs::new())?);
    file.lower(options, &bases)
}

fn bases(images: &[lith::frontend::ImageUse]) -> Configs {
    let bases = images.iter().filter(|image| image.as_base);
    let config =
        |image: &lith::frontend::ImageUse| -> ImageConfig { config_of(&image.reference, &image.platform) };
    bases.map(|image| ((image.reference.clone(), image.platform.clone()), config(image))).collect()
}

fn source(text: &str) -> Source {
    Source { name: "image.kdl".into(), text: text.into() }
}

/// The files beside a case's own.
fn imports(source: &Source, case: &Path) -> Imports {
    kdl::gather(source, |path: &ImagePath| {
        let path = case.join(path.as_os_str());
        std::fs::read_to_string(path).map_err(|_| "there is no such file".to_owned())
    })
}

/// The options that a case's head asks for.
fn options_of(text: &str) -> Options {
    let head: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("//: "))
        .map(|line| format!("#: {line}\n"))
        .collect();
    case_options(&head)
}

#[test]
fn cases_come_out_as_written_down() {
    let mut wrong = String::new();
    let (mut good, mut errors_seen) = (0, 0);
    for case in &data("tests/data/kdl") {
        let text = std::fs::read_to_string(case.join("image.kdl")).unwrap();
        let (recipe, errors) = (case.join("recipe.txt"), case.join("errors.txt"));
        let source = source(&text);
        let result = build(&source, &imports(&source, case), &options_of(&text));
        let (path, other, actual) = match result {
            Ok((made, warnings)) => {
                good += 1;
                (recipe, errors, render(&source, &warnings) + &dump(&made))
            }
            Err(found) => {
                errors_seen += found.len();
                (errors, recipe, render(&source, &found))
            }
        };
        if bless() {
            std::fs::write(&path, &actual).unwrap();
            let _ = std::fs::remove_file(&other);
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if expected != actual || other.exists() {
            let _ = writeln!(wrong, "== {}\n{actual}\n-- expected\n{expected}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(good >= 60 && errors_seen >= 120, "{good} recipes, {errors_seen} errors");
}

/// Without what only messages show: where a step was written, how a stage is called.
fn plain(mut recipe: Recipe) -> Recipe {
    for stage in &mut recipe.stages {
        (stage.name, stage.origin) = (None, Origin::default());
        stage.steps.iter_mut().for_each(|step| step.origin = Origin::default());
    }
    recipe
}

/// Writes a recipe, reads it again, and says how that differs.
fn again(recipe: &Recipe, options: &Options, bases: &Configs) -> Result<String, String> {
    let text = kdl::write(recipe, options, bases);
    let source = source(&text);
    let (file, found) = kdl::parse(&source, &Imports::new());
    if !found.is_empty() {
        return Err(format!("{text}\n{}", render(&source, &found)));
    }
    // Names of the targets, in the order asked for.
    let images: Vec<String> = file.names();
    let targets = recipe.targets.iter().map(|target| images[*target].clone()).collect();
    let options = Options { targets, ..options.clone() };
    let (read, warnings) =
        file.lower(&options, bases).map_err(|found| format!("{text}\n{}", render(&source, &found)))?;
    let (wanted, read) = (plain(recipe.clone()), plain(read));
    let _ = warnings;
    if wanted != read {
        return Err(format!("{text}\n-- wanted\n{}\n-- read\n{}", dump(&wanted), dump(&read)));
    }
    assert_eq!(kdl::write(&read, &options, bases).is_empty(), text.is_empty());
    Ok(text)
}

#[test]
fn every_dockerfile_comes_to_the_same_recipe_as_its_conversion() {
    let mut wrong = String::new();
    let mut count = 0;
    for case in &data("tests/data/dockerfile") {
        let text = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let options = case_options(&text);
        let file = Source { name: "Dockerfile".into(), text: text.clone() };
        let Ok((recipe, _)) = build_dockerfile(&file, &options) else { continue };
        count += 1;
        let stages = recipe.stages.iter();
        let bases: Configs = stages
            .filter_map(|stage| match &stage.base {
                lith::recipe::Base::Image(name) => {
                    Some(((name.clone(), stage.platform.clone()), config_of(name, &stage.platform)))
                }
                _ => None,
            })
            .collect();
        if let Err(difference) = again(&recipe, &options, &bases) {
            let _ = writeln!(wrong, "== {}\n{difference}", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 150, "only {count} recipes");
}
