//! What the program says of wrong input: the exit code, and the object by its name.

use std::fs;

use crate::support::{Lab, Ran};

/// A program that ends as asked: no panic, every text of `names` in what it says on standard error.
#[track_caller]
fn ends(ran: &Ran, code: i32, names: &[&str]) {
    assert_eq!(ran.code, code, "{}\n{}", ran.out, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    for name in names {
        assert!(ran.err.contains(name), "{name:?} is not named:\n{}", ran.err);
    }
}

/// Builds a context that holds this Dockerfile and a file `a`.
fn build(text: impl AsRef<[u8]>, more: &[&str]) -> Ran {
    let lab = Lab::new();
    lab.write("ctx/Dockerfile", text);
    lab.write("ctx/a", "a");
    let mut args = vec!["build"];
    args.extend(more);
    args.push("ctx");
    lab.run("store", &args)
}

#[test]
fn wrong_arguments_are_usage_errors_that_name_them() {
    let scratch = "FROM scratch\nCOPY a /\n";
    let cases: [(&[&str], &[&str]); 28] = [
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["--taget", "x"], &["--taget", "--target"]),
        (&["--output", "type=foo"], &["foo"]),
        (&["--output", "type=oci"], &["dest"]),
        (&["--output", "type=oci,dest=x,colour=red"], &["colour"]),
        (&["--output", ""], &["--output"]),
        (&["--epoch", "soon"], &["--epoch"]),
        (&["--epoch", "1e9"], &["--epoch"]),
        (&["--epoch", "99999999999999999999"], &["--epoch"]),
        (&["--jobs", "0"], &["--jobs", "0"]),
        (&["--jobs", "many"], &["--jobs", "many"]),
        (&["--jobs", "-1"], &["-1"]),
        (&["--progress", "fancy"], &["fancy"]),
        (&["--platform", "not a platform"], &["not a platform"]),
        (&["--label", "x"], &["--label x"]),
        (&["--build-context", "x"], &["--build-context x"]),
        (&["-t", "UPPER case"], &["UPPER case"]),
        (&["--target", "nowhere"], &["nowhere"]),
        (&["--cache-from", "type=local"], &["--cache-from", "src=DIR"]),
        // What is not there yet says so by its name.
        (&["--cache-to", "type=inline"], &["--cache-to", "inline"]),
        (&["--provenance=often"], &["often", "min, max or false"]),
        (&["--sbom=odd"], &["odd", "spdx, cyclonedx"]),
        (&["--attest", "type=sbom"], &["--attest"]),
        (&["--source-policy-file", "p.json"], &["--source-policy-file"]),
        (&["--push"], &["--push"]),
        (&["--platform", "linux/amd64,linux"], &["\"linux\"", "os/architecture"]),
        (&["--output", "type=registry"], &["registry", "oci, docker, tar or local"]),
        (&["--output", "type=image,name=x,push=true"], &["image", "oci, docker, tar or local"]),
    ];
    for (more, names) in cases {
        ends(&build(scratch, more), 2, names);
    }
}

#[test]
fn a_typo_in_the_dockerfile_is_shown_with_line_column_caret_and_a_guess() {
    let ran = build("FROM scratch\nCOPPY a /\n", &[]);
    ends(&ran, 2, &["ctx/Dockerfile:2:1: error:", "COPPY a /", "^", "COPY"]);
    let ran = build("FROM scratch\nCOPY --chwon=1 a /\n", &[]);
    ends(&ran, 2, &["ctx/Dockerfile:2:", "--chwon", "^", "--chown"]);
    // All problems at once.
    let ran = build("FROM scratch\nCOPPY a /\nWORKDRI /x\n", &[]);
    ends(&ran, 2, &["ctx/Dockerfile:2:1", "ctx/Dockerfile:3:1"]);
}

#[test]
fn malformed_dockerfiles_are_errors_with_a_place() {
    let cases: [(&[u8], &[&str]); 13] = [
        (b"", &["Dockerfile"]),
        (b"# only a comment\n", &["Dockerfile"]),
        (b"COPY a /\n", &["Dockerfile:1:1"]),
        (b"FROM\n", &["Dockerfile:1:"]),
        (b"FROM scratch\nCOPY a\n", &["Dockerfile:2:"]),
        (b"FROM scratch\nCOPY <<EOF /x\nbody\n", &["Dockerfile:2:", "EOF"]),
        (b"FROM scratch\nCOPY --from=-1 a /\n", &["-1"]),
        (b"FROM scratch\nCOPY --from=100000000000000000000 a /\n", &["100000000000000000000"]),
        (b"FROM scratch\nEXPOSE 99999999\n", &["99999999"]),
        (b"FROM scratch\nSTOPSIGNAL SIGNOPE\n", &["SIGNOPE"]),
        (b"FROM scratch\nENV\n", &["Dockerfile:2:"]),
        (b"FROM scratch\nCOPY --chmod=9999 a /\n", &["9999"]),
        (b"FROM scratch\nLABEL x=\"open\n", &["Dockerfile:2:"]),
    ];
    for (text, names) in cases {
        let ran = build(text, &[]);
        assert_eq!(ran.code, 2, "{:?}\n{}", String::from_utf8_lossy(text), ran.err);
        ends(&ran, 2, names);
    }
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_line() {
    ends(&build(b"FROM scratch\nLABEL x=\xff\xfe\n", &[]), 2, &["Dockerfile", "UTF-8"]);
    ends(&build(b"\x7fELF\x02\x01\x01\0\0\0\0\0", &[]), 2, &["Dockerfile"]);
    let ran = build(b"FROM scratch\nLABEL \x1b[31mred\n", &[]);
    ends(&ran, 2, &["Dockerfile:2"]);
    assert!(!ran.err.contains('\u{1b}'), "control bytes reach no terminal: {:?}", ran.err);
}

/// D15.
#[test]
fn a_loop_of_stages_names_the_stage() {
    ends(&build("FROM b AS a\nFROM a AS b\nCOPY a /\n", &[]), 2, &["b"]);
    ends(&build("FROM a AS a\nCOPY a /\n", &[]), 2, &["a"]);
    ends(&build("FROM scratch AS a\nCOPY --from=a /x /\n", &[]), 2, &["a"]);
}

#[test]
fn a_missing_base_is_named_with_the_next_step() {
    let ran = build("FROM debian:13\nCOPY a /\n", &["--offline"]);
    ends(&ran, 2, &["debian:13", "Dockerfile:1:", "lith load"]);
    let digest = "a".repeat(64);
    ends(&build(format!("FROM x@sha256:{digest}\nCOPY a /\n"), &["--pull=never"]), 2, &[&digest]);
    // Nobody listens there.
    let ran = build("FROM 127.0.0.1:9/base:1\nCOPY a /\n", &[]);
    ends(&ran, 2, &["127.0.0.1:9/base:1", "Dockerfile:1:", "cannot be pulled", "lith load"]);
    ends(&build("FROM oci-layout:/no/such/layout\nCOPY a /\n", &[]), 2, &["/no/such/layout"]);
    ends(&build("FROM rootfs:/no/such/file.tar\nCOPY a /\n", &[]), 2, &["/no/such/file.tar"]);
    ends(&build("FROM docker-archive:/no/such.tar\nCOPY a /\n", &[]), 2, &["/no/such.tar"]);
}

#[test]
fn missing_files_are_named() {
    let lab = Lab::new();
    ends(&lab.run("store", &["build", "nowhere"]), 2, &["nowhere", "context"]);
    lab.write("file", "");
    ends(&lab.run("store", &["build", "file"]), 2, &["file", "context"]);
    fs::create_dir(lab.path("empty")).unwrap();
    ends(&lab.run("store", &["build", "empty"]), 2, &["empty/Dockerfile", "-f"]);
    ends(&lab.run("store", &["build", "-f", "other", "empty"]), 2, &["other"]);
    ends(&lab.run("store", &["build", "-f", "empty", "empty"]), 2, &["empty"]);
    let ran = build("FROM scratch\nCOPY a missing /\n", &[]);
    ends(&ran, 1, &["/missing", "Dockerfile:2:"]);
    ends(&lab.run("store", &["load", "no.tar"]), 2, &["no.tar"]);
    ends(&lab.run("store", &["import", "no.tar", "x"]), 2, &["no.tar"]);
}

#[test]
fn unknown_images_are_named_by_every_verb() {
    let lab = Lab::new();
    for args in [
        ["image", "inspect", "no-such"].as_slice(),
        &["history", "no-such"],
        &["tag", "no-such", "other"],
        &["rmi", "no-such"],
        &["save", "-o", "x.tar", "no-such"],
        &["image", "inspect", "sha256:0000"],
        &["image", "inspect", "0123456789ab"],
        &["rmi", "NOT A NAME"],
    ] {
        let ran = lab.run("store", args);
        let named = args.iter().rfind(|a| **a != "other").unwrap();
        ends(&ran, 2, &[named]);
    }
    assert!(!lab.path("x.tar").exists(), "nothing is left of a save that failed");
}

#[test]
fn an_ambiguous_id_lists_what_it_may_mean() {
    let lab = Lab::new();
    let mut ids = Vec::new();
    lab.write("ctx/a", "a");
    // Four digits of an id are 65536 values; the ids below are the same in every run.
    let mut by_prefix = std::collections::BTreeMap::<String, String>::new();
    let mut text = String::from("FROM scratch\n");
    for at in 0..700 {
        text.push_str(&format!("LABEL l{at}=x\n"));
    }
    lab.write("ctx/Dockerfile", &text);
    lab.ok("store", &["build", "-q", "ctx"]);
    for entry in lith::sys::dir::list_path(&lab.path("store/images")).unwrap() {
        ids.push(String::from_utf8(entry.name).unwrap());
    }
    let twins = ids.iter().find_map(|id| {
        let twin = by_prefix.insert(id[..4].to_owned(), id.clone());
        twin.map(|twin| (id.clone(), twin))
    });
    let (one, two) = twins.expect("two of 700 fixed ids share four digits");
    ends(&lab.run("store", &["image", "inspect", &one[..4]]), 2, &[&one[..4], &one[..12], &two[..12]]);
    ends(&lab.run("store", &["rmi", &one[..4]]), 2, &[&one[..4]]);
    lab.ok("store", &["image", "inspect", &one]);
}

#[test]
fn damaged_archives_are_bad_input() {
    let lab = Lab::new();
    for (at, bytes) in
        [&b""[..], b"not a tar", &[0; 1024], &[0xff; 4096], b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"]
            .iter()
            .enumerate()
    {
        let name = format!("bad{at}.tar");
        lab.write(&name, bytes);
        ends(&lab.run("store", &["load", &name]), 2, &[&name]);
    }
    for (at, bytes) in [&b"not a tar"[..], &[0xff; 4096], b"\x1f\x8b\x08\0"].iter().enumerate() {
        let name = format!("root{at}.tar");
        lab.write(&name, bytes);
        ends(&lab.run("store", &["import", &name, "x"]), 2, &[&name]);
    }
    ends(&lab.run("store", &["store", "verify"]), 0, &[]);
    assert_eq!(lab.ok("store", &["images", "-a", "--format", "json"]).out, "");
}
