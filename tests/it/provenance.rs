//! What an image was made of, as its outputs say it.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::collections::BTreeMap;
use std::fs;

use lith::digest::BlobDigest;
use serde_json::{Value, json};

use crate::support::Lab;
use crate::support::git::Repos;
use crate::support::server::reply;

/// The layout that a build with these options writes: each blob by its digest, and the index.
pub(super) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    index: Value,
}

impl Layout {
    #[track_caller]
    pub(super) fn of(lab: &Lab, store: &str, more: &[&str]) -> Self {
        let _ = fs::remove_dir_all(lab.path("layout"));
        lab.ok(
            store,
            &[&["build", "-o", "type=oci,tar=false,dest=layout,name=app:1"], more, &["ctx"]].concat(),
        );
        let read = |path: &str| fs::read(lab.path("layout").join(path)).unwrap();
        let names = crate::support::children(&lab.path("layout/blobs/sha256"));
        let blobs = names.iter().map(|path| {
            let bytes = fs::read(path).unwrap();
            assert!(path.ends_with(BlobDigest::of(&bytes).hex()));
            (BlobDigest::of(&bytes).to_string(), bytes)
        });
        Self { blobs: blobs.collect(), index: serde_json::from_slice(&read("index.json")).unwrap() }
    }

    fn json(&self, digest: &Value) -> Value {
        serde_json::from_slice(&self.blobs[digest.as_str().unwrap()]).unwrap()
    }

    /// What an artifact says of an image; everything on the way to it is as the referrers of the distribution-spec
    /// have it.
    #[track_caller]
    fn about(&self, image: &Value, artifact: &Value) -> Value {
        assert_eq!(artifact["artifactType"], "application/vnd.in-toto+json");
        assert_eq!(artifact.get("annotations"), None);
        let manifest = self.json(&artifact["digest"]);
        let subject = json!({
            "mediaType": image["mediaType"], "digest": image["digest"], "size": image["size"],
        });
        assert_eq!(manifest["subject"], subject);
        assert_eq!(manifest["artifactType"], "application/vnd.in-toto+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        let layer = &manifest["layers"][0];
        let statement = self.json(&layer["digest"]);
        assert_eq!(layer["annotations"]["in-toto.io/predicate-type"], statement["predicateType"]);
        let sha256 = image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert_eq!(statement["subject"], json!([{ "name": "_", "digest": { "sha256": sha256 } }]));
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        statement
    }

    /// What is said of the one image.
    #[track_caller]
    pub(super) fn statements(&self) -> Vec<Value> {
        let manifests = self.index["manifests"].as_array().unwrap();
        manifests[1..].iter().map(|artifact| self.about(&manifests[0], artifact)).collect()
    }

    /// The one statement, which is of provenance.
    #[track_caller]
    fn statement(&self) -> Value {
        let [image, artifact] = self.index["manifests"].as_array().unwrap().as_slice() else {
            panic!("{}", self.index)
        };
        let statement = self.about(image, artifact);
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        // The schema allows no other fields.
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let predicate = &statement["predicate"];
        assert_eq!(keys(&statement), "_type predicate predicateType subject");
        assert_eq!(keys(predicate), "buildDefinition runDetails");
        assert_eq!(
            keys(&predicate["buildDefinition"]),
            "buildType externalParameters internalParameters resolvedDependencies"
        );
        assert_eq!(predicate["runDetails"], json!({ "builder": { "id": "urn:lith" } }));
        for dependency in predicate["buildDefinition"]["resolvedDependencies"].as_array().unwrap() {
            assert!(["digest uri", "digest name uri"].contains(&keys(dependency).as_str()), "{dependency}");
        }
        statement
    }
}

#[test]
fn every_input_is_named_with_its_digest() {
    let (lab, repos) = (Lab::new(), Repos::new());
    repos.init("app");
    repos.write("app/a.txt", "a", 0o644);
    let commit = repos.commit("app");
    let server = repos.serve(|request| (request.path == "/f").then(|| reply("200 OK", &[], b"f")));
    for store in ["one", "two"] {
        lab.base(store, "base");
    }
    let (url, repo) = (server.url("/f").replace("//", "//me:word@"), server.url("/app.git"));
    lab.write("ctx/src/a", "a");
    lab.write("lib/b", "b");
    lab.write(
        "ctx/Dockerfile",
        format!(
            "FROM base AS tools\nCOPY src/a /t\nFROM base AS unused\nADD {url} /unused\nFROM scratch AS app\nARG TOKEN\n\
             COPY --from=tools /t /t\nCOPY <<here src/a /here/\nx\nhere\nCOPY src /src\nCOPY --from=lib b /b\nADD {url} /f\nADD {repo}#main /app\n"
        ),
    );
    let more = ["--build-context", "lib=lib", "--build-arg", "TOKEN=sesame", "--label", "l=1", "--epoch=7"];
    let plain = Layout::of(&lab, "one", &more);
    assert_eq!(plain.index["manifests"].as_array().unwrap().len(), 1);
    let min = Layout::of(&lab, "one", &[&more[..], &["--provenance"]].concat());
    assert_eq!(min.index["manifests"][0], plain.index["manifests"][0], "the image is the same");
    let statement = min.statement();
    let built = &statement["predicate"]["buildDefinition"];
    let found: Vec<(&str, &Value)> = built["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dependency| (dependency["uri"].as_str().unwrap(), &dependency["digest"]))
        .collect();
    let uris: Vec<&str> = found.iter().map(|(uri, _)| *uri).collect();
    let wanted = [
        "context:lib:b",
        "context:src",
        "context:src/a",
        &format!("docker-image:base?platform={}", lith::platform::Platform::host()),
        &format!("git+{repo}@main"),
        &server.url("/f"),
    ];
    assert_eq!(uris, wanted);
    assert_eq!(found[4].1, &json!({ "gitCommit": commit }));
    assert_eq!(found[5].1, &json!({ "sha256": BlobDigest::of(b"f").hex() }));
    assert!(found[0].1["blake3"].as_str().is_some_and(|digest| digest.len() == 64), "{found:?}");
    assert_eq!(built["externalParameters"]["target"], "app");
    assert_eq!(built["externalParameters"]["epoch"], 7);
    assert_eq!(built["internalParameters"]["hermetic"], false);
    let text = statement.to_string();
    assert!(!text.contains("sesame") && !text.contains("word"), "{text}");
    assert!(built["internalParameters"].get("steps").is_none());

    // The same on another machine, at another time, from another cache.
    let again = Layout::of(&lab, "two", &[&more[..], &["--provenance=min"]].concat());
    assert_eq!(again.index, min.index);
    let max = Layout::of(&lab, "two", &[&more[..], &["--provenance=mode=max"]].concat()).statement();
    let built = &max["predicate"]["buildDefinition"];
    assert_eq!(built["externalParameters"]["args"], json!({ "TOKEN": "sesame" }));
    assert_eq!(built["externalParameters"]["labels"], json!({ "l": "1" }));
    let steps = built["internalParameters"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7, "{steps:?}");
    assert!(steps.iter().all(|step| step["key"].as_str().unwrap().starts_with("blake3:")), "{steps:?}");
    assert!(!max.to_string().contains("word"), "{max}");

    // What the statement is about can be loaded, and what it is not about changes nothing.
    lab.ok("three", &["load", "layout"]);
    let ids = |store: &str| lab.ok(store, &["images", "-q", "--no-trunc"]).out;
    assert!(ids("two").contains(ids("three").trim()), "{} {}", ids("two"), ids("three"));
}

#[test]
fn with_everything_pinned_and_closed_it_is_hermetic() {
    let lab = Lab::new();
    lab.base("store", "base");
    let server = crate::support::server::Server::start(|_, _| reply("200 OK", &[], b"f"));
    let hermetic = |more: &[&str]| {
        let statement = Layout::of(&lab, "store", &[more, &["--provenance"]].concat()).statement();
        statement["predicate"]["buildDefinition"]["internalParameters"]["hermetic"].as_bool().unwrap()
    };
    lab.write("ctx/Dockerfile", format!("FROM base\nADD {} /f\n", server.url("/f")));
    assert!(!hermetic(&[]), "the file may be another one tomorrow");
    lab.ok("store", &["lock", "ctx"]);
    assert!(hermetic(&[]));
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=base /bin /bin\n");
    assert!(hermetic(&[]));
    std::fs::remove_file(lab.path("ctx/lith.lock")).unwrap();
    assert!(!hermetic(&[]), "so may the image");
}

#[test]
fn packages_are_listed_as_their_databases_have_them() {
    let lab = Lab::new();
    let status =
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9\n";
    lab.write("ctx/root/var/lib/dpkg/status", status);
    lab.write("ctx/root/var/lib/dpkg/status.d/tz", "Package: tzdata\nArchitecture: all\nVersion: 2026a-1\n");
    lab.write("ctx/root/var/lib/dpkg/status.d/tz.md5sums", "garbage");
    lab.write("ctx/root/lib/apk/db/installed", "P:musl\nV:1.2.4-r2\nA:x86_64\n");
    lab.write("ctx/root/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY root /\n");
    let of = |store: &str, more: &[&str]| Layout::of(&lab, store, more).statements();
    let said = of("one", &["--sbom", "--provenance", "--epoch=86400"]);
    assert_eq!(said.len(), 2);
    assert_eq!(said[1]["predicateType"], "https://spdx.dev/Document");
    let document = &said[1]["predicate"];
    let names: Vec<&str> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["image", "musl", "libc6", "tzdata"]);
    let locator = &document["packages"][2]["externalRefs"][0]["referenceLocator"];
    assert_eq!(locator, "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12");
    assert_eq!(document["packages"][2]["sourceInfo"], "built from glibc 2.36-9");
    assert_eq!(document["creationInfo"]["created"], "1970-01-02T00:00:00Z");
    assert_eq!(of("two", &["--sbom", "--provenance", "--epoch=86400"]), said);
    let cyclonedx = of("two", &["--sbom=cyclonedx"]);
    assert_eq!(cyclonedx[0]["predicateType"], "https://cyclonedx.org/bom");
    assert_eq!(cyclonedx[0]["predicate"]["components"].as_array().unwrap().len(), 3);

    lab.write("ctx/root/lib/apk/db/installed", "P:musl\nA:x86_64\n");
    let ran = lab.run("one", &["build", "--sbom", "-o", "type=oci,dest=x.tar", "ctx"]);
    assert!(
        ran.code == 1 && ran.err.contains("/lib/apk/db/installed of the image: package musl"),
        "{}",
        ran.err
    );
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    assert_eq!(of("one", &["--sbom"])[0]["predicate"]["packages"].as_array().unwrap().len(), 1);
}
