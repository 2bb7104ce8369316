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
use lith::recipe::{Base, Recipe, Stage};

use crate::frontend::{build as build_dockerfile, case_options, config_of, dump, render};
use crate::fuzz::oracles::kdl::plain;
use crate::support::{data, golden};

/// Everything a file comes to: the recipe with its warnings, or the errors.
pub fn build(
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

pub fn source(text: &str) -> Source {
    Source { name: "image.kdl".into(), text: text.into() }
}

/// The files beside a case's own.
pub fn imports(source: &Source, case: &Path) -> Imports {
    kdl::gather(source, |path: &ImagePath| {
        let path = case.join(path.as_os_str());
        std::fs::read_to_string(path).map_err(|_| "there is no such file".to_owned())
    })
}

/// The options that a case's head asks for.
pub fn options_of(text: &str) -> Options {
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
        golden(&path, &other, &actual, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(good >= 60 && errors_seen >= 120, "{good} recipes, {errors_seen} errors");
}

/// Writes a recipe and reads it again; says how that differs.
fn again(recipe: &Recipe, options: &Options, bases: &Configs) -> Result<(), String> {
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
    let odd = warnings.iter().filter(|warning| !warning.message.starts_with("build argument"));
    assert_eq!(odd.count(), 0, "{warnings:?}\n{text}");
    let (wanted, read) = (plain(recipe.clone()), plain(read));
    if wanted != read {
        return Err(format!("{text}\n-- wanted\n{}\n-- read\n{}", dump(&wanted), dump(&read)));
    }
    Ok(())
}

/// The configs of all bases of a recipe.
pub fn bases_of(recipe: &Recipe) -> Configs {
    let base = |stage: &Stage| match &stage.base {
        Base::Image(name) => {
            let config = config_of(name, &stage.platform);
            Some(((name.clone(), stage.platform.clone()), config))
        }
        Base::Scratch | Base::Stage(_) | Base::Packages(_) => None,
    };
    recipe.stages.iter().filter_map(base).collect()
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
        if let Err(difference) = again(&recipe, &options, &bases_of(&recipe)) {
            let _ = writeln!(wrong, "== {}\n{difference}", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 150, "only {count} recipes");
}

#[test]
fn every_kdl_file_comes_to_the_same_recipe_when_it_is_written_again() {
    let mut wrong = String::new();
    for case in &data("tests/data/kdl") {
        let text = std::fs::read_to_string(case.join("image.kdl")).unwrap();
        let (source, options) = (source(&text), options_of(&text));
        let Ok((recipe, _)) = build(&source, &imports(&source, case), &options) else { continue };
        if let Err(difference) = again(&recipe, &options, &bases_of(&recipe)) {
            let _ = writeln!(wrong, "== {}\n{difference}", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

// Hostile files: what is bounded is the work, so these end, and end with an answer.

fn found(text: &str) -> Vec<Diagnostic> {
    build(&source(text), &Imports::new(), &crate::frontend::options()).unwrap_err()
}

#[test]
fn nesting_without_end() {
    let message = "nodes are nested more than 32 deep";
    assert!(found(&"a {\n".repeat(500_000)).iter().any(|d| d.message == message));
    let whole = format!("{}{}", "a {\n".repeat(300_000), "}\n".repeat(300_000));
    assert!(found(&whole).iter().any(|d| d.message == message));
    let dropped = format!("image \"x\" {}", "/- {\na ".repeat(300_000));
    assert!(found(&dropped).iter().any(|d| d.message == message));
    let comments = found(&"/*\n".repeat(500_000));
    assert_eq!(comments[0].message, "comments are nested more than 32 deep");
}

#[test]
fn a_million_of_anything() {
    for piece in [
        "}", "{", "/-", "\"", "#", "(", "\\\n", "\\", ";", "a=", "/* * */", "#\"", "\"\"\"\n", " ", "1",
        "a\n", "$", "\r",
    ] {
        for head in ["", "image \"x\" {\n base \"scratch\"\n run "] {
            // Lines as long as they may be.
            let line = piece.repeat(60_000 / piece.len()) + "\n";
            let text = format!("{head}{}", line.repeat(16));
            let source = source(&text);
            if let Err(found) = build(&source, &Imports::new(), &crate::frontend::options()) {
                assert!(found.len() <= 201, "{piece:?}: {}", found.len());
                render(&source, &found);
            }
        }
    }
}

#[test]
fn a_line_that_is_too_long() {
    let found = found(&format!("image \"x\" {{\n base \"scratch\"\n user \"{}\"\n}}\n", "a".repeat(70_000)));
    assert_eq!(found[0].message, "line is longer than 65535 bytes");
}

#[test]
fn long_commands_are_written_on_several_lines() {
    let run = format!("RUN a{}", " \\\n && b  \t${x}".repeat(50_000));
    let copy = format!("COPY {} /d/", "source \\\n".repeat(20_000));
    let text = format!("FROM scratch\n{run}\n{copy}\nRUN <<E\n{}\nE\n", "x \u{e9}\n".repeat(20_000));
    let options = crate::frontend::options();
    let (recipe, _) = build_dockerfile(&Source { name: "Dockerfile".into(), text }, &options).unwrap();
    again(&recipe, &options, &Configs::new()).unwrap();
}

#[test]
fn doubling_through_all_parameters() {
    let mut text = "param \"p0\" default=\"0123456789abcdef\"\n".to_owned();
    (1..40).for_each(|n| writeln!(text, "param \"p{n}\" default=\"${{p{0}}}${{p{0}}}\"", n - 1).unwrap());
    let found = found(&text);
    assert!(found.iter().any(|d| d.message.contains("more than 268435456 bytes")), "{found:?}");
}

#[test]
fn ten_thousand_stages() {
    let mut text = "stage \"s0\" { base \"scratch\" }\n".to_owned();
    (1..10_000).for_each(|n| {
        writeln!(
            text,
            "stage \"s{n}\" {{ base stage=\"s{}\"; copy \"a\" from=\"s{}\" to=\"b\" }}",
            n - 1,
            n / 2
        )
        .unwrap()
    });
    text.push_str("image \"x\" { base stage=\"s9999\" }\n");
    let backwards: Vec<&str> = text.lines().rev().collect();
    for text in [text.clone(), backwards.join("\n")] {
        let (recipe, _) = build(&source(&text), &Imports::new(), &crate::frontend::options()).unwrap();
        assert_eq!(recipe.stages.len(), 10_001);
    }
}

mod properties {
    use proptest::prelude::*;

    use crate::fuzz::oracles;

    /// Pieces that files are made of, and some that they are not.
    const PIECES: [&str; 96] = [
        "image \"x\" {\n",
        "stage \"a\" {\n",
        "base \"scratch\"\n",
        "base \"b\"\n",
        "base stage=\"a\"\n",
        "param \"p\" default=\"v\"\n",
        "import \"a.kdl\"\n",
        "import \"missing.kdl\"\n",
        "}\n",
        "{",
        "}",
        "\n",
        "\n",
        ";",
        " ",
        "\t",
        "copy ",
        "add ",
        "fetch ",
        "file ",
        "run ",
        "env ",
        "label ",
        "user ",
        "workdir ",
        "cmd ",
        "entrypoint ",
        "expose ",
        "volume ",
        "shell ",
        "stop-signal ",
        "healthcheck ",
        "author ",
        "onbuild ",
        "history ",
        "config {\n",
        "mount ",
        "exclude ",
        "inline ",
        "script ",
        "\"a\" ",
        "\"b/c\" ",
        "\"/\" ",
        "\"x y\" ",
        "\"\" ",
        "\"80/tcp\" ",
        "\"${p}\" ",
        "\"$${p}\" ",
        "\"9\" ",
        "\"bind\" ",
        "\"cache\" ",
        "\"tmpfs\" ",
        "\"secret\" ",
        "\"ssh\" ",
        "to=\"/x\" ",
        "to=\"y/\" ",
        "from=\"a\" ",
        "image=\"i\" ",
        "at=\"/m\" ",
        "id=\"i\" ",
        "owner=\"1:2\" ",
        "mode=\"0644\" ",
        "mode=\"u+x\" ",
        "link=#true ",
        "parents=#true ",
        "unpack=#true ",
        "shell=#false ",
        "network=#true ",
        "content=\"c\\n\" ",
        "A=\"1\" ",
        "\"B C\"=\"2\" ",
        "interval=\"5s\" ",
        "retries=3 ",
        "size=\"1m\" ",
        "\"https://h.example.invalid/f\" ",
        "\"https://h.example.invalid/r.git#m:s\" ",
        "\"\"\"\n",
        "  \"\"\"\n",
        "#\"r\"#",
        "#",
        "\"",
        "\\",
        "\\n",
        "\\u{e9}",
        "/-",
        "/*",
        "*/",
        "//",
        "#true",
        "#null",
        "-1.5",
        "0x1f",
        "=",
        "(t)",
        "é",
        "\u{2028}",
    ];

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            19 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
            1 => any::<char>().prop_filter("no zero byte", |c| *c != '\0').prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// One image of steps that are mostly right.
    fn image() -> impl Strategy<Value = String> {
        const STEPS: [&str; 12] = [
            "copy @ to=@",
            "add @ @ to=\"/d/\" owner=@",
            "file @ content=@",
            "run @",
            "run @ @ network=#true { env A=@; script \"s\" @ }",
            "env @=@ B=@",
            "label @=@",
            "user @",
            "workdir @",
            "cmd @ @",
            "history @",
            "run \"x\" { mount \"cache\" at=\"/m\" id=@; mount \"secret\" id=@ }",
        ];
        let word = prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(vec!["a", "/", ".", "..", "$", "${", "}", "[", "*", "\\", "\"", "\n", "\n  ", "\r", "\t", " ", "#", "=", "://", "@", ":", "$${"]).prop_map(str::to_owned),
                1 => any::<char>().prop_filter("no zero byte", |c| *c != '\0').prop_map(String::from),
            ],
            0..6,
        );
        let word = word.prop_map(|pieces| quoted(&pieces.concat()));
        let step = (prop::sample::select(STEPS.to_vec()), prop::collection::vec(word, 6)).prop_map(
            |(step, words)| {
                let mut parts = step.split('@');
                let mut out = parts.next().unwrap_or_default().to_owned();
                for (part, word) in parts.zip(words) {
                    out.extend([&word, part]);
                }
                out
            },
        );
        prop::collection::vec(step, 0..8)
            .prop_map(|steps| format!("image \"x\" {{\nbase \"scratch\"\n{}\n}}\n", steps.join("\n")))
    }

    /// A string in quotes that means a text, its parameters aside.
    fn quoted(text: &str) -> String {
        let escaped = text.chars().map(|c| match c {
            'a'..='z' | '/' | '.' | '$' | '{' | '}' | ' ' => c.to_string(),
            c => format!("\\u{{{:x}}}", u32::from(c)),
        });
        format!("\"{}\"", escaped.collect::<String>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in text()) {
            oracles::kdl::check(text.as_bytes());
        }

        #[test]
        fn what_is_written_is_read_again(text in image()) {
            oracles::kdl::check(text.as_bytes());
        }
    }
}
