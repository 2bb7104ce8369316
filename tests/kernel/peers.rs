//! What other programs make of the same Dockerfile, of lith's images, and lith of theirs.

mod tools;
mod tree;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tools::{Docker, Unmount, buildah, buildah_build, lab_with, ok, podman, podman_id, unpack};
use tree::Tree;

use crate::support::{Built, Lab};

const PROGRAMS: [&str; 9] =
    ["skopeo", "umoci", "podman", "buildah", "dockerd", "runc", "setcap", "xz", "bzip2"];
const EPOCH: i64 = 1_700_000_000;

/// The base, the context and the image `app` in lith's store.
fn app(lab: &Lab, outputs: &[&str]) -> Built {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/peers");
    ok(lab, "sh", &[data.join("fixture.sh").to_str().unwrap()]);
    fs::copy(data.join("Dockerfile"), lab.path("ctx/Dockerfile")).unwrap();
    lab.ok("store", &["import", "base.tar", "base"]);
    build(lab, "ctx", "app", outputs)
}

fn build(lab: &Lab, context: &str, name: &str, outputs: &[&str]) -> Built {
    let epoch = EPOCH.to_string();
    let mut args = vec!["-t", name, "--epoch", &epoch];
    args.extend(outputs.iter().flat_map(|output| ["-o", output]));
    lab.build("store", context, &args)
}

/// Lith's own account of an image.
fn inspect(lab: &Lab, store: &str, image: &str) -> Value {
    let all: Value = serde_json::from_str(&lab.ok(store, &["image", "inspect", image]).out).unwrap();
    all[0].clone()
}

/// Where lith differs from both on purpose: BuildKit keeps the set-user-id bit through `--chown`, the older builders
/// lose it; hardlinks of a context are separate files (spec/context.md).
const KNOWN: [&str; 3] = ["owned/sub/x.h: ", "through/a/one: ", "through/b/one-hard: "];
/// BuildKit keeps a capability through `COPY --from`, the classic builder loses it.
const CAPABILITY: &str = "opt/capable: ";

#[track_caller]
fn only(known: &[&str], differences: &[String]) {
    let as_known = differences.len() == known.len()
        && differences.iter().zip(known).all(|(line, known)| line.starts_with(known));
    assert!(as_known, "{differences:#?}");
}

#[test]
fn the_tree_and_the_config_are_those_of_docker_and_buildah() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    app(&lab, &["type=oci,tar=false,dest=app.oci", "type=docker,dest=app.tar"]);
    let ours = Tree::read(&unpack(&lab, "app.oci:latest", "ours"), &[]);
    times(&ours);
    let capable = &ours.0[Path::new("opt/capable")];
    assert!(capable.xattrs.contains_key("security.capability"), "{capable:?}");
    assert_eq!(ours.0[Path::new("out/bin/hard")].names.len(), 2);

    let docker = Docker::start(&lab);
    docker.ok(&["import", "base.tar", "base"]);
    docker.build("theirs", "ctx");
    docker.ok(&["save", "-o", "docker.tar", "theirs"]);
    ok(&lab, "skopeo", &["copy", "docker-archive:docker.tar", "oci:docker.oci:x"]);
    let dockers = Tree::read(&unpack(&lab, "docker.oci:x", "docker-tree"), &[]);
    only(&[&[CAPABILITY], &KNOWN[..]].concat(), &ours.differences(&dockers));

    docker.ok(&["load", "-i", "app.tar"]);
    let (mut app, mut theirs) =
        (docker.inspect("app")["Config"].clone(), docker.inspect("theirs")["Config"].clone());
    // BuildKit sets it for every CMD; the classic builder leaves behind the image that the last step began with.
    assert_eq!(app["ArgsEscaped"], true);
    for config in [&mut app, &mut theirs] {
        config.as_object_mut().unwrap().retain(|key, _| key != "ArgsEscaped" && key != "Image");
    }
    assert_eq!(app, theirs);

    let container = buildah(&lab, &["from", "scratch"]);
    buildah(&lab, &["add", &container, "base.tar", "/"]);
    buildah(&lab, &["commit", &container, "localhost/base"]);
    buildah_build(&lab, "theirs", "ctx");
    buildah(&lab, &["push", "theirs", "oci:buildah.oci:x"]);
    // What buildah mounts over leaves empty files and a directory in its images.
    let stubs = ["run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
    let buildahs = Tree::read(&unpack(&lab, "buildah.oci:x", "buildah-tree"), &stubs);
    only(&KNOWN, &ours.differences(&buildahs));
}

/// No time is after the epoch; what was older, and whatever the base holds, keeps its own.
#[track_caller]
fn times(ours: &Tree) {
    let time = |path: &str| ours.0[Path::new(path)].mtime;
    for (path, node) in &ours.0 {
        assert!(node.mtime <= EPOCH, "{}: {}", path.display(), node.mtime);
    }
    for made in ["added", "v/f", "v/p", "v/dang", "sw/dir/back", "owned/main.c", "opt/old", "final/1", "etc"]
    {
        let expected = if made == "etc" { 1_000_000_000 } else { EPOCH };
        assert_eq!(time(made), expected, "{made}");
    }
    assert_eq!(time("priv/x/old"), 981_173_106, "touched to 2001-02-03 04:05:06");
    assert_eq!(time("plain/d.tar/in"), 1_100_000_000, "an archive's own");
    assert_eq!(time("bin/busybox"), 1_000_000_000);
}
