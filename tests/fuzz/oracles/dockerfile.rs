//! A Dockerfile: parsed, its images asked for, lowered.
//!
//! The head of the file may say how it is built, as in `tests/data/dockerfile`: `#: arg K=V`, `#: label K=V`,
//! `#: target S`, `#: context NAME`, `#: allow security.insecure`; and `#: trigger TEXT` is an ONBUILD of every base.

use std::collections::BTreeSet;

use lith::diag::{Diagnostic, Severity, Source};
use lith::frontend::dockerfile::{
    self, Configs, ContextKind, Dockerfile, Facts, Level, NamedContexts, Options, source_from_bytes,
};
use lith::oci::ImageConfig;
use lith::platform::Platform;
use lith::recipe::{Base, FilesFrom, Op, Recipe};

/// Checks whatever a build does with these bytes before it needs a file or an image.
pub fn check(bytes: &[u8]) {
    match source_from_bytes("Dockerfile", bytes.to_vec()) {
        Ok(source) => drop(check_text(&source, &options(&source.text), &triggers(&source.text))),
        Err(error) => assert!(super::is_printable(&error.to_string()), "{error}"),
    }
}

/// Checks a text with these options; `triggers` are the ONBUILD of every base image. Gives the recipe, if it is one.
pub fn check_text(source: &Source, options: &Options, triggers: &[String]) -> Option<Recipe> {
    let (file, found) = dockerfile::parse(source);
    check_found(source, &found);
    assert_eq!(dockerfile::parse(source).1, found, "parsing is a function");
    check_lint(source, &file, options, &Configs::new());
    if found.iter().any(|d| d.severity == Severity::Error) {
        return None;
    }
    check_outline(source, &file, options);
    let bases = match bases(source, &file, options, triggers) {
        Ok(bases) => bases,
        Err(found) => {
            check_errors(source, &found);
            return None;
        }
    };
    check_lint(source, &file, options, &bases);
    let lowered = file.lower(options, &bases);
    assert_eq!(file.lower(options, &bases), lowered, "lowering is a function");
    match lowered {
        Ok((recipe, warnings)) => {
            check_found(source, &warnings);
            assert!(warnings.iter().all(|d| d.severity == Severity::Warning), "{warnings:?}");
            check_recipe(source, options, &recipe);
            Some(recipe)
        }
        Err(found) => {
            check_errors(source, &found);
            None
        }
    }
}

/// The linter takes files with errors too.
fn check_lint(source: &Source, file: &Dockerfile, options: &Options, bases: &Configs) {
    let facts = Facts { bases, left_out: &|path| path.as_bytes().len() % 2 == 0 };
    for level in [Level::Build, Level::Lint] {
        check_found(source, &file.lint(source, options, &facts, level).found);
    }
}

/// What the file offers: targets, arguments, secrets.
fn check_outline(source: &Source, file: &Dockerfile, options: &Options) {
    let inside = |span: lith::diag::Span| assert!(source.text.get(span.range()).is_some(), "{span:?}");
    let targets = file.targets();
    targets.iter().for_each(|target| inside(target.span));
    assert_eq!(targets.iter().filter(|target| target.default).count(), 1);
    match file.outline(options) {
        Ok(outline) => {
            outline.args.iter().for_each(|arg| inside(arg.span));
            outline.secrets.iter().chain(&outline.ssh).for_each(|wanted| inside(wanted.span));
        }
        Err(found) => check_errors(source, &found),
    }
}

/// The configs of all bases, asked for until no new one comes up.
fn bases(
    source: &Source,
    file: &Dockerfile,
    options: &Options,
    triggers: &[String],
) -> Result<Configs, Vec<Diagnostic>> {
    let mut bases = Configs::new();
    loop {
        let known = bases.len();
        for image in file.images(options, &bases)? {
            assert!(source.text.get(image.span.range()).is_some(), "{image:?}");
            assert!(!image.reference.is_empty());
            if image.as_base {
                let config = base(&image.platform, triggers);
                bases.entry((image.reference, image.platform)).or_insert(config);
            }
        }
        if bases.len() == known {
            return Ok(bases);
        }
        assert!(bases.len() <= source.text.len(), "a file names no more images than it has bytes");
    }
}

pub fn base(platform: &Platform, triggers: &[String]) -> ImageConfig {
    let mut config = ImageConfig::scratch(platform);
    config.config.env = vec!["PATH=/bin".into(), "BARE".into(), "A=base".into()];
    config.config.user = "nobody".into();
    config.config.on_build = triggers.to_vec();
    config
}

pub fn check_errors(source: &Source, found: &[Diagnostic]) {
    check_found(source, found);
    assert!(found.iter().any(|d| d.severity == Severity::Error), "no result without an error: {found:?}");
}

/// Diagnostics point into the text, and can be shown.
pub fn check_found(source: &Source, found: &[Diagnostic]) {
    assert!(found.len() <= 201, "{} diagnostics", found.len());
    for diagnostic in found {
        assert!(source.text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
        assert!(super::is_printable(&diagnostic.message), "{diagnostic:?}");
        assert!(diagnostic.help.as_deref().is_none_or(super::is_printable), "{diagnostic:?}");
        let shown = source.render(diagnostic);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(shown.lines().all(|line| line.chars().count() < 8_000), "{shown}");
    }
}

/// A recipe names only what is there, and what came before.
pub fn check_recipe(source: &Source, options: &Options, recipe: &Recipe) {
    assert!(!recipe.targets.is_empty());
    let targets: BTreeSet<usize> = recipe.targets.iter().copied().collect();
    assert!(targets.iter().all(|target| *target < recipe.stages.len()));
    let lines = source.text.split('\n').count();
    for (index, stage) in recipe.stages.iter().enumerate() {
        if let Base::Stage(base) = &stage.base {
            assert!(*base < index, "stage {index} stands on stage {base}");
        }
        for step in &stage.steps {
            assert!((1..=lines).contains(&step.origin.line), "{:?}", step.origin);
            for from in step.op.inputs() {
                match from {
                    FilesFrom::Stage(from) => assert!(*from < recipe.stages.len()),
                    FilesFrom::NamedContext(name) => {
                        assert!(options.named_contexts.find(name, &stage.platform).is_some());
                    }
                    FilesFrom::Image(reference) => assert!(!reference.is_empty()),
                    FilesFrom::Context | FilesFrom::Scratch => {}
                }
            }
            if let Op::Run(run) = &step.op {
                assert!(!run.argv.is_empty());
                assert!(run.env.iter().all(|(name, _)| !name.is_empty() && !name.contains('=')));
            }
        }
    }
}

/// Options as the command line gives them when it gives nothing.
pub fn plain_options() -> Options {
    Options {
        build_args: Vec::new(),
        labels: Vec::new(),
        targets: Vec::new(),
        platform: "linux/arm64".parse().expect("a platform"),
        build_platform: "linux/amd64".parse().expect("a platform"),
        insecure: false,
        named_contexts: NamedContexts::default(),
    }
}

/// The `#: key value` lines.
fn head(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("#: ")?.split_once(' ')).take(64)
}

fn options(text: &str) -> Options {
    options_of(head(text))
}

/// Options by keys and values.
pub fn options_of<'a>(said: impl Iterator<Item = (&'a str, &'a str)>) -> Options {
    let mut options = plain_options();
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (key, value) in said {
        match key {
            "arg" => options.build_args.extend(pair(value)),
            "label" => options.labels.extend(pair(value)),
            "target" => options.targets.push(value.to_owned()),
            "allow" => options.insecure |= value == "security.insecure",
            "context" => drop(options.named_contexts.insert(value, ContextKind::Files)),
            _ => {}
        }
    }
    options
}

fn triggers(text: &str) -> Vec<String> {
    head(text).filter(|(key, _)| *key == "trigger").map(|(_, trigger)| trigger.to_owned()).collect()
}
