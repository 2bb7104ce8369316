//! The command: wherever the two sides lie, and what the exit code says.

use std::fs;

use lith::layer::compress::Codec;
use lith::oci::Descriptor;
use serde_json::{Value, json};

use super::build::{Image, Memory, layer};
use crate::support::Lab;

/// Writes an image as an OCI layout.
fn layout(lab: &Lab, name: &str, image: &Image) -> String {
    let mut memory = Memory::default();
    let top: Descriptor = memory.image(image);
    for (digest, bytes) in &memory.blobs {
        lab.write(&format!("{name}/blobs/sha256/{}", digest.hex()), bytes);
    }
    lab.write(&format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = json!({"schemaVersion": 2, "manifests": [top]});
    lab.write(&format!("{name}/index.json"), index.to_string());
    format!("oci:{}", lab.path(name).display())
}

const A: &str = "dir etc\nfile etc/name one mode=644\nfile etc/same 1";
const B: &str = "dir etc\nfile etc/name two mode=644\nfile etc/same 1";

#[test]
fn exit_codes_say_what_came_of_it() {
    let lab = Lab::new();
    let a = layout(&lab, "a", &Image::of(&[A]).packed(Codec::Gzip));
    let b = layout(&lab, "b", &Image::of(&[B]).packed(Codec::Gzip));
    let same = lab.run("store", &["diff", &a, &a]);
    assert_eq!((same.code, same.out.contains("no difference")), (0, true), "{same:?}");
    let differ = lab.run("store", &["diff", &a, &b]);
    assert_eq!(differ.code, 1, "{differ:?}");
    assert!(differ.out.contains("~ /etc/name"), "{}", differ.out);
    let trouble = lab.run("store", &["diff", &a, "oci:nowhere"]);
    assert_eq!(trouble.code, 2, "{trouble:?}");
    assert!(trouble.err.contains("nowhere"), "{}", trouble.err);
    let unknown = lab.run("store", &["diff", &a, &b, "--ignore", "time"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("expected mtime"), "{}", unknown.err);
}

#[test]
fn a_damaged_layer_is_trouble_and_no_difference() {
    let lab = Lab::new();
    let (one, other) = (Image::of(&[A]), Image::of(&[B]));
    let (a, b) = (layout(&lab, "a", &one), layout(&lab, "b", &other));
    let digest = lith::digest::BlobDigest::of(&other.layers[0]);
    lab.write(&format!("b/blobs/sha256/{}", digest.hex()), layer("file etc/evil 1"));
    let ran = lab.run("store", &["diff", &a, &b]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains(&digest.to_string()) && ran.err.contains("the config says"), "{}", ran.err);
}

/// The same two images from everywhere they can be say the same of files.
#[test]
fn every_place_tells_the_same_files() {
    let lab = Lab::new();
    let a = layout(&lab, "a", &Image::of(&["file old 1", A]).packed(Codec::Gzip));
    let b = layout(&lab, "b", &Image::of(&["file old 1", B]).packed(Codec::Zstd));
    let copy = |from: &str, to: &str| {
        let ran = lab.run("store", &["image", "copy", from, to]);
        assert_eq!(ran.code, 0, "{ran:?}");
        to.to_owned()
    };
    let place = |form: &str, name: &str| format!("{form}:{}", lab.path(name).display());
    let archives = [
        (a.clone(), b.clone()),
        (copy(&a, &place("oci-archive", "a.tar")), copy(&b, &place("oci-archive", "b.tar"))),
        (copy(&a, &place("docker-archive", "a.docker")), copy(&b, &place("docker-archive", "b.docker"))),
        (copy(&a, "store:a"), copy(&b, "store:b")),
    ];
    let entries = |a: &str, b: &str| -> Value {
        let ran = lab.run("store", &["diff", a, b, "--format", "json"]);
        assert_eq!(ran.code, 1, "{a} {b}: {ran:?}");
        serde_json::from_str::<Value>(&ran.out).unwrap()["images"][0]["entries"].clone()
    };
    let expected = entries(&a, &b);
    assert_eq!(expected.as_array().unwrap().len(), 1, "{expected}");
    assert_eq!(expected[0]["path"], "/etc/name");
    for (one, _) in &archives {
        for (_, other) in &archives {
            assert_eq!(entries(one, other), expected, "{one} {other}");
        }
    }
    // Without a prefix a path says itself what it is; a name of the store is one all the same.
    let bare = |place: &str| place.split_once(':').unwrap().1.to_owned();
    for (one, other) in &archives {
        assert_eq!(entries(&bare(one), &bare(other)), expected, "{one} {other}");
    }
}

#[test]
fn directories_and_tars_are_compared_with_images() {
    let lab = Lab::new();
    let a = layout(&lab, "a", &Image::of(&["file old 1", &format!("{A}\ngone old")]));
    lab.write("a.tar", layer(A));
    let tar = lab.path("a.tar");
    let same = lab.run("store", &["diff", &a, tar.to_str().unwrap()]);
    assert_eq!(same.code, 0, "{}", same.out);
    lab.write("root/etc/name", "one");
    lab.write("root/etc/same", "2");
    lab.write("root/extra", "x");
    let root = format!("dir:{}", lab.path("root").display());
    let ran = lab.run("store", &["diff", &a, &root, "--ignore", "mtime,owner,mode", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let entries = report["images"][0]["entries"].as_array().unwrap();
    let paths: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/etc/same", "/extra"], "{report}");
    assert_eq!(entries[1]["change"], "added");
    assert!(report["images"][0]["layers"].as_array().unwrap().is_empty(), "{report}");
}

#[test]
fn a_report_goes_to_a_file() {
    let lab = Lab::new();
    let (a, b) = (layout(&lab, "a", &Image::of(&[A])), layout(&lab, "b", &Image::of(&[B])));
    let file = lab.path("report.json");
    let ran = lab.run("store", &["diff", &a, &b, "--format", "json", "--output", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    let report: lith::diff::Report = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(report.version, lith::diff::REPORT_VERSION);
    let summary = lab.run("store", &["diff", &a, &b, "--format", "summary"]);
    assert_eq!(summary.code, 1);
    assert!(summary.out.lines().count() <= 5 && summary.out.contains("1 path changed"), "{}", summary.out);
}

#[test]
fn equal_layers_are_not_read() {
    let lab = Lab::new();
    let below = "dir etc\nfile etc/below 1";
    let (one, other) = (Image::of(&[below, A]), Image::of(&[below, B]));
    let (a, b) = (layout(&lab, "a", &one), layout(&lab, "b", &other));
    let digest = lith::digest::BlobDigest::of(&one.layers[0]);
    for side in ["a", "b"] {
        fs::remove_file(lab.path(&format!("{side}/blobs/sha256/{}", digest.hex()))).unwrap();
    }
    let ran = lab.run("store", &["diff", &a, &b]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("~ /etc/name") && ran.out.contains("= 1  the same"), "{}", ran.out);
}
