//! Images that are signed: what others' programs make of our signatures, and we of theirs. Debian's skopeo has its part
//! for such signatures switched off, so it fetches and carries, and openssl signs and checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::registries::{Kind, Server};
use crate::support::{Lab, Ran, kernel_lab};
use crate::trust::openssl_key;

/// An image of one file.
fn image(lab: &Lab, store: &str, text: &str) {
    lab.write("ctx/Dockerfile", "FROM scratch\nCOPY file /file\n");
    lab.write("ctx/file", text);
    lab.build(store, "ctx", &["-t", "app"]);
}

#[track_caller]
fn digest(out: &str) -> String {
    out.lines().next().unwrap().rsplit_once('@').unwrap_or_else(|| panic!("{out}")).1.to_owned()
}

fn run(lab: &Lab, program: &str, args: &[&str]) -> Ran {
    let ran = Ran::of(Command::new(program).args(args).current_dir(lab.path(".")).output().unwrap());
    assert_eq!(ran.code, 0, "{program} {args:?}\n{}{}", ran.out, ran.err);
    ran
}

fn blob(dir: &Path, digest: &Value) -> PathBuf {
    dir.join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

/// The bytes that cosign signs for an image, by the page containers-signature(5), written out by hand.
fn cosigns_payload(repository: &str, digest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{repository}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

/// How openssl makes and checks a signature with a kind of key.
fn openssl(kind: &str, act: &str, key: &str) -> String {
    match (kind, act) {
        ("ed25519", "sign") => format!("pkeyutl -sign -rawin -inkey {key}.key -in payload -out signature"),
        ("ed25519", _) => {
            format!("pkeyutl -verify -rawin -pubin -inkey {key}.pub -in payload -sigfile signature")
        }
        (_, "sign") => format!("dgst -sha256 -sign {key}.key -out signature payload"),
        (_, _) => format!("dgst -sha256 -verify {key}.pub -signature signature payload"),
    }
}

/// As `cosign verify --key` goes about it, with skopeo to fetch and openssl to check.
#[test]
fn others_find_and_check_what_is_signed_here() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a", "text\n");
    for kind in ["p256", "ed25519"] {
        openssl_key(&lab, kind, kind);
        let repository = server.name(&format!("{kind}/app"));
        let push =
            ["push", "--plain-http", "--sign", &format!("{kind}.key"), "app", &format!("{repository}:1")];
        let pushed = digest(&lab.ok("a", &push).out);
        let _ = fs::remove_dir_all(lab.path("fetched"));
        // skopeo reads it as an image, so its config is one.
        let from = format!("docker://{repository}:{}.sig", pushed.replace(':', "-"));
        run(&lab, "skopeo", &["inspect", "--config", "--tls-verify=false", &from]);
        run(&lab, "skopeo", &["copy", "-q", "--src-tls-verify=false", &from, "dir:fetched"]);
        let fetched = lab.path("fetched");
        let manifest: Value =
            serde_json::from_slice(&fs::read(fetched.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
        let payload = fs::read_to_string(blob(&fetched, &layer["digest"])).unwrap();
        assert_eq!(payload, cosigns_payload(&repository, &pushed));
        lab.write("payload", &payload);
        let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
        lab.write("signature", STANDARD.decode(signature).unwrap());
        let check = openssl(kind, "verify", kind);
        run(&lab, "openssl", &check.split(' ').collect::<Vec<_>>());
        lab.write("payload", payload.replace("app", "apq"));
        let other =
            Command::new("openssl").args(check.split(' ')).current_dir(lab.path(".")).output().unwrap();
        assert!(!other.status.success(), "openssl tells them apart");
        // Which key it was is said in the way openssl makes ids.
        let said = lab.ok(
            "b",
            &["verify", "--plain-http", "--key", &format!("{kind}.pub"), &format!("{repository}:1")],
        );
        run(
            &lab,
            "openssl",
            &["pkey", "-pubin", "-in", &format!("{kind}.pub"), "-outform", "DER", "-out", "der"],
        );
        let id = lith::digest::BlobDigest::of(&fs::read(lab.path("der")).unwrap());
        assert_eq!(said.out, format!("{repository}@{pushed}\nsigned with {id}\n"));
    }
}

/// As `cosign sign --key` leaves it: payload and signature by openssl, carried by skopeo.
#[test]
fn what_others_sign_is_verified_and_ours_goes_beside() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a", "text\n");
    openssl_key(&lab, "own", "ed25519");
    for kind in ["p256", "ed25519"] {
        openssl_key(&lab, "other", kind);
        let repository = server.name(&format!("{kind}/app"));
        let name = format!("{repository}:1");
        let pushed = digest(&lab.ok("a", &["push", "--plain-http", "app", &name]).out);
        let verify = |key: &str| lab.run("b", &["verify", "--plain-http", "--key", key, &name]);
        let pull = |key: &str| lab.run("c", &["pull", "--plain-http", "-q", "--verify-key", key, &name]);
        let ran = verify("other.pub");
        assert!(ran.code == 1 && ran.err.contains("has no signature"), "{}", ran.err);
        let carry = |repository_in_it: &str| {
            let payload = lab.write("payload", cosigns_payload(repository_in_it, &pushed));
            run(&lab, "openssl", &openssl(kind, "sign", "other").split(' ').collect::<Vec<_>>());
            let signature = STANDARD.encode(fs::read(lab.path("signature")).unwrap());
            let _ = fs::remove_dir_all(lab.path("carried"));
            let put = |bytes: &[u8]| {
                let digest = lith::digest::BlobDigest::of(bytes);
                lab.write(&format!("carried/{}", digest.hex()), bytes);
                (digest.to_string(), bytes.len())
            };
            lab.write("carried/version", "Directory Transport Version: 1.1\n");
            let (payload, size) = put(&fs::read(payload).unwrap());
            let config = json!({
                "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
                "history": [{ "created": "0001-01-01T00:00:00Z" }],
                "rootfs": { "type": "layers", "diff_ids": [payload] },
            });
            let (config, config_size) = put(config.to_string().as_bytes());
            let manifest = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size,
                },
                "layers": [{
                    "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": payload, "size": size,
                    "annotations": { "dev.cosignproject.cosign/signature": signature },
                }],
            });
            lab.write("carried/manifest.json", manifest.to_string());
            let to = format!("docker://{repository}:{}.sig", pushed.replace(':', "-"));
            let copy = ["copy", "-q", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"];
            run(&lab, "skopeo", &[&copy[..], &["dir:carried", &to]].concat());
        };
        // For another repository, and for another tag of this one, it is none.
        carry(&server.name("team/other"));
        let ran = verify("other.pub");
        assert!(ran.code == 1 && ran.err.contains("it is for the image 127.0.0.1:"), "{}", ran.err);
        carry(&format!("{repository}:2"));
        assert_eq!(verify("other.pub").code, 1);
        assert_eq!((pull("other.pub").code, lab.ok("c", &["images", "-q"]).out.as_str()), (1, ""));
        // With its tag, as podman signs, and without, as cosign does.
        carry(&name);
        assert_eq!(verify("other.pub").code, 0);
        carry(&repository);
        assert_eq!(verify("other.pub").code, 0);
        let ran = pull("own.pub");
        assert!(
            ran.code == 1 && ran.err.contains("no trusted key made it") && ran.out.is_empty(),
            "{}",
            ran.err
        );
        lab.ok("a", &["push", "--plain-http", "--sign", "own.key", "app", &name]);
        for key in ["other.pub", "own.pub"] {
            assert_eq!((verify(key).code, pull(key).code), (0, 0), "{kind} {key}");
        }
        lab.ok("c", &["rmi", &name]);
    }
}

#[test]
fn annotations_indexes_and_what_is_wrong() {
    let Some(lab) = kernel_lab() else { return };
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    openssl_key(&lab, "own", "p256");
    lab.write("ctx/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    lab.write("ctx/amd64", "amd64\n");
    lab.write("ctx/arm64", "arm64\n");
    lab.build("a", "ctx", &["--platform", "linux/amd64,linux/arm64", "-t", "two"]);
    let name = server.name("two:1");
    let push = ["push", "--plain-http", "--sign", "own.key", "--sign-annotation", "env=prod", "two", &name];
    let pushed = digest(&lab.ok("a", &push).out);
    let verify = |more: &[&str]| {
        lab.run("b", &[&["verify", "--plain-http", "--key", "own.pub", "--format=json"], more].concat())
    };
    let ran = verify(&["--annotation", "env=prod", &name]);
    let line: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err));
    assert_eq!((&line["digest"], &line["annotations"]), (&json!(pushed), &json!({ "env": "prod" })));
    // Each platform's image is signed as well.
    let index =
        lab.ok("b", &["pull", "--plain-http", "--platform=linux/arm64", "--verify-key", "own.pub", &name]);
    assert_eq!(digest(&index.out), pushed);
    let shown = run(&lab, "skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    for entry in shown["manifests"].as_array().unwrap() {
        let at = format!("{}@{}", server.name("two"), entry["digest"].as_str().unwrap());
        assert_eq!(verify(&[&at]).code, 0, "{at}");
    }
    let ran = verify(&["--annotation", "env=test", &name]);
    assert!(ran.code == 1 && ran.err.contains("it does not say env=test"), "{}", ran.err);
    let ran = verify(&[&server.name("none:1")]);
    assert!(ran.code == 2 && ran.err.contains("is not there"), "{} {}", ran.code, ran.err);
    let ran = lab.run("a", &["push", "--plain-http", "--sign", "own.pub", "two", &server.name("x:1")]);
    assert!(ran.code == 2 && ran.err.contains("--sign: key own.pub: this is a PUBLIC KEY"), "{}", ran.err);
    assert_eq!(lab.run("a", &["pull", "--plain-http", &server.name("x:1")]).code, 2, "nothing was pushed");
}
