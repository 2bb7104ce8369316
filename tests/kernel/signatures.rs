//! Images that are signed: what others' clients say of our signatures, and we of theirs.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::registries::{Kind, Server};
use crate::support::{Lab, Ran, has, kernel_lab, skip};
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

/// skopeo's rule for a registry: signed with a key, as cosign does it, or refused.
fn policy(lab: &Lab, server: &Server, key: &Path) -> Vec<String> {
    let host = server.name("").trim_end_matches('/').to_owned();
    // cosign signs a repository's digest, whatever the tag.
    let rule = json!([{
        "type": "sigstoreSigned", "keyPath": key, "signedIdentity": { "type": "matchRepository" },
    }]);
    let policy = json!({ "default": [{ "type": "reject" }], "transports": { "docker": { (&host): rule } } });
    let file = lab.write("policy.json", policy.to_string());
    lab.write("registries.d/all.yaml", format!("docker:\n  {host}:\n    use-sigstore-attachments: true\n"));
    let dir = lab.path("registries.d");
    vec!["--policy".into(), file.display().to_string(), "--registries.d".into(), dir.display().to_string()]
}

fn skopeo(lab: &Lab, global: &[String], args: &[&str]) -> Ran {
    Ran::of(Command::new("skopeo").args(global).args(args).current_dir(lab.path(".")).output().unwrap())
}

/// Whether skopeo takes an image under a policy, and what it said.
fn takes(lab: &Lab, policy: &[String], name: &str) -> Ran {
    let _ = fs::remove_dir_all(lab.path("copied"));
    skopeo(lab, policy, &["copy", "-q", "--src-tls-verify=false", &format!("docker://{name}"), "dir:copied"])
}

#[test]
fn skopeo_takes_what_is_signed_here_and_nothing_else() {
    let Some(lab) = kernel_lab() else { return };
    if !has("skopeo") {
        return skip("needs skopeo").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a", "text\n");
    for kind in ["p256", "ed25519"] {
        openssl_key(&lab, kind, kind);
        openssl_key(&lab, "other", kind);
        let policy = policy(&lab, &server, &lab.path(&format!("{kind}.pub")));
        let (name, unsigned) =
            (server.name(&format!("{kind}/app:1")), server.name(&format!("{kind}/none:1")));
        let pushed = lab.ok("a", &["push", "--plain-http", "--sign", &format!("{kind}.key"), "app", &name]);
        lab.ok("a", &["push", "--plain-http", "app", &unsigned]);
        let ran = takes(&lab, &policy, &name);
        assert_eq!(ran.code, 0, "{kind}: {}", ran.err);
        let ran = takes(&lab, &policy, &unsigned);
        assert!(ran.code != 0 && ran.err.contains("signature"), "{kind}: {}", ran.err);
        // The right signature of another image, and the right image with another key.
        let repository = |name: &str| name.rsplit_once(':').unwrap().0.to_owned();
        let tag = format!("{}.sig", digest(&pushed.out).replace(':', "-"));
        let foreign = server.name(&format!("{kind}/foreign:1"));
        lab.ok("a", &["push", "--plain-http", "--sign", "other.key", "app", &foreign]);
        assert_ne!(takes(&lab, &policy, &foreign).code, 0, "{kind}");
        let moved = skopeo(
            &lab,
            &[],
            &[
                "copy",
                "-q",
                "--insecure-policy",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                &format!("docker://{}:{tag}", repository(&name)),
                &format!("docker://{}:{tag}", repository(&unsigned)),
            ],
        );
        assert_eq!(moved.code, 0, "{}", moved.err);
        assert_ne!(takes(&lab, &policy, &unsigned).code, 0, "{kind}: for another repository");
        // lith says the same of all of them.
        let key = format!("{kind}.pub");
        let verify = |name: &str| lab.run("b", &["verify", "--plain-http", "--key", &key, name]);
        let ran = verify(&name);
        let says = format!("{}@{}\nsigned with sha256:", repository(&name), digest(&pushed.out));
        assert!(ran.code == 0 && ran.out.starts_with(&says), "{} {}", ran.out, ran.err);
        for (name, says) in
            [(&unsigned, "it is for the image 127.0.0.1:"), (&foreign, "no trusted key made it")]
        {
            let ran = verify(name);
            assert!(
                ran.code == 1 && ran.err.contains(says) && ran.out.is_empty(),
                "{} {}",
                ran.code,
                ran.err
            );
        }
    }
}

#[test]
fn what_skopeo_signs_is_verified() {
    let Some(lab) = kernel_lab() else { return };
    let help = Command::new("skopeo").args(["copy", "--help"]).output();
    if !help
        .is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--sign-by-sigstore-private-key"))
    {
        return skip("needs skopeo with --sign-by-sigstore-private-key").unwrap_or(());
    }
    let Some(server) = Server::start(&lab, "registry", &Kind::default()) else { return };
    image(&lab, "a", "text\n");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign");
    // As cosign labels them still; what is in it is the same.
    let sealed = fs::read_to_string(data.join("p256.sealed.key")).unwrap().replace("SIGSTORE", "COSIGN");
    lab.write("cosign.key", sealed);
    lab.write("passphrase", "hello");
    let public = data.join("p256.pub");
    let policy = policy(&lab, &server, &public);
    let (from, name) = (server.name("from/app:1"), server.name("team/app:1"));
    lab.ok("a", &["push", "--plain-http", "app", &from]);
    let signed = skopeo(
        &lab,
        &policy[2..],
        &[
            "copy",
            "-q",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--sign-by-sigstore-private-key",
            "cosign.key",
            "--sign-passphrase-file",
            "passphrase",
            &format!("docker://{from}"),
            &format!("docker://{name}"),
        ],
    );
    assert_eq!(signed.code, 0, "{}", signed.err);
    let public = public.display().to_string();
    let ran = lab.ok("b", &["verify", "--plain-http", "--key", &public, &name]);
    assert!(ran.out.contains("\nsigned with sha256:9b6dbab36a97"), "{}", ran.out);
    openssl_key(&lab, "own", "ed25519");
    let refused = lab.run("b", &["pull", "--plain-http", "--verify-key", "own.pub", &name]);
    assert!(refused.code == 1 && refused.err.contains("no trusted key made it"), "{}", refused.err);
    assert_eq!(lab.ok("b", &["images", "-q"]).out, "");
    // Ours goes beside theirs, and both hold for both.
    lab.ok("a", &["push", "--plain-http", "--sign", "own.key", "app", &name]);
    for key in [public.as_str(), "own.pub"] {
        lab.ok("c", &["verify", "--plain-http", "--key", key, &name]);
        lab.ok("c", &["pull", "--plain-http", "-q", "--verify-key", key, &name]);
    }
    assert_eq!(takes(&lab, &policy, &name).code, 0);
    // And theirs beside ours.
    let mine = server.name("mine/app:1");
    lab.ok("a", &["push", "--plain-http", "--sign", "own.key", "app", &mine]);
    let signed = skopeo(
        &lab,
        &policy[2..],
        &[
            "copy",
            "-q",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--sign-by-sigstore-private-key",
            "cosign.key",
            "--sign-passphrase-file",
            "passphrase",
            &format!("docker://{from}"),
            &format!("docker://{mine}"),
        ],
    );
    assert_eq!(signed.code, 0, "{}", signed.err);
    for key in [public.as_str(), "own.pub"] {
        lab.ok("c", &["verify", "--plain-http", "--key", key, &mine]);
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
    let shown = skopeo(&lab, &[], &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
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
