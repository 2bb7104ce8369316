//! `.dockerignore`: the cases of `tests/data/dockerignore` on real trees, random rules on random trees against a slow
//! matcher written from the rules alone, and which file is read.

use std::collections::BTreeSet;
use std::path::Path;

use lith::context::Context;
use lith::context::ignore::Ignore;
use lith::path::ImagePath;
use proptest::prelude::*;

use crate::fuzz::oracles::glob::Rules;
use crate::fuzz::oracles::ignore::check_path;
use crate::support::Lab;
use crate::support::dockerignore::{Case, cases};

/// All that `COPY . /` takes of a directory.
fn scan(dir: &Path, ignore: &Ignore) -> BTreeSet<ImagePath> {
    let context = Context::open(dir, ignore.clone(), ".dockerignore").unwrap();
    let selected = context.select(&ImagePath::root()).unwrap();
    selected.into_iter().flat_map(|selected| selected.below).map(|found| found.path).collect()
}

/// What is wrong with a case.
fn run(case: &Case, dir: &Path) -> Result<(), String> {
    match (Ignore::parse(&case.rules), &case.error) {
        (Err(error), Some(part)) if error.to_string().contains(part) => Ok(()),
        (Err(error), _) => Err(format!("{}: {error}", case.name)),
        (Ok(_), Some(part)) => Err(format!("{}: no error that says {part:?}", case.name)),
        (Ok(ignore), None) => {
            assert!(!case.kept.is_empty() || !case.left_out.is_empty(), "{} has no paths", case.name);
            case.plant(dir);
            case.check(&scan(dir, &ignore))
        }
    }
}

#[test]
fn cases_come_out_as_written_down() {
    let lab = Lab::new();
    let cases = cases();
    assert!(cases.len() >= 240, "only {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| run(case, &lab.path(&case.name)).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_walker_sees_of_the_cases_is_what_the_slow_matcher_says() {
    for case in cases().iter().filter(|case| case.error.is_none()) {
        let ignore = Ignore::parse(&case.rules).unwrap();
        for path in case.kept.iter().chain(&case.left_out) {
            let path = path.strip_suffix(b"/").unwrap_or(path);
            check_path(&case.rules, &ignore, &ImagePath::parse(path).unwrap());
        }
    }
}

/// Rules of a few letters: what is rare in the wild is common here.
fn rules() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "b", "ab", "d", "/", "/", "/", "*", "*", "**", "**/", "/**", "?", "[a-c]", "[^a]", "\\*", ".",
        "..", "^", ".x", " ", "é",
    ]);
    let line = (prop::sample::select(vec!["", "", "!", "/", " "]), prop::collection::vec(part, 1..6));
    prop::collection::vec(line.prop_map(|(mark, parts)| format!("{mark}{}\n", parts.concat())), 1..7)
        .prop_map(|lines| lines.concat())
}

/// A path of a few names.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "ab", "d", "*", "a.x", ".x", "é", "^a", "a b", "d\ne"]);
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rules_say_of_any_path_what_the_slow_matcher_says(
        rules in rules(),
        paths in prop::collection::vec(path(), 1..8),
    ) {
        let Ok(ignore) = Ignore::parse(rules.as_bytes()) else { return Ok(()) };
        for path in paths {
            check_path(rules.as_bytes(), &ignore, &ImagePath::parse(path.as_bytes()).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The walker, which looks only where it must, finds in a real tree what trying every path finds.
    #[test]
    fn a_pruning_walk_finds_all_that_is_kept(
        rules in rules(),
        paths in prop::collection::btree_set(path(), 1..12),
    ) {
        let Ok(ignore) = Ignore::parse(rules.as_bytes()) else { return Ok(()) };
        let lab = Lab::new();
        let mut files = BTreeSet::new();
        for path in &paths {
            let file = ImagePath::parse(path.as_bytes()).unwrap();
            // Of two paths that want one name as a file and as a directory, the first has it.
            if files.iter().all(|other: &ImagePath| {
                other.strip_prefix(&file).is_none() && file.strip_prefix(other).is_none()
            }) {
                lab.write(&format!("tree/{path}"), "");
                files.insert(file);
            }
        }
        let reference = Rules::new(&rules);
        let mut expected = BTreeSet::new();
        for file in &files {
            let kept = |path: &ImagePath| !reference.leaves_out(std::str::from_utf8(path.as_bytes()).unwrap());
            let all = kept(file);
            expected.extend(all.then(|| file.clone()));
            expected.extend(file.ancestors().filter(|dir| all || kept(dir)));
        }
        // A directory that is kept brings the ones above it along.
        let above: Vec<ImagePath> = expected.iter().flat_map(|path| path.ancestors().collect::<Vec<_>>()).collect();
        expected.extend(above);
        prop_assert_eq!(scan(&lab.path("tree"), &ignore), expected, "{:?} on {:?}", rules, files);
    }
}

/// Builds `COPY . /` in a lab with these files; gives the names in the image or the message.
fn copied(lab: &Lab, args: &[&str]) -> Result<Vec<String>, String> {
    let _ = std::fs::remove_dir_all(lab.path("out"));
    let ran = lab.run("store", &[&["build", "-q", "-o", "type=local,dest=out"], args].concat());
    match ran.code {
        0 => {
            let all = scan(&lab.path("out"), &Ignore::default());
            Ok(all.iter().map(|path| path.to_string().split_off(1)).collect())
        }
        _ => Err(ran.err),
    }
}

const COPY: &str = "FROM scratch\nCOPY . /\n";

#[test]
fn the_dockerfiles_own_rules_beat_those_of_the_context() {
    let lab = Lab::new();
    lab.write("ctx/a", "");
    lab.write("ctx/b", "");
    lab.write("ctx/Dockerfile", COPY);
    lab.write("ctx/.dockerignore", "a\n.dockerignore\nDockerfile*\nsub\n");
    assert_eq!(copied(&lab, &["ctx"]).unwrap(), ["b"]);
    lab.write("ctx/Dockerfile.dockerignore", "b\n.dockerignore\nDockerfile*\nsub\n");
    assert_eq!(copied(&lab, &["ctx"]).unwrap(), ["a"]);
    // Only one is read: what is wrong with the other does not matter.
    lab.write("ctx/.dockerignore", "[\n");
    assert_eq!(copied(&lab, &["ctx"]).unwrap(), ["a"]);
    // A Dockerfile of another name and place has its own; the patterns are still those of the context's root.
    lab.write("ctx/sub/Other", COPY);
    lab.write("ctx/sub/Other.dockerignore", "/a\n/sub\n.dockerignore\nDockerfile*\n");
    assert_eq!(copied(&lab, &["-f", "ctx/sub/Other", "ctx"]).unwrap(), ["b"]);
    // An empty one leaves nothing out.
    lab.write("ctx/sub/Other.dockerignore", "");
    assert_eq!(copied(&lab, &["-f", "ctx/sub/Other", "ctx"]).unwrap().len(), 8);
}

#[test]
fn the_dockerfile_and_the_rules_may_be_left_out_and_are_read() {
    let lab = Lab::new();
    lab.write("ctx/a", "");
    lab.write("ctx/Dockerfile", COPY);
    lab.write("ctx/.dockerignore", "*\n");
    assert_eq!(copied(&lab, &["ctx"]).unwrap(), [""; 0]);
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let error = copied(&lab, &["ctx"]).unwrap_err();
    assert!(error.contains("/Dockerfile is left out of the build context by"), "{error}");
    assert!(error.contains("Dockerfile:2:"), "{error}");
}

#[test]
fn a_named_context_has_rules_of_its_own() {
    let lab = Lab::new();
    for context in ["ctx", "more"] {
        lab.write(&format!("{context}/a"), "");
        lab.write(&format!("{context}/b"), "");
    }
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=more . /\n");
    lab.write("ctx/.dockerignore", "a\nb\n");
    lab.write("more/.dockerignore", "b\n.*\n");
    let args = ["--build-context", "more=more", "ctx"];
    assert_eq!(copied(&lab, &args).unwrap(), ["a"]);
    lab.write("more/.dockerignore", "ok\n[\n");
    let error = copied(&lab, &args).unwrap_err();
    assert!(error.contains("more:.dockerignore") && error.contains("line 2"), "{error}");
    // What is there and cannot be read is no empty file.
    std::fs::remove_file(lab.path("more/.dockerignore")).unwrap();
    std::fs::create_dir(lab.path("more/.dockerignore")).unwrap();
    let error = copied(&lab, &args).unwrap_err();
    assert!(error.contains(".dockerignore"), "{error}");
}

#[test]
fn malformed_rules_are_named_with_their_file_and_line() {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", COPY);
    lab.write("ctx/.dockerignore", "a\n\n!\n");
    let error = copied(&lab, &["ctx"]).unwrap_err();
    assert!(error.contains(".dockerignore: line 3: '!' alone"), "{error}");
    lab.write("ctx/Dockerfile.dockerignore", "a[\n");
    let error = copied(&lab, &["ctx"]).unwrap_err();
    assert!(error.contains("Dockerfile.dockerignore: line 1: pattern \"a[\""), "{error}");
}
