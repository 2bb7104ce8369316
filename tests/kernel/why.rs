//! Why a step was done: compared with the nearest earlier record, wherever that is.

use serde_json::Value;

use crate::support::{Lab, kernel_lab};

fn lab(file: &str) -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", file);
    lab.write("ctx/a", "a");
    Some(lab)
}

const TWO: &str = "FROM alpine\nRUN echo one > /one\nRUN echo two > /two\n";

#[test]
fn a_step_that_is_put_in_or_taken_out_is_what_the_others_are_done_for() {
    let Some(lab) = lab(TWO) else { return };
    let first = lab.build("store", "ctx", &[]);
    assert_eq!(first.why("RUN echo one > /one"), "it was never built here");
    lab.write("ctx/Dockerfile", TWO.replace("RUN echo one", "RUN echo new > /new\nRUN echo one"));
    let more = lab.build("store", "ctx", &[]);
    assert!(more.why("RUN echo new > /new").contains("argv was"), "{}", more.why("RUN echo new > /new"));
    assert_eq!(
        more.why("RUN echo one > /one"),
        "the layer of stage0/1 `RUN echo new > /new` is new (compared with what was stage0/1)"
    );
    assert_eq!(
        more.why("RUN echo two > /two"),
        "the layer of stage0/1 `RUN echo new > /new` is new (compared with what was stage0/2)"
    );
    lab.write("ctx/Dockerfile", "FROM alpine\nRUN echo new > /new\nRUN echo two > /two\n");
    let less = lab.build("store", "ctx", &[]);
    assert_eq!(
        less.why("RUN echo two > /two"),
        "the layer of stage0/2 `RUN echo one > /one` above it is gone (compared with what was stage0/3)"
    );
}

#[test]
fn a_checkout_elsewhere_is_compared_with_the_one_that_was_built() {
    let Some(lab) = lab("FROM alpine\nENV A=1\nCOPY a /a\nRUN cat /a > /b\n") else { return };
    lab.build("store", "ctx", &[]);
    lab.write("other/Dockerfile", "FROM alpine\nENV A=2\nCOPY a /a\nRUN cat /a > /b\n");
    lab.write("other/a", "b");
    let built = lab.build("store", "other", &["-t", "app"]);
    let place = lab.path("ctx").display().to_string();
    assert_eq!(
        built.why("COPY a /a"),
        format!("content of a changed: /a changed (compared with stage0/2 of the build of {place})")
    );
    assert_eq!(
        built.why("RUN cat /a > /b"),
        format!("env was \"A=1\", is \"A=2\" (compared with stage0/3 of the build of {place})")
    );
    // The same for programs; the text is what progress said.
    let json = |args: &[&str]| -> Vec<Value> {
        let out = lab.ok("store", &[&["why", "--format=json"], args].concat()).out;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = json(&["app"]);
    assert_eq!(all.len(), 2);
    let [run] = json(&["app", "3"]).try_into().unwrap();
    assert_eq!(run, all[1]);
    assert_eq!((&run["status"], &run["field"]), (&"built".into(), &"run.env".into()));
    assert_eq!((run["was"][0].as_str(), run["is"][0].as_str()), (Some("A=1"), Some("A=2")));
    assert_eq!(run["compared"]["context"], place);
    assert_eq!(run["why"], format!("built because {}", built.why("RUN cat /a > /b")));
    let [whole] = json(&["--fields", "app", "stage0/3"]).try_into().unwrap();
    assert!(whole["fields"].as_array().unwrap().iter().any(|field| field[0] == "run.argv"));
    let ran = lab.run("store", &["why", "app", "7"]);
    assert!(ran.code == 2 && ran.err.contains("its steps are stage0/2, stage0/3"), "{}", ran.err);
}

#[test]
fn every_step_that_is_done_says_why_beside_it() {
    let file = "FROM alpine AS one\nWORKDIR /w\nCOPY a /a\nRUN cat /a\nFROM alpine\nCOPY --from=one /a /b\nRUN echo b\n";
    let Some(lab) = lab(file) else { return };
    let context = lab.path("ctx");
    for (progress, fresh) in [("plain", false), ("tty", true)] {
        let mode = format!("--progress={progress}");
        let mut args = vec!["build", mode.as_str()];
        args.extend(fresh.then_some("--no-cache"));
        args.push(context.to_str().unwrap());
        let err = lab.ok("store", &args).err;
        let reason = if fresh { "the cache was not asked" } else { "it was never built here" };
        assert_eq!(err.matches("because ").count(), 5, "{progress}: {err}");
        assert_eq!(err.matches(reason).count(), 5, "{progress}: {err}");
    }
}

#[test]
fn an_image_is_explained_by_its_own_build() {
    let Some(lab) = lab("FROM alpine\nCOPY a /a\nRUN cat /a > /b\n") else { return };
    lab.build("store", "ctx", &["-t", "app:0"]);
    lab.write("ctx/a", "b");
    lab.build("store", "ctx", &["-t", "app:1"]);
    lab.write("ctx/Dockerfile", "FROM alpine\nCOPY a /a\nRUN cat /a > /c\n");
    lab.build("store", "ctx", &["-t", "app:2"]);
    let why = |args: &[&str]| lab.ok("store", &[&["why"], args].concat()).out;
    let built = |line: &str| format!("stage0/2 `RUN cat /a > /{line}\n");
    assert_eq!(why(&["app:0", "stage0/2"]), built("b` (line 3): built because it was never built here"));
    assert_eq!(
        why(&["app:1", "2"]),
        built("b` (line 3): built because the layer of stage0/1 `COPY a /a` changed")
    );
    assert_eq!(
        why(&["app:2", "2"]),
        built("c` (line 3): built because argv was \"cat /a > /b\", is \"cat /a > /c\"")
    );
    assert_eq!(why(&["stage0/2"]), why(&["app:2", "2"]), "a step alone is that of the last build");
}
