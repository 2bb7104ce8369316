//! A KDL file: read, its images asked for, lowered; and its recipe written and read again.
//!
//! The head of the file may say how it is built, as in `tests/data/kdl`: `//: arg K=V` and so on.

use lith::diag::{Severity, Source};
use lith::frontend::kdl::{self, Imports};
use lith::frontend::{Configs, Options, source_from_bytes};
use lith::recipe::{Origin, Recipe};

use super::dockerfile::{base, check_errors, check_found, check_recipe, options_of};

/// Checks whatever a build does with these bytes before it needs a file or an image.
pub fn check(bytes: &[u8]) {
    match source_from_bytes("image.kdl", bytes.to_vec()) {
        Ok(source) => check_text(&source),
        Err(error) => assert!(super::is_printable(&error.to_string()), "{error}"),
    }
}

fn check_text(source: &Source) {
    let head = source.text.lines().filter_map(|line| line.strip_prefix("//: ")?.split_once(' ')).take(64);
    let options = options_of(head);
    let imports = kdl::gather(source, |path| match path.as_bytes() {
        b"missing.kdl" => Err("it is not there".to_owned()),
        // Any file imports all of it once more.
        _ => Ok(source.text.clone()),
    });
    let (file, found) = kdl::parse(source, &imports);
    check_found(source, &found);
    if found.iter().any(|d| d.severity == Severity::Error) {
        return;
    }
    assert!(file.names().len() <= source.text.len() * (imports.len() + 1));
    let images = match file.images(&options, &Configs::new()) {
        Ok(images) => images,
        Err(found) => return check_errors(source, &found),
    };
    let mut bases = Configs::new();
    for image in images {
        assert!(source.text.get(image.span.range()).is_some(), "{image:?}");
        if image.as_base {
            let config = base(&image.platform, &["RUN trigger".to_owned()]);
            bases.insert((image.reference, image.platform), config);
        }
    }
    let lowered = file.lower(&options, &bases);
    assert_eq!(file.lower(&options, &bases), lowered, "lowering is a function");
    match lowered {
        Ok((recipe, warnings)) => {
            check_found(source, &warnings);
            check_recipe(source, &options, &recipe);
            check_written(&recipe, &options, &bases);
        }
        Err(found) => check_errors(source, &found),
    }
}

/// A recipe that is written comes to itself again.
fn check_written(recipe: &Recipe, options: &Options, bases: &Configs) {
    let text = kdl::write(recipe, options, bases);
    assert_eq!(kdl::write(recipe, options, bases), text, "writing is a function");
    let source = Source { name: "image.kdl".into(), text };
    let (file, found) = kdl::parse(&source, &Imports::new());
    assert!(found.is_empty(), "{found:?}\n{}", source.text);
    let names = file.names();
    let targets = recipe.targets.iter().map(|target| names[*target].clone()).collect();
    match file.lower(&Options { targets, ..options.clone() }, bases) {
        Ok((read, _)) => assert_eq!(plain(read), plain(recipe.clone()), "{}", source.text),
        Err(found) => panic!("{found:?}\n{}", source.text),
    }
}

/// Without what only messages show: where a step was written, how a stage is called.
pub fn plain(mut recipe: Recipe) -> Recipe {
    for stage in &mut recipe.stages {
        (stage.name, stage.origin) = (None, Origin::default());
        stage.steps.iter_mut().for_each(|step| step.origin = Origin::default());
    }
    recipe
}
