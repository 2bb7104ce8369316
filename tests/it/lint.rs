//! The linter on files: each case is a directory of `tests/data/lint` with a `Dockerfile`, perhaps a `.dockerignore`,
//! and `lint.txt`: what is said of it, and last the rules that fail a build.
//!
//! A case's file may say how it is linted, in comments: `#: level build`, `#: arg K=V`, `#: target S`,
//! `#: platform P`, `#: context NAME`. The image `base` is known, no other is. `LITH_BLESS=1` writes the expectations
//! anew.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lith::context::ignore::Ignore;
use lith::diag::Source;
use lith::frontend::dockerfile::{self, Configs, ContextKind, Facts, Level, NamedContexts, Options, RULES};
use lith::oci::ImageConfig;
use lith::path::ImagePath;
use serde_json::Value;

use crate::support::{Lab, bless, data};

/// Options and level that a case asks for.
fn asked(text: &str) -> (Options, Level) {
    let mut options = Options {
        build_args: Vec::new(),
        labels: Vec::new(),
        targets: Vec::new(),
        platform: "linux/arm64".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        insecure: false,
        named_contexts: NamedContexts::default(),
    };
    let mut level = Level::Lint;
    for line in text.lines().filter_map(|line| line.strip_prefix("#: ")) {
        let (key, value) = line.split_once(' ').unwrap();
        match key {
            "level" => level = if value == "build" { Level::Build } else { Level::Lint },
            "arg" => {
                let (name, value) = value.split_once('=').unwrap();
                options.build_args.push((name.to_owned(), value.to_owned()));
            }
            "target" => options.targets.push(value.to_owned()),
            "platform" => options.platform = value.parse().unwrap(),
            "context" => {
                options.named_contexts.insert(value, ContextKind::Files);
            }
            other => panic!("unknown key {other} in a case"),
        }
    }
    (options, level)
}

fn lint(case: &Path) -> String {
    let text = fs::read_to_string(case.join("Dockerfile")).unwrap();
    let rules = fs::read(case.join(".dockerignore")).unwrap_or_default();
    let (options, level) = asked(&text);
    let source = Source { name: "Dockerfile".into(), text };
    let base: ImageConfig = serde_json::from_str(
        r#"{"architecture": "arm64", "os": "linux", "config": {"Env": ["LANG=C"]}, "rootfs": {"type": "layers", "diff_ids": []}}"#,
    )
    .unwrap();
    // The image is there for whatever a stage is for.
    let platforms = [options.platform.clone(), options.build_platform.clone()];
    let bases: Configs =
        platforms.into_iter().map(|platform| (("base".to_owned(), platform), base.clone())).collect();
    let ignore = Ignore::parse(&rules).unwrap();
    let left_out = |path: &ImagePath| ignore.leaves_out(path);
    let (file, mut found) = dockerfile::parse(&source);
    let linted = file.lint(&source, &options, &Facts { bases: &bases, left_out: &left_out }, level);
    found.extend(linted.found);
    found.sort_by_key(|d| (d.span.start, d.span.end));
    let mut out: String = found.iter().map(|d| source.render(d)).collect();
    if !linted.failing.is_empty() {
        let _ = writeln!(out, "fails: {}", linted.failing.join(", "));
    }
    out
}

#[test]
fn cases_come_out_as_written_down() {
    let mut wrong = String::new();
    for case in data("tests/data/lint") {
        let actual = lint(&case);
        let path = case.join("lint.txt");
        if bless() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            let _ = writeln!(wrong, "== {}\n{actual}\n-- expected\n{expected}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_has_two_cases_where_it_speaks_and_two_where_it_does_not() {
    let cases = data("tests/data/lint");
    for rule in RULES {
        let own = |case: &&PathBuf| {
            let name = case.file_name().unwrap().to_str().unwrap();
            name.strip_prefix(rule.name).is_some_and(|rest| rest.starts_with('-'))
        };
        let own: Vec<&PathBuf> = cases.iter().filter(own).collect();
        let speaks = |case: &&&PathBuf| {
            fs::read_to_string(case.join("lint.txt")).unwrap().contains(&format!("warning[{}]", rule.name))
        };
        let speaking = own.iter().filter(speaks).count();
        assert!(speaking >= 2 && own.len() - speaking >= 2, "{}: {speaking} of {}", rule.name, own.len());
    }
}

/// `spec/lint.md` has a line for every rule and no other.
#[test]
fn the_page_lists_the_rules() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/lint.md")).unwrap();
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(listed, rules);
}

// Through the program: exit codes, streams, forms.

const ODD: &str = "FROM scratch as base\nCOPY a /\n";

fn lab(text: &str) -> Lab {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", text);
    lab.write("ctx/a", "a");
    lab
}

#[test]
fn exit_codes_tell_clean_from_odd_from_broken() {
    for (text, code, said) in [
        ("FROM scratch\nCOPY a /\n", 0, ""),
        (ODD, 1, "ctx/Dockerfile:1:14: warning[FromAsCasing]"),
        ("FROM scratch\nCOPPY a /\n", 2, "did you mean COPY?"),
        // Of a stage that nobody builds.
        ("FROM scratch AS a\nCOPY --from=9 a /\nFROM scratch\n", 2, "ctx/Dockerfile:2"),
    ] {
        let lab = lab(text);
        for args in [&["lint", "ctx"][..], &["build", "--check", "ctx"], &["build", "--call=lint", "ctx"]] {
            let ran = lab.run("store", args);
            assert_eq!(ran.code, code, "{args:?}\n{}{}", ran.out, ran.err);
            assert!(ran.out.contains(said), "{args:?}\n{}", ran.out);
        }
        assert!(!lab.path("store").exists(), "the linter needs no store");
    }
}

#[test]
fn images_that_are_not_there_are_not_needed() {
    let lab = lab("FROM nowhere@sha256:0000000000000000000000000000000000000000000000000000000000000000\n");
    assert_eq!(lab.run("store", &["lint", "ctx"]).code, 0);
}

#[test]
fn a_build_warns_and_goes_on_unless_the_file_says_otherwise() {
    let plain = lab(ODD);
    let ran = plain.ok("store", &["build", "ctx"]);
    assert!(ran.err.contains("warning[FromAsCasing]"), "{}", ran.err);
    assert!(!plain.ok("store", &["build", "-q", "ctx"]).err.contains("FromAsCasing"));

    let strict = lab(&format!("# check=error=true\n{ODD}"));
    let ran = strict.run("store", &["build", "ctx"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("warning[FromAsCasing]"), "{}", ran.err);
    assert!(ran.err.contains("these rules are broken: FromAsCasing"), "{}", ran.err);
    strict.ok("store", &["build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "ctx"]);
    let ran = strict.run("store", &["build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip", "ctx"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn a_build_knows_its_base_and_its_ignore_file() {
    let lab = lab("FROM one\nENV a=$b\nCOPY a /\n");
    lab.write("one/Dockerfile", "FROM scratch\nENV c=d\n");
    lab.ok("store", &["build", "-t", "one", "one"]);
    let ran = lab.ok("store", &["build", "ctx"]);
    assert!(
        ran.err.contains("ctx/Dockerfile:2:5: warning[UndefinedVar]: $b is not defined here"),
        "{}",
        ran.err
    );
    lab.write("ctx/.dockerignore", "a\n");
    let ran = lab.run("store", &["build", "ctx"]);
    assert!(ran.err.contains("warning[CopyIgnoredFile]"), "{}", ran.err);
}

#[test]
fn a_build_argument_that_nothing_takes_is_named_with_a_guess() {
    let lab = lab("ARG OTHER\nFROM scratch\nARG VERSION\nCOPY a /\n");
    let ran = lab.ok("store", &["build", "--build-arg", "VERSOIN=1", "ctx"]);
    assert!(ran.err.contains("build argument 'VERSOIN' is not used"), "{}", ran.err);
    assert!(ran.err.contains("did you mean VERSION?"), "{}", ran.err);
}

#[test]
fn a_stage_that_was_meant_is_guessed() {
    let lab = lab("FROM scratch AS builder\nCOPY a /\nFROM scratch\nCOPY --from=bulider a /\n");
    let ran = lab.run("store", &["build", "ctx"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("ctx/Dockerfile:4") && ran.err.contains("did you mean stage builder?"),
        "{}",
        ran.err
    );
}

#[test]
fn json_has_the_fields_of_buildkit() {
    let lab = lab(ODD);
    for args in [&["lint", "--format", "json", "ctx"][..], &["build", "--call=check,format=json", "ctx"]] {
        let ran = lab.run("store", args);
        assert_eq!(ran.code, 1);
        let value: Value = serde_json::from_str(&ran.out).unwrap();
        let expected = serde_json::json!({
            "sources": [{"fileName": "ctx/Dockerfile", "language": "Dockerfile"}],
            "warnings": [{
                "ruleName": "FromAsCasing", "description": "FROM and AS are written in one case",
                "detail": "as and FROM are written in different cases", "help": "write AS",
                "location": {
                    "sourceIndex": 0,
                    "ranges": [{"start": {"line": 1, "character": 13}, "end": {"line": 1, "character": 15}}],
                },
            }],
        });
        assert_eq!(value, expected);
    }
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPPY a /\n");
    let ran = lab.run("store", &["lint", "--format", "json", "ctx"]);
    assert_eq!(ran.code, 2);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["error"]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(value["errors"].as_array().unwrap().len(), 1);
}

#[test]
fn the_rules_are_listed() {
    let lab = Lab::new();
    let ran = lab.ok("store", &["lint", "--rules"]);
    assert!(RULES.iter().all(|rule| ran.out.contains(rule.name)));
    let value: Value =
        serde_json::from_str(&lab.ok("store", &["lint", "--rules", "--format=json"]).out).unwrap();
    assert_eq!(value.as_array().unwrap().len(), RULES.len());
}

const OFFER: &str = "\
# BASE the image below
ARG BASE=scratch
ARG UNUSED=1
# build makes the program
FROM $BASE AS build
# VERSION of the program
ARG VERSION=1.2 TARGETARCH
ARG FULL=v$VERSION
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
FROM scratch AS other
ARG NOT_HERE
FROM scratch
RUN --mount=type=secret,target=/run/x/key --mount=type=ssh,id=git,required true
COPY --from=build a /
";

#[test]
fn targets_are_listed() {
    let lab = lab(OFFER);
    assert_eq!(
        lab.ok("store", &["build", "--call=targets", "ctx"]).out,
        "TARGET       BASE     DESCRIPTION\nbuild        $BASE    makes the program\nother        scratch\n2 (default)  scratch\n"
    );
    let ran = lab.ok("store", &["build", "--call=targets", "--format=json", "ctx"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["targets"][0]["description"], "makes the program");
    assert_eq!(value["targets"][2]["default"], true);
    assert_eq!(value["targets"][0]["location"]["ranges"][0]["start"]["line"], 5);
    assert!(!lab.path("store").exists());
}

#[test]
fn an_outline_tells_what_a_target_asks_for() {
    let lab = lab(OFFER);
    let ran = lab.ok("store", &["build", "--call=outline", "--build-arg", "VERSION=2", "ctx"]);
    assert_eq!(
        ran.out,
        "\
TARGET:  default

BUILD ARG  VALUE    DESCRIPTION
BASE       scratch  the image below
VERSION    2        of the program
FULL       v2

SECRET  REQUIRED
token   true
key     false

SSH      REQUIRED
default  false
git      true
"
    );
    let ran = lab.ok("store", &["build", "--call=outline,format=json", "--target=build", "ctx"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["name"], "build");
    assert_eq!(value["args"][1]["value"], "1.2");
    assert_eq!(value["secrets"][0]["required"], true);
    assert_eq!(value["ssh"].as_array().unwrap().len(), 1);
}

#[test]
fn wrong_calls_are_usage_errors() {
    let lab = lab(ODD);
    for args in [
        &["build", "--call=whatever", "ctx"][..],
        &["build", "--call=check,format=xml", "ctx"],
        &["build", "--check", "--call=outline", "ctx"],
        &["build", "--format=json", "ctx"],
        &["build", "--call=outline", "--target=nowhere", "ctx"],
        &["lint", "--target=nowhere", "ctx"],
        &["lint", "nowhere"],
    ] {
        let ran = lab.run("store", args);
        assert_eq!(ran.code, 2, "{args:?}\n{}{}", ran.out, ran.err);
    }
}

// Hostile files end, with an answer.

#[test]
fn many_stages_and_many_names() {
    let mut text = String::from("FROM scratch AS s0\n");
    (1..20_000).for_each(|n| writeln!(text, "FROM s{} AS s{n}\nENV V{n}=$W{n}", n - 1).unwrap());
    let source = Source { name: "D".into(), text };
    let (file, _) = dockerfile::parse(&source);
    let bases = BTreeMap::new();
    let linted =
        file.lint(&source, &asked("").0, &Facts { bases: &bases, left_out: &|_| false }, Level::Lint);
    assert!(!linted.found.is_empty());
}

#[test]
fn no_text_makes_the_linter_panic() {
    let facts = Facts { bases: &BTreeMap::new(), left_out: &|_| true };
    for text in [
        "FROM",
        "FROM a AS",
        "RUN",
        "RUN <<A\n",
        "RUN <<A\nA",
        "RUN \"",
        "RUN `",
        "FROM scratch\nRUN a | | b",
        "FROM scratch\nEXPOSE :",
        "FROM scratch\nRUN \\",
        "FROM scratch AS é\nfrom é",
        "\u{feff}FROM scratch as A",
        "FROM scratch\nRUN é|\\\n# é\né",
        "FROM scratch\nMAINTAINER",
        "FROM scratch\nRUN --x --y",
        "FROM scratch\nCOPY $( /",
        "FROM scratch\nRUN date \\\r\n -u\r\n",
        "# check=\nFROM scratch",
    ] {
        let source = Source { name: "D".into(), text: text.into() };
        let (file, found) = dockerfile::parse(&source);
        let linted = file.lint(&source, &asked("").0, &facts, Level::Lint);
        found.iter().chain(&linted.found).for_each(|d| drop(source.render(d)));
    }
}
