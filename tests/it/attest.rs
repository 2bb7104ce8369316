//! What is said of images: kept with them, sent with them, read and not believed.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::fs;

use lith::digest::BlobDigest;
use lith::oci::Descriptor;
use lith::oci::media::MediaType;
use serde_json::{Value, json};

use crate::support::Lab;
use crate::support::registry::{FakeRegistry, INDEX, MANIFEST, Manners};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";

/// A context whose image needs no process.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write(
        "ctx/Dockerfile",
        "FROM scratch\nARG A\nARG TARGETARCH\nCOPY Dockerfile /f\nLABEL arch=$TARGETARCH\n",
    );
    lab
}

/// The lines of `lith attest ls`.
#[track_caller]
fn listed(lab: &Lab, store: &str, more: &[&str]) -> Vec<Value> {
    let ran = lab.ok(store, &[&["attest", "ls", "--format", "json"], more].concat());
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same in an order that no registry chooses.
#[track_caller]
fn sorted(lab: &Lab, store: &str, more: &[&str]) -> Vec<Value> {
    let mut lines = listed(lab, store, more);
    lines.sort_by_key(|line| line["digest"].to_string());
    lines
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap()).collect()
}

/// A statement as it is printed; its digest is the one that is listed.
#[track_caller]
fn shown(lab: &Lab, store: &str, more: &[&str]) -> (Value, String) {
    let out = lab.ok(store, &[&["attest", "show"], more].concat()).out;
    (serde_json::from_str(&out).unwrap(), BlobDigest::of(out.as_bytes()).to_string())
}

#[track_caller]
fn digest(lab: &Lab, store: &str, more: &[&str]) -> String {
    lab.ok(store, &[&["image", "digest"], more].concat()).out.trim().to_owned()
}

fn subject(statement: &Value) -> String {
    format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap())
}

#[test]
fn statements_stay_with_the_image_and_go_with_it() {
    let lab = lab();
    let build = |more: &[&str]| lab.ok("s", &[&["build", "-t", "app", "ctx"], more].concat());
    build(&[]);
    assert_eq!(listed(&lab, "s", &["app"]), Vec::<Value>::new());
    build(&["--provenance", "--sbom"]);
    let first = listed(&lab, "s", &["app"]);
    assert_eq!(kinds(&first), [PROVENANCE, SPDX]);
    let manifest = digest(&lab, "s", &["app"]);
    for line in &first {
        let (statement, own) = shown(&lab, "s", &["app", "--type", line["type"].as_str().unwrap()]);
        assert_eq!(line["digest"], own);
        assert_eq!(
            (subject(&statement), line["subject"].as_str().unwrap()),
            (manifest.clone(), manifest.as_str())
        );
        assert_eq!(line["platform"], lith::platform::Platform::host().to_string());
    }
    let ran = lab.run("s", &["attest", "show", "app"]);
    assert!(ran.code == 2 && ran.err.contains("--type") && ran.err.contains(SPDX), "{}", ran.err);
    // The newest of each kind.
    build(&["--provenance=max", "--sbom=cyclonedx"]);
    let second = listed(&lab, "s", &["app"]);
    assert_eq!(kinds(&second), [SPDX, PROVENANCE, CYCLONEDX]);
    assert_ne!(second[1]["digest"], first[0]["digest"]);
    let ran = lab.run("s", &["attest", "show", "app", "--type", "sbom"]);
    assert!(ran.code == 2 && ran.err.contains("several"), "{}", ran.err);
    let by_digest = second[2]["digest"].as_str().unwrap();
    assert_eq!(shown(&lab, "s", &["app", "--digest", &by_digest[..20]]).1, by_digest);
    assert_eq!(shown(&lab, "s", &["app", "--type", CYCLONEDX]).1, by_digest);
    // They are the image's for all who look after the store. What was replaced is garbage.
    let blob = |line: &Value| lab.path("s/blobs/sha256").join(&line["digest"].as_str().unwrap()[7..]);
    lab.ok("s", &["gc", "--all"]);
    assert!(!blob(&first[0]).exists() && second.iter().all(|line| blob(line).exists()));
    assert_eq!(listed(&lab, "s", &["app"]), second);
    lab.ok("s", &["store", "verify"]);
    let kept = fs::read(blob(&second[0])).unwrap();
    fs::remove_file(blob(&second[0])).unwrap();
    for more in [&[][..], &["app"]] {
        let ran = lab.run("s", &[&["store", "verify"], more].concat());
        assert!(
            ran.code == 1 && (ran.out + &ran.err).contains(second[0]["digest"].as_str().unwrap()),
            "{more:?}"
        );
    }
    fs::write(blob(&second[0]), b"rotten").unwrap();
    assert_eq!(lab.run("s", &["store", "verify", "app"]).code, 1);
    fs::write(blob(&second[0]), kept).unwrap();
    let record = lab.path("s/attestations").join(&manifest[7..]);
    let bytes = fs::read(&record).unwrap();
    fs::write(&record, b"{").unwrap();
    let ran = lab.run("s", &["store", "verify"]);
    assert!(ran.code == 1 && (ran.out + &ran.err).contains("attestations/"), "{}", ran.code);
    fs::write(&record, bytes).unwrap();
    lab.ok("s", &["store", "verify"]);
    // A second name, then none: nothing is left, and a build without statements has none.
    lab.ok("s", &["tag", "app", "other"]);
    lab.ok("s", &["rmi", "app"]);
    assert_eq!(listed(&lab, "s", &["other"]), second);
    lab.ok("s", &["rmi", "other"]);
    build(&[]);
    assert_eq!(listed(&lab, "s", &["app"]), Vec::<Value>::new());
    lab.ok("s", &["gc", "--all"]);
    assert!(second.iter().all(|line| !blob(line).exists()));
}

/// A push packs layers, so it makes another manifest: what is said is said of that one.
#[test]
fn a_push_takes_statements_along() {
    for referrers in [true, false] {
        let registry = FakeRegistry::start(Manners { referrers, ..Manners::default() });
        let lab = lab();
        lab.ok("s", &["build", "-t", "app", "--provenance", "--sbom", "ctx"]);
        let name = format!("{}/team/app:1", registry.host());
        let at = format!("docker://{name}");
        for compression in ["gzip", "uncompressed"] {
            let ran = lab.ok("s", &["push", "--plain-http", "--compression", compression, "app", &name]);
            let pushed = ran.out.trim().rsplit_once('@').unwrap().1.to_owned();
            assert_eq!(pushed == digest(&lab, "s", &["app"]), compression == "uncompressed");
            assert_eq!(digest(&lab, "none", &["--plain-http", &at]), pushed);
            let lines = sorted(&lab, "none", &["--plain-http", &at]);
            assert_eq!(lines.len(), 2);
            for line in &lines {
                let kind = line["type"].as_str().unwrap();
                let (statement, own) = shown(&lab, "none", &["--plain-http", &at, "--type", kind]);
                assert_eq!(
                    (line["digest"].as_str().unwrap(), subject(&statement)),
                    (own.as_str(), pushed.clone())
                );
            }
            // The same bytes that an output has.
            let output = format!(
                "type=oci,dest={compression}.tar,compression={}",
                compression.replace("uncompressed", "none")
            );
            lab.ok("s", &["build", "--provenance", "--sbom", "-o", &output, "ctx"]);
            assert_eq!(sorted(&lab, "none", &[&format!("oci-archive:{compression}.tar")]), lines);
        }
        // A pull leaves them, a copy takes them, and from there they go on.
        lab.ok("pulled", &["pull", "--plain-http", &name]);
        assert_eq!(sorted(&lab, "pulled", &[&name]), Vec::<Value>::new());
        let lines = sorted(&lab, "none", &["--plain-http", &at]);
        lab.ok("copied", &["image", "copy", "--src-plain-http", &at, "store:app"]);
        assert_eq!(sorted(&lab, "copied", &["app"]), lines);
        lab.ok("copied", &["store", "verify"]);
        lab.ok("copied", &["gc", "--all"]);
        let second = format!("{}/team/second:1", registry.host());
        lab.ok("copied", &["push", "--plain-http", "--compression=uncompressed", "app", &second]);
        assert_eq!(sorted(&lab, "none", &["--plain-http", &format!("docker://{second}")]), lines);
        // Packed anew it is another image, of which only its builder can say the same.
        let packed = ["push", "--plain-http", "--force-compression", "--compression=zstd", "app", &second];
        lab.ok("copied", &packed);
        assert_eq!(
            sorted(&lab, "none", &["--plain-http", &format!("docker://{second}")]),
            Vec::<Value>::new()
        );
        // Without them, where nobody wants them.
        lab.ok("bare", &["image", "copy", "--no-referrers", "--src-plain-http", &at, "app"]);
        assert_eq!(sorted(&lab, "bare", &["app"]), Vec::<Value>::new());
    }
}

/// Images for two platforms in a registry as BuildKit pushes them: what is said of each is in the index.
struct BuildKit {
    registry: FakeRegistry,
    index: BlobDigest,
    /// Of each platform the manifest and its statements.
    images: Vec<(BlobDigest, Vec<String>)>,
}

const REPOSITORY: &str = "kit/app";

impl BuildKit {
    fn new() -> Self {
        let registry = FakeRegistry::start(Manners::default());
        let put = |kind: &str, bytes: &[u8]| {
            registry.put_blob(REPOSITORY, bytes);
            json!(Descriptor::of(MediaType::from(kind), bytes))
        };
        let manifest = |config: Value, layers: Vec<Value>| {
            let text =
                json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
            let bytes = text.to_string().into_bytes();
            registry.put_manifest(REPOSITORY, None, MANIFEST, &bytes);
            json!(Descriptor::of(MediaType::OciManifest, &bytes))
        };
        const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
        let (mut entries, mut said, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for arch in ["amd64", "arm64"] {
            let layer = crate::support::archive::tar_of(&[("f".to_owned(), arch.to_owned())]);
            let rootfs = json!({ "type": "layers", "diff_ids": [BlobDigest::of(&layer)] });
            let config = json!({ "architecture": arch, "os": "linux", "config": {}, "rootfs": rootfs });
            let config = put(CONFIG, config.to_string().as_bytes());
            let mut image = manifest(config, vec![put("application/vnd.oci.image.layer.v1.tar", &layer)]);
            image["platform"] = json!({ "architecture": arch, "os": "linux" });
            let digest = image["digest"].as_str().unwrap().to_owned();
            let statements: Vec<String> = [(PROVENANCE, "p"), (SPDX, "app"), (SPDX, "build stage")]
                .map(|(kind, text)| {
                    let sha256 = digest.strip_prefix("sha256:").unwrap();
                    let names = ["pkg:docker/kit/app@1", "pkg:docker/kit/app@2"];
                    let subject = names.map(|name| json!({ "name": name, "digest": { "sha256": sha256 } }));
                    let statement = json!({
                        "_type": "https://in-toto.io/Statement/v0.1", "predicateType": kind,
                        "subject": subject, "predicate": { "is": format!("{text} for {arch}") },
                    });
                    serde_json::to_string_pretty(&statement).unwrap()
                })
                .into();
            let layers = statements.iter().zip([PROVENANCE, SPDX, SPDX]).map(|(statement, kind)| {
                let mut layer = put("application/vnd.in-toto+json", statement.as_bytes());
                layer["annotations"] = json!({ "in-toto.io/predicate-type": kind });
                layer
            });
            let layers: Vec<Value> = layers.collect();
            let diffs: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
            let config = json!({
                "architecture": "unknown", "os": "unknown", "config": {}, "rootfs": { "type": "layers", "diff_ids": diffs },
            });
            let config = put(CONFIG, config.to_string().as_bytes());
            let mut about = manifest(config, layers);
            about["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
            about["annotations"] = json!({
                "vnd.docker.reference.digest": digest, "vnd.docker.reference.type": "attestation-manifest",
            });
            entries.push(image);
            said.push(about);
            images.push((digest.parse().unwrap(), statements));
        }
        entries.extend(said);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        let index = serde_json::to_string_pretty(&index).unwrap();
        let index = registry.put_manifest(REPOSITORY, Some("1"), INDEX, index.as_bytes());
        Self { registry, index, images }
    }

    fn name(&self) -> String {
        format!("{}/{REPOSITORY}:1", self.registry.host())
    }
}

#[test]
fn what_buildkit_says_is_read_and_travels() {
    let kit = BuildKit::new();
    let lab = Lab::new();
    let at = format!("docker://{}", kit.name());
    let expected: Vec<String> = kit
        .images
        .iter()
        .flat_map(|(_, said)| said.iter().map(|s| BlobDigest::of(s.as_bytes()).to_string()))
        .collect();
    let digests = |lines: &[Value]| -> Vec<String> {
        lines.iter().map(|line| line["digest"].as_str().unwrap().to_owned()).collect()
    };
    let all = listed(&lab, "none", &["--plain-http", &at]);
    assert_eq!(digests(&all), expected);
    assert_eq!(
        (all[0]["platform"].as_str(), all[3]["platform"].as_str()),
        (Some("linux/amd64"), Some("linux/arm64"))
    );
    let of_one = listed(&lab, "none", &["--plain-http", "--platform", "linux/arm64", &at]);
    assert_eq!(digests(&of_one), expected[3..]);
    let show = ["attest", "show", "--plain-http", "--platform", "linux/arm64", "--type", "provenance", &at];
    assert_eq!(lab.ok("none", &show).out, kit.images[1].1[0], "byte for byte");
    // An image alone is pulled without them.
    lab.ok("pulled", &["pull", "--plain-http", "--platform", "linux/arm64", &kit.name()]);
    lab.ok("pulled", &["store", "verify"]);
    // The whole index goes through a store, and out of it byte for byte.
    lab.ok("s", &["image", "copy", "--src-plain-http", &at, "kit"]);
    assert_eq!(listed(&lab, "s", &["kit"]), all);
    lab.ok("s", &["gc", "--all"]);
    lab.ok("s", &["store", "verify"]);
    assert_eq!(digest(&lab, "s", &["kit"]), kit.index.to_string());
    let second = format!("{}/second/app:1", kit.registry.host());
    let pushed = lab.ok("s", &["push", "--plain-http", "--compression=uncompressed", "kit", &second]).out;
    assert!(pushed.trim().ends_with(&kit.index.to_string()), "{pushed}");
    assert_eq!(
        sorted(&lab, "none", &["--plain-http", &format!("docker://{second}")]),
        sorted(&lab, "s", &["kit"])
    );
    // By way of files too, and into a store that has only the images it is an index of these.
    for place in ["oci:layout:1", "oci-archive:kit.tar:1"] {
        let copied = lab.ok("s", &["image", "copy", "kit", place]);
        assert_eq!(copied.out.trim(), kit.index.to_string());
        assert_eq!(listed(&lab, "none", &[place]), all);
    }
    lab.ok("loaded", &["load", "--all-platforms", "-t", "kit", "kit.tar"]);
    let copied = lab.ok("loaded", &["image", "copy", "kit", "oci:loaded-layout:1"]);
    assert!(
        copied.err.contains("a new index") && copied.out.trim() != kit.index.to_string(),
        "{}",
        copied.err
    );
    assert_eq!(listed(&lab, "none", &["oci:loaded-layout:1"]), Vec::<Value>::new());
}

/// C11: whoever may write to a registry may list anything as a referrer. A statement about something else is not shown.
#[test]
fn c11_a_statement_about_something_else_is_not_shown() {
    let registry = FakeRegistry::start(Manners::default());
    let lab = lab();
    lab.ok("s", &["build", "-t", "app", "ctx"]);
    let name = format!("{}/team/app:1", registry.host());
    let at = format!("docker://{name}");
    let pushed = lab.ok("s", &["push", "--plain-http", "app", &name]).out;
    let image: BlobDigest = pushed.trim().rsplit_once('@').unwrap().1.parse().unwrap();
    let size =
        registry.fake.content.lock().unwrap().manifests[&("team/app".to_owned(), image.to_string())].1.len();
    let plant = |statement: &Value, announced: &str| {
        let text = statement.to_string();
        let body = registry.put_blob("team/app", text.as_bytes());
        let empty = registry.put_blob("team/app", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.in-toto+json",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
            "layers": [{
                "mediaType": "application/vnd.in-toto+json", "digest": body, "size": text.len(),
                "annotations": { "in-toto.io/predicate-type": announced },
            }],
            "subject": { "mediaType": MANIFEST, "digest": image, "size": size },
        });
        registry.put_manifest("team/app", None, MANIFEST, manifest.to_string().as_bytes());
        body.to_string()
    };
    let statement = |sha256: &str, kind: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": {},
            "subject": [{ "name": "_", "digest": { "sha256": sha256 } }],
        })
    };
    let other = "ab".repeat(32);
    let untyped = json!({ "_type": "https://example.com/", "predicateType": "a", "predicate": {}, "subject": statement(&image.hex(), "a")["subject"] });
    for (planted, announced, says) in [
        (statement(&other, PROVENANCE), PROVENANCE, format!("is about sha256:{other}, not about {image}")),
        (statement(&image.hex(), "a"), SPDX, format!("is listed as {SPDX}, and is a")),
        (untyped, "a", "no statement of in-toto".to_owned()),
        (
            json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": "b", "subject": [] }),
            "b",
            "is about nothing".to_owned(),
        ),
    ] {
        let digest = plant(&planted, announced);
        assert!(listed(&lab, "none", &["--plain-http", &at]).iter().any(|line| line["digest"] == digest));
        let ran = lab.run("none", &["attest", "show", "--plain-http", &at, "--digest", &digest]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        assert!(ran.err.contains(&says), "{says} in {}", ran.err);
    }
    // One that is right is shown beside them.
    let right = plant(&statement(&image.hex(), "right"), "right");
    let (shown, _) = shown(&lab, "none", &["--plain-http", &at, "--type", "right"]);
    assert_eq!(BlobDigest::of(shown.to_string().as_bytes()).to_string(), right);
}

/// What an index says of itself goes to the registry with it, packed or not.
#[test]
fn a_push_keeps_the_index() {
    let registry = FakeRegistry::start(Manners::default());
    let lab = lab();
    let platforms = ["--platform", "linux/amd64,linux/arm64", "--provenance"];
    let annotations = ["--annotation", "index:org.example.a=b", "--annotation", "manifest:c=d"];
    lab.ok("s", &[&["build", "-t", "two", "ctx"], &platforms[..], &annotations].concat());
    let own = digest(&lab, "s", &["two"]);
    for (compression, is_same) in [("uncompressed", true), ("gzip", false)] {
        let name = format!("{}/team/two:{compression}", registry.host());
        let pushed = lab.ok("s", &["push", "--plain-http", "--compression", compression, "two", &name]).out;
        let pushed = pushed.trim().rsplit_once('@').unwrap().1;
        assert_eq!(pushed == own, is_same, "{compression}");
        let bytes = registry.fake.content.lock().unwrap().manifests
            [&("team/two".to_owned(), pushed.to_owned())]
            .1
            .clone();
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(index["annotations"], json!({ "org.example.a": "b" }));
        let architectures: Vec<&Value> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["platform"]["architecture"])
            .collect();
        assert_eq!(architectures, ["amd64", "arm64"]);
        let lines = listed(&lab, "none", &["--plain-http", &format!("docker://{name}")]);
        assert_eq!(kinds(&lines), [PROVENANCE, PROVENANCE]);
        let arm =
            digest(&lab, "none", &["--plain-http", "--platform", "linux/arm64", &format!("docker://{name}")]);
        assert_eq!(index["manifests"][1]["digest"], arm);
        assert_eq!(lines[1]["subject"], arm);
    }
    // A layout of all platforms has them too.
    lab.ok("s", &["save", "--all-platforms", "-o", "two.tar", "two"]);
    assert_eq!(digest(&lab, "none", &["oci-archive:two.tar"]), own);
    assert_eq!(kinds(&listed(&lab, "none", &["oci-archive:two.tar"])), [PROVENANCE, PROVENANCE]);
}

#[test]
fn a_digest_costs_no_download() {
    let kit = BuildKit::new();
    let lab = Lab::new();
    let at = format!("docker://{}", kit.name());
    assert_eq!(digest(&lab, "none", &["--plain-http", &at]), kit.index.to_string());
    let by_digest = format!("docker://{}/{REPOSITORY}@{}", kit.registry.host(), kit.images[0].0);
    assert_eq!(digest(&lab, "none", &["--plain-http", &by_digest]), kit.images[0].0.to_string());
    assert_eq!(kit.registry.count("GET", "/manifests/") + kit.registry.count("GET", "/blobs/"), 0);
    assert_eq!(
        digest(&lab, "none", &["--plain-http", "--platform", "linux/arm64", &at]),
        kit.images[1].0.to_string()
    );
    assert_eq!(kit.registry.count("GET", "/blobs/"), 0);
    assert!(!lab.path("none").exists(), "nor a store");
    let none = lab.run("none", &["image", "digest", "--plain-http", "--platform", "linux/s390x", &at]);
    assert!(none.code == 2 && none.err.contains("available: linux/amd64, linux/arm64"), "{}", none.err);
    let missing = format!("docker://{}/{REPOSITORY}:2", kit.registry.host());
    let none = lab.run("none", &["image", "digest", "--plain-http", &missing]);
    assert!(none.code == 2, "{}", none.err);
    let none = lab.run("none", &["image", "digest", "app"]);
    assert_eq!(none.code, 2, "{}", none.err);
}

/// What a place cannot mean is said before anything is done, with what it could.
#[test]
fn places_that_mean_nothing_are_usage_errors() {
    let registry = FakeRegistry::start(Manners::default());
    let lab = lab();
    lab.ok("s", &["build", "-t", "app", "ctx"]);
    lab.ok("s", &["build", "-t", "other", "--label", "x=y", "ctx"]);
    lab.ok("s", &["image", "copy", "app", "oci:layout:one"]);
    lab.ok("s", &["image", "copy", "other", "oci:layout:two"]);
    lab.ok("s", &["save", "-o", "both.tar", "app", "other"]);
    lab.write("empty/manifest.json", "[]");
    let elsewhere = format!("docker://{}/a@sha256:{}", registry.host(), "ab".repeat(32));
    let missing = format!("docker://{}/a:1", registry.host());
    for (from, to, says) in [
        ("oci:layout", "x", &["one, two", "say which"][..]),
        ("oci:layout:three", "x", &["three", "one, two"]),
        ("docker-archive:both.tar", "x", &["app:latest, other:latest"]),
        ("docker-archive:layout", "x", &["layout"]),
        ("oci:nowhere", "x", &["nowhere"]),
        ("none", "x", &["none", "lith images"]),
        ("app", "x@sha256:ab", &["x@sha256:ab"]),
        ("app", "oci:x:a b", &["a b"]),
        ("app", "docker-archive:x:@", &["@"]),
        ("app", "containers-storage:x", &["containers-storage:", "docker://"]),
        ("app", &elsewhere, &["cannot be called"]),
        (&missing, "x", &["/a:1", "404"]),
    ] {
        let args = ["image", "copy", "--src-plain-http", "--dest-plain-http", from, to];
        let ran = lab.run("s", &args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{from} {to}: {}", ran.err);
        says.iter().for_each(|says| assert!(ran.err.contains(says), "{from} {to}: {says} in {}", ran.err));
    }
    assert_eq!(registry.count("PUT", "") + registry.count("POST", ""), 0);
    assert!(!lab.path("x").exists());
    // With its name one of several is meant.
    let one = lab.ok("s", &["image", "copy", "oci:layout:two", "again"]).out;
    assert_eq!(one.trim(), digest(&lab, "s", &["other"]));
    lab.ok("s", &["image", "copy", "docker-archive:both.tar:other", "oci:layout:both"]);
}
