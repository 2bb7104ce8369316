//! What other programs make of the same Dockerfile, of lith's images, and lith of theirs.

pub mod tools;
pub mod tree;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tools::{Docker, Unmount, buildah, buildah_build, lab_with, ok, podman, podman_id, unpack};
use tree::Tree;

use crate::support::{Built, Lab, base_tar, shell};

const PROGRAMS: [&str; 9] =
    ["skopeo", "umoci", "podman", "buildah", "dockerd", "runc", "setcap", "xz", "bzip2"];
const EPOCH: i64 = 1_700_000_000;

/// The base, the context and the image `app` in lith's store.
fn app(lab: &Lab, outputs: &[&str]) -> Built {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/peers");
    base_tar(&lab.path(""), None);
    shell(&data.join("context.sh"), &lab.path(""));
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

    buildah_base(&lab);
    buildah_build(&lab, "theirs", "ctx");
    buildah(&lab, &["push", "theirs", "oci:buildah.oci:x"]);
    // What buildah mounts over leaves empty files and a directory in its images.
    let stubs = ["run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
    let buildahs = Tree::read(&unpack(&lab, "buildah.oci:x", "buildah-tree"), &stubs);
    only(&KNOWN, &ours.differences(&buildahs));
}

/// The base in buildah's store.
#[track_caller]
fn buildah_base(lab: &Lab) {
    let container = buildah(lab, &["from", "scratch"]);
    buildah(lab, &["add", &container, "base.tar", "/"]);
    buildah(lab, &["commit", &container, "localhost/base"]);
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

/// The classic builder has no `--chmod`; buildah gives it to what is copied, BuildKit also to the directories made for it.
#[test]
fn chmod_is_that_of_buildah() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    app(&lab, &[]);
    let text = "FROM base\nCOPY --chmod=0751 --chown=3:4 src /modes\nCOPY --chmod=4711 f1.txt /new/f\n\
        ADD --chmod=600 f2.txt /opt/\nCOPY --chmod=0700 tree/b /opt/keep\n";
    fs::write(lab.path("ctx/Dockerfile"), text).unwrap();
    build(&lab, "ctx", "modes", &["type=oci,tar=false,dest=modes.oci"]);
    let ours = Tree::read(&unpack(&lab, "modes.oci:latest", "ours"), &[]);
    buildah_base(&lab);
    buildah_build(&lab, "theirs", "ctx");
    buildah(&lab, &["push", "theirs", "oci:buildah.oci:x"]);
    let theirs = Tree::read(&unpack(&lab, "buildah.oci:x", "theirs"), &[]);
    only(&["modes: dir 751 ", "new: dir 4711 "], &ours.differences(&theirs));
}

/// What an archive or layout says of its one image, by skopeo: the manifest's digest and the image's id.
#[track_caller]
fn told(lab: &Lab, place: &str) -> (String, String) {
    let digest = ok(lab, "skopeo", &["inspect", "--no-tags", "--format", "{{.Digest}}", place]);
    let manifest: Value = serde_json::from_str(&ok(lab, "skopeo", &["inspect", "--raw", place])).unwrap();
    (digest, manifest["config"]["digest"].as_str().unwrap().to_owned())
}

#[test]
fn layouts_of_every_compression_are_taken() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    let compressions = ["none", "gzip", "zstd"];
    let mut outputs = Vec::new();
    for compression in compressions {
        outputs.push(format!("type=oci,dest={compression}.tar,compression={compression}"));
        outputs.push(format!("type=oci,tar=false,dest={compression}.oci,compression={compression}"));
    }
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let image = app(&lab, &outputs).image();
    let mut trees = Vec::new();
    for compression in compressions {
        let (archive, layout) = (format!("{compression}.tar"), format!("{compression}.oci"));
        let from = [format!("oci-archive:{archive}"), format!("oci:{layout}:latest")];
        assert_eq!(told(&lab, &from[0]), told(&lab, &from[1]));
        assert_eq!(told(&lab, &from[0]).1, image);
        for (at, place) in from.iter().enumerate() {
            let copy = format!("oci:copy-{compression}-{at}:x");
            ok(&lab, "skopeo", &["copy", "--preserve-digests", place, &copy]);
            assert_eq!(told(&lab, &copy), told(&lab, place));
            ok(&lab, "skopeo", &["copy", place, &format!("dir:{compression}-{at}.dir")]);
        }
        podman(&lab, &["load", "-i", &archive]);
        assert_eq!(podman_id(&lab, "app"), image);
        podman(&lab, &["rmi", "--force", "app"]);
        let container = buildah(&lab, &["from", &from[0]]);
        let tree = Tree::read(Path::new(&buildah(&lab, &["mount", &container])), &[]);
        buildah(&lab, &["umount", &container]);
        buildah(&lab, &["rm", &container]);
        buildah(&lab, &["rmi", "--all", "--force"]);
        trees.push(tree);
        // umoci 0.4 has no zstd.
        if compression != "zstd" {
            trees.push(Tree::read(&unpack(&lab, &format!("{layout}:latest"), compression), &[]));
        }
    }
    for tree in &trees[1..] {
        assert_eq!(trees[0].differences(tree), Vec::<String>::new());
    }
}

#[test]
fn docker_archives_are_taken() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    let image = app(&lab, &["type=docker,dest=built.tar", "type=oci,tar=false,dest=app.oci"]).image();
    lab.ok("store", &["save", "-o", "saved.tar", "app"]);
    let ours = Tree::read(&unpack(&lab, "app.oci:latest", "ours"), &[]);
    let layers = &inspect(&lab, "store", "app")["RootFS"];
    let docker = Docker::start(&lab);
    for archive in ["built", "saved"] {
        let tar = format!("{archive}.tar");
        docker.ok(&["load", "-i", &tar]);
        let loaded = docker.inspect("app");
        assert_eq!(loaded["Id"], image.as_str());
        assert_eq!(loaded["RootFS"], *layers);
        let printed = docker.ok(&["run", "--rm", "--network", "none", "app", "cat /exec /shell; id -u; pwd"]);
        assert_eq!(printed, "1\n/bin/ash\n1000\n/final/1");
        exported(&lab, &docker, archive, &ours);
        docker.ok(&["rmi", "--force", "app"]);

        let place = format!("docker-archive:{tar}");
        let copy = format!("oci:{archive}.oci:x");
        ok(&lab, "skopeo", &["copy", &place, &copy]);
        let tree = Tree::read(&unpack(&lab, &format!("{archive}.oci:x"), &format!("{archive}-copied")), &[]);
        assert_eq!(ours.differences(&tree), Vec::<String>::new());
        podman(&lab, &["load", "-i", &tar]);
        assert_eq!(podman_id(&lab, "app"), image);
        podman(&lab, &["rmi", "--force", "app"]);
    }
}

/// What docker itself unpacked, but for what it puts into every container.
fn exported(lab: &Lab, docker: &Docker<'_>, name: &str, ours: &Tree) {
    let container = docker.ok(&["create", "app"]);
    let (tar, dir) = (format!("{name}-exported.tar"), format!("{name}-exported"));
    docker.ok(&["export", "-o", &tar, &container]);
    docker.ok(&["rm", "--volumes", &container]);
    fs::create_dir(lab.path(&dir)).unwrap();
    ok(lab, "tar", &["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", &tar, "-C", &dir]);
    let added =
        [".dockerenv", "dev/console", "dev/pts", "dev/shm", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
    let more = ["etc/mtab", "data", "more", "vol1", "vol2"];
    let tree = Tree::read(&lab.path(&dir), &[&added[..], &more[..]].concat());
    assert_eq!(ours.differences(&tree), Vec::<String>::new());
}

#[test]
fn what_peers_write_is_loaded_and_built_on() {
    let Some(lab) = lab_with(&PROGRAMS) else { return };
    let _unmount = Unmount(&lab);
    app(&lab, &["type=oci,tar=false,dest=app.oci", "type=docker,dest=app.tar"]);
    let docker = Docker::start(&lab);
    docker.ok(&["load", "-i", "app.tar"]);
    docker.ok(&["save", "-o", "docker-save.tar", "app"]);
    drop(docker);
    podman(&lab, &["load", "-i", "app.tar"]);
    for format in ["oci-archive", "docker-archive"] {
        podman(&lab, &["save", "--format", format, "-o", &format!("podman-{format}.tar"), "app"]);
        let to = format!("{format}:skopeo-{format}.tar:app:skopeo");
        ok(&lab, "skopeo", &["copy", "oci:app.oci:latest", &to]);
    }
    let container = buildah(&lab, &["from", "docker-archive:app.tar"]);
    buildah(&lab, &["config", "--env", "BY=buildah", &container]);
    buildah(&lab, &["commit", "--rm", &container, "oci-archive:buildah.tar:app"]);
    ok(&lab, "cp", &["-r", "app.oci", "umoci.oci"]);
    let bundle = unpack(&lab, "umoci.oci:latest", "bundle");
    fs::write(bundle.join("by-umoci"), "umoci").unwrap();
    fs::remove_file(bundle.join("added")).unwrap();
    ok(&lab, "umoci", &["repack", "--image", "umoci.oci:repacked", "bundle"]);

    for (place, only) in [
        ("oci-archive:podman-oci-archive.tar", None),
        ("oci-archive:skopeo-oci-archive.tar", None),
        ("oci-archive:buildah.tar", None),
        ("oci:umoci.oci:repacked", Some("repacked")),
        ("docker-archive:docker-save.tar", None),
        ("docker-archive:podman-docker-archive.tar", None),
        ("docker-archive:skopeo-docker-archive.tar", None),
    ] {
        taken(&lab, place, only);
    }
}

/// Loads one image of an archive or layout and builds on it.
#[track_caller]
fn taken(lab: &Lab, place: &str, only: Option<&str>) {
    let mut parts = place.split(':');
    let (kind, file) = (parts.next().unwrap(), parts.next().unwrap());
    let name = file.split('.').next().unwrap();
    let mut args = vec!["load", "--tag", name, file];
    args.extend(only.iter().flat_map(|only| ["--only", only]));
    lab.ok("fresh", &args);
    let loaded = inspect(lab, "fresh", name);
    if kind == "docker-archive" {
        let manifest: Value =
            serde_json::from_str(&ok(lab, "tar", &["-xOf", file, "manifest.json"])).unwrap();
        let config = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(loaded["Id"], format!("sha256:{}", config.strip_suffix(".json").unwrap()), "{place}");
    } else {
        let (manifest, id) = told(lab, place);
        assert_eq!(loaded["Id"], id, "{place}");
        assert!(loaded["RepoDigests"].to_string().contains(&manifest), "{place}: {}", loaded["RepoDigests"]);
    }
    lab.write(
        "on/Dockerfile",
        format!("FROM {name}\nRUN cat /exec /sw/file > /tmp/on; ls / > /tmp/names; id -u >> /tmp/on\n"),
    );
    let out = lab.path(&format!("{name}-out"));
    lab.build("fresh", "on", &["-o", &format!("type=local,dest={}", out.display())]);
    assert_eq!(fs::read_to_string(out.join("tmp/on")).unwrap(), "1\nf3\n1000\n", "{place}");
    let names = fs::read_to_string(out.join("tmp/names")).unwrap();
    assert_eq!(names.contains("by-umoci"), only.is_some(), "{place}: {names}");
    assert_eq!(names.contains("added"), only.is_none(), "{place}: {names}");
}
