//! What one machine did, another need not do again: `--cache-to` and `--cache-from`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::registries::{Kind, Server};
use crate::rootless::{Ids, User};
use crate::support::{Built, Lab, children, kernel_lab};

pub const DOCKERFILE: &str = "FROM alpine AS tools
RUN echo tool > /tool && chmod 755 /tool
FROM alpine
RUN head -c 100000 /dev/zero > /first
COPY a /a
WORKDIR /w
RUN cat /a > b
COPY --from=tools /tool /bin/tool
";

/// Steps that make layers: one in `tools`, five in the image.
pub const STEPS: usize = 6;

fn context(lab: &Lab, dir: &str) {
    lab.write(&format!("{dir}/Dockerfile"), DOCKERFILE);
    lab.write(&format!("{dir}/a"), "some text\n");
    lab.base("base", "alpine");
}

/// A build by a machine of its own: a store and a copy of the context that no other has.
#[track_caller]
fn machine(lab: &Lab, name: &str, more: &[&str]) -> Built {
    context(lab, &format!("{name}-ctx"));
    lab.base(name, "alpine");
    lab.build(name, &format!("{name}-ctx"), more)
}

/// How many of an image's layers are in a store, and of how many.
pub fn layers_here(lab: &Lab, store: &str, image: &str) -> (usize, usize) {
    let inspected: Value = serde_json::from_str(&lab.ok(store, &["image", "inspect", image]).out).unwrap();
    let diffs = inspected[0]["RootFS"]["Layers"].as_array().unwrap();
    let is_here =
        |diff: &&Value| lab.path(store).join("blobs/sha256").join(&diff.as_str().unwrap()[7..]).exists();
    (diffs.iter().filter(is_here).count(), diffs.len())
}

/// How many entries a layout has, and the bytes of its blobs.
fn entries(layout: &Path) -> usize {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"].as_array().unwrap().len()
}

fn blobs(layout: &Path) -> BTreeSet<String> {
    let names = children(&layout.join("blobs/sha256")).into_iter();
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn another_machine_does_nothing_again() {
    let Some(lab) = kernel_lab() else { return };
    let first = machine(&lab, "a", &["--cache-to", "type=oci-layout,dest=cache,mode=max"]);
    assert_eq!(first.with_status("built").len(), STEPS);
    assert_eq!(entries(&lab.path("cache")), STEPS);
    let from = ["--cache-from", "type=oci-layout,src=cache,lazy=false"];
    let second = machine(&lab, "b", &from);
    assert_eq!((second.with_status("hit").len(), second.with_status("built").len()), (STEPS, 0));
    assert_eq!(second.manifest(), first.manifest());
    lab.ok("b", &["store", "verify"]);
    // What was brought is the store's own now.
    fs::rename(lab.path("cache"), lab.path("gone")).unwrap();
    assert_eq!(lab.build("b", "b-ctx", &[]).with_status("hit").len(), STEPS);
    // And without it all is done.
    assert_eq!(machine(&lab, "c", &from).with_status("built").len(), STEPS);
    // One file is another: only what stands on it is done, and what takes nothing of that is not.
    fs::rename(lab.path("gone"), lab.path("cache")).unwrap();
    context(&lab, "d-ctx");
    lab.base("d", "alpine");
    lab.write("d-ctx/a", "another text\n");
    let changed = lab.build("d", "d-ctx", &from);
    assert_eq!(changed.with_status("built"), ["COPY a /a", "RUN cat /a > b"]);
    assert_eq!(changed.with_status("hit").len(), STEPS - 2);
    // It is the image that a machine without any cache makes.
    context(&lab, "e-ctx");
    lab.write("e-ctx/a", "another text\n");
    lab.base("e", "alpine");
    assert_eq!(lab.build("e", "e-ctx", &[]).manifest(), changed.manifest());
    // --no-cache asks nobody.
    assert_eq!(lab.build("b", "b-ctx", &["--no-cache", from[0], from[1]]).with_status("hit").len(), 0);
}

#[test]
fn a_registry_keeps_what_machines_did() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    let place = format!("type=registry,ref={},registry.insecure=true", server.name("team/cache"));
    let (from, to) = (["--cache-from", &place], ["--cache-to", &format!("{place},mode=max")]);
    // Nothing is there: each action asks once at most, until it is known that there is no such repository.
    let cold = machine(&lab, "cold", &from);
    assert_eq!(cold.with_status("built").len(), STEPS);
    let asked = server.asked();
    let is_lookup = |line: &&String| line.starts_with("GET ") && line.contains("/manifests/lith-");
    let lists = |asked: &[String]| asked.iter().filter(|line| line.contains("/tags/list")).count();
    let lookups = asked.iter().filter(is_lookup).count();
    assert_eq!((lookups + 1, lists(&asked)), (asked.len(), 1), "{asked:#?}");
    assert!((1..=STEPS).contains(&lookups), "{asked:#?}");
    let first = machine(&lab, "a", &[from, to].concat());
    assert_eq!(first.with_status("built").len(), STEPS);
    server.asked();
    let second = machine(&lab, "b", &from);
    assert_eq!((second.with_status("hit").len(), second.with_status("built").len()), (STEPS, 0));
    assert_eq!((second.manifest(), first.manifest()), (cold.manifest(), cold.manifest()));
    // One request for each record, one for each layer whether it is there, and the table of what a COPY takes from: no
    // layer, as nothing reads one.
    let asked = server.asked();
    let count = |asked: &[String], method: &str| {
        asked.iter().filter(|line| line.starts_with(method) && line.contains("/blobs/")).count()
    };
    assert_eq!(asked.iter().filter(is_lookup).count(), STEPS, "{asked:#?}");
    assert_eq!((count(&asked, "HEAD "), count(&asked, "GET ")), (STEPS, 1), "{asked:#?}");
    assert_eq!(asked.len(), 2 * STEPS + 1, "{asked:#?}");
    assert_eq!(layers_here(&lab, "b", &second.image()), (1, 6), "the base's alone");
    lab.ok("b", &["store", "verify"]);
    // What reads them has them, by then at the latest.
    let tag = second.image();
    assert_eq!(lab.ok("b", &["run", "--rm", &tag, "cat", "/w/b"]).out, "some text\n");
    assert_eq!(count(&server.asked(), "GET "), STEPS - 1, "those of the image");
    lab.ok("b", &["store", "verify"]);
    // What is here already is asked of nobody, and written nowhere again.
    assert_eq!(lab.build("b", "b-ctx", &from).with_status("hit").len(), STEPS);
    assert_eq!(server.asked(), Vec::<String>::new());
    lab.build("b", "b-ctx", &to);
    let asked = server.asked();
    assert!(asked.iter().all(|line| !line.starts_with("PUT") && !line.starts_with("POST")), "{asked:#?}");
    // One file is another.
    context(&lab, "c-ctx");
    lab.base("c", "alpine");
    lab.write("c-ctx/a", "another text\n");
    let changed = lab.build("c", "c-ctx", &from);
    assert_eq!(changed.with_status("built"), ["COPY a /a", "RUN cat /a > b"]);
    // One that is gone is said once, and the build goes on without it.
    drop(server);
    context(&lab, "d-ctx");
    lab.base("d", "alpine");
    let alone = lab.build("d", "d-ctx", &from);
    assert_eq!((alone.with_status("built").len(), alone.manifest()), (STEPS, cold.manifest()));
    let warned = alone.events.iter().filter(|event| event["event"] == "warning");
    assert_eq!(
        warned.filter(|event| event["message"].as_str().unwrap().contains("not asked again")).count(),
        1
    );
}

#[test]
fn what_is_there_is_not_written_again_and_modes_say_what_is() {
    let Some(lab) = kernel_lab() else { return };
    machine(&lab, "a", &["--cache-to", "type=local,dest=min"]);
    assert_eq!(entries(&lab.path("min")), STEPS - 1, "the step of the other stage is in no image");
    // Hits are written as well, where they are missing.
    let args = ["build", "a-ctx", "--cache-to", "type=local,dest=max,mode=max"];
    let ran = lab.ok("a", &args);
    assert!(ran.err.contains(&format!("--cache-to: {STEPS} records and ")), "{}", ran.err);
    let whole = blobs(&lab.path("max"));
    let ran = lab.ok("a", &args);
    assert!(!ran.err.contains("--cache-to"), "{}", ran.err);
    // A machine that did all itself has nothing to add: its layers are the same.
    machine(&lab, "b", &["--cache-to", "type=local,dest=max,mode=max"]);
    assert_eq!(blobs(&lab.path("max")), whole);
    assert_eq!(entries(&lab.path("max")), STEPS);
    // Another parent's record goes beside.
    context(&lab, "c-ctx");
    lab.base("c", "alpine");
    lab.write("c-ctx/a", "another text\n");
    lab.build("c", "c-ctx", &["--cache-to", "type=local,dest=max,mode=max"]);
    assert_eq!(entries(&lab.path("max")), STEPS + 1, "a copy of other bytes has a key of its own");
    for (store, text) in [("d", "some text\n"), ("e", "another text\n")] {
        lab.base(store, "alpine");
        lab.write("f-ctx/Dockerfile", DOCKERFILE);
        lab.write("f-ctx/a", text);
        let built = lab.build(store, "f-ctx", &["--cache-from", "type=local,src=max"]);
        assert_eq!(built.with_status("hit").len(), STEPS, "{text}");
    }
}

#[test]
fn users_take_what_root_wrote() {
    let Some(lab) = kernel_lab() else { return };
    let first = machine(&lab, "a", &["--cache-to", "type=local,dest=cache,mode=max"]);
    for (tag, ids) in [("sharer", Ids::Range), ("shares", Ids::Single)] {
        let Some(user) = User::new(tag, ids) else { return };
        user.base("alpine");
        let (context, from) = (lab.path("a-ctx"), format!("type=local,src={}", lab.path("cache").display()));
        let args = ["build", "--progress=json", "--cache-from", &from, context.to_str().unwrap()];
        let built = Built::of(&user.ok(&args).out);
        assert_eq!(built.with_status("hit").len(), STEPS, "{ids:?}");
        assert_eq!(built.manifest(), first.manifest(), "{ids:?}");
    }
}

/// Every harm that somebody may do to a layout, and what is said of it.
#[test]
fn a_poisoned_or_damaged_place_is_a_miss_with_a_warning() {
    let Some(lab) = kernel_lab() else { return };
    let first = machine(&lab, "a", &["--cache-to", "type=local,dest=cache"]);
    let cache = lab.path("cache");
    let index: Value = serde_json::from_slice(&fs::read(cache.join("index.json")).unwrap()).unwrap();
    let manifests: Vec<Value> = index["manifests"].as_array().unwrap().clone();
    let blob =
        |digest: &Value| format!("blobs/sha256/{}", digest.as_str().unwrap().split_once(':').unwrap().1);
    let layer_of = |manifest: &Value| -> String {
        let bytes = fs::read(cache.join(blob(&manifest["digest"]))).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        blob(&manifest["layers"][0]["digest"])
    };
    let (one, two) = (layer_of(&manifests[0]), layer_of(&manifests[1]));
    let harm_of = |name: &str, more: &[&str], harm: &dyn Fn(&Path), said: &str| {
        let copy = lab.path(&format!("cache-{name}"));
        let copied = std::process::Command::new("cp").arg("-a").args([&cache, &copy]).status().unwrap();
        assert!(copied.success());
        harm(&copy);
        let (lazy, more) = more.split_first().unwrap();
        let from = format!("type=local,src={}{lazy}", copy.display());
        context(&lab, "b-ctx");
        lab.base(name, "alpine");
        let build = ["build", "--progress=json", "--cache-from", &from, "b-ctx"];
        let ran = lab.ok(name, &[&build, more].concat());
        let built = Built::of(&ran.out);
        assert_eq!(built.manifest(), first.manifest(), "{name}");
        assert!(!built.with_status("built").is_empty(), "{name}: nothing was done again");
        let warned: Vec<&str> = ran.out.lines().filter(|line| line.contains("warning")).collect();
        assert!(warned.iter().any(|line| line.contains(said)), "{name}: {said:?} in {warned:#?}");
        lab.ok(name, &["store", "verify"]);
    };
    let harm = |name: &str, harm: &dyn Fn(&Path), said: &str| harm_of(name, &[""], harm, said);
    let write = |path: &Path, bytes: &[u8]| {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).unwrap();
    };
    harm(
        "short",
        &|dir| write(&dir.join(&one), &fs::read(dir.join(&one)).unwrap()[..20]),
        "of 110 bytes is not there",
    );
    harm("missing", &|dir| fs::remove_file(dir.join(&one)).unwrap(), "is not used");
    harm("swapped", &|dir| fs::rename(dir.join(&two), dir.join(&one)).unwrap(), "is not used");
    let retag = |dir: &Path, change: &dyn Fn(&mut Vec<Value>)| {
        let mut index = index.clone();
        change(index["manifests"].as_array_mut().unwrap());
        write(&dir.join("index.json"), &serde_json::to_vec(&index).unwrap());
    };
    // Replayed for another key.
    let replay = |all: &mut Vec<Value>| {
        let tags: Vec<Value> = all.iter().map(|entry| entry["annotations"].clone()).collect();
        for (at, entry) in all.iter_mut().enumerate() {
            entry["annotations"] = tags[(at + 1) % tags.len()].clone();
        }
    };
    harm("replayed", &|dir| retag(dir, &replay), "it is of the action");
    // A record that says another layer is what came of its action: the blob is whole, and is not that.
    let forge = |dir: &Path| {
        let path = dir.join(blob(&manifests[0]["digest"]));
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let other = fs::read(dir.join(&two)).unwrap();
        manifest["layers"][0]["digest"] = Value::from(format!("sha256:{}", two.rsplit('/').next().unwrap()));
        manifest["layers"][0]["size"] = other.len().into();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest = lith::digest::BlobDigest::of(&bytes);
        write(&dir.join(format!("blobs/sha256/{}", digest.hex())), &bytes);
        retag(dir, &|all| {
            all[0]["digest"] = digest.to_string().into();
            all[0]["size"] = bytes.len().into();
        });
    };
    harm_of("forged", &[",lazy=false"], &forge, "unpacks to");
    // Where something reads it, the build finds out and makes it itself.
    harm_of("forged-read", &["", "-o", "type=local,dest=out"], &forge, "unpacks to");
    harm(
        "garbage",
        &|dir| {
            let bytes = b"{\"schemaVersion\":2}";
            let digest = lith::digest::BlobDigest::of(bytes);
            write(&dir.join(format!("blobs/sha256/{}", digest.hex())), bytes);
            retag(dir, &|all| all[0]["digest"] = digest.to_string().into());
        },
        "it is no manifest",
    );
    harm("rotten", &|dir| write(&dir.join(blob(&manifests[0]["digest"])), b"{}"), "is damaged");
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let Some(lab) = kernel_lab() else { return };
    context(&lab, "ctx");
    lab.base("store", "alpine");
    let refused = |more: &[&str], code: i32, says: &str| {
        let ran = lab.run("store", &[&["build", "-q"], more, &["ctx"]].concat());
        assert_eq!(ran.code, code, "{more:?} {}", ran.err);
        assert!(ran.err.contains(says), "{more:?}: {says:?} in {}", ran.err);
    };
    refused(&["--cache-from", "cache"], 2, "not of the form KEY=VALUE");
    refused(&["--cache-to", "type=local,src=cache"], 2, "src is no option here");
    lab.write("file", "");
    refused(&["--cache-from", "type=local,src=file"], 2, "file");
    lab.write("bad/index.json", "[]");
    refused(&["--cache-from", "type=local,src=bad"], 2, "bad");
    // The image is made all the same.
    refused(&["--cache-to", "type=local,dest=file/x", "-t", "made"], 1, "--cache-to");
    lab.ok("store", &["image", "inspect", "made"]);
    let ran = lab.ok("store", &["build", "--cache-to", "type=local,dest=file/x,ignore-error=true", "ctx"]);
    assert!(ran.err.contains("warning: --cache-to"), "{}", ran.err);
    // A place that is not there yet is empty.
    lab.ok("store", &["build", "-q", "--cache-from", "type=local,src=none", "ctx"]);
}
