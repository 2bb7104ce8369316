//! Images for several platforms in one build: an index of one manifest for each.

mod names;
mod outputs;

use std::fs;

use serde_json::Value;

use crate::platforms::{arm_interpreter, arm_program, build_for};
use crate::support::{Built, Lab, busybox_path, kernel_lab};

const THREE: &str = "linux/arm64,linux/amd64,linux/arm/v7";
/// A stage on the build's platform that knows nothing of the target's, and files of each platform's own.
const FILE: &str = "FROM --platform=$BUILDPLATFORM alpine AS build\nCOPY a /src\nRUN cat /src > /made\n\
    FROM scratch AS app\nARG TARGETARCH\nCOPY --from=build /made /made\nCOPY file-$TARGETARCH /arch\n";

fn lab() -> Option<Lab> {
    let lab = kernel_lab()?;
    lab.base("store", "alpine");
    lab.write("ctx/Dockerfile", FILE);
    lab.write("ctx/a", "a");
    for architecture in ["amd64", "arm64", "arm", "riscv64"] {
        lab.write(&format!("ctx/file-{architecture}"), architecture);
    }
    Some(lab)
}

/// The last event of a build.
fn event(built: &Built) -> &Value {
    built.events.iter().rfind(|event| event["event"] == "built").unwrap()
}

/// A document of a layout.
fn blob(layout: &std::path::Path, digest: &Value) -> Value {
    let path = layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn platforms_share_what_is_the_same_and_come_out_as_if_built_alone() {
    let Some(lab) = lab() else { return };
    let built = lab.build("store", "ctx", &["--platform", THREE, "-t", "app"]);
    let ended = |text: &str| {
        let of = |event: &&Value| event["event"] == "ended" && event["text"] == text;
        built.events.iter().filter(of).map(|event| event["step"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let host = lith::platform::Platform::host().to_string();
    assert_eq!(ended("RUN cat /src > /made"), [format!("{host} build/2")]);
    let mut own = ended("COPY file-$TARGETARCH /arch");
    own.sort();
    assert_eq!(own, ["linux/amd64 app/3", "linux/arm/v7 app/3", "linux/arm64 app/3"]);

    let event = event(&built);
    assert_eq!(event["image"], event["manifest"], "both are the index");
    lab.base("other", "alpine");
    for (platform, one) in THREE.split(',').zip(event["platforms"].as_array().unwrap()) {
        assert_eq!(one["platform"], platform);
        let alone = lab.build("other", "ctx", &["--platform", platform]);
        assert_eq!(alone.manifest(), one["manifest"].as_str().unwrap(), "{platform}");
        // What was built together is known to who builds alone, and the other way round.
        let again = lab.build("store", "ctx", &["--platform", platform]);
        assert_eq!(again.with_status("built"), [""; 0], "{platform}");
    }
    let other = lab.build("other", "ctx", &["--platform", THREE]);
    assert_eq!(other.with_status("built"), [""; 0]);
    assert_eq!(other.manifest(), event["manifest"].as_str().unwrap(), "the same in every store");
}

#[test]
fn a_stage_that_looks_at_the_target_is_one_for_each() {
    let Some(lab) = lab() else { return };
    lab.write(
        "ctx/Dockerfile",
        "FROM --platform=$BUILDPLATFORM alpine AS build\nRUN echo shared > /shared\nARG TARGETARCH\n\
         RUN echo $TARGETARCH > /made\nFROM scratch\nCOPY --from=build /shared /made /\n",
    );
    let built = lab.build("store", "ctx", &["--platform=linux/arm64,linux/riscv64", "-t", "x"]);
    let host = lith::platform::Platform::host().to_string();
    let mut names: Vec<&str> = built
        .events
        .iter()
        .filter(|e| {
            e["event"] == "ended" && e["status"] == "built" && e["text"] == "RUN echo $TARGETARCH > /made"
        })
        .map(|e| e["step"].as_str().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [format!("{host}->arm64 build/3"), format!("{host}->riscv64 build/3")]);
    // What comes before is done once: the other stage finds it done.
    let shared = built.with_status("built").into_iter().filter(|text| text == "RUN echo shared > /shared");
    assert_eq!(shared.count(), 1);
    let tree = lab.path("out");
    let spec = format!("type=local,dest={}", tree.display());
    lab.build("store", "ctx", &["--platform=linux/arm64,linux/riscv64", "-o", &spec]);
    for architecture in ["arm64", "riscv64"] {
        let made = fs::read_to_string(tree.join(format!("linux_{architecture}/made"))).unwrap();
        assert_eq!(made.trim(), architecture);
    }
}

#[test]
fn plan_and_why_name_the_platform_of_each_step() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    let context = context.to_str().unwrap();
    let host = lith::platform::Platform::host().to_string();
    let plan = lab.ok("store", &["plan", "--platform=linux/arm64,linux/riscv64", context]).out;
    assert_eq!(plan.matches(&format!("{host} build from alpine")).count(), 1, "{plan}");
    for platform in ["linux/arm64", "linux/riscv64"] {
        assert!(plan.contains(&format!("{platform} app from scratch  (target)")), "{plan}");
    }
    assert_eq!(plan.matches(&format!("needs {host} build")).count(), 2, "{plan}");
    let json =
        lab.ok("store", &["plan", "--format=json", "--platform=linux/arm64,linux/riscv64", context]).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["platform"], "linux/arm64");

    lab.build("store", "ctx", &["--platform=linux/arm64,linux/riscv64", "-t", "app"]);
    let why = lab.ok("store", &["why", "app"]).out;
    for step in ["linux/arm64 app/3", "linux/riscv64 app/3", &format!("{host} build/2")] {
        assert!(why.contains(step), "{step}: {why}");
    }
    let one = lab.ok("store", &["why", "linux/riscv64 app/3"]).out;
    assert!(one.starts_with("linux/riscv64 app/3 `COPY") && one.lines().count() == 1, "{one}");
    // A step is compared with the same step of the same platform.
    lab.write("ctx/file-riscv64", "changed");
    let built = lab.build("store", "ctx", &["--platform=linux/arm64,linux/riscv64", "-t", "app"]);
    assert_eq!(built.with_status("built"), ["COPY file-$TARGETARCH /arch"]);
    let done = built.events.iter().find(|e| e["event"] == "ended" && e["status"] == "built").unwrap();
    assert_eq!(done["step"], "linux/riscv64 app/3");
    assert!(done["why"].as_str().unwrap().contains("content of file-riscv64 changed"), "{done}");
}

#[test]
fn what_cannot_run_is_said_for_each_platform_before_anything_is_done() {
    let Some(lab) = kernel_lab() else { return };
    lab.write("ctx/busybox-arm64", arm_program());
    fs::copy(busybox_path().unwrap(), lab.path("ctx/busybox-amd64")).unwrap();
    fs::copy(busybox_path().unwrap(), lab.path("ctx/busybox-riscv64")).unwrap();
    lab.write(
        "ctx/Dockerfile",
        "FROM scratch AS app\nARG TARGETARCH\nCOPY --chmod=755 busybox-$TARGETARCH /busybox\n\
         RUN [\"/busybox\", \"echo\", \"from amd\"]\n",
    );
    let ran = build_for(&lab, "a", "", "linux/amd64,linux/arm64,linux/riscv64");
    assert_eq!(ran.code, 3, "{}", ran.err);
    for platform in ["linux/arm64", "linux/riscv64"] {
        let line = format!(
            "step {platform} app/3 (line 4) `RUN [\"/busybox\", \"echo\", \"from amd\"]`: {platform} programs cannot run"
        );
        assert!(ran.err.contains(&line), "{}", ran.err);
    }
    assert!(ran.err.contains("qemu-user-static") && !ran.err.contains("BUILT"), "{}", ran.err);
    let Some(arm) = arm_interpreter("F") else { return };
    let ran = build_for(&lab, "a", &arm, "linux/amd64,linux/arm64,linux/riscv64");
    assert!(ran.code == 3 && !ran.err.contains("linux/arm64 programs"), "{}", ran.err);
    let ran = build_for(&lab, "a", &arm, "linux/amd64,linux/arm64");
    assert!(ran.code == 0 && ran.err.contains("from arm") && ran.err.contains("from amd"), "{}", ran.err);
    // What is in the cache needs no interpreter.
    let ran = build_for(&lab, "a", "", "linux/amd64,linux/arm64");
    assert!(ran.code == 0 && ran.err.contains("index    sha256:"), "{}", ran.err);
}

#[test]
fn an_index_tells_no_lies() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    let context = context.to_str().unwrap();
    lab.write("ctx/Dockerfile", "FROM --platform=linux/amd64 scratch\nCOPY a /\n");
    let args = ["build", "--platform=linux/amd64,linux/arm64", context];
    let ran = lab.run("store", &args);
    assert!(ran.code == 2 && ran.err.contains("Dockerfile:1"), "{}", ran.err);
    assert!(ran.err.contains("the image for linux/arm64 would be for linux/amd64"), "{}", ran.err);
    // The base is there for one platform alone.
    lab.write("ctx/Dockerfile", "FROM alpine\nCOPY a /\n");
    let ran = lab.run("store", &args);
    assert!(ran.code == 2 && ran.err.contains("bring its base for linux/arm64"), "{}", ran.err);
}

#[test]
fn a_kdl_file_makes_the_same_index() {
    let Some(lab) = lab() else { return };
    lab.write(
        "ctx/Dockerfile",
        "FROM --platform=$BUILDPLATFORM alpine AS build\nRUN echo x > /made\nFROM scratch\nCOPY --from=build /made /\n",
    );
    let platforms = "--platform=linux/arm64,linux/riscv64";
    let built = lab.build("store", "ctx", &[platforms]);
    let context = lab.path("ctx");
    let context = context.to_str().unwrap();
    let ran = lab.run("store", &["convert", platforms, context]);
    assert!(ran.code == 2 && ran.err.contains("one platform"), "{}", ran.err);
    let kdl = lab.ok("store", &["convert", "--platform=linux/arm64", context]).out;
    lab.write("kdl/image.kdl", kdl);
    let again = lab.build("store", "kdl", &[platforms]);
    assert_eq!(again.with_status("built"), [""; 0]);
    assert_eq!(again.manifest(), built.manifest());
}

#[test]
fn several_targets_for_several_platforms() {
    let Some(lab) = lab() else { return };
    lab.write("ctx/Dockerfile", format!("{FILE}FROM app AS more\nCOPY a /more\n"));
    let platforms = "--platform=linux/arm64,linux/riscv64";
    let (app, more) = (lab.path("app"), lab.path("more"));
    let spec =
        |target: &str, dest: &std::path::Path| format!("type=local,target={target},dest={}", dest.display());
    let outputs = [spec("app", &app), spec("more", &more)];
    let args =
        ["--target=more,app", platforms, "-t", "app=app:1", "-t", "more=more:1", "-o", &outputs[0], "-o"];
    let both = lab.build("store", "ctx", &[&args[..], &[outputs[1].as_str()]].concat());
    let events: Vec<&Value> = both.events.iter().filter(|event| event["event"] == "built").collect();
    for (event, target) in events.iter().zip(["more", "app"]) {
        assert_eq!((&event["stage"], &event["names"][0]), (&target.into(), &format!("{target}:1").into()));
        let alone = lab.build("store", "ctx", &["--target", target, platforms]);
        assert_eq!(alone.manifest(), event["manifest"].as_str().unwrap());
    }
    assert!(more.join("linux_riscv64/more").exists() && !app.join("linux_riscv64/more").exists());
    assert_eq!(fs::read_to_string(app.join("linux_arm64/arch")).unwrap(), "arm64");
}
