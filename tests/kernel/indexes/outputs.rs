//! What is written of images for several platforms, and who reads it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{THREE, blob, lab};
use crate::peers::tools::{buildah, lab_with, ok, podman};
use crate::support::{Lab, children};

const ARCHITECTURES: [(&str, &str); 3] = [("arm64", ""), ("amd64", ""), ("arm", "v7")];

/// Builds for all three into a layout and a tar of it.
fn written(lab: &Lab, store: &str, to: &str, more: &[&str]) -> (Value, Value) {
    let layout = lab.path(to);
    let directory = format!("type=oci,tar=false,dest={}", layout.display());
    let archive = format!("type=oci,dest={}.tar", layout.display());
    let args = ["--platform", THREE, "-t", "app:1", "-o", &directory, "-o", &archive];
    lab.build(store, "ctx", &[&args[..], more].concat());
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let index = blob(&layout, &top["manifests"][0]["digest"]);
    (top, index)
}

#[test]
fn a_layout_holds_an_index_with_one_manifest_for_each_platform() {
    let Some(lab) = lab() else { return };
    let (top, index) = written(&lab, "store", "layout", &["--annotation=index:a=b", "--annotation=c=d"]);
    assert_eq!(top["manifests"].as_array().unwrap().len(), 1);
    let media_type = "application/vnd.oci.image.index.v1+json";
    assert_eq!(
        (&top["manifests"][0]["mediaType"], &index["mediaType"]),
        (&json!(media_type), &json!(media_type))
    );
    assert_eq!(index["annotations"], json!({ "a": "b" }));
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 3);
    for ((architecture, variant), entry) in ARCHITECTURES.iter().zip(manifests) {
        assert_eq!(entry["platform"]["architecture"], *architecture);
        assert_eq!(entry["platform"]["variant"].as_str().unwrap_or_default(), *variant);
        let manifest = blob(&lab.path("layout"), &entry["digest"]);
        assert_eq!(manifest["annotations"], json!({ "c": "d" }));
        assert_eq!(blob(&lab.path("layout"), &manifest["config"]["digest"])["architecture"], *architecture);
    }
    // Every byte is the same from another store.
    lab.base("other", "alpine");
    written(&lab, "other", "again", &["--annotation=index:a=b", "--annotation=c=d", "--jobs=1"]);
    assert_eq!(fs::read(lab.path("layout.tar")).unwrap(), fs::read(lab.path("again.tar")).unwrap());
    assert_eq!(names(&lab.path("layout/blobs/sha256")), names(&lab.path("again/blobs/sha256")));
    // Without packing, what goes out is what the store has.
    let spec = format!("type=oci,tar=false,compression=none,dest={}", lab.path("plain").display());
    let built = lab.build("store", "ctx", &["--platform", THREE, "-o", &spec]);
    assert!(lab.path("plain/blobs").join(built.manifest().replace(':', "/")).exists());
}

fn names(dir: &Path) -> Vec<String> {
    children(dir).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn skopeo_buildah_and_podman_choose_among_the_platforms() {
    if lab_with(&["skopeo", "buildah", "podman", "runc"]).is_none() {
        return;
    }
    let Some(lab) = lab() else { return };
    written(&lab, "store", "layout", &[]);
    for from in ["oci:layout:1", "oci-archive:layout.tar:1"] {
        for (architecture, variant) in ARCHITECTURES {
            let chosen = ["--override-arch", architecture, "--override-variant", variant];
            let config = ok(&lab, "skopeo", &[&chosen[..], &["inspect", "--config", "--raw", from]].concat());
            let config: Value = serde_json::from_str(&config).unwrap();
            assert_eq!(config["architecture"], architecture, "{from}");
            // A copy reads every blob and checks it.
            let to = format!("dir:copy-{architecture}");
            ok(&lab, "skopeo", &[&chosen[..], &["--insecure-policy", "copy", "-q", from, &to]].concat());
        }
        ok(&lab, "skopeo", &["--insecure-policy", "copy", "-q", "--all", from, "dir:all"]);
    }
    for (architecture, _) in ARCHITECTURES {
        // By a path of the lab: what a name is made of has to be lower case.
        let from = "oci:layout:1";
        let id = buildah(&lab, &["pull", "-q", "--arch", architecture, from]);
        let inspected: Value =
            serde_json::from_str(&buildah(&lab, &["inspect", "--type=image", &id])).unwrap();
        assert_eq!(inspected["OCIv1"]["architecture"], architecture);
        let id = podman(&lab, &["pull", "-q", "--arch", architecture, from]);
        let shown = podman(&lab, &["image", "inspect", "--format={{.Architecture}}", &id]);
        assert_eq!(shown, architecture);
    }
}

#[test]
fn what_is_said_of_each_image_refers_to_its_manifest() {
    let Some(lab) = lab() else { return };
    let (top, index) = written(&lab, "store", "layout", &["--provenance", "--sbom"]);
    let entries = top["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 1 + 2 * 3);
    let layout = lab.path("layout");
    let subjects: Vec<Value> = entries[1..]
        .iter()
        .map(|entry| blob(&layout, &entry["digest"])["subject"]["digest"].clone())
        .collect();
    for (platform, manifest) in THREE.split(',').zip(index["manifests"].as_array().unwrap()) {
        assert_eq!(subjects.iter().filter(|subject| **subject == manifest["digest"]).count(), 2);
        // Each is what is said of an image that is built alone.
        let alone = lab.path("alone");
        let spec = format!("type=oci,tar=false,dest={}", alone.display());
        let args = ["--platform", platform, "--provenance=max", "--sbom", "-o", &spec];
        lab.build("store", "ctx", &args);
    }
    written(&lab, "store", "max", &["--provenance=max", "--sbom"]);
    let there = names(&lab.path("max/blobs/sha256"));
    let missing: Vec<String> =
        names(&lab.path("alone/blobs/sha256")).into_iter().filter(|name| !there.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
    // Lith itself takes the image and leaves what is said of it.
    let loaded = lab.ok("other", &["load", "--platform=linux/arm64", layout.to_str().unwrap()]).out;
    assert_eq!(loaded, "Loaded image: app:1\n");
}

#[test]
fn trees_of_several_platforms_lie_side_by_side() {
    let Some(lab) = lab() else { return };
    let (out, tar, aside) = (lab.path("out"), lab.path("out.tar"), lab.path("aside"));
    fs::create_dir_all(&aside).unwrap();
    fs::create_dir_all(&out).unwrap();
    // What is in the way is replaced, not followed.
    std::os::unix::fs::symlink(&aside, out.join("linux_arm64")).unwrap();
    let local = format!("type=local,dest={}", out.display());
    let tarred = format!("type=tar,dest={}", tar.display());
    lab.build("store", "ctx", &["--platform", THREE, "-o", &local, "-o", &tarred]);
    assert_eq!(names(&aside), [""; 0]);
    assert_eq!(names(&out), ["linux_amd64", "linux_arm64", "linux_arm_v7"]);
    assert!(out.join("linux_arm64").symlink_metadata().unwrap().is_dir());
    for (directory, architecture) in
        [("linux_amd64", "amd64"), ("linux_arm64", "arm64"), ("linux_arm_v7", "arm")]
    {
        assert_eq!(fs::read_to_string(out.join(directory).join("arch")).unwrap(), architecture);
        assert_eq!(fs::read_to_string(out.join(directory).join("made")).unwrap(), "a");
    }
    let list = ok(&lab, "tar", &["-tf", tar.to_str().unwrap()]);
    let wanted: Vec<String> = names(&out)
        .iter()
        .flat_map(|dir| [format!("{dir}/"), format!("{dir}/arch"), format!("{dir}/made")])
        .collect();
    assert_eq!(list.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn what_cannot_be_written_is_said_before_the_build() {
    let Some(lab) = lab() else { return };
    let context = lab.path("ctx");
    for (args, wanted) in [
        (&["-o", "type=docker,dest=x.tar"][..], "linux/arm64, linux/amd64, linux/arm/v7; write type=oci"),
        (&["--annotation", "index-descriptor:a=b"], "descriptors get no annotations"),
        (&["--platform", "linux"], "os/architecture"),
    ] {
        let args = [&["build", "--platform", THREE], args, &[context.to_str().unwrap()]].concat();
        let ran = lab.run("store", &args);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{args:?}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn digests_of_an_index_are_what_scripts_get() {
    let Some(lab) = lab() else { return };
    let (ids, facts) = (lab.path("ids"), lab.path("facts"));
    let (context, layout) = (lab.path("ctx"), lab.path("layout"));
    let spec = format!("type=oci,tar=false,dest={}", layout.display());
    let args = ["build", "-q", "--platform", THREE, "-t", "app", "-o", &spec, "--iidfile"];
    let more = [ids.to_str().unwrap(), "--metadata-file", facts.to_str().unwrap(), context.to_str().unwrap()];
    let quiet = lab.ok("store", &[&args[..], &more].concat()).out;
    assert_eq!(quiet.trim(), fs::read_to_string(ids).unwrap());
    let inspected: Value =
        serde_json::from_str(&lab.ok("store", &["image", "inspect", quiet.trim()]).out).unwrap();
    assert_eq!(inspected[0]["RepoTags"], json!(["app:latest"]));
    let facts: Value = serde_json::from_slice(&fs::read(facts).unwrap()).unwrap();
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(facts["containerimage.digest"], top["manifests"][0]["digest"]);
    assert_eq!(facts["lith.platforms"].as_array().unwrap().len(), 3);
}
