//! `lith image copy` between all kinds of places, and what skopeo finds at each of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use lith::digest::BlobDigest;

use crate::registries::{Kind, Server};
use crate::support::{Lab, Ran, has, kernel_lab, skip};

fn skopeo(args: &[&str]) -> String {
    let ran = Ran::of(Command::new("skopeo").args(args).output().unwrap());
    assert_eq!(ran.code, 0, "skopeo {args:?}\n{}{}", ran.out, ran.err);
    ran.out.trim().to_owned()
}

/// The digest of the very bytes that skopeo reads as the manifest of a place.
fn seen(place: &str) -> String {
    let raw =
        Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", place]).output().unwrap();
    assert!(raw.status.success(), "{place}: {}", String::from_utf8_lossy(&raw.stderr));
    BlobDigest::of(&raw.stdout).to_string()
}

#[track_caller]
fn copy(lab: &Lab, store: &str, from: &str, to: &str) -> String {
    let args = ["image", "copy", "-q", "--src-plain-http", "--dest-plain-http", from, to];
    lab.ok(store, &args).out.trim().to_owned()
}

#[track_caller]
fn digest(lab: &Lab, store: &str, place: &str) -> String {
    lab.ok(store, &["image", "digest", "--plain-http", place]).out.trim().to_owned()
}

#[track_caller]
fn id(lab: &Lab, store: &str, name: &str) -> String {
    let shown = lab.ok(store, &["image", "inspect", name]).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown[0]["Id"].as_str().unwrap().to_owned()
}

#[test]
fn every_place_gives_the_same_image_to_every_other() {
    let Some(lab) = kernel_lab() else { return };
    if !has("skopeo") {
        return skip("needs skopeo").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    lab.base("a", "base");
    lab.write("ctx/Dockerfile", "FROM base\nCOPY one /one\nRUN head -c 3000000 /dev/urandom > /big\n");
    lab.write("ctx/one", "one\n");
    lab.build("a", "ctx", &["-t", "built"]);
    // With packed layers, as images of registries have them.
    lab.ok("a", &["push", "--plain-http", "built", &server.name("seed:1")]);
    let seed = format!("docker://{}", server.name("seed:1"));
    let own = digest(&lab, "none", &seed);
    assert_eq!(seen(&seed), own);
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let places = |round: &str| {
        [
            format!("store:{round}"),
            format!("docker://{}", server.name(&format!("{round}/app:1"))),
            format!("oci:{}:1", path(&format!("{round}.layout"))),
            format!("oci-archive:{}:example.com/app:1", path(&format!("{round}.tar"))),
        ]
    };
    let first = places("first");
    for to in &first {
        assert_eq!(copy(&lab, "s", &seed, to), own, "{to}");
    }
    for (number, from) in first.iter().enumerate() {
        let round = format!("round{number}");
        for to in &places(&round) {
            assert_eq!(copy(&lab, "s", from, to), own, "{from} {to}");
            assert_eq!(digest(&lab, "s", to), own, "{to}");
            if !to.starts_with("store:") {
                assert_eq!(seen(to), own, "skopeo at {to}");
            }
        }
        let archive =
            format!("docker-archive:{}:example.com/app:{number}", path(&format!("{number}.docker")));
        assert_eq!(copy(&lab, "s", from, &archive), id(&lab, "a", "built"), "{from}");
    }
    // Who reads a layout or a registry is none the wiser about where it came from: all are the same bytes.
    let archives = [0, 1, 2, 3].map(|n| fs::read(path(&format!("round{n}.tar"))).unwrap());
    assert!(archives.iter().all(|bytes| *bytes == archives[0]));
    let dockers = [0, 1, 2, 3].map(|n| fs::read(path(&format!("{n}.docker"))).unwrap().len());
    assert!(dockers.iter().all(|len| *len == dockers[0]));
    assert_eq!(lab.ok("s", &["run", "--rm", "round2", "cat", "/one"]).out, "one\n");
    lab.ok("s", &["store", "verify"]);
}

/// A docker archive has no manifest, so its image is known by its id; others' archives give theirs.
#[test]
fn docker_archives_of_both_are_read_by_both() {
    let Some(lab) = kernel_lab() else { return };
    if !has("skopeo") {
        return skip("needs skopeo").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY one /one\n");
    lab.write("ctx/one", vec![7; 2_000_000]);
    lab.build("a", "ctx", &["-t", "app"]);
    let built = id(&lab, "a", "app");
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    lab.ok("a", &["push", "--plain-http", "app", &server.name("app:1")]);
    let remote = format!("docker://{}", server.name("app:1"));
    let ours = format!("docker-archive:{}:app:1", path("ours"));
    assert_eq!(copy(&lab, "none", &remote, &ours), built);
    // Packed layers were unpacked: it is what `lith save` writes of the same.
    lab.ok("a", &["tag", "app", "app:1"]);
    lab.ok("a", &["save", "-o", &path("saved"), "app:1"]);
    assert_eq!(fs::read(path("ours")).unwrap(), fs::read(path("saved")).unwrap());
    let config = Command::new("skopeo").args(["inspect", "--config", "--raw", &ours]).output().unwrap();
    assert_eq!(BlobDigest::of(&config.stdout).to_string(), built, "skopeo reads the config that we wrote");
    skopeo(&["copy", "-q", &ours, &format!("oci:{}:x", path("read"))]);
    // And the other way: what skopeo writes, with the manifest that `load` makes of it.
    skopeo(&[
        "copy",
        "-q",
        "--src-tls-verify=false",
        &remote,
        &format!("docker-archive:{}:app:2", path("theirs")),
    ]);
    let theirs = format!("docker-archive:{}", path("theirs"));
    copy(&lab, "b", &theirs, "store:app");
    assert_eq!(id(&lab, "b", "app"), built);
    lab.ok("c", &["load", &path("theirs")]);
    assert_eq!(digest(&lab, "c", "app:2"), digest(&lab, "none", &theirs));
    let pushed = copy(&lab, "none", &theirs, &format!("docker://{}", server.name("app:2")));
    assert_eq!(seen(&format!("docker://{}", server.name("app:2"))), pushed);
    lab.ok("d", &["pull", "--plain-http", &server.name("app:2")]);
    assert_eq!(id(&lab, "d", &server.name("app:2")), built);
    assert!(!Path::new(&path("none")).exists(), "copies between other places open no store");
}

#[test]
fn an_index_goes_whole_or_one_of_its_images_does() {
    let Some(lab) = kernel_lab() else { return };
    if !has("skopeo") {
        return skip("needs skopeo").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    lab.write("ctx/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    lab.write("ctx/amd64", "amd64\n");
    lab.write("ctx/arm64", "arm64\n");
    let build =
        ["--platform", "linux/amd64,linux/arm64", "--provenance", "--annotation", "index:a=b", "-t", "two"];
    lab.build("a", "ctx", &build);
    let own = digest(&lab, "a", "two");
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let remote = format!("docker://{}", server.name("two:1"));
    assert_eq!(copy(&lab, "a", "two", &remote), own);
    assert_eq!(seen(&remote), own);
    // The registry lists no referrers, so the tag that stands in for that has them.
    let said = |place: &str| lab.ok("none", &["attest", "ls", "--plain-http", place]).out.lines().count();
    assert_eq!(said(&remote), 3);
    // Within the registry everything is mounted.
    server.asked();
    let second = format!("docker://{}", server.name("other/two:1"));
    assert_eq!(copy(&lab, "none", &remote, &second), own);
    let asked = server.asked();
    assert!(!asked.iter().any(|line| line.starts_with("GET") && line.contains("/blobs/")), "{asked:#?}");
    assert_eq!((seen(&second), said(&second)), (own.clone(), 3));
    // Skopeo takes it on with all images, and gives it back.
    let layout = format!("oci:{}:two", path("skopeo"));
    skopeo(&["copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", &second, &layout]);
    assert_eq!(digest(&lab, "none", &layout), own);
    assert_eq!(copy(&lab, "b", &layout, "store:two"), own);
    lab.ok("b", &["store", "verify"]);
    // One of them.
    let arm = lab.ok("a", &["image", "digest", "--platform", "linux/arm64", "two"]).out.trim().to_owned();
    let one = format!("oci:{}:arm", path("one"));
    let args = ["image", "copy", "--src-plain-http", "--platform", "linux/arm64", &second, &one];
    assert_eq!(lab.ok("none", &args).out.trim(), arm);
    assert_eq!((seen(&one), said(&one)), (arm, 2));
    assert!(!Path::new(&path("none")).exists());
}
