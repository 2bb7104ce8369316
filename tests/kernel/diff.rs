//! Two builds, and why their images differ.

use crate::support::{Lab, kernel_lab};
use serde_json::Value;

/// The report of two images of a store.
fn report(lab: &Lab, a: &str, b: &str) -> Value {
    let ran = lab.run("store", &["diff", a, b, "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn line(report: &Value) -> &str {
    report["cause"]["line"].as_str().unwrap_or_else(|| panic!("no cause: {report:#}"))
}

/// Builds the context twice, with something done in between; the report of both images.
fn built_twice(lab: &Lab, dockerfile: &str, between: impl FnOnce(), again: &[&str]) -> Value {
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", dockerfile);
    lab.build("store", "ctx", &["-t", "one"]);
    between();
    lab.build("store", "ctx", &[&["-t", "two"], again].concat());
    report(lab, "one", "two")
}

#[test]
fn a_context_file_that_changed() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("ctx/src/a.c", "int a;\n");
    lab.write("ctx/src/b.c", "int b;\n");
    let dockerfile = "FROM base\nWORKDIR /app\nCOPY src src\nRUN cat src/* > all\n";
    let change = || drop(lab.write("ctx/src/a.c", "int aa;\n"));
    let report = built_twice(&lab, dockerfile, change, &[]);
    assert_eq!(
        line(&report),
        "layers differ first at step stage0/2 `COPY src src` (Dockerfile:3): because context file `src/a.c` changed"
    );
    assert_eq!(report["cause"]["reason"], "context-file");
    assert_eq!(report["cause"]["changed"][0]["name"], "src/a.c");
    let paths: Vec<&str> = report["images"][0]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["/app/all", "/app/src/a.c"]);
    assert!(report["images"][0]["layers"][0]["change"] == "same", "{report:#}");
}

#[test]
fn a_lone_context_file_that_changed() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("ctx/name", "one\n");
    let dockerfile = "FROM base\nCOPY name /etc/name\n";
    let report = built_twice(&lab, dockerfile, || drop(lab.write("ctx/name", "two\n")), &[]);
    assert_eq!(
        line(&report),
        "layers differ first at step stage0/1 `COPY name /etc/name` (Dockerfile:2): because context file `name` changed"
    );
}

#[test]
fn a_base_that_moved() {
    let Some(lab) = kernel_lab() else { return };
    let dockerfile = "FROM base\nRUN cat /etc/passwd > /copy\n";
    let moved = || {
        lab.write("other/Dockerfile", "FROM base\nRUN echo x:x:7:7:x:/:/bin/sh >> /etc/passwd\n");
        lab.build("store", "other", &["-t", "base"]);
    };
    let report = built_twice(&lab, dockerfile, moved, &[]);
    let changed = &report["cause"]["changed"][0];
    let (was, is) = (changed["a"].as_str().unwrap(), changed["b"].as_str().unwrap());
    assert_eq!(changed["name"], "base");
    assert_ne!(was, is);
    assert_eq!(line(&report), format!("because base `base` moved from {} to {}", &was[..19], &is[..19]));
    assert_eq!(report["cause"]["reason"], "base");
}

#[test]
fn a_step_that_is_not_deterministic() {
    let Some(lab) = kernel_lab() else { return };
    let dockerfile =
        "FROM base\nRUN echo fixed > /fixed\nRUN head -c 16 /dev/urandom > /salt\nRUN cp /salt /copy\n";
    let report = built_twice(&lab, dockerfile, || (), &["--no-cache"]);
    let begins = "layers differ first at step stage0/2 `RUN head -c 16 /dev/urandom > /salt` (Dockerfile:3): \
                  its inputs are equal: the step is not deterministic: ";
    assert!(line(&report).starts_with(begins), "{}", line(&report));
    assert!(line(&report).contains("/salt"), "{}", line(&report));
    assert_eq!(report["cause"]["reason"], "not-deterministic");
    assert_eq!(report["cause"]["step"]["line"], 3);
    // The first thing that is printed, after what was compared.
    let text = lab.run("store", &["diff", "one", "two"]).out;
    assert!(text.lines().nth(3).unwrap().starts_with("layers differ first at"), "{text}");
}

#[test]
fn a_step_of_another_stage() {
    let Some(lab) = kernel_lab() else { return };
    let dockerfile =
        "FROM base AS make\nRUN head -c 16 /dev/urandom > /salt\n\nFROM base\nCOPY --from=make /salt /salt\n";
    let report = built_twice(&lab, dockerfile, || (), &["--no-cache"]);
    let begins = "layers differ first at step make/1 `RUN head -c 16 /dev/urandom > /salt` (Dockerfile:2): its inputs are equal";
    assert!(line(&report).starts_with(begins), "{}", line(&report));
}

#[test]
fn an_argument_an_instruction_and_an_epoch() {
    let Some(lab) = kernel_lab() else { return };
    let dockerfile = "FROM base\nARG VERSION=1\nRUN echo $VERSION > /version\n";
    let report = built_twice(&lab, dockerfile, || (), &["--build-arg", "VERSION=2"]);
    assert_eq!(
        line(&report),
        "layers differ first at step stage0/2 `RUN echo $VERSION > /version` (Dockerfile:3): \
         because build argument VERSION was not given, is \"2\""
    );
    assert_eq!(report["cause"]["reason"], "argument");
    let edited = || drop(lab.write("ctx/Dockerfile", dockerfile.replace("/version", "/number")));
    let report = built_twice(&lab, dockerfile, edited, &[]);
    assert_eq!(
        line(&report),
        "the build files differ first at step stage0/2 `RUN echo $VERSION > /number` (Dockerfile:3): \
         because `RUN echo $VERSION > /version` became `RUN echo $VERSION > /number`"
    );
    assert_eq!(report["cause"]["reason"], "instruction");
    let report = built_twice(&lab, dockerfile, || (), &["--epoch", "86400"]);
    assert_eq!(
        line(&report),
        "layers differ first at step stage0/2 `RUN echo $VERSION > /version` (Dockerfile:3): \
         because the epoch was 0, is 86400"
    );
    assert_eq!(report["cause"]["reason"], "epoch");
}

/// What another machine built says why by its provenance.
#[test]
fn provenance_says_why_where_there_is_no_record() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("ctx/name", "one\n");
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", "FROM base\nCOPY name /etc/name\n");
    lab.build("store", "ctx", &["-t", "one", "--provenance=max"]);
    lab.ok("store", &["image", "copy", "one", &format!("oci:{}", lab.path("one").display())]);
    lab.write("ctx/name", "two\n");
    lab.build("store", "ctx", &["-t", "two", "--provenance=max"]);
    lab.ok("store", &["image", "copy", "two", &format!("oci:{}", lab.path("two").display())]);
    let places = ["one", "two"].map(|name| format!("oci:{}", lab.path(name).display()));
    let ran = lab.run("elsewhere", &["diff", &places[0], &places[1], "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        line(&report),
        "layers differ first at step stage0/1 `COPY name /etc/name` (Dockerfile:2): because context file `name` changed"
    );
}

/// Classes of a file's content in a report.
fn classes<'a>(report: &'a Value, path: &str) -> Vec<&'a str> {
    let mut entries = report["images"][0]["entries"].as_array().unwrap().iter();
    let entry =
        entries.find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("no {path} in {report:#}"));
    assert!(entry["content"].is_object(), "{path} was not looked into: {entry:#}");
    // None at all is left out.
    let suspects = entry["content"]["suspects"].as_array().into_iter().flatten();
    suspects.map(|suspect| suspect["class"].as_str().unwrap()).collect()
}

/// The record of a build has what the machine was called to its steps; in the image of a builder of which nothing is known
/// stands another name for it.
#[test]
fn the_host_name_of_a_build_record_is_found() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", "FROM base\nRUN echo made on $(hostname) > /etc/made\n");
    lab.build("store", "ctx", &["-t", "one"]);
    // Elsewhere somebody built the same: no record of that is here.
    lab.base("elsewhere", "base");
    lab.write("other/Dockerfile", "FROM base\nRUN echo made on f3a1c2d4e5b6 > /etc/made\n");
    lab.build("elsewhere", "other", &["-t", "two"]);
    let place = format!("oci:{}", lab.path("two").display());
    lab.ok("elsewhere", &["image", "copy", "two", &place]);
    assert_eq!(classes(&report(&lab, "one", &place), "/etc/made"), ["host-name"]);
    assert_eq!(classes(&report(&lab, &place, "one"), "/etc/made"), ["host-name"]);
    // Without the record there is nothing but a word for another.
    let record = crate::support::children(&lab.path("store/image-builds"));
    record.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(classes(&report(&lab, "one", &place), "/etc/made"), [""; 0]);
}

/// A container's name for its machine is known from the container, also beside an image that was built elsewhere.
#[test]
fn the_host_name_of_a_container_is_found() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", "FROM base\nRUN echo made on $(hostname) > /etc/made\n");
    lab.build("store", "ctx", &["-t", "one"]);
    let run = ["run", "--name", "web", "--hostname", "web-1", "one", "sh", "-c"];
    lab.ok("store", &[&run[..], &["echo made on $(hostname) > /etc/made"]].concat());
    assert_eq!(classes(&report(&lab, "one", "container:web"), "/etc/made"), ["host-name"]);
    lab.ok("store", &["rm", "web"]);
}

/// The record of a build is there as long as its image.
#[test]
fn records_go_with_their_images() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "base");
    lab.write("ctx/Dockerfile", "FROM base\nRUN head -c 16 /dev/urandom > /salt\n");
    for name in ["one", "two"] {
        lab.build("store", "ctx", &["-t", name, "--no-cache"]);
    }
    let records = || crate::support::children(&lab.path("store/image-builds")).len();
    assert_eq!(records(), 2);
    lab.ok("store", &["gc"]);
    assert_eq!(records(), 2);
    assert_eq!(report(&lab, "one", "two")["cause"]["reason"], "not-deterministic");
    lab.ok("store", &["rmi", "one"]);
    lab.ok("store", &["gc", "--all"]);
    assert_eq!(records(), 1, "what no name reaches is gone, and its record");
    lab.ok("store", &["store", "verify"]);
}

#[test]
fn containers_are_compared_as_they_are() {
    let Some(lab) = kernel_lab() else { return };
    lab.base("store", "base");
    lab.ok("store", &["run", "--name", "web", "base", "sh", "-c", "echo new > /etc/new; rm /etc/group"]);
    let ran = lab.run("store", &["diff", "base", "container:web", "--format", "json", "--ignore", "mtime"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let entries = report["images"][0]["entries"].as_array().unwrap();
    let told: Vec<(&str, &str)> =
        entries.iter().map(|e| (e["path"].as_str().unwrap(), e["change"].as_str().unwrap())).collect();
    assert_eq!(told, [("/etc/group", "removed"), ("/etc/new", "added")], "{report:#}");
    // One container alone is told as docker does.
    let own = lab.ok("store", &["diff", "web"]).out;
    assert!(own.contains("A /etc/new\n") && own.contains("D /etc/group\n"), "{own}");
    lab.ok("store", &["rm", "web"]);
}
