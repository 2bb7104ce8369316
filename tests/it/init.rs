//! `lith init`: each case is a directory of `tests/data/init` with a project, the `image.kdl` that is written for it, and
//! `said.txt`: what is printed, and the `.dockerignore`. `LITH_BLESS=1` writes both anew.

use std::fs;
use std::path::Path;

use lith::diag::Source;
use lith::frontend::kdl::Imports;

use crate::kdl::build;
use crate::support::{Lab, Ran, children, data, golden};

/// What is no part of the project.
const RESULTS: [&str; 2] = ["image.kdl", "said.txt"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in children(from) {
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false if RESULTS.contains(&name) => {}
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

/// A project of the data, in a directory of its case's name.
fn project(lab: &Lab, case: &str) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/init").join(case), &lab.path(case));
}

#[track_caller]
fn refused(ran: &Ran, text: &str) {
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(text), "{}", ran.err);
}

#[test]
fn cases_come_out_as_written_down() {
    let mut wrong = String::new();
    for case in &data("tests/data/init") {
        let lab = Lab::new();
        let name = case.file_name().unwrap().to_str().unwrap();
        project(&lab, name);
        let ran = lab.ok("store", &["init", name]);
        let text = fs::read_to_string(lab.path(name).join("image.kdl")).unwrap();
        let ignore = fs::read_to_string(lab.path(name).join(".dockerignore")).unwrap();
        let said = format!("{}\n-- .dockerignore\n{ignore}", ran.out);
        golden(&case.join("image.kdl"), Path::new("/nonexistent"), &text, &mut wrong);
        golden(&case.join("said.txt"), Path::new("/nonexistent"), &said, &mut wrong);
        let source = Source { name: "image.kdl".into(), text };
        let (recipe, warnings) = build(&source, &Imports::new(), &crate::frontend::options()).expect(name);
        assert_eq!(warnings, [], "{name}");
        let image = &recipe.stages[recipe.targets[0]];
        assert_eq!(image.config.config.user, "1000:1000", "{name}");
        assert!(image.config.config.labels.contains_key("org.opencontainers.image.title"));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_there_stays() {
    let lab = Lab::new();
    project(&lab, "go");
    lab.write("go/image.kdl", "mine");
    lab.write("go/.dockerignore", "mine");
    let read = |file: &str| fs::read_to_string(lab.path("go").join(file)).unwrap();
    refused(&lab.run("store", &["init", "go"]), "go/image.kdl is there already; --force writes over it");
    assert_eq!(read("image.kdl"), "mine");
    lab.ok("store", &["init", "--force", "go"]);
    assert!(read("image.kdl").contains("built by Go"));
    assert_eq!(read(".dockerignore"), "mine");
}

#[test]
fn where_it_is_written() {
    let lab = Lab::new();
    project(&lab, "go");
    let to = lab.ok("store", &["init", "-o", "-", "go"]);
    assert!(to.out.starts_with("// hello, built by Go"), "{}", to.out);
    assert_eq!(to.err, "");
    assert!(!lab.path("go/image.kdl").exists() && !lab.path("go/.dockerignore").exists());

    let said = lab.ok("store", &["init", "--no-ignore", "-o", "other.kdl", "go"]).out;
    assert!(said.ends_with("next: lith build -f other.kdl -t hello go\n"), "{said}");
    assert!(lab.path("other.kdl").exists() && !lab.path("go/.dockerignore").exists());

    // A Dockerfile would be built instead.
    lab.write("go/Dockerfile", "FROM scratch\n");
    let said = lab.ok("store", &["init", "go"]).out;
    assert!(said.ends_with("next: lith build -f go/image.kdl -t hello go\n"), "{said}");
    refused(&lab.run("store", &["init", "nowhere"]), "nowhere is not a directory");
}

#[test]
fn what_it_is_can_be_said() {
    let lab = Lab::new();
    project(&lab, "go");
    lab.write("go/package.json", "{\"name\": \"front\", \"main\": \"x.js\"}");
    assert!(lab.ok("store", &["init", "-o", "-", "go"]).out.contains("built by Go"));
    assert!(
        lab.ok("store", &["init", "--language", "node", "-o", "-", "go"]).out.contains("front, run by node")
    );
    let ran = lab.run("store", &["init", "--language", "python", "go"]);
    refused(&ran, "go has no pyproject.toml, no requirements.txt, no setup.py");
    assert!(!lab.path("go/image.kdl").exists());
}

#[test]
fn what_cannot_be_read_is_named() {
    let lab = Lab::new();
    lab.write("a/Cargo.toml", "[package\n");
    refused(&lab.run("store", &["init", "a"]), "a/Cargo.toml: TOML parse error at line 1");
    lab.write("b/package.json", "{");
    refused(&lab.run("store", &["init", "b"]), "b/package.json: EOF while parsing");
    fs::create_dir_all(lab.path("c/package.json")).unwrap();
    refused(&lab.run("store", &["init", "c"]), "read c/package.json: ");
}

/// Names of a stranger are strings in what is written, and nothing else.
#[test]
fn names_of_a_stranger() {
    let lab = Lab::new();
    lab.write("a/package.json", r#"{"name": "x\" { base \"y\"\n${p}", "main": "-e\"\n\u0007${q}"}"#);
    let text = lab.ok("store", &["init", "-o", "-", "a"]).out;
    let source = Source { name: "image.kdl".into(), text };
    let (recipe, warnings) = build(&source, &Imports::new(), &crate::frontend::options()).unwrap();
    assert_eq!(warnings, []);
    let config = &recipe.stages[0].config.config;
    assert_eq!(config.entrypoint.as_deref().unwrap(), ["node", "-e\"\n\u{7}${q}"]);
}
