//! Several targets in one build; names, annotations and files about the results; stages done anew on request.

use std::fs;

use serde_json::Value;

use crate::support::{Lab, kernel_lab};

const FILE: &str = "FROM alpine AS deps\nRUN echo deps > /deps\nFROM deps AS app\nCOPY a /app\n\
    FROM deps AS test\nRUN cat /deps > /tested\nFROM alpine AS unneeded\nRUN false\n";

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", FILE);
    lab.write("ctx/a", "a");
    Some(lab)
}

#[test]
fn several_targets_share_their_steps_and_come_out_as_if_built_alone() {
    let Some(lab) = lab() else { return };
    let (ids, facts) = (lab.path("ids"), lab.path("facts.json"));
    let both = lab.build(
        "store",
        "ctx",
        &[
            "--target=Test",
            "--target=app",
            "-t",
            "app=app:1",
            "-t",
            "test=app:test",
            "--iidfile",
            ids.to_str().unwrap(),
            "--metadata-file",
            facts.to_str().unwrap(),
        ],
    );
    let built: Vec<&Value> = both.events.iter().filter(|e| e["event"] == "built").collect();
    assert_eq!(built.iter().map(|e| e["stage"].as_str().unwrap()).collect::<Vec<_>>(), ["test", "app"]);
    assert_eq!(built[1]["names"], serde_json::json!(["app:1"]));
    let mut done = both.with_status("built");
    done.sort();
    assert_eq!(done, ["COPY a /app", "RUN cat /deps > /tested", "RUN echo deps > /deps"]);
    let written = fs::read_to_string(ids).unwrap();
    assert_eq!(
        written.lines().collect::<Vec<_>>(),
        built.iter().map(|e| e["image"].as_str().unwrap()).collect::<Vec<_>>()
    );
    let facts: Value = serde_json::from_slice(&fs::read(facts).unwrap()).unwrap();
    assert_eq!(facts["app"]["image.name"], "app:1");
    assert_eq!(facts["test"]["containerimage.digest"], built[0]["manifest"]);

    // Alone, in a store of its own, each gives the same image; here it is a hit.
    lab.base("other", "alpine");
    for (target, event) in [("test", built[0]), ("app", built[1])] {
        let alone = lab.build("other", "ctx", &["--target", target]);
        assert_eq!(alone.manifest(), event["manifest"].as_str().unwrap());
        assert_eq!(lab.build("store", "ctx", &["--target", target]).with_status("hit").len(), 2);
    }
    // What is remembered of a target does not depend on its neighbours.
    let app = lab.ok("store", &["why", "app:1"]).out;
    assert!(app.contains("COPY a /app") && !app.contains("/tested"), "{app}");
}

#[test]
fn outputs_of_several_targets_say_which() {
    let Some(lab) = lab() else { return };
    let out = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let spec = |target: &str| format!("type=local,target={target},dest={}", out(target));
    lab.build("store", "ctx", &["--target=app,test", "-o", &spec("app"), "-o", &spec("test")]);
    assert!(lab.path("app/app").exists() && !lab.path("app/tested").exists());
    assert_eq!(fs::read_to_string(lab.path("test/tested")).unwrap(), "deps\n");
    let context = out("ctx");
    for (args, wanted) in [
        (&["--target=app,test", "-t", "x"][..], "write --tag app=x"),
        (&["--target=app,test", "-t", "ap=x"], "did you mean app?"),
        (&["--target=app,test", "-o", "out"], "add target=app"),
        (&["--target=app", "-o", "type=local,dest=out,target=test"], "--target test"),
        (&["--target=app,tset"], "did you mean test?"),
        (&["--no-cache-filter=dep"], "no stage dep; did you mean deps?"),
        (&["--no-cache-filter=deps", "--no-cache"], "cannot be used with"),
        (&["--annotation", "index:a=b"], "no index"),
        (&["--annotation", "manifests:a=b"], "not manifest"),
        (&["--annotation", "a"], "NAME=VALUE"),
    ] {
        let args = [&["build"], args, &[context.as_str()]].concat();
        let ran = lab.run("store", &args);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{args:?}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn a_filter_does_the_steps_of_its_stages_again() {
    let Some(lab) = lab() else { return };
    let first = lab.build("store", "ctx", &["--target=app"]);
    let again = lab.build("store", "ctx", &["--target=app", "--no-cache-filter=DEPS"]);
    assert_eq!(again.with_status("built"), ["RUN echo deps > /deps"]);
    assert_eq!(again.with_status("hit"), ["COPY a /app"]);
    assert_eq!(first.manifest(), again.manifest());
}

#[test]
fn annotations_are_in_the_manifest_and_travel_with_it() {
    let Some(lab) = lab() else { return };
    let plain = lab.build("store", "ctx", &["--target=app"]);
    let layout = lab.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", layout.display());
    let args = ["--target=app", "--annotation", "a.b=c=d", "--annotation", "manifest:e=f", "-o", &spec];
    let built = lab.build("store", "ctx", &args);
    assert_eq!(plain.image(), built.image());
    assert_ne!(plain.manifest(), built.manifest());
    let read =
        |path: &str| -> Value { serde_json::from_slice(&fs::read(layout.join(path)).unwrap()).unwrap() };
    let digest = read("index.json")["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = read(&format!("blobs/{}", digest.replace(':', "/")));
    assert_eq!(manifest["annotations"], serde_json::json!({ "a.b": "c=d", "e": "f" }));
}
